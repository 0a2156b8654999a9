"""The acceptor over socket pairs, with proxies in the same process."""

from __future__ import annotations

import errno
import os

from zope.interface.verify import verifyObject

from tests.acceptor.scene import POLITE, SceneTestCase
from xproxy.acceptor import holding
from xproxy.acceptor.local import LocalSource
from xproxy.interfaces import BOARD_BYTES, ILeaseHolder, ISlotSource
from xproxy.net.descriptors import SystemDescriptors
from xproxy.slots.actions import BadAsk, NotLeased


class LeaseTests(SceneTestCase):
    """Asks, grants, what is given back, and recalls."""

    def test_interfaces(self) -> None:
        proxy = self.scene.proxy()
        verifyObject(ILeaseHolder, proxy)
        verifyObject(ISlotSource, proxy.source)

    def test_an_idle_slot_is_granted_within_the_ask(self) -> None:
        slot = self.scene.slot()
        proxy = self.scene.proxy()
        proxy.ask(1.0)
        self.assertEqual(proxy.grants, [("default", 0, "unix")])
        proxy.sockets[0].sendall(b"GET")
        self.assertEqual(slot.service.recv(10), b"GET")
        slot.service.sendall(b"200")
        self.assertEqual(proxy.sockets[0].recv(10), b"200")

    def test_a_leased_slot_is_not_read(self) -> None:
        slot = self.scene.slot()
        self.assertTrue(slot.reading)
        self.scene.proxy().ask(1.0)
        self.assertFalse(slot.reading)

    def test_who_waits_is_served_by_the_next_slot_in_order_of_arrival(self) -> None:
        late, early = self.scene.proxy(), self.scene.proxy()
        late.ask(2.0)
        early.ask(1.0)
        self.assertEqual(self.scene.counts()["waiting"], 2)
        self.scene.slot()
        self.assertEqual((len(early.grants), len(late.grants)), (1, 0))
        self.scene.slot()
        self.assertEqual((len(early.grants), len(late.grants)), (1, 1))

    def test_what_is_given_back_is_idle_and_read_again(self) -> None:
        slot = self.scene.slot()
        proxy = self.scene.proxy()
        proxy.ask(1.0)
        proxy.give_back(0)
        self.assertTrue(slot.reading)
        self.assertEqual(self.scene.counts(), {"slots": 1, "idle": 1, "leased": 0, "lent": 0, "waiting": 0})

    def test_what_is_given_back_does_not_block_us(self) -> None:
        slot = self.scene.slot()
        proxy = self.scene.proxy()
        proxy.ask(1.0)
        proxy.sockets[0].setblocking(True)  # For every copy: so it is with O_NONBLOCK.
        self.assertTrue(os.get_blocking(slot.near.fileno()))
        proxy.give_back(0)
        self.assertFalse(os.get_blocking(slot.near.fileno()))

    def test_what_is_given_back_goes_at_once_to_who_waits_and_is_not_read_between(self) -> None:
        slot = self.scene.slot()
        first, second = self.scene.proxy(), self.scene.proxy()
        first.ask(1.0)
        second.ask(2.0)
        self.assertEqual(first.recalls, [("default", 1)])
        first.give_back(0)
        self.assertEqual(second.grants, [("default", 0, "unix")])
        self.assertFalse(slot.reading)
        self.assertEqual(first.recalls[-1], ("default", 0))

    def test_bytes_that_wait_on_what_is_given_back_close_it(self) -> None:
        slot = self.scene.slot()
        first, second = self.scene.proxy(), self.scene.proxy()
        first.ask(1.0)
        second.ask(2.0)
        slot.service.sendall(b"HTTP/1.1 200 OK\r\n")  # A second response: it must not become somebody else's.
        first.give_back(0)
        self.assertEqual(second.grants, [])
        self.assertTrue(slot.service_sees_end())
        self.assertEqual(self.acceptor.closings, {("default", "unasked"): 1})

    def test_an_end_of_file_that_waits_on_what_is_given_back_closes_it(self) -> None:
        slot = self.scene.slot()
        proxy = self.scene.proxy()
        proxy.ask(1.0)
        slot.service.shutdown(1)
        proxy.give_back(0)
        self.assertEqual(self.scene.counts()["slots"], 0)

    def test_a_closed_lease_closes_the_connection_for_every_copy(self) -> None:
        slot = self.scene.slot()
        proxy = self.scene.proxy()
        proxy.ask(1.0)
        kept = proxy.sockets.pop(0)
        assert proxy.source is not None
        proxy.source.lease_closed(0)
        self.assertTrue(slot.service_sees_end())
        self.assertEqual(kept.recv(1), b"")
        kept.close()
        self.assertEqual(self.acceptor.closings, {("default", "lease_closed"): 1})

    def test_a_closed_lease_is_closed_though_the_service_reads_nothing(self) -> None:
        slot = self.scene.slot()
        proxy = self.scene.proxy()
        proxy.ask(1.0)
        proxy.sockets[0].setblocking(False)
        with self.assertRaises(BlockingIOError):
            while True:
                proxy.sockets[0].send(bytes(65536))
        proxy.close_lease(0)
        self.assertTrue(slot.lost)

    def test_lease_numbers_are_the_lowest_free(self) -> None:
        for _ in range(4):
            self.scene.slot()
        proxy = self.scene.proxy()
        proxy.ask(1.0, 1.0, 1.0, 1.0)
        proxy.give_back(2)
        proxy.close_lease(1)
        self.scene.slot()
        proxy.ask(1.0, 1.0)
        self.assertEqual([lease for _, lease, _ in proxy.grants], [0, 1, 2, 3, 1, 2])

    def test_lease_numbers_are_one_for_all_pools(self) -> None:
        self.scene.slot()
        self.scene.slot("other")
        proxy = self.scene.proxy()
        proxy.ask(1.0)
        proxy.ask(1.0, pool="other")
        self.assertEqual(proxy.grants, [("default", 0, "unix"), ("other", 1, "unix")])

    def test_calls_from_within_a_grant(self) -> None:
        """A proxy that gives back, closes and asks while it is granted: everything comes in the book's order."""
        for _ in range(3):
            self.scene.slot()
        proxy, other = self.scene.proxy(), self.scene.proxy()

        def granted(pool: str, lease: int) -> None:
            if len(proxy.grants) == 1:
                proxy.give_back(lease)
                proxy.ask(1.0, 2.0, 3.0)
            elif len(proxy.grants) == 2:
                other.ask(0.5)
                proxy.close_lease(lease)

        proxy.on_grant = granted
        proxy.ask(1.0)
        counts = self.scene.counts()
        self.assertEqual(counts["idle"] + counts["leased"], counts["slots"])
        self.assertEqual(counts["slots"], 2)
        self.assertEqual(counts["leased"], len(proxy.sockets) + len(other.sockets))

    def test_a_recall_told_late_does_not_replace_a_newer_one(self) -> None:
        self.scene.slot()
        first, second = self.scene.proxy(), self.scene.proxy()
        first.ask(1.0)

        def recalled() -> bool:
            if first.recalls and len(first.recalls) == 1:
                second.ask()
            return False

        first.until(recalled)
        second.ask(2.0)
        self.assertEqual(first.recalls, [("default", 1), ("default", 0)])

    def test_what_waits_at_a_proxy_that_hangs_is_not_seen(self) -> None:
        """Else the others would give slots up for it again and again."""
        self.scene.slot()
        first, second = self.scene.proxy(), self.scene.proxy()
        first.ask(1.0)
        second.ask(2.0)
        assert first.source is not None
        tide = first.source.tide("default")
        self.assertEqual(tide.waiting_elsewhere(), 1)
        list(self.acceptor.holdings)[1].hang()
        self.assertEqual(tide.waiting_elsewhere(), 0)

    def test_mistakes_of_a_proxy(self) -> None:
        self.scene.slot()
        proxy = self.scene.proxy()
        proxy.ask(1.0)
        assert proxy.source is not None
        self.assertRaises(BadAsk, proxy.source.ask, "default", -1, 1)
        self.assertRaises(BadAsk, proxy.source.ask, "default", 1, 2)
        self.assertRaises(NotLeased, proxy.source.give_back, 1)
        self.assertRaises(NotLeased, proxy.source.lease_closed, -1)
        proxy.give_back(0)
        self.assertRaises(NotLeased, proxy.source.give_back, 0)
        self.assertEqual(self.scene.counts()["idle"], 1)

    def test_a_proxy_that_raises_keeps_nobody_from_being_served(self) -> None:
        class Oops(Exception):
            pass

        def oops(pool: str, lease: int) -> None:
            raise Oops()

        broken, sound = self.scene.proxy(), self.scene.proxy()
        broken.on_grant = oops
        broken.ask(1.0)
        sound.ask(2.0)
        self.scene.slot()
        self.scene.slot()
        self.assertEqual(len(self.flushLoggedErrors(Oops)), 1)
        self.assertEqual(len(sound.grants), 1)

    def test_no_descriptor_left_to_lend_one(self) -> None:
        """Then the slot is closed, and the books of both sides agree afterwards."""
        proxy = self.scene.proxy()
        slot = self.scene.slot()

        def none_left(descriptors: object, connection: object) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        dup = self.patch(SystemDescriptors, "dup", none_left)
        proxy.ask(1.0)
        dup.restore()
        self.assertTrue(slot.service_sees_end())
        self.assertEqual(self.scene.counts()["slots"], 0)
        self.assertEqual(self.acceptor.closings, {("default", "not_lent"): 1})
        proxy.ask(1.0)
        self.scene.slot()
        self.assertEqual(len(proxy.grants), 1)

    def test_the_last_byte_of_the_board_belongs_to_no_lease(self) -> None:
        self.patch(holding, "MAX_LEASES", 2)
        for _ in range(3):
            self.scene.slot()
        proxy = self.scene.proxy()
        proxy.ask(1.0, 1.0, 1.0)
        self.assertEqual([lease for _, lease, _ in proxy.grants], [0, 1])
        assert proxy.source is not None
        self.assertEqual(len(proxy.source.board), BOARD_BYTES)


class EndTests(SceneTestCase):
    """How slots, proxies and the acceptor end."""

    def test_an_idle_slot_that_hangs_up(self) -> None:
        slot = self.scene.slot()
        slot.service.close()
        slot.pump()
        self.assertEqual(self.scene.counts()["slots"], 0)
        self.assertEqual(self.acceptor.closings, {("default", "ended"): 1})

    def test_an_idle_slot_that_speaks(self) -> None:
        slot = self.scene.slot()
        slot.service.sendall(b"x")
        slot.pump()
        self.assertTrue(slot.service_sees_end())
        self.assertEqual(self.acceptor.closings, {("default", "unasked"): 1})

    def test_an_idle_slot_that_closes_politely(self) -> None:
        slot = self.scene.slot()
        slot.service.sendall(POLITE)
        slot.pump()
        self.assertTrue(slot.service_sees_end())
        self.assertEqual(self.acceptor.closings, {("default", "closing"): 1})

    def test_a_proxy_that_is_gone(self) -> None:
        """Its clean slots return to the ring, in order; the one in an exchange is closed, and the one with bytes."""
        slots = [self.scene.slot() for _ in range(4)]
        proxy = self.scene.proxy()
        proxy.ask(1.0, 1.0, 1.0, 1.0)
        source = proxy.source
        assert isinstance(source, LocalSource)
        source.board[1] = 1
        slots[2].service.sendall(b"late")
        source.leave()
        source.leave()
        self.assertEqual(self.scene.counts(), {"slots": 2, "idle": 2, "leased": 0, "lent": 0, "waiting": 0})
        self.assertEqual([slot.service_sees_end() for slot in slots], [False, True, True, False])
        self.assertEqual([slot.reading for slot in slots], [True, False, False, True])
        self.assertEqual(self.acceptor.closings, {("default", "holder_lost"): 2})

    def test_a_proxy_that_is_gone_waits_no_longer(self) -> None:
        gone, other = self.scene.proxy(), self.scene.proxy()
        gone.ask(1.0)
        other.ask(2.0)
        assert isinstance(gone.source, LocalSource)
        gone.source.leave()
        self.scene.slot()
        self.assertEqual((gone.grants, len(other.grants)), ([], 1))

    def test_a_proxy_that_leaves_while_it_is_granted(self) -> None:
        for _ in range(3):
            self.scene.slot()
        proxy, other = self.scene.proxy(), self.scene.proxy()
        source = proxy.source
        assert isinstance(source, LocalSource)
        proxy.on_grant = lambda pool, lease: source.leave()
        proxy.ask(1.0, 1.0)
        self.assertEqual(len(proxy.grants), 1)
        self.assertEqual(self.scene.counts(), {"slots": 3, "idle": 3, "leased": 0, "lent": 0, "waiting": 0})
        other.ask(1.0, 1.0, 1.0)
        self.assertEqual(len(other.grants), 3)

    def test_the_acceptor_stops(self) -> None:
        """Idle and lent slots are closed; leased ones live on at whoever has them."""
        leased, lent, idle = (self.scene.slot() for _ in range(3))
        proxy = self.scene.proxy()
        proxy.ask(1.0)
        borrower, waiting = self.scene.borrower(), self.scene.borrower("other")
        self.acceptor.close()
        self.assertEqual([slot.service_sees_end() for slot in (leased, lent, idle)], [False, True, True])
        proxy.sockets[0].sendall(b"still here")
        self.assertEqual(leased.service.recv(20), b"still here")
        self.assertEqual(borrower.sockets[0].recv(20), b"")
        self.assertEqual(proxy.events, ["lost"])
        self.assertEqual(waiting.unavailable, 1)
        assert isinstance(proxy.source, LocalSource)
        proxy.source.leave()
