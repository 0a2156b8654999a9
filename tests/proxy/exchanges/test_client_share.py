"""One client fills no more of a pool's line than its share; it is told so, and the others keep their places."""

from __future__ import annotations

from typing import Any, List

from tests.world.peers import Peer
from tests.world.rig import OK, Rig, RigCase, responses, statuses
from xproxy import config as cfg
from xproxy.proxy.exchanges.asking import ASK_INTERVAL_S

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def forwarded(address: bytes) -> bytes:
    """A request that a balancer passes on."""
    return GET[:-2] + b"X-Forwarded-For: " + address + b"\r\n\r\n"


class ClientShareTests(RigCase):
    def busy(self, **parts: Any) -> Rig:
        """A pool in whose line eight may wait, two of them of one client; it is known that no slot is idle."""
        rig = self.make_rig(pool={"queue_limit": 8, "client_share": 0.25}, **parts)
        rig.client(GET, host="198.51.100.1")
        rig.pass_time(ASK_INTERVAL_S)
        return rig

    def refused(self, rig: Rig, clients: List[Peer]) -> List[bool]:
        """Which of them have been refused for their share, once the source has said that no slot is idle."""
        rig.pass_time(2 * ASK_INTERVAL_S)
        rig.settle()
        found = []
        for client in clients:
            data = client.take()
            if data:
                status, fields, content = responses(data)[0]
                self.assertEqual((status, fields[b"retry-after"]), (503, b"1"))
                self.assertIn(b"client-share", content)
            found.append(bool(data))
        return found

    def test_past_it(self) -> None:
        rig = self.busy()
        greedy = [rig.client(GET, host="192.0.2.66") for _ in range(4)]
        other = rig.client(GET, host="192.0.2.7")
        self.assertEqual(self.refused(rig, [*greedy, other]), [False, False, True, True, False])
        self.assertEqual(rig.pool.counts.queue_seconds["share"].count, 2)
        service = rig.slot()
        for _ in range(4):  # The first of them is that of the client who made the pool busy.
            rig.exchange(service, OK)
        self.assertEqual([statuses(client.take()) for client in (greedy[0], greedy[1], other)], [[200]] * 3)
        self.assert_at_rest(rig)

    def test_room_again(self) -> None:
        """A place in the share is free when its request is served, has left or was refused."""
        rig = self.busy()
        first, second = (rig.client(GET, host="192.0.2.66") for _ in range(2))
        self.assertEqual(self.refused(rig, [first, second]), [False, False])
        second.reset()
        rig.settle()
        third, fourth = (rig.client(GET, host="192.0.2.66") for _ in range(2))
        self.assertEqual(self.refused(rig, [third, fourth]), [False, True])

    def test_idle_somewhere(self) -> None:
        """Nobody is refused while a slot could be had: it is asked first."""
        rig = self.make_rig(pool={"queue_limit": 8, "client_share": 0.25})
        rig.source.generous = True
        services = [rig.source.register() for _ in range(4)]
        clients = [rig.client(GET, host="192.0.2.66") for _ in range(4)]
        rig.settle()
        for service in services:
            rig.exchange(service, OK)
        self.assertEqual([statuses(client.take()) for client in clients], [[200]] * 4)
        self.assert_at_rest(rig)

    def test_behind_a_trusted_balancer(self) -> None:
        """The client is whom the balancer names; whom a stranger names is of no account."""
        rig = self.busy(proxy={"trusted_proxies": cfg.networks("10.0.0.0/8")})
        balanced = [rig.client(forwarded(b"203.0.113.%d" % (number % 2)), host="10.0.0.1") for number in range(4)]
        self.assertEqual(self.refused(rig, balanced), [False] * 4)
        self.assertEqual(self.refused(rig, [rig.client(forwarded(b"203.0.113.1"), host="10.0.0.2")]), [True])
        strangers = [rig.client(forwarded(b"203.0.113.%d" % number), host="192.0.2.66") for number in range(3)]
        self.assertEqual(self.refused(rig, strangers), [False, False, True])

    def test_all_is_counted_out(self) -> None:
        """After refusals, departures and a stop nothing is left of anybody's share."""
        rig = self.busy()
        clients = [rig.client(GET, host="192.0.2.66") for _ in range(3)]
        self.refused(rig, clients)
        rig.stop()
        self.assertEqual((len(rig.pool._shares), rig.pool._past_share), (0, {}))
