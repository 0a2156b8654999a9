"""Another configuration is put in force while requests wait, run and are relayed."""

from __future__ import annotations

from typing import Any

import attr

from tests.proxy.clients.test_tunnel import SWITCHING, UPGRADE
from tests.world.rig import GET, OK, RigCase, make_config, post, request_head, responses, statuses
from xproxy import config as cfg
from xproxy.startup import StartupError

TO_OTHER = b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n"


def config(*pools: str, name: str = "first", **parts: Any) -> cfg.Config:
    """One whose Via says ``name``; ``pools`` beside the default one, each with a route of its name."""
    routes = [cfg.RouteConfig(), *(cfg.RouteConfig(path=f"/{pool}", pool=pool) for pool in pools)]
    return make_config(proxy={"name": name}, pools=pools, routes=routes, **parts)


class UseTests(RigCase):
    """``ProxyService.use``."""

    def vias(self, client: Any) -> list[tuple[int, bytes]]:
        """Status and Via of what a client got."""
        return [(status, fields.get(b"via", b"")) for status, fields, _ in responses(client.take())]

    def test_a_request_ends_under_what_it_began_with(self) -> None:
        """Whether it waits, is on a slot or still sends its body; the next one goes by the new one, on the same connection."""
        rig = self.make_rig(config())
        service = rig.slot()
        running = rig.client(GET + GET)
        waiting = rig.client(GET)
        sending = rig.client(post(b"hello")[:-1])
        before = rig.gateway.policy
        rig.proxy.use(config(name="second"))
        self.assertIsNot(rig.gateway.policy, before)
        sending.send(b"o")
        rig.settle()
        requests = [rig.exchange(service, OK) for _ in range(4)]
        self.assertEqual(self.vias(running), [(200, b"1.1 first"), (200, b"1.1 second")])
        self.assertEqual(self.vias(waiting), [(200, b"1.1 first")])
        self.assertEqual(self.vias(sending), [(200, b"1.1 first")])
        vias = [request_head(request).fields.get(b"via") for request in requests]
        self.assertEqual(sorted(vias), [b"1.1 first"] * 3 + [b"1.1 second"])
        self.assert_at_rest(rig)

    def test_a_tunnel_goes_on(self) -> None:
        rig = self.make_rig(config("other"))
        service = rig.slot("other")
        client = rig.client(UPGRADE.replace(b"/chat", b"/other"))
        rig.exchange(service, SWITCHING)
        client.take()
        rig.proxy.use(config())
        client.send(b"ping")
        rig.settle()
        self.assertEqual(service.take(), b"ping")
        service.send(b"pong")
        rig.settle()
        self.assertEqual(client.take(), b"pong")
        client.end()
        service.end()
        rig.settle()
        self.assertTrue(client.over)
        self.assertEqual((rig.gateway.leaving[0].over, rig.source.closed), (True, [0]))

    def test_a_pool_is_added(self) -> None:
        """It asks for slots at once, and of an acceptor that comes back."""
        rig = self.make_rig(config())
        rig.source.register("other")
        client = rig.client(TO_OTHER)
        rig.proxy.use(config("other"))
        service = rig.slot()
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take()), [200])
        rig.source.generous = True
        client.send(TO_OTHER)
        rig.settle()
        self.assertEqual([lease.pool for lease in rig.source.leases.values()], ["default", "other"])
        other = next(lease.service for lease in rig.source.leases.values() if lease.pool == "other")
        rig.exchange(other, OK)
        self.assertEqual(statuses(client.take()), [200])
        self.assertEqual(sorted(rig.gateway.status()), ["default", "other"])

    def test_a_pool_is_added_while_there_is_no_acceptor(self) -> None:
        """It is asked for slots when there is one."""
        rig = self.make_rig(config())
        rig.source.asks.clear()
        rig.proxy.acceptor_lost()
        rig.proxy.use(config("other"))
        rig.client(TO_OTHER)
        self.assertEqual(rig.source.asks, [])
        rig.proxy.acceptor_found()
        self.assertEqual([(pool, waiting) for pool, waiting, _ in rig.source.asks], [("default", 0), ("other", 1)])

    def test_a_pool_is_changed(self) -> None:
        """Its line takes as many as it says now."""
        rig = self.make_rig(config(pool={"queue_limit": 1}))
        clients = [rig.client(GET)]
        rig.proxy.use(config(pool={"queue_limit": 3}))
        clients += [rig.client(GET), rig.client(GET)]
        self.assertEqual(len(rig.pool.line), 3)
        service = rig.slot()
        for client in clients:
            rig.exchange(service, OK)
            self.assertEqual(statuses(client.take()), [200])

    def test_limits(self) -> None:
        """Of what all requests together may have, too."""
        rig = self.make_rig(config(limits={"bodies_memory": 4 << 20, "spool_files": 7}))
        self.assertEqual((rig.gateway.blocks.free, rig.gateway.space.bounds.all_files), (16, 7))
        rig.proxy.use(config(limits={"bodies_memory": 1 << 20, "spool_files": 8}))
        self.assertEqual((rig.gateway.blocks.free, rig.gateway.space.bounds.all_files), (4, 8))

    def test_a_pool_is_removed(self) -> None:
        """Who is on a slot is served, who waits too as long as there is one; then the slots go back, and nobody joins."""
        rig = self.make_rig(config("other"))
        service = rig.slot("other")
        first, second = rig.client(TO_OTHER), rig.client(TO_OTHER)
        rig.proxy.use(config())
        leaving = rig.gateway.leaving[0]
        rig.exchange(service, OK)
        rig.exchange(service, OK)
        self.assertEqual([statuses(first.take()), statuses(second.take())], [[200], [200]])
        self.assertEqual((leaving.over, leaving.slots, rig.source.given_back), (True, {}, [0]))
        default = rig.slot()
        first.send(TO_OTHER)
        rig.settle()
        rig.exchange(default, OK)
        self.assertEqual(statuses(first.take()), [200])
        rig.proxy.use(config("other"))
        self.assertEqual(rig.gateway.leaving, [])

    def test_a_pool_without_slots_is_removed(self) -> None:
        """Who waits is refused in the time that it would have waited anyway."""
        rig = self.make_rig(config("other"))
        client = rig.client(TO_OTHER)
        rig.proxy.use(config())
        rig.pass_time(31.0)
        self.assertEqual(statuses(client.take()), [503])
        self.assertTrue(rig.gateway.leaving[0].over)

    def test_a_grant_for_a_pool_that_is_gone(self) -> None:
        """It was under way: the slot goes back as it is."""
        rig = self.make_rig(config("other"))
        service = rig.source.register("other")
        rig.proxy.use(config())
        rig.gateway.leaving.clear()
        rig.source.grant(pool="other")
        rig.settle()
        self.assertEqual((rig.source.given_back, rig.source.closed, service.over), ([0], [], False))
        rig.proxy.leases_recalled("other", 1)
        rig.proxy.ask_answered("other", 1)
        rig.proxy.service_registered("other", True)

    def test_what_can_not_be_used_changes_nothing(self) -> None:
        """Neither policy nor pools."""
        rig = self.make_rig(config("other"))
        policy, pools = rig.gateway.policy, dict(rig.gateway.pools)
        bad = attr.evolve(config("third"), proxy=cfg.ProxyConfig(http=(), error_pages=self.mktemp()))
        self.assertRaises(StartupError, rig.proxy.use, bad)
        self.assertIs(rig.gateway.policy, policy)
        self.assertEqual((rig.gateway.pools, rig.gateway.leaving), (pools, []))

    def test_stop(self) -> None:
        """Pools that are being left are stopped too."""
        rig = self.make_rig(config("other"))
        client = rig.client(TO_OTHER)
        rig.proxy.use(config())
        rig.proxy.stopService()
        rig.settle()
        self.assertEqual(statuses(client.take()), [503])
