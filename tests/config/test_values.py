"""Tests for ``xproxy.config.values``: texts from files and the environment, and secrets that nobody is shown."""

from __future__ import annotations

import os

from tests.config.refusing import RefusingTestCase
from xproxy.config import ConfigError, from_toml
from xproxy.config.values import MAX_VALUE_BYTES

SECRET = "Tr0ub4dor&3"


class ValuesTests(RefusingTestCase):
    """``{ file = ... }`` and ``{ env = ... }``."""

    environment = {"TOKEN": SECRET, "EMPTY": "", "PORT": "tcp:81", "BAD": "\udcff", "LINES": "a\nb"}

    def token(self, written: str) -> str:
        return self.read(f"[pools.default]\ntoken = {written}\n").pools["default"].token

    def file(self, content: bytes) -> str:
        name = os.path.abspath(self.mktemp())
        with open(name, "wb") as file:
            file.write(content)
        return name

    def refused_token(self, written: str) -> str:
        line = self.refused(f"[pools.default]\nqueue_limit = 1\ntoken = {written}\n")
        start = "3: pools.default.token: "
        self.assertTrue(line.startswith(start), line)
        return line[len(start) :]

    def test_files(self) -> None:
        for content in (b"abc\n", b"abc", b"abc\r\n"):
            self.assertEqual(self.token(f'{{ file = "{self.file(content)}" }}'), "abc")
        self.assertEqual(self.token(f'{{ file = "{self.file(b" a b ")}" }}'), " a b ")
        name = os.path.relpath(self.file("ä".encode()))
        self.assertEqual(self.token(f'{{ file = "{name}" }}'), "ä")

    def test_the_environment(self) -> None:
        self.assertEqual(self.token('{ env = "TOKEN" }'), SECRET)

    def test_any_text_and_lists_of_texts(self) -> None:
        name = self.file(b"/api\n")
        read = self.read(
            f"""
            [proxy]
            http = [{{ env = "PORT" }}, "tcp:82"]
            access_log = {{ file = "{name}" }}
            [[routes]]
            path = {{ file = "{name}" }}
            respond = {{ body = {{ file = "{name}" }} }}
            """
        )
        self.assertEqual(read.proxy.http, ("tcp:81", "tcp:82"))
        self.assertEqual(read.proxy.access_log, "/api")
        self.assertEqual(
            (read.routes[0].path, read.routes[0].respond.body if read.routes[0].respond else b""), ("/api", b"/api")
        )

    def test_what_comes_from_elsewhere_is_checked_all_the_same(self) -> None:
        line = self.refused('[proxy]\nhttp = [\n  { env = "TOKEN" },\n]')
        self.assertTrue(line.startswith("3: proxy.http[0]: must be an endpoint description such as"), line)
        self.assertIn("control characters", self.refused_token('{ env = "LINES" }'))

    def test_mistakes(self) -> None:
        large = self.file(b"x" * (MAX_VALUE_BYTES + 1))
        binary = self.file(b"\xff" + SECRET.encode())
        empty, newline = self.file(b""), self.file(b"\n")
        for written, said in (
            ('{ file = "/nowhere/token" }', "the file '/nowhere/token' cannot be read: no such file or directory"),
            ('{ file = "/" }', "the file '/' cannot be read: is a directory"),
            (f'{{ file = "{large}" }}', f"the file '{large}' is larger than 1048576 bytes"),
            (f'{{ file = "{binary}" }}', f"the file '{binary}' is not UTF-8"),
            (f'{{ file = "{empty}" }}', f"the file '{empty}' is empty"),
            (f'{{ file = "{newline}" }}', f"the file '{newline}' is empty"),
            ('{ env = "NO_SUCH" }', "the environment has no variable NO_SUCH"),
            ('{ env = "EMPTY" }', "the variable EMPTY of the environment is empty"),
            ('{ env = "BAD" }', "the variable BAD of the environment is not UTF-8"),
            ('{ env = "$TOKEN" }', "env must be the name of a variable"),
            ("{ env = 5 }", "env must be a text in quotes"),
            ('{ file = "" }', "file must be a text in quotes"),
            ("{}", 'must be a text, { file = "PATH" } or { env = "NAME" }'),
            ('{ file = "a", env = "b" }', 'must be a text, { file = "PATH" } or { env = "NAME" }'),
            ('{ path = "a" }', 'must be a text, { file = "PATH" } or { env = "NAME" }'),
        ):
            self.assertEqual(self.refused_token(written), said)

    def test_only_texts(self) -> None:
        line = self.refused('[limits]\nbody = { env = "PORT" }')
        self.assertIn("limits.body: must be a whole number from 0 to 1125899906842624; only texts can come from", line)

    def test_variables_are_not_replaced(self) -> None:
        for written in ("$HTTP", "${HTTP}"):
            line = self.refused(f'[proxy]\nhttp = ["{written}"]')
            self.assertEqual(line, '2: proxy.http[0]: variables are not replaced; write { env = "HTTP" }')
        self.assertIn('{ env = "NAME" }', self.refused_token('"$TOKEN"'))
        self.assertIn('did you mean { env = "HTTP" }?', self.refused('[proxy]\nname = { env = "${HTTP}" }'))
        self.assertEqual(self.token('"a$b"'), "a$b")
        self.assertEqual(self.token('"$"'), "$")

    def test_the_environment_is_that_of_the_process_where_none_is_given(self) -> None:
        os.environ["XPROXY_TEST_TOKEN"] = "abc"
        self.addCleanup(os.environ.pop, "XPROXY_TEST_TOKEN")
        read = from_toml('[pools.default]\ntoken = { env = "XPROXY_TEST_TOKEN" }', "x.toml")
        self.assertEqual(read.pools["default"].token, "abc")


class SecretTests(RefusingTestCase):
    """Whatever is wrong, the value of a token is in no message and no representation."""

    environment = {"TOKEN": SECRET + "\x07"}

    def test_messages(self) -> None:
        name = os.path.abspath(self.mktemp())
        with open(name, "wb") as file:
            file.write(SECRET.encode() + b"\xff")
        for written in (
            f'"{SECRET}\\u0007"',
            f'["{SECRET}"]',
            f'{{ token = "{SECRET}" }}',
            f'"${SECRET.replace("&", "_")}"',
            f'"${{{SECRET}}}"',
            '{ env = "TOKEN" }',
            f'{{ file = "{name}" }}',
            f'"{SECRET * 1000}"',
        ):
            source = f"[pools.default]\ntoken = {written}\n"
            error = self.assertRaises(ConfigError, self.read, source)
            for text in (str(error), repr(error), error.line()):
                self.assertNotIn("Tr0ub4dor", text)

    def test_numbers_are_secrets_too(self) -> None:
        self.refuses("[pools.default]\ntoken = 314159", "2: pools.default.token: must be a text of at most 256 bytes")

    def test_the_tree(self) -> None:
        read = self.read(f'[pools.default]\ntoken = "{SECRET}"')
        self.assertEqual(read.pools["default"].token, SECRET)
        self.assertNotIn(SECRET, repr(read))
