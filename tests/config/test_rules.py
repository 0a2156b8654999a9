"""Tests for ``xproxy.config.rules`` and ``overrides``: what keys have to do with each other, for each role."""

from __future__ import annotations

from tests.config.refusing import RefusingTestCase
from xproxy.config import ConfigError, Overrides, PoolConfig, Role, RouteConfig, load, networks

DEFAULT_SLOTS = ("tcp:9999:interface=127.0.0.1",)

CERTIFIED = '[acceptor]\nclient_ca = "/ca.pem"\n[[acceptor.certificates]]\nchain = "/a.pem"\nkey = "/a.key"\n'


class PoolTests(RefusingTestCase):
    """Pools without traps."""

    def test_without_any_there_is_one(self) -> None:
        read = self.read("")
        self.assertEqual(dict(read.pools), {"default": PoolConfig("default", slots=DEFAULT_SLOTS)})
        self.assertEqual(read.routes, (RouteConfig(),))

    def test_the_only_pool_takes_everything(self) -> None:
        self.assertEqual(self.read('[pools.web]\nslots = ["tcp:1:interface=127.0.0.1"]').routes, (RouteConfig(pool="web"),))

    def test_pools_that_say_nothing_share_the_endpoints_of_default(self) -> None:
        routes = '[[routes]]\npool = "default"\n[[routes]]\npath = "/a"\npool = "acme"\n'
        for default, shared in (("", DEFAULT_SLOTS), ('slots = ["tcp:7:interface=127.0.0.1"]', ("tcp:7:interface=127.0.0.1",))):
            for sections in (f"[pools.default]\n{default}\n[pools.acme]\n", f"[pools.acme]\n[pools.default]\n{default}\n"):
                read = self.read(sections + routes)
                self.assertEqual({pool.slots for pool in read.pools.values()}, {shared})

    def test_more_than_there_is_room_for(self) -> None:
        """Each has a row in the table by which proxies see what waits at the others."""
        pools = "".join(f'[pools.p{number}]\n[[routes]]\npath = "/{number}"\npool = "p{number}"\n' for number in range(1024))
        self.refuses(pools, "1: pools: there are 1024 pools, and room for 1023")

    def test_default_comes_first(self) -> None:
        """A slot that names no pool joins the first of its endpoint."""
        read = self.read('[pools.acme]\n[pools.default]\n[[routes]]\n[[routes]]\npath = "/a"\npool = "acme"')
        self.assertEqual(list(read.pools), ["default", "acme"])

    def test_without_a_default_they_share_the_usual_endpoint(self) -> None:
        read = self.read('[pools.a]\n[pools.b]\n[[routes]]\npool = "a"\n[[routes]]\npath = "/b"\npool = "b"')
        self.assertEqual({pool.slots for pool in read.pools.values()}, {DEFAULT_SLOTS})

    def test_a_pool_with_slots_over_tls_only_has_no_others(self) -> None:
        more = 'slots_tls = ["tcp:1"]\nservice_names = ["a"]\n'
        self.assertEqual(self.read(CERTIFIED + "[pools.default]\n" + more).pools["default"].slots, ())
        said = self.read(CERTIFIED + '[pools.default]\nslots = ["tcp:2:interface=127.0.0.1"]\n' + more).pools["default"]
        self.assertEqual((said.slots, said.slots_tls), (("tcp:2:interface=127.0.0.1",), ("tcp:1",)))
        self.assertEqual(self.read("[pools.default]\nslots_tls = []").pools["default"].slots, DEFAULT_SLOTS)

    def test_no_endpoint_leads_to_it(self) -> None:
        said = "no endpoint leads to this pool, so no service can register in it: give it slots or slots_tls"
        self.refuses("[pools.default]\nslots = []", f"1: pools.default: {said}")
        source = (
            CERTIFIED + '[pools.default]\nslots_tls = ["tcp:1"]\nservice_names = ["a"]\n[pools.b]\n[[routes]]\npool = "b"\n'
        )
        source += '[[routes]]\npath = "/a"'
        self.refuses(source, f"9: pools.b: {said}")
        self.read("[pools.default]\nslots = []", Role.PROXY)
        self.assertEqual(len(self.lines("[pools.default]\nslots = []", Role.ACCEPTOR)), 1)

    def test_no_route_leads_to_it(self) -> None:
        source = "[pools.default]\n[pools.acme]\n[[routes]]\n"
        said = '2: pools.acme: no route leads to this pool: add [[routes]] with pool = "acme", or remove it'
        self.refuses(source, said)
        self.refuses("[pools.default]\n[[routes]]\nrespond = {}", said.replace("acme", "default").replace("2:", "1:"))
        self.assertEqual(len(self.lines(source, Role.PROXY)), 1)
        self.read(source, Role.ACCEPTOR)
        self.read(source + '[acceptor]\nhandoff = "/run/h.sock"')  # another proxy may have the route
        self.read("[[routes]]\nrespond = {}")  # a pool that nobody has written

    def test_no_route_at_all(self) -> None:
        self.refuses(
            "[pools.a]\n[pools.b]", 'routes: missing: with several pools and none called "default", say what goes where'
        )
        self.read("[pools.a]\n[pools.b]", Role.ACCEPTOR)

    def test_a_route_to_a_default_that_there_is_not(self) -> None:
        """The trap of the ACME how-to: a pool of its own for the challenge, and everything goes there, or nowhere."""
        self.refuses(
            '[pools.acme]\n[[routes]]\nredirect_https = true\n[[routes]]\npath = "/a"\npool = "acme"\n',
            '2: routes[0].pool: there is no pool "default": say which one this route leads to ("acme"), or add [pools.default]',
        )

    def test_an_unknown_pool(self) -> None:
        self.refuses('[[routes]]\npool = "defautl"', "2: routes[0].pool: there is no pool 'defautl'; did you mean \"default\"?")
        self.assertIn("another one needs a section [pools.zzz]", self.refused('[[routes]]\npool = "zzz"'))
        self.assertEqual(len(self.lines('[[routes]]\npool = "zzz"', Role.ACCEPTOR)), 1)


class SlotsTests(RefusingTestCase):
    """Where services register."""

    def test_what_tls_needs(self) -> None:
        self.refuses(
            '[pools.default]\nslots_tls = ["tcp:1"]',
            "2: pools.default.slots_tls: needs a certificate to show to services: [[acceptor.certificates]] with chain and key",
            "2: pools.default.slots_tls: needs the CAs of the services' certificates: client_ca in [acceptor]",
            "2: pools.default.slots_tls: needs service_names: the names in the certificates that may join this pool",
        )
        self.refuses('[pools.default]\nservice_names = ["a"]', "2: pools.default.service_names: does nothing without slots_tls")

    def test_tls_of_its_own(self) -> None:
        line = self.refused('[pools.default]\nslots = ["ssl:1:privateKey=x"]')
        self.assertIn("2: pools.default.slots[0]: must be an endpoint description without TLS", line)

    def test_exposed(self) -> None:
        for description in (
            "tcp:9999",
            "tcp:9999:interface=0.0.0.0",
            "tcp6:9999",
            "tcp:9999:interface=10.0.0.1",
            "haproxy:tcp:1",
        ):
            source = f'[pools.default]\nslots = ["unix:/run/s", "{description}"]\n'
            line = self.refused(source)
            self.assertTrue(
                line.startswith(
                    f"2: pools.default.slots[1]: {description} can be reached from other hosts: say who may register"
                ),
                line,
            )
            for more in ('allow = ["0.0.0.0/0"]', 'token = "x"'):
                self.read(source + more)
            self.read(source, Role.PROXY)
        for description in (
            "tcp:9999:interface=127.0.0.2",
            "tcp6:1:interface=\\\\:\\\\:1",
            "unix:/run/s",
            "tcp:1:interface=localhost",
        ):
            self.read(f'[pools.default]\nslots = ["{description}"]\n')

    def test_nobody_could_register(self) -> None:
        for registration in ("raw", "mxproxy"):
            self.refuses(
                f'[pools.default]\nregistration = "{registration}"\ntoken = "x"',
                f'3: pools.default.token: no slot that registers by "{registration}" brings one: registration must be "auto" or'
                ' "proxy"',
            )
        self.refuses(
            "[pools.default]\nallow = []",
            "2: pools.default.allow: is empty: nobody could register at 'tcp:9999:interface=127.0.0.1'",
        )
        self.read('[pools.default]\nslots = ["unix:/run/s"]\nallow = []')
        self.assertIn("is longer than 256 bytes", self.refused(f'[pools.default]\ntoken = "{"x" * 257}"'))

    def test_a_shared_endpoint_has_one_kind_of_registration(self) -> None:
        source = '[pools.default]\n[pools.b]\n%s[[routes]]\n[[routes]]\npath = "/b"\npool = "b"\n'
        self.refuses(
            source % 'registration = "proxy"\n',
            "3: pools.b.registration: 'tcp:9999:interface=127.0.0.1' is shared with the pool 'default', whose registration is"
            ' "auto"',
        )
        raw = source.replace("[pools.b]", 'registration = "raw"\n[pools.b]')
        line = self.refused(raw % 'registration = "raw"\n')
        self.assertIn('a slot that registers by "raw" names no pool: give it an endpoint of its own', line)

    def test_places_that_are_the_same(self) -> None:
        for source, line in (
            (
                '[proxy]\nadmin = "tcp:9999:interface=127.0.0.1"',
                "pools.default.slots[0]: 'tcp:9999:interface=127.0.0.1' is the same place as 'tcp:9999:interface=127.0.0.1'"
                " in proxy.admin",
            ),
            (
                '[proxy]\nhttp = [\n"tcp:80",\n"tcp:080:interface=127.0.0.1"]',
                "4: proxy.http[1]: 'tcp:080:interface=127.0.0.1' is the same place as 'tcp:80' in proxy.http[0]",
            ),
            (
                '[proxy]\nhttp = ["unix:/run/h.sock"]\n[acceptor]\nhandoff = "/run/h.sock"',
                "4: acceptor.handoff: 'unix:/run/h.sock' is the same place as 'unix:/run/h.sock' in proxy.http[0]",
            ),
        ):
            self.assertEqual(self.refused(source), line)
        same = '[pools.default]\nslots = ["tcp:1:interface=127.0.0.1"]\n[pools.b]\nslots = ["tcp:01:interface=127.0.0.1"]\n'
        same += '[[routes]]\n[[routes]]\npath = "/b"\npool = "b"'
        self.assertIn("4: pools.b.slots[0]: 'tcp:01:", self.refused(same))
        for fine in (
            '[proxy]\nhttp = ["tcp:0", "tcp:0"]',
            '[proxy]\nhttp = ["tcp:80", "tcp6:80"]',
            '[proxy]\nhttp = ["tcp:80:interface=127.0.0.1", "tcp:80:interface=127.0.0.2"]',
        ):
            self.read(fine)
        self.read('[proxy]\nadmin = "tcp:9999:interface=127.0.0.1"', Role.PROXY)


class ClientsTests(RefusingTestCase):
    """Where clients arrive."""

    def test_balancers(self) -> None:
        said = "needs trusted_proxies: nobody else's PROXY headers are believed"
        self.refuses("[proxy]\nproxy_protocol = true", f"2: proxy.proxy_protocol: {said}")
        self.refuses('[proxy]\nhttp = ["haproxy:tcp:80"]', f"2: proxy.http[0]: 'haproxy:tcp:80' {said}")
        self.read('[proxy]\nhttp = ["haproxy:tcp:80"]\ntrusted_proxies = ["10.0.0.1"]')
        self.read("[proxy]\nproxy_protocol = true", Role.ACCEPTOR)

    def test_https_needs_a_certificate(self) -> None:
        said = "needs a certificate: [[proxy.certificates]], or --self-signed to try it out"
        self.refuses('[proxy]\nhttps = ["tcp:443"]', f"2: proxy.https: {said}")
        self.read('[proxy]\nhttps = ["tcp:443"]', overrides=Overrides(proxy={"self_signed": True}))
        self.read('[proxy]\nhttps = ["tcp:443"]', Role.ACCEPTOR)

    def test_the_field_of_a_client_s_subject(self) -> None:
        for name in ("Host", "content-length", "X-Forwarded-For", "Transfer-Encoding"):
            line = self.refused(f'[proxy]\nclient_ca = "/ca"\nclient_subject_header = "{name}"')
            self.assertIn(f"3: proxy.client_subject_header: must be a field of its own, not '{name}'", line)


class RouteTests(RefusingTestCase):
    """Routes that lead nowhere."""

    def test_the_same_twice(self) -> None:
        self.refuses(
            '[[routes]]\nmethods = ["GET", "PUT"]\n[[routes]]\nmethods = ["PUT"]\n[[routes]]',
            "3: routes[1]: takes the same host, path and method as routes[0]",
        )
        self.refuses(
            '[[routes]]\npath = "/%61"\n[[routes]]\npath = "/a"\n',
            "3: routes[1]: takes the same host, path and method as routes[0]",
        )

    def test_answers_without_a_service(self) -> None:
        self.refuses(
            '[[routes]]\nredirect = { location = "/x" }\nrespond = {}', "1: routes[0]: can redirect or respond, not both"
        )
        self.refuses(
            '[[routes]]\nrespond = {}\nbuffering = "off"\npool = "default"',
            "3: routes[0].buffering: does nothing in a route with respond",
            "4: routes[0].pool: does nothing in a route with respond",
        )
        self.refuses(
            '[[routes]]\nrespond = { status = 204, body = "x" }',
            "2: routes[0].respond.body: a response with status 204 has none",
        )

    def test_the_prefix_that_is_taken_away(self) -> None:
        self.refuses(
            '[[routes]]\npath = "/apix"\nstrip_prefix = "/api"',
            "3: routes[0].strip_prefix: must be the beginning of path, '/apix', not '/api'",
        )
        read = self.read('[[routes]]\npath = "/%61pi/v1"\nstrip_prefix = "/ap%69/"').routes[0]
        self.assertEqual((read.path, read.strip_prefix), ("/api/v1", "/api/"))


class OverridesTests(RefusingTestCase):
    """The options of a command."""

    def test_they_win(self) -> None:
        overrides = Overrides(proxy={"http": ("tcp:5",)}, acceptor={"handoff": "/h"}, slots=("tcp:6:interface=127.0.0.1",))
        read = self.read('[proxy]\nhttp = ["tcp:4"]\nname = "x"', overrides=overrides)
        self.assertEqual((read.proxy.http, read.proxy.name, read.acceptor.handoff), (("tcp:5",), "x", "/h"))
        self.assertEqual(read.pools["default"].slots, ("tcp:6:interface=127.0.0.1",))

    def test_whose_slots(self) -> None:
        """Those of default and of whoever shares them, or of the only pool; never of pools that say their own."""
        routes = '[[routes]]\npool = "b"\n[[routes]]\npath = "/c"\npool = "c"\n'
        mine = Overrides(slots=("tcp:6:interface=127.0.0.1",), allow=networks("10.0.0.0/8"))
        own = '[pools.c]\nslots = ["tcp:7:interface=127.0.0.1"]\n'
        read = self.read("[pools.b]\n" + own + routes, overrides=mine)
        self.assertEqual([pool.slots for pool in read.pools.values()], [mine.slots, ("tcp:7:interface=127.0.0.1",)])
        self.assertEqual([pool.allow_given for pool in read.pools.values()], [True, False])
        read = self.read('[pools.b]\nallow = ["127.0.0.1"]\n[pools.c]\n' + routes, overrides=mine)
        self.assertEqual([pool.slots for pool in read.pools.values()], [mine.slots, mine.slots])
        self.assertEqual([pool.allow for pool in read.pools.values()], [networks("127.0.0.1"), mine.allow])
        read = self.read(own, overrides=mine)
        self.assertEqual(read.pools["c"].slots, mine.slots)

    def test_nobody_s_slots(self) -> None:
        sections = '[pools.a]\nslots = ["tcp:1:interface=127.0.0.1"]\n[pools.b]\nslots = ["tcp:2:interface=127.0.0.1"]\n'
        routes = '[[routes]]\npool = "a"\n[[routes]]\npath = "/b"\npool = "b"'
        for overrides, option in ((Overrides(slots=("tcp:6",)), "--slots"), (Overrides(allow=networks("::1")), "--allow")):
            error = self.assertRaises(ConfigError, self.read, sections + routes, Role.EMBEDDED, overrides)
            self.assertEqual(str(error), f'{option}: is about the pool "default", which the configuration does not have')

    def test_the_tree_is_looked_at_with_them(self) -> None:
        error = self.assertRaises(ConfigError, load, None, Overrides(slots=("tcp:9999",)))
        self.assertTrue(str(error).startswith("pools.default.slots[0]: tcp:9999 can be reached from other hosts"), error)
        load(None, Overrides(slots=("tcp:9999",), allow=networks("10.0.0.0/8")))
        error = self.assertRaises(ConfigError, load, None, Overrides(proxy={"https": ("tcp:1",)}))
        self.assertIn("proxy.https: needs a certificate", str(error))
