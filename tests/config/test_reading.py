"""Tests for ``xproxy.config.reading``: what is read, what is refused, and how a refusal reads."""

from __future__ import annotations

import os
import sys

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from xproxy.config import CertificateConfig, Config, PoolConfig, RedirectConfig, RespondConfig, RouteConfig, networks
from xproxy.config.reading import MAX_FILE_BYTES, ConfigError, from_toml, load


class Refused(TestCase):
    """What every test of refusals needs."""

    def lines(self, source: str) -> list[str]:
        """What is wrong with ``source``, one line for each mistake."""
        error = self.assertRaises(ConfigError, from_toml, source, "x.toml")
        return str(error).split("\n")

    def refuses(self, source: str, *expected: str) -> None:
        self.assertEqual(self.lines(source), [f"x.toml: {line}" for line in expected])


class ReadingTests(TestCase):
    """What is understood."""

    def test_an_empty_file_is_the_defaults(self) -> None:
        read = from_toml("", "x.toml")
        self.assertEqual(read, Config(file=os.path.abspath("x.toml")))

    def test_slots_over_tls(self) -> None:
        read = from_toml(
            """
            [acceptor]
            client_ca = "/ca.pem"
            [[acceptor.certificates]]
            chain = "/a.pem"
            key = "/a.key"
            [pools.default]
            slots_tls = ["tcp:9443"]
            service_names = ["Web.Example.com.", "spiffe://example.com/Web"]
            """,
            "x.toml",
        )
        self.assertEqual(read.acceptor.certificates, (CertificateConfig("/a.pem", "/a.key"),))
        self.assertEqual(read.acceptor.client_ca, "/ca.pem")
        pool = PoolConfig("default", slots_tls=("tcp:9443",), service_names=("web.example.com", "spiffe://example.com/Web"))
        self.assertEqual(read.pools["default"], pool)

    def test_every_section(self) -> None:
        read = from_toml(
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
            """,
            "x.toml",
        )
        self.assertEqual(read.proxy.http, ("tcp:80", "unix:/run/http.sock"))
        self.assertEqual((read.proxy.admin, read.proxy.forwarded, read.proxy.drain_timeout), ("none", "both", 0.0))
        self.assertEqual(read.proxy.trusted_proxies, networks("10.0.0.0/8", "::1"))
        self.assertEqual(read.acceptor.handoff, "/run/handoff.sock")
        self.assertEqual((read.limits.body, read.timeouts.head), (10, 2.5))
        self.assertEqual(read.pools["default"], PoolConfig("default", slots=("tcp:9999:interface=127.0.0.1",), queue_limit=7))
        self.assertEqual(
            read.pools["other"],
            PoolConfig("other", slots=("tcp:1",), allow=networks("10.0.0.0/8"), allow_given=True, token="secret"),
        )

    def test_routes(self) -> None:
        read = from_toml(
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
            """,
            "x.toml",
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

    def test_the_only_pool_takes_everything(self) -> None:
        self.assertEqual(from_toml('[pools.web]\nslots = ["tcp:1"]', "x.toml").routes, (RouteConfig(pool="web"),))

    def test_paths_become_absolute(self) -> None:
        read = from_toml('[proxy]\naccess_log = "log/access"\n[acceptor]\nhandoff = "h.sock"', "x.toml")
        self.assertEqual(
            (read.proxy.access_log, read.acceptor.handoff), (os.path.abspath("log/access"), os.path.abspath("h.sock"))
        )

    def test_a_descriptor_of_systemd_need_not_be_there(self) -> None:
        read = from_toml('[proxy]\nhttp = ["systemd:domain=INET:name=http", "systemd:domain=INET:index=0"]', "x.toml")
        self.assertEqual(len(read.proxy.http), 2)

    def test_from_disk(self) -> None:
        name = self.mktemp()
        with open(name, "w", encoding="utf-8") as file:
            file.write("[limits]\nbody = 1\n")
        self.assertEqual((load(name).limits.body, load(name).file), (1, os.path.abspath(name)))


class FileTests(Refused):
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
        self.assertEqual(self.unreadable(name), f"{name}: is not UTF-8: byte 11 cannot be read")

    def test_too_large(self) -> None:
        name = self.write(b"#" * (MAX_FILE_BYTES + 1))
        self.assertEqual(self.unreadable(name), f"{name}: is larger than {MAX_FILE_BYTES} bytes")

    def test_not_toml(self) -> None:
        (line,) = self.lines("[proxy\n")
        self.assertTrue(line.startswith("x.toml: not TOML: "), line)
        self.assertIn("line 1", line)

    def test_nested_too_deeply(self) -> None:
        depth = sys.getrecursionlimit() * 2
        (line,) = self.lines("x = " + "[" * depth + "]" * depth)
        self.assertTrue(line.startswith("x.toml: "), line)

    def test_a_key_twice(self) -> None:
        (line,) = self.lines("[limits]\nbody = 1\nbody = 2\n")
        self.assertTrue(line.startswith("x.toml: not TOML: "), line)


class UnknownKeyTests(Refused):
    """Keys that nobody heeds."""

    def test_near(self) -> None:
        self.refuses("[pools.default]\nqueue_limt = 1", 'pools.default.queue_limt: unknown key; did you mean "queue_limit"?')

    def test_in_the_wrong_section(self) -> None:
        self.refuses("[proxy]\nqueue_timeout = 1", "proxy.queue_timeout: unknown key; it belongs in [pools.NAME]")

    def test_in_no_section(self) -> None:
        self.refuses("[limits]\nzzz = 1", "limits.zzz: unknown key")

    def test_sections(self) -> None:
        self.refuses("[pool.default]\n[x]", 'pool: unknown section; did you mean "pools"?', "x: unknown section")

    def test_what_is_not_there_yet(self) -> None:
        (line,) = self.lines("[proxy]\nworkers = 1")
        self.assertIn("unknown key", line)

    def test_names_that_need_quotes(self) -> None:
        (line,) = self.lines('[limits]\n"a\\nb" = 1')
        self.assertEqual(line, "x.toml: limits.'a\\nb': unknown key")


class ValueTests(Refused):
    """Values of the wrong kind or out of range."""

    def test_all_mistakes_are_told(self) -> None:
        self.refuses(
            '[proxy]\nadmin = 5\n[limits]\nbody = -1\n[pools.default]\nallow = ["10.0.0.1/8"]',
            "proxy.admin: must be a text in quotes, not 5",
            "limits.body: must be from 0 to 1125899906842624, not -1",
            "pools.default.allow: '10.0.0.1/8' is not a network in CIDR notation: 10.0.0.1/8 has host bits set",
        )

    def test_one_line_for_a_start(self) -> None:
        error = self.assertRaises(ConfigError, from_toml, "[limits]\nbody = -1\nhead = true\ndiscard = 1.5", "x.toml")
        self.assertEqual(
            error.line(), "x.toml: limits.body: must be from 0 to 1125899906842624, not -1 (and 2 more; --check lists all)"
        )
        alone = self.assertRaises(ConfigError, from_toml, "[limits]\nhead = true", "x.toml")
        self.assertEqual(alone.line(), "x.toml: limits.head: must be a whole number, not true")

    def test_seconds(self) -> None:
        for value in ("nan", "inf", "-1", "0", "1e9"):
            (line,) = self.lines(f"[timeouts]\nhead = {value}")
            self.assertIn("timeouts.head: must be from 0.001 to 2.6784e+06 seconds", line)
        self.refuses('[timeouts]\nhead = "5"', "timeouts.head: must be a number of seconds, not '5'")
        self.refuses("[timeouts]\nhead = true", "timeouts.head: must be a number of seconds, not true")

    def test_endpoints(self) -> None:
        cases = {
            "tcp:x": "invalid literal for int() with base 10: 'x'",
            "tcp": "missing 1 required positional argument: 'port'",
            "nope:1": "Unknown endpoint type: 'nope'",
            "systemd:domain=INET": "Specify exactly one of descriptor index or name",
            "ssl:443:privateKey=/nowhere/key.pem": "No such file or directory",
        }
        for description, reason in cases.items():
            (line,) = self.lines(f'[proxy]\nhttp = ["{description}"]')
            self.assertTrue(
                line.startswith(f"x.toml: proxy.http: '{description}' is not a server endpoint description: "), line
            )
            self.assertIn(reason, line)
        self.refuses("[proxy]\nhttp = []", "proxy.http: must not be empty")
        self.refuses('[proxy]\nhttp = "tcp:80"', "proxy.http: must be a list in square brackets, not 'tcp:80'")
        self.refuses('[proxy]\nadmin = ""', "proxy.admin: an endpoint description must not be empty")

    def test_which_entry(self) -> None:
        self.refuses(
            '[proxy]\nhttp = ["tcp:80", "tcp:65536"]', "proxy.http: entry 2: 'tcp:65536' has a port that is not from 0 to 65535"
        )

    def test_a_port_past_the_end_behind_a_wrapper(self) -> None:
        (line,) = self.lines('[proxy]\nhttp = ["haproxy:tcp:port=70000:interface=127.0.0.1"]')
        self.assertIn("has a port that is not from 0 to 65535", line)

    def test_words(self) -> None:
        self.refuses(
            '[pools.default]\nregistration = "mx"',
            'pools.default.registration: must be "auto", "raw", "mxproxy" or "proxy", not \'mx\'',
        )
        (line,) = self.lines("[pools.default]\nregistration = []")
        self.assertTrue(line.endswith('must be "auto", "raw", "mxproxy" or "proxy", not []'), line)

    def test_a_socket_path_too_long(self) -> None:
        name = "/" + "x" * 107
        (line,) = self.lines(f'[acceptor]\nhandoff = "{name}"')
        self.assertTrue(line.endswith("is 108 bytes long, a socket's path has at most 107"), line)

    def test_texts(self) -> None:
        self.refuses('[pools.default]\ntoken = "a\\u0000"', "pools.default.token: must not contain control characters")
        (line,) = self.lines(f'[proxy]\naccess_log = "{"x" * 5000}"')
        self.assertIn("is longer than 4096 bytes", line)
        self.refuses('[proxy]\nname = "a b"', "proxy.name: must be a word without spaces or separators, not 'a b'")
        self.refuses('[proxy]\nerror_pages = "/nowhere"', "proxy.error_pages: '/nowhere' is not a directory")

    def test_sections_of_the_wrong_kind(self) -> None:
        self.refuses(
            "proxy = 1\npools = []\nroutes = 5",
            "proxy: must be a table, not 1",
            "pools: must be tables, each [pools.NAME]",
            "routes: must be tables, each [[routes]]",
        )
        self.refuses("[pools]\ndefault = 1", "pools.default: must be a table, not 1")

    def test_pool_names(self) -> None:
        (line,) = self.lines('[pools."a b"]')
        self.assertIn("pools.'a b': a pool's name must be 1 to 64 letters, digits, dots, dashes or underscores", line)


class RouteTests(Refused):
    """Routes that lead nowhere."""

    def test_an_unknown_pool(self) -> None:
        self.refuses('[[routes]]\npool = "defautl"', "routes[0].pool: there is no pool 'defautl'; did you mean \"default\"?")

    def test_no_route_with_several_pools(self) -> None:
        self.refuses(
            "[pools.a]\n[pools.b]", 'routes: missing: with several pools and none called "default", say what goes where'
        )

    def test_the_same_twice(self) -> None:
        self.refuses(
            '[[routes]]\nmethods = ["GET", "PUT"]\n[[routes]]\nmethods = ["PUT"]\n[[routes]]',
            "routes[1]: takes the same host, path and method as routes[0]",
        )

    def test_answers_without_a_service(self) -> None:
        self.refuses(
            '[[routes]]\nredirect = { location = "/x" }\nrespond = {}',
            "routes[0]: can redirect or respond, not both",
        )
        self.refuses('[[routes]]\nrespond = {}\nbuffering = "off"', "routes[0].buffering: does nothing in a route with respond")
        self.refuses(
            "[[routes]]\nredirect = { status = 304 }",
            "routes[0].redirect.status: must be one of 301, 302, 303, 307, 308",
            "routes[0].redirect.location: missing",
        )
        self.refuses(
            '[[routes]]\nrespond = { status = 204, body = "x" }', "routes[0].respond.body: a response with status 204 has none"
        )
        self.refuses("[[routes]]\nredirect = 5", "routes[0].redirect: must be a table, not 5")
        self.refuses(
            '[[routes]]\nredirect = { location = "/{path}" }',
            "routes[0].redirect.location: knows {host} and {target}, not {path}",
        )
        self.refuses(
            '[[routes]]\nrespond = { content_type = "a\\nb" }',
            "routes[0].respond.content_type: must not contain control characters",
        )

    def test_paths_and_hosts(self) -> None:
        self.refuses('[[routes]]\npath = "x"', 'routes[0].path: must begin with "/" and have no "?", "#" or space, not \'x\'')
        for host in ("a b", "example.com:80", "*.", "a..b", "**", ""):
            (line,) = self.lines(f'[[routes]]\nhost = "{host}"')
            self.assertIn("routes[0].host: must be", line)
        self.refuses(
            '[[routes]]\npath = "/apix"\nstrip_prefix = "/api"', "routes[0].strip_prefix: '/apix' does not begin with it"
        )
        self.refuses(
            '[[routes]]\nmethods = ["GET "]', "routes[0].methods: must be a word without spaces or separators, not 'GET '"
        )


class HostileTests(TestCase):
    """Whatever is in the file: a configuration or a ConfigError with one line for each mistake, nothing else."""

    VALUES = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=6,
    )

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(
        st.sampled_from(["proxy", "acceptor", "limits", "timeouts", "pools", "pools.default", "routes"]),
        st.sampled_from(["http", "admin", "handoff", "body", "head", "slots", "allow", "host", "redirect", "respond", "x"]),
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
        else:
            self.assertIsInstance(read, Config)

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.text())
    def test_any_text(self, source: str) -> None:
        try:
            from_toml(source, "x.toml")
        except ConfigError as error:
            self.assertTrue(error.mistakes)


class TLSTests(Refused):
    """What HTTPS, its certificates and a balancer in front of us need."""

    def test_it_is_read(self) -> None:
        read = from_toml(
            '[proxy]\nhttps = ["tcp:8443"]\nhttp2 = false\nclient_ca = "/ca.pem"\nclient_certificates = "optional"\n'
            'client_subject_header = "X-Subject"\nproxy_protocol = true\ntrusted_proxies = ["10.0.0.0/8"]\n'
            '[[proxy.certificates]]\nchain = "/a.pem"\nkey = "/a.key"\n'
            '[[proxy.certificates]]\nchain = "/b.pem"\nkey = "/b.key"\n'
            '[[routes]]\nredirect_https = 8443\nhsts = "max-age=1"\n[[routes]]\npath = "/a"\nredirect_https = true\n'
            "[timeouts]\nhandshake = 1.5\n",
            "x.toml",
        )
        proxy = read.proxy
        self.assertEqual(proxy.https, ("tcp:8443",))
        self.assertEqual(proxy.certificates, (CertificateConfig("/a.pem", "/a.key"), CertificateConfig("/b.pem", "/b.key")))
        self.assertEqual((proxy.http2, proxy.proxy_protocol, proxy.client_ca), (False, True, "/ca.pem"))
        self.assertEqual((proxy.client_certificates, proxy.client_subject_header), ("optional", "X-Subject"))
        self.assertEqual([(route.redirect_https, route.hsts) for route in read.routes], [(8443, "max-age=1"), (443, "")])
        self.assertEqual(read.timeouts.handshake, 1.5)

    def test_mistakes(self) -> None:
        self.refuses("[proxy]\ncertificates = 1", "proxy.certificates: must be tables, each [[proxy.certificates]]")
        self.refuses('[[proxy.certificates]]\nchain = "a"', "proxy.certificates[0].key: missing")
        self.refuses(
            '[[proxy.certificates]]\nchain = "a"\nkey = ""\nca = "b"',
            "proxy.certificates[0].key: must not be empty",
            "proxy.certificates[0].ca: unknown key",
        )
        self.refuses(
            "[proxy]\nproxy_protocol = true",
            "proxy.proxy_protocol: needs trusted_proxies: nobody else's PROXY headers are believed",
        )
        self.refuses("[proxy]\nhttp2 = 1", "proxy.http2: must be true or false, not 1")
        self.refuses("[[routes]]\nredirect_https = 0", "routes[0].redirect_https: must be from 1 to 65535, not 0")

    def test_an_endpoint_with_its_own_tls(self) -> None:
        (line,) = self.lines('[proxy]\nhttps = ["ssl:8443"]')
        self.assertIn("brings TLS of its own", line)


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


class SlotsOverTLSTests(Refused):
    """``slots_tls`` and what belongs to it."""

    own = '[acceptor]\nclient_ca = "/ca.pem"\n[[acceptor.certificates]]\nchain = "/a.pem"\nkey = "/a.key"\n'

    def test_what_is_missing(self) -> None:
        self.refuses(
            '[pools.default]\nslots_tls = ["tcp:1"]',
            "pools.default.slots_tls: needs a certificate to show to services: [[acceptor.certificates]] with chain and key",
            "pools.default.slots_tls: needs the CAs of the services' certificates: client_ca in [acceptor]",
            "pools.default.slots_tls: needs service_names: the names in the certificates that may join this pool",
        )
        self.refuses(
            '[[acceptor.certificates]]\nchain = "/a.pem"\n[pools.default]\nservice_names = ["a"]',
            "acceptor.certificates[0].key: missing",
            "pools.default.service_names: does nothing without slots_tls",
        )

    def test_an_endpoint_with_its_own_tls(self) -> None:
        (line,) = self.lines(self.own + '[pools.a]\nslots_tls = ["ssl:1:privateKey=x"]\n[[routes]]\npool = "a"')
        self.assertIn("brings TLS of its own", line)

    def test_names(self) -> None:
        start = self.own + '[pools.a]\nslots_tls = ["tcp:1"]\nservice_names = ["%s"]\n[[routes]]\npool = "a"'
        for name in ("a", "a-b.c_d.example", "xn--bcher-kva.example", "spiffe://example.com/a/b", "urn+x://a", "1.a"):
            self.assertEqual(from_toml(start % name, "x.toml").pools["a"].service_names, (name,))
        for name in ("*.example.com", "", "a b", "192.0.2.1", "12", "[::1]", "a..b", "-a", "a-", "bücher.example", "a" * 64):
            (line,) = self.lines(start % name)[:1]
            self.assertIn("pools.a.service_names: must be a host name without wildcard", line)
        for name in ("spiffe://*/a", "spiffe://a/b?c", "spiffe://a/b#c", "://a", "spiffe://a b"):
            (line,) = self.lines(start % name)[:1]
            self.assertIn("pools.a.service_names: must be a URI without wildcard", line)

    def test_the_default_pool_has_plain_slots_only_where_it_is_said(self) -> None:
        more = 'slots_tls = ["tcp:1"]\nservice_names = ["a"]\n'
        self.assertEqual(from_toml(self.own + "[pools.default]\n" + more, "x.toml").pools["default"].slots, ())
        said = from_toml(self.own + '[pools.default]\nslots = ["tcp:2"]\n' + more, "x.toml").pools["default"]
        self.assertEqual((said.slots, said.slots_tls), (("tcp:2",), ("tcp:1",)))
        self.assertEqual(len(from_toml("[pools.default]\nslots_tls = []", "x.toml").pools["default"].slots), 1)
