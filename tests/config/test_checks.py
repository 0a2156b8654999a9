"""Tests for ``xproxy.config.checks``: values of each kind, what is said of a bad one, and what was probably meant."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.endpoints import clientFromString
from twisted.trial.unittest import SynchronousTestCase

from tests.config.refusing import RefusingTestCase
from xproxy.config import Unfit, checks
from xproxy.config.checks import Place, place_of
from xproxy.http1.paths import equivalent_path, resolved_path


class Checking(SynchronousTestCase):
    """One check at a time."""

    def refused(self, check: checks.Check[Any], value: object) -> str:
        """What is said of ``value``."""
        return str(self.assertRaises(Unfit, check, value))


class PlainTests(Checking):
    """Numbers, words, texts."""

    def test_numbers(self) -> None:
        check = checks.whole_number(1, 20000)
        self.assertEqual((check(1), check(20000)), (1, 20000))
        for value, hint in (
            (0, ""),
            (20001, ""),
            (True, ""),
            (1.5, ""),
            ("x", ""),
            ({}, ""),
            ("60", "did you mean 60?"),
            ("8k", "did you mean 8192?"),
            ("8 KiB", "did you mean 8192?"),
            (8192.0, "did you mean 8192?"),
            ("10M", ""),
        ):
            said = self.refused(check, value)
            self.assertTrue(said.startswith("must be a whole number from 1 to 20000, not "), said)
            self.assertTrue(said.endswith(hint), said)
            self.assertEqual("did you mean" in said, bool(hint), said)

    def test_seconds(self) -> None:
        check = checks.seconds()
        self.assertEqual((check(5), check(0.001)), (5.0, 0.001))
        for value in (float("nan"), float("inf"), -1, 0, 1e9, True, None):
            self.assertIn("must be a number of seconds from 0.001 to 2678400, not ", self.refused(check, value))
        for text, meant in (("30s", 30.0), ("1.5m", 90.0), ("500ms", 0.5), ("1h", 3600.0), ("2 days", 172800.0), ("7", 7.0)):
            self.assertTrue(self.refused(check, text).endswith(f"; did you mean {meant}?"), text)

    def test_words(self) -> None:
        check = checks.one_of("auto", "raw", "mxproxy", "proxy")
        self.assertEqual(check("raw"), "raw")
        self.assertEqual(self.refused(check, 5), 'must be "auto", "raw", "mxproxy" or "proxy", not 5')
        for value, meant in (("Auto", "auto"), ("mx-proxy", "mxproxy"), ("prxy", "proxy")):
            self.assertTrue(self.refused(check, value).endswith(f'; did you mean "{meant}"?'), value)
        self.assertNotIn("did you mean", self.refused(check, "zzz"))
        self.assertIn("not []", self.refused(check, []))

    def test_one_of_a_few_numbers(self) -> None:
        self.assertEqual(self.refused(checks.one_number_of(301, 302), 304), "must be 301 or 302, not 304")
        self.refused(checks.one_number_of(1, 2), True)

    def test_truths(self) -> None:
        for value, meant in (("yes", "true"), ("off", "false"), (1, "true"), (0, "false"), ("true", "true")):
            self.assertEqual(
                self.refused(checks.true_or_false, value), f"must be true or false, not {value!r}; did you mean {meant}?"
            )
        self.assertEqual((checks.on_off("on"), checks.on_off("off")), (True, False))
        self.assertTrue(self.refused(checks.on_off, True).endswith('did you mean "on"?'))
        self.assertEqual((checks.https_port(True), checks.https_port(False), checks.https_port(8443)), (443, 0, 8443))
        for value in (0, 65536, "443", -1):
            self.assertIn("must be true, false, or a port from 1 to 65535", self.refused(checks.https_port, value))

    def test_texts(self) -> None:
        self.assertEqual(self.refused(checks.text, "a\0"), "must not contain control characters")
        self.assertEqual(self.refused(checks.text, "x" * 5000), "is longer than 4096 bytes")
        self.assertEqual(self.refused(checks.text, 80), 'must be a text in quotes, not 80; a text needs quotes: "80"')
        self.assertIn("must be ASCII text", self.refused(checks.field_value, " a"))
        self.assertEqual(checks.content("grüß\n"), "grüß\n".encode())
        self.assertIn("longer", self.refused(checks.content, "x" * (1024 * 1024 + 1)))

    def test_lists(self) -> None:
        check = checks.list_of(checks.text, least=1)
        self.assertEqual(check(["a"]), ("a",))
        self.assertEqual(self.refused(check, []), "must not be empty")
        self.assertEqual(self.refused(check, "a"), "must be a list in square brackets, not 'a'; write [ and ] around it")
        mistake = self.assertRaises(Unfit, check, ["a", 5])
        self.assertEqual(mistake.inside, 1)

    def test_every_check_of_a_key_can_write_what_it_reads(self) -> None:
        for check, value in (
            (checks.on_off, "off"),
            (checks.https_port, True),
            (checks.https_port, 8443),
            (checks.content, "ä"),
            (checks.list_of(checks.cidr), ["10.0.0.0/8", "::1/128"]),
            (checks.seconds(), 5.0),
        ):
            self.assertEqual(check.to_toml(check(value)), value)


MEANT = {
    "80": "tcp:80",
    "8080": "tcp:8080",
    "80/tcp": "tcp:80",
    ":80": "tcp:80",
    "*:80": "tcp:80",
    "0.0.0.0:80": "tcp:80",
    "127.0.0.1:8080": "tcp:8080:interface=127.0.0.1",
    "localhost:80": "tcp:80:interface=127.0.0.1",
    "10.1.2.3:80": "tcp:80:interface=10.1.2.3",
    "example.com:80": "tcp:80",
    "[::1]:80": r"tcp6:80:interface=\:\:1",
    "::1:80": r"tcp6:80:interface=\:\:1",
    "[::]:80": "tcp6:80",
    "tcp:127.0.0.1:80": "tcp:80:interface=127.0.0.1",
    "tcp:localhost:80": "tcp:80:interface=127.0.0.1",
    "tcp://0.0.0.0:80": "tcp:80",
    "tcp://127.0.0.1:80": "tcp:80:interface=127.0.0.1",
    "tcp4:80": "tcp:80",
    "tpc:8080": "tcp:8080",
    "http://example.com": "tcp:80",
    "http://127.0.0.1:8080/": "tcp:8080:interface=127.0.0.1",
    "http://0.0.0.0:81/": "tcp:81",
    "https://example.com/path": "tcp:443",
    "http://[::1]:80": r"tcp6:80:interface=\:\:1",
    "/run/x.sock": "unix:/run/x.sock",
    "./x.sock": "unix:./x.sock",
    "unix//run/x.sock": "unix:/run/x.sock",
    "unix@/run/x.sock": "unix:/run/x.sock",
}
"""What users of other programs write, and what is meant by it."""


class EndpointTests(Checking):
    """Endpoint descriptions."""

    def test_what_was_meant(self) -> None:
        for written, meant in MEANT.items():
            self.assertEqual(checks.endpoint(meant), meant)
            self.assertEqual(
                self.refused(checks.endpoint, written),
                f"must be an endpoint description such as tcp:8080:interface=127.0.0.1, not '{written}';"
                f" did you mean '{meant}'?",
            )

    def test_what_was_meant_by_a_client_s(self) -> None:
        for written, meant in (
            ("8000", "tcp:127.0.0.1:8000"),
            (":8000", "tcp:127.0.0.1:8000"),
            ("tcp:8000", "tcp:127.0.0.1:8000"),
            ("localhost:8000", "tcp:127.0.0.1:8000"),
            ("10.0.0.1:8000", "tcp:10.0.0.1:8000"),
            ("example.com:8000", "tcp:example.com:8000"),
            ("http://10.0.0.1:8000/", "tcp:10.0.0.1:8000"),
            ("/run/x.sock", "unix:/run/x.sock"),
        ):
            self.assertEqual(checks.client_meant(written), f"did you mean '{meant}'?")
            clientFromString(None, meant)
        for written in ("", "x", "[::1]:80", "tcp:a:b", "99999"):
            self.assertEqual(checks.client_meant(written), "")

    def test_numbers(self) -> None:
        self.assertTrue(self.refused(checks.endpoint, 80).endswith("not 80; did you mean 'tcp:80'?"))
        self.assertNotIn("did you mean", self.refused(checks.endpoint, True))
        self.assertNotIn("did you mean", self.refused(checks.endpoint, 70000))

    def test_what_is_no_description(self) -> None:
        for written, reason in {
            "": "must not be empty",
            "tcp": "it lacks 'port'",
            "tcp:x": "'x' is not a number",
            "nope:x": "Unknown endpoint type: 'nope'",
            "tcp:80:interfac=1": "it knows no 'interfac'",
            "tcp:65536": "the port must be from 0 to 65535",
            "tcp:-1": "the port must be from 0 to 65535",
            "haproxy:tcp:port=70000:interface=127.0.0.1": "the port must be from 0 to 65535",
            "0.0.0.0": "the port is missing",
            "tcp:$PORT": "variables are not replaced",
            "slots:tcp:127.0.0.1:9999": "slots: is what a service listens on",
            "ssl:443:privateKey=/nowhere/key.pem": "No such file or directory",
            "unix:/" + "x" * 107: "108 bytes, at most 107",
        }.items():
            said = self.refused(checks.endpoint, written)
            self.assertIn(reason, said)
            self.assertNotIn("did you mean", said)

    def test_what_is_one(self) -> None:
        for written in ("tcp:0", "tcp6:80:interface=\\:\\:1", "unix:/run/x:mode=660", "haproxy:tcp:80", "tcp:80:127.0.0.1"):
            self.assertEqual(checks.endpoint(written), written)
        self.assertEqual(checks.endpoint_or_none("none"), "none")
        self.refused(checks.endpoint, "none")

    def test_systemd(self) -> None:
        """Its sockets need not be there; what is wrong whatever is there is refused."""
        for written in ("domain=INET:name=http", "domain=INET6:index=0", "domain=UNIX:name=a.b"):
            for description in (f"systemd:{written}", f"haproxy:systemd:{written}"):
                self.assertEqual(checks.endpoint(description), description)
        for written, reason in (
            ("systemd:", "needs domain="),
            ("systemd:domain=INET", "one of name= and index="),
            ("systemd:domain=INET:name=a:index=0", "one of name= and index="),
            ("systemd:name=a", "no domain ''"),
            ("systemd:domain=FOO:name=a", "no domain 'FOO'"),
            ("systemd:domain=INET:index=x", "index must be a number"),
            ("systemd:domain=INET:name=a:mode=1", "one of name= and index="),
        ):
            self.assertIn(reason, self.refused(checks.endpoint, written))

    def test_tls_of_its_own(self) -> None:
        self.assertIn("did you mean 'tcp:443'?", self.refused(checks.plain_endpoint, "ssl:443:privateKey=x"))
        for written in ("tls:1:privateKey=x", "haproxy:ssl:443", "ssl:443"):
            self.assertIn("brings TLS of its own", self.refused(checks.plain_endpoint, written))
        self.assertIn("did you mean 'tcp:80'", self.refused(checks.plain_endpoint, "80"))

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.text(alphabet="tcpunixssl6:/[]=\\.,0123456789*@$hHaz ", max_size=24))
    def test_any_text(self, written: str) -> None:
        """It is an endpoint or Unfit, and what is suggested is one."""
        for check in (checks.endpoint, checks.plain_endpoint, checks.endpoint_or_none):
            try:
                check(written)
            except Unfit as mistake:
                meant = re.search(r"did you mean '(.*)'\?", str(mistake))
                if meant is not None:
                    self.assertEqual(checks.endpoint(meant[1]), meant[1])

    def test_places(self) -> None:
        for description, place in {
            "tcp:80": Place("tcp", "", 80),
            "tcp:80:interface=0.0.0.0": Place("tcp", "", 80),
            "tcp:080:127.0.0.1": Place("tcp", "127.0.0.1", 80),
            "tcp:80:interface=localhost": Place("tcp", "127.0.0.1", 80),
            "tcp:interface=\\:\\:1:port=80": Place("tcp6", "::1", 80),
            "tcp6:80": Place("tcp6", "", 80),
            "tcp6:80:interface=0\\:\\:1": Place("tcp6", "::1", 80),
            "haproxy:tcp:80": Place("tcp", "", 80),
            "ssl:80:interface=10.0.0.1": Place("tcp", "10.0.0.1", 80),
            "unix:/run/./x:mode=660": Place("unix", "/run/x"),
            "unix:address=/run/a\\:b": Place("unix", "/run/a:b"),
        }.items():
            self.assertEqual(place_of(description), place)
        for description in ("systemd:domain=INET:name=x", "fd:3", "tcp:x", "stdio:"):
            self.assertIsNone(place_of(description))


class NameTests(Checking):
    """Networks, hosts, paths, methods."""

    def test_networks(self) -> None:
        for written, hint in (
            ("10.0.0.1/8", 'did you mean "10.0.0.0/8"?'),
            ("localhost", 'this host is ["127.0.0.0/8", "::1/128"]'),
            ("*", 'everybody is ["0.0.0.0/0", "::/0"]'),
            ("10.0.0.0/33", ""),
        ):
            said = self.refused(checks.cidr, written)
            self.assertTrue(said.startswith(f"must be a network in CIDR notation, not '{written}': "), said)
            self.assertTrue(said.endswith(hint), said)

    def test_files(self) -> None:
        self.assertIn("~ is not replaced", self.refused(checks.path, "~/x"))
        self.assertIn("must not be empty", self.refused(checks.path, ""))
        self.assertIn("it has 108 bytes", self.refused(checks.socket_path, "/" + "x" * 107))
        self.assertIn('did you mean "/run/x"?', self.refused(checks.socket_path, "unix:/run/x:mode=600"))
        self.assertIn('did you mean "none"?', self.refused(checks.log_target, "off"))
        self.assertEqual((checks.log_target("-"), checks.log_target("none")), ("-", "none"))

    def test_methods(self) -> None:
        self.assertEqual(
            (checks.method("GET"), checks.method("PROPFIND"), checks.method("purge")), ("GET", "PROPFIND", "purge")
        )
        for written, hint in (("get", 'did you mean "GET"?'), ("GET ", 'did you mean "GET"?'), ("CONNECT", ""), ("TRACE", "")):
            said = self.refused(checks.method, written)
            self.assertTrue(said.endswith(hint), said)
        self.assertIn("405", self.refused(checks.method, "TRACE"))

    def test_hosts(self) -> None:
        for written, kept in (
            ("*", "*"),
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("*.example.com", "*.example.com"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8:0::1]", "[2001:db8::1]"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ):
            self.assertEqual(checks.host(written), kept)
        for written, hint in (
            ("www.example.com:80", 'did you mean "www.example.com"?'),
            ("bücher.example", 'clients send it as "xn--bcher-kva.example"'),
            ("2001:db8::1", 'did you mean "[2001:db8::1]"?'),
            ("[::::]", ""),
            ("[2001:db8::1]:80", ""),
            ("a b", ""),
            ("*.", ""),
            ("a..b", ""),
            ("**", ""),
            ("", ""),
        ):
            said = self.refused(checks.host, written)
            self.assertTrue(said.startswith("must be a host name without port"), said)
            self.assertTrue(said.endswith(hint), said)

    def test_names_of_services(self) -> None:
        for written in ("a", "a-b.c_d.example", "xn--bcher-kva.example", "spiffe://example.com/a/b", "urn+x://a", "1.a"):
            self.assertEqual(checks.service_name(written), written)
        for written in ("*.example.com", "", "a b", "192.0.2.1", "12", "[::1]", "a..b", "-a", "a-", "bücher.example", "a" * 64):
            self.assertIn("must be a host name without wildcard", self.refused(checks.service_name, written))
        for written in ("spiffe://*/a", "spiffe://a/b?c", "spiffe://a/b#c", "://a", "spiffe://a b"):
            self.assertIn("must be a URI without wildcard", self.refused(checks.service_name, written))

    def test_other_words(self) -> None:
        self.assertIn("must be a word without spaces or separators, not 'a b'", self.refused(checks.token, "a b"))
        self.assertIn('did you mean "inner:80"?', self.refused(checks.host_and_port, "http://inner:80/"))
        self.assertIn("not '{path}'", self.refused(checks.location, "/{path}"))
        self.assertIn("write {host} and {target}", self.refused(checks.location, "https://$host$request_uri"))
        self.assertIn("without spaces", self.refused(checks.location, "/a b"))


class PathTests(Checking):
    """The paths of routes are those that requests are compared by."""

    def test_the_form_that_is_compared(self) -> None:
        for written, kept in (
            ("/", "/"),
            ("/api/", "/api/"),
            ("/%61pi", "/api"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/café", "/caf%C3%A9"),
            ("/%7Euser", "/~user"),
            ("/a%20b", "/a%20b"),
            ("/ab=c,d@e:f!$&'()+", "/ab=c,d@e:f!$&'()+"),
            ("//a//b", "/a/b"),
            ("/x%2fy", "/x/y"),
            ('/a[b]{c}|^`"<>', '/a[b]{c}|^`"<>'),
        ):
            self.assertEqual(checks.url_path(written), kept)

    def test_requests_meet_their_route(self) -> None:
        """However a route writes a path, a request that writes it in the same way has the same form."""
        for written in ("/%61pi", "/caf%c3%a9", "/x%2fy", "/%7euser", "/a//b", "/a%2e", "/A%2DB", "/100%25"):
            self.assertEqual(resolved_path(written.encode()), resolved_path(checks.url_path(written).encode()), written)

    def test_what_no_request_matches(self) -> None:
        for written, hint in (
            ("x", 'did you mean "/x"?'),
            ("http://example.com/x", 'did you mean "/x"?'),
            ("/a/../b", 'did you mean "/b"?'),
            ("/a/%2e%2e/b", 'did you mean "/b"?'),
            ("/./a", 'did you mean "/a"?'),
            ("/a/*", 'write "/a"'),
            ("/*", 'write "/"'),
            ("/a?b", "a query is not matched"),
            ("/a#b", "write %23"),
            ("/a b", "write %20"),
            ("/a\\b", "write %5C"),
            ("/a;b", "parameters are not matched"),
            ("/100%", "a percent sign itself is %25"),
            ("/%zz", "a percent sign itself is %25"),
            ("", ""),
        ):
            said = self.refused(checks.url_path, written)
            self.assertTrue(said.endswith(hint), said)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.text(alphabet="/a.%2eE61~é;*\\ ?", max_size=12))
    def test_any_text(self, rest: str) -> None:
        """What is kept is kept when it is read again, and is a path that requests can have."""
        try:
            kept = checks.url_path("/" + rest)
        except Unfit:
            return
        self.assertEqual(checks.url_path(kept), kept)
        self.assertEqual(equivalent_path(kept.encode("ascii")).decode(), kept)
        self.assertRegex(kept, r"^/[!-\"$->@-\[\]-~]*$")


class InFileTests(RefusingTestCase):
    """How it reads in a file."""

    def test_the_kinds_of_mistakes_that_beginners_make(self) -> None:
        self.refuses(
            '[proxy]\nhttp = ["80"]\nadmin = 9901\n[timeouts]\nbody = "30s"\n[pools.default]\nallow = "10.0.0.0/8"',
            "2: proxy.http[0]: must be an endpoint description such as tcp:8080:interface=127.0.0.1, not '80';"
            " did you mean 'tcp:80'?",
            "3: proxy.admin: must be an endpoint description such as tcp:8080:interface=127.0.0.1, not 9901;"
            " did you mean 'tcp:9901'?",
            "5: timeouts.body: must be a number of seconds from 0.001 to 2678400, not '30s'; did you mean 30.0?",
            "7: pools.default.allow: must be a list in square brackets, not '10.0.0.0/8'; write [ and ] around it",
        )
