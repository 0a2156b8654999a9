"""A lease: what it says to its source, once, and that it has one source only."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.world.rig import GET, OK, Rig, RigCase, Source, statuses
from tests.world.sockets import MEMORY
from xproxy.proxy.exchanges.lease import Lease


class RecordingSource:
    """As much of a source as a lease uses."""

    def __init__(self) -> None:
        self.board = bytearray(4)
        self.said: list[str] = []

    def give_back(self, lease: int) -> None:
        """See ISlotSource."""
        self.said.append(f"back {lease}")

    def lease_closed(self, lease: int) -> None:
        """See ISlotSource."""
        self.said.append(f"closed {lease}")


class LeaseTests(SynchronousTestCase):
    """One lease."""

    def setUp(self) -> None:
        self.source: Any = RecordingSource()

    def test_board(self) -> None:
        """Its byte, and no other."""
        lease = Lease(self.source, 2, "web")
        lease.busy()
        self.assertEqual(self.source.board, b"\0\0\1\0")
        lease.free()
        self.assertEqual(self.source.board, b"\0\0\0\0")

    def test_said_once(self) -> None:
        """A number means the next lease as soon as it was given back."""
        for first in ("give_back", "close"):
            lease = Lease(self.source, 1, "web")
            getattr(lease, first)()
            lease.close()
            lease.give_back()
            lease.orphan()
            lease.close()
        self.assertEqual(self.source.said, ["back 1", "closed 1"])

    def test_orphan(self) -> None:
        """Its number means nothing any more, and its board is nobody's: it goes on writing there."""
        lease = Lease(self.source, 1, "web")
        old, self.source.board = self.source.board, bytearray(4)
        self.assertFalse(lease.orphaned)
        lease.orphan()
        lease.busy()
        lease.close()
        lease.give_back()
        self.assertTrue(lease.orphaned)
        self.assertEqual((self.source.said, self.source.board, old), ([], bytes(4), b"\0\1\0\0"))

    def test_two_sources(self) -> None:
        """The same number of two sources are two leases."""
        other: Any = RecordingSource()
        one, two = Lease(self.source, 1, "web"), Lease(other, 1, "web")
        two.busy()
        one.give_back()
        two.free()
        two.close()
        self.assertEqual((self.source.said, other.said), (["back 1"], ["closed 1"]))
        self.assertEqual((self.source.board, other.board), (bytes(4), bytes(4)))


class TwoSourcesTests(RigCase):
    """A pool with slots of two sources at once: those of one that is left while their requests run, and of the next."""

    def test_numbers_do_not_collide(self) -> None:
        """Each lease is told where it came from, though both have the number 0."""
        rig: Rig = self.make_rig()
        first = rig.slot()
        client = rig.client(GET)
        old = rig.source
        rig.source = new = Source(rig.reactor, MEMORY)
        self.addCleanup(new.stop)
        new.holder = rig.proxy
        rig.proxy.attach(new)
        rig.pool.attach(new)
        second = rig.slot()
        other = rig.client(GET)
        self.assertEqual((old.board[0], new.board[0]), (1, 1))
        rig.exchange(second, OK + b"x")
        self.assertEqual((old.closed, new.closed), ([], [0]))
        rig.exchange(first, OK)
        rig.proxy.leases_recalled("default", 1, True)
        self.assertEqual((old.given_back, new.given_back, old.board[0]), ([0], [], 0))
        self.assertEqual([statuses(peer.take()) for peer in (client, other)], [[200], [200]])
        old.stop()
