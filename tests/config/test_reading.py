"""Tests for ``xproxy.config.reading``: what is read, what is refused, and how a refusal reads."""

from __future__ import annotations

import os
import sys
from typing import Any

import attr
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.config.refusing import RefusingTestCase
from xproxy.config import (
    CertificateConfig,
    Config,
    ConfigError,
    PoolConfig,
    RedirectConfig,
    RespondConfig,
    RouteConfig,
    from_toml,
    load,
    networks,
)
from xproxy.config.reading import MAX_FILE_BYTES

DEFAULT_SLOTS = ("tcp:9999:interface=127.0.0.1",)


class ReadingTests(RefusingTestCase):
    """What is understood."""

    def test_an_empty_file_is_the_defaults(self) -> None:
        self.assertEqual(self.read(""), Config(file=os.path.abspath("x.toml")))

    def test_no_file_is_the_defaults(self) -> None:
        self.assertEqual(load(None), Config())

    def test_the_tree_is_frozen(self) -> None:
        read = self.read("[pools.a]")
        for part in (read, read.proxy, read.pools["a"], read.routes[0], read.limits):
            self.assertRaises(attr.exceptions.FrozenInstanceError, setattr, part, "name", "x")

    def test_slots_over_tls(self) -> None:
        read = self.read(
            """
            [acceptor]
            client_ca = "/ca.pem"
            [[acceptor.certificates]]
            chain = "/a.pem"
            key = "/a.key"
            [pools.default]
            slots_tls = ["tcp:9443:interface=127.0.0.1"]
            service_names = ["Web.Example.com.", "spiffe://example.com/Web"]
            """
        )
        self.assertEqual(read.acceptor.certificates, (CertificateConfig("/a.pem", "/a.key"),))
        self.assertEqual(read.acceptor.client_ca, "/ca.pem")
        names = ("web.example.com", "spiffe://example.com/Web")
        pool = PoolConfig("default", slots_tls=("tcp:9443:interface=127.0.0.1",), service_names=names)
        self.assertEqual(read.pools["default"], pool)

    def test_every_section(self) -> None:
        read = self.read(
            """
            [proxy]
            http = ["tcp:80", "unix:/run/http.sock"]
            admin = "none"
            trusted_proxies = ["10.0.0.0/8", "::1"]
            forwarded = "both"
            drain_timeout = 0
            [acceptor]
            handoff = "/run/handoff.sock"
            [limits]
            body = 10
            [timeouts]
            head = 2.5
            [pools.default]
            queue_limit = 7
            [pools.other]
            slots = ["tcp:1"]
            allow = ["10.0.0.0/8"]
            token = "secret"
            """
        )
        self.assertEqual(read.proxy.http, ("tcp:80", "unix:/run/http.sock"))
        self.assertEqual((read.proxy.admin, read.proxy.forwarded, read.proxy.drain_timeout), ("none", "both", 0.0))
        self.assertEqual(read.proxy.trusted_proxies, networks("10.0.0.0/8", "::1"))
        self.assertEqual(read.acceptor.handoff, "/run/handoff.sock")
        self.assertEqual((read.limits.body, read.timeouts.head), (10, 2.5))
        self.assertEqual(read.pools["default"], PoolConfig("default", slots=DEFAULT_SLOTS, queue_limit=7))
        self.assertEqual(
            read.pools["other"],
            PoolConfig("other", slots=("tcp:1",), allow=networks("10.0.0.0/8"), allow_given=True, token="secret"),
        )

    def test_routes(self) -> None:
        read = self.read(
            """
            [[routes]]
            host = "*.Example.com"
            path = "/api"
            methods = ["GET", "POST"]
            strip_prefix = "/api"
            set_host = "inner:8000"
            response_timeout = 5
            body_limit = 0
            buffering = "off"
            [[routes]]
            path = "/old"
            redirect = { status = 308, location = "https://{host}{target}" }
            [[routes]]
            path = "/healthz"
            respond = { status = 200, body = "grüß\\n", content_type = "text/plain; charset=utf-8" }
            [[routes]]
            path = "/robots.txt"
            respond = {}
            """
        )
        self.assertEqual(
            read.routes,
            (
                RouteConfig(
                    host="*.example.com",
                    path="/api",
                    methods=("GET", "POST"),
                    strip_prefix="/api",
                    set_host="inner:8000",
                    response_timeout=5.0,
                    body_limit=0,
                    buffering=False,
                ),
                RouteConfig(path="/old", redirect=RedirectConfig("https://{host}{target}", 308)),
                RouteConfig(path="/healthz", respond=RespondConfig(200, "grüß\n".encode())),
                RouteConfig(path="/robots.txt", respond=RespondConfig()),
            ),
        )

    def test_https(self) -> None:
        read = self.read(
            '[proxy]\nhttps = ["tcp:8443"]\nhttp2 = false\nclient_ca = "/ca.pem"\nclient_certificates = "optional"\n'
            'client_subject_header = "X-Subject"\nproxy_protocol = true\ntrusted_proxies = ["10.0.0.0/8"]\n'
            '[[proxy.certificates]]\nchain = "/a.pem"\nkey = "/a.key"\n'
            '[[proxy.certificates]]\nchain = "/b.pem"\nkey = "/b.key"\n'
            '[[routes]]\nredirect_https = 8443\nhsts = "max-age=1"\n[[routes]]\npath = "/a"\nredirect_https = true\n'
            "[timeouts]\nhandshake = 1.5\n"
        )
        proxy = read.proxy
        self.assertEqual(proxy.https, ("tcp:8443",))
        self.assertEqual(proxy.certificates, (CertificateConfig("/a.pem", "/a.key"), CertificateConfig("/b.pem", "/b.key")))
        self.assertEqual((proxy.http2, proxy.proxy_protocol, proxy.client_ca), (False, True, "/ca.pem"))
        self.assertEqual((proxy.client_certificates, proxy.client_subject_header), ("optional", "X-Subject"))
        self.assertEqual([(route.redirect_https, route.hsts) for route in read.routes], [(8443, "max-age=1"), (443, "")])
        self.assertEqual(read.timeouts.handshake, 1.5)

    def test_paths_become_absolute(self) -> None:
        read = self.read('[proxy]\naccess_log = "log/access"\n[acceptor]\nhandoff = "h.sock"')
        self.assertEqual(
            (read.proxy.access_log, read.acceptor.handoff), (os.path.abspath("log/access"), os.path.abspath("h.sock"))
        )

    def test_from_disk(self) -> None:
        name = self.mktemp()
        with open(name, "w", encoding="utf-8-sig") as file:
            file.write("[limits]\nbody = 1\n")
        self.assertEqual((load(name).limits.body, load(name).file), (1, os.path.abspath(name)))

    def test_nothing_is_kept(self) -> None:
        """It can be read again at any time: the same text is the same tree, another text another one."""
        self.assertEqual(self.read("[limits]\nbody = 1"), self.read("[limits]\nbody = 1"))
        self.assertNotEqual(self.read("[limits]\nbody = 1"), self.read("[limits]\nbody = 2"))


class FileTests(SynchronousTestCase):
    """Files that cannot be used at all."""

    def unreadable(self, name: str) -> str:
        return str(self.assertRaises(ConfigError, load, name))

    def write(self, content: bytes) -> str:
        name = self.mktemp()
        with open(name, "wb") as file:
            file.write(content)
        return name

    def test_missing(self) -> None:
        self.assertEqual(self.unreadable("/nowhere/x.toml"), "/nowhere/x.toml: cannot be read: No such file or directory")

    def test_a_directory(self) -> None:
        name = self.mktemp()
        os.mkdir(name)
        self.assertEqual(self.unreadable(name), f"{name}: cannot be read: Is a directory")

    def test_a_name_that_no_file_has(self) -> None:
        self.assertIn("cannot be read: ", self.unreadable("a\0b"))

    def test_not_utf8(self) -> None:
        name = self.write(b"[limits]\n# \xff\n")
        self.assertEqual(self.unreadable(name), f"{name}:2: is not UTF-8: byte 11 cannot be read")

    def test_too_large(self) -> None:
        name = self.write(b"#" * (MAX_FILE_BYTES + 1))
        self.assertEqual(self.unreadable(name), f"{name}: is larger than {MAX_FILE_BYTES} bytes")


class SyntaxTests(RefusingTestCase):
    """What is not TOML, with its line."""

    def test_slips(self) -> None:
        for source, place, hint in (
            ("[proxy\n", "1: not TOML: ", "(at line 1, column 7)"),
            ("[limits]\nbody = 1\nbody = 2\n", "3: not TOML: ", "Cannot overwrite a value"),
            ("[proxy]\nadmin = none\n", "2: not TOML: ", "; a text needs quotes"),
            ("[proxy]\nhttp = [tcp:80]\n", "2: not TOML: ", ""),
            ("[timeouts]\nhead = 60s\n", "2: not TOML: ", "; a text needs quotes"),
            ("[proxy]\n\nadmin: 5\n", "3: not TOML: ", "; = goes between a key and its value"),
            ('[proxy]\nname = "x\n', "2: not TOML: ", "column"),
            ('[proxy]\nhttp = [\n"tcp:80"\n\n', "4: not TOML: ", "at the end of the file"),
            ('x = """\n\n', "2: not TOML: ", "at the end of the file"),
        ):
            line = self.refused(source)
            self.assertTrue(line.startswith(place), (source, line))
            self.assertIn(hint, line)

    def test_other_formats(self) -> None:
        for source, name in (
            ('{"proxy": {}}', "JSON"),
            ("# mine\nserver {\n  listen 80;\n}\n", "nginx or Caddy"),
            (":80 {\n  reverse_proxy localhost:1\n}\n", "nginx or Caddy"),
            ("---\nproxy:\n  http: []\n", "YAML"),
            ("entryPoints:\n  web:\n    address: :80\n", "YAML"),
            ("global\n  maxconn 5\n", "HAProxy"),
            ("frontend web\n  bind :80\n", "HAProxy"),
        ):
            self.assertIn(f"{name}, a configuration is TOML", self.refused(source))

    def test_nested_too_deeply(self) -> None:
        depth = sys.getrecursionlimit() * 2
        line = self.refused("x = " + "[" * depth + "]" * depth)
        self.assertIn("nested too deeply", line)


class ValueTests(RefusingTestCase):
    """Values of the wrong kind or out of range."""

    def test_all_mistakes_are_told(self) -> None:
        self.refuses(
            '[proxy]\nadmin = 5.5\n[limits]\nbody = -1\n[pools.default]\nallow = ["10.0.0.1/8"]',
            "2: proxy.admin: must be an endpoint description such as tcp:8080:interface=127.0.0.1, not 5.5;"
            ' a text needs quotes: "5.5"',
            "4: limits.body: must be a whole number from 0 to 1125899906842624, not -1",
            "6: pools.default.allow[0]: must be a network in CIDR notation, not '10.0.0.1/8': 10.0.0.1/8 has host bits set;"
            ' did you mean "10.0.0.0/8"?',
        )

    def test_one_line_for_a_start(self) -> None:
        error = self.assertRaises(ConfigError, from_toml, "[limits]\nbody = -1\nhead = true\ndiscard = 1.5", "x.toml")
        said = "x.toml:2: limits.body: must be a whole number from 0 to 1125899906842624, not -1"
        self.assertEqual(error.line(), f"{said} (and 2 more; --check lists all)")
        alone = self.assertRaises(ConfigError, from_toml, "[limits]\nhead = true", "x.toml")
        self.assertEqual(alone.line(), "x.toml:2: limits.head: must be a whole number from 64 to 16777216, not true")

    def test_which_entry(self) -> None:
        line = self.refused('[proxy]\nhttp = [\n  "tcp:80",\n  "tcp:65536",\n]')
        self.assertTrue(line.startswith("4: proxy.http[1]: must be an endpoint description"), line)
        self.assertTrue(line.endswith("'tcp:65536': the port must be from 0 to 65535"), line)

    def test_sections_of_the_wrong_kind(self) -> None:
        self.refuses(
            "proxy = 1\npools = []\nroutes = 5",
            "1: proxy: must be a table, not 1",
            "2: pools: must be tables, each [pools.NAME]",
            "3: routes: must be tables, each [[routes]]",
        )
        self.refuses("[pools]\ndefault = 1", "2: pools.default: must be a table, not 1")
        self.refuses("[proxy]\ncertificates = 1", "2: proxy.certificates: must be tables, each [[proxy.certificates]]")
        self.refuses("[[routes]]\nredirect = 5", "2: routes[0].redirect: must be a table, not 5")
        self.refuses("[routes]\npath = '/'", "1: routes: must be tables, each [[routes]]")

    def test_what_is_missing(self) -> None:
        self.refuses('[[proxy.certificates]]\nchain = "a"', "1: proxy.certificates[0].key: missing")
        self.refuses(
            '[[proxy.certificates]]\nchain = "a"\nkey = ""\nca = "b"',
            "3: proxy.certificates[0].key: must not be empty",
            "4: proxy.certificates[0].ca: unknown key",
        )
        self.refuses("[[routes]]\nredirect = { status = 301 }", "2: routes[0].redirect.location: missing")

    def test_pool_names(self) -> None:
        line = self.refused('[pools."a b"]')
        self.assertIn("1: pools.'a b': a pool's name must be 1 to 64 letters, digits, dots, dashes or underscores", line)

    def test_names_that_need_quotes(self) -> None:
        self.refuses('[limits]\n"a\\nb" = 1', "2: limits.'a\\nb': unknown key")


def _toml(value: object) -> str:
    """A value as TOML writes it, or nearly: what is not TOML is refused as such."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'
    return str(value)


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


class HostileTests(SynchronousTestCase):
    """Whatever is in the file: a configuration or a ConfigError with one line for each mistake, nothing else."""

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(
        st.sampled_from(["proxy", "acceptor", "limits", "timeouts", "pools", "pools.default", "routes"]),
        st.sampled_from(
            ["http", "admin", "handoff", "body", "head", "slots", "allow", "host", "path", "redirect", "respond", "x"]
        ),
        VALUES,
    )
    def test_any_value_anywhere(self, section: str, key: str, value: object) -> None:
        header = f"[[{section}]]" if section == "routes" else f"[{section}]"
        source = f"{header}\n{key} = {_toml(value)}\n"
        try:
            read = from_toml(source, "x.toml")
        except ConfigError as error:
            self.assertEqual(len(str(error).splitlines()), len(error.mistakes))
            self.assertNotIn("\n", error.line())
            for mistake in error.mistakes:
                self.assertIn(mistake.line, (1, 2))
        else:
            self.assertIsInstance(read, Config)

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.text())
    def test_any_text(self, source: str) -> None:
        try:
            from_toml(source, "x.toml")
        except ConfigError as error:
            self.assertTrue(error.mistakes)
