"""Who may come in when there is little room, and who has to go then."""

from __future__ import annotations

from typing import Any, List

from tests.world.peers import Peer
from tests.world.rig import GET, OK, RigCase
from tests.world.secure import SecureCase
from xproxy.proxy.clients.client import Spare


class RoomTests(RigCase):
    """Descriptors are fewer than ``limits.connections`` would have."""

    def rig_with_room(self, room: int) -> Any:
        """A proxy with descriptors for so many clients."""
        rig = self.make_rig()
        rig.proxy.front.room = room
        return rig

    def over(self, peers: List[Peer]) -> List[bool]:
        """Which of them were sent away."""
        return [peer.over for peer in peers]

    def test_between_requests_first(self) -> None:
        """Then those that never asked, the oldest first; who is at a request stays."""
        rig = self.rig_with_room(4)
        service = rig.slot()
        silent = rig.client()
        rig.pass_time(1.0)
        kept = rig.client(GET)
        rig.exchange(service, OK)
        rig.pass_time(1.0)
        late = rig.client()
        begun = rig.client(GET[:5])
        clients = [silent, kept, late, begun]
        self.assertEqual(self.over(clients), [False] * 4)
        rig.pass_time(1.0)
        clients.append(rig.client())
        self.assertEqual(self.over(clients), [False, True, False, False, False])
        clients.append(rig.client())
        self.assertEqual(self.over(clients), [True, True, False, False, False, False])
        clients.append(rig.client(GET))
        self.assertEqual(self.over(clients), [True, True, True, False, False, False, False])
        self.assertEqual(rig.gateway.counts.refused, {"room-made": 3})
        rig.exchange(service, OK)
        self.assertTrue(clients[-1].take().endswith(b"ok"))
        begun.send(GET[5:])
        rig.settle()
        rig.exchange(service, OK)
        self.assertTrue(begun.take().endswith(b"ok"))

    def test_nobody_can_be_spared(self) -> None:
        """The newest is closed at once, and the others are served."""
        rig = self.rig_with_room(2)
        service = rig.slot()
        clients = [rig.client(GET), rig.client(GET), rig.client(GET)]
        self.assertEqual(self.over(clients), [False, False, True])
        self.assertEqual(rig.gateway.counts.refused, {"too-many-connections": 1})
        for client in clients[:2]:
            rig.exchange(service, OK)
            self.assertTrue(client.take().endswith(b"ok"))

    def test_the_configured_limit(self) -> None:
        """It is the operator's word: nobody is sent away for somebody else."""
        rig = self.make_rig(limits={"connections": 2})
        self.assertEqual(self.over([rig.client() for _ in range(3)]), [False, False, True])

    def test_many_at_a_time(self) -> None:
        """A look at all of them makes room for several."""
        rig = self.rig_with_room(64)
        clients: List[Peer] = []
        for _ in range(65):
            clients.append(rig.client())
            rig.pass_time(0.25)
        self.assertEqual(self.over(clients), [True] * 3 + [False] * 62)


class SecureRoomTests(SecureCase):
    """The same of those that come with TLS."""

    def test_who_can_be_spared(self) -> None:
        """At a handshake, and where no request runs."""
        rig = self.make_secure_rig()
        shaking = rig.secure_peer()
        plain = rig.secure_client()
        binary = rig.http2_client()
        spare = sorted((client.spare, type(client).__name__) for client in rig.proxy.front.clients)
        self.assertEqual(
            spare, [(Spare.SILENT, "HTTP2Connection"), (Spare.SILENT, "Handshake"), (Spare.SILENT, "SecureConnection")]
        )
        for client in list(rig.proxy.front.clients):
            client.make_room()
        rig.settle()
        self.assertEqual(list(rig.proxy.front.clients), [])
        self.assertTrue(shaking.over and plain.peer.over and binary.peer.over)
        self.assertEqual(rig.gateway.counts.handshakes, {"done": 2, "room-made": 1})
