"""The connections of a backend: kept between exchanges, and what happens to a request that meets the end of one."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from tests.doubles.dialling import GET, Wire
from tests.doubles.relaying import OK, POST, UPLOAD, RelayTestCase
from xproxy.service import backend as backend_module
from xproxy.service.backend import FULL_BACKLOG_RETRY_S, FULL_BACKLOG_S
from xproxy.service.relay import MAX_CONNECTIONS, MAX_HELD_BYTES
from xproxy.slots.serving.goodbye import CLOSING_RESPONSE


class KeptTests(RelayTestCase):
    """Connections between two exchanges."""

    def served(self, slot: Wire, answer: bytes = OK) -> Wire:
        """Serve a request on this slot; the backend connection that did."""
        before = [len(wire.value()) for wire in self.backend.wires]
        slot.deliver(GET)
        (backend,) = [w for w, size in zip(self.backend.wires, [*before, 0]) if len(w.value()) > size]
        backend.deliver(answer)
        return backend

    def test_any_slot_gets_the_last_one(self) -> None:
        one, two = self.slots
        backend = self.served(one)
        self.assertIs(self.served(two), backend)
        one.deliver(GET)
        two.deliver(GET)
        self.assertEqual(len(self.backend.wires), 2)
        first, second = self.backend.wires
        second.deliver(OK)
        first.deliver(OK)
        self.assertIs(self.served(two), first)
        self.assertEqual(len(self.backend.open), 2)

    def test_it_ends(self) -> None:
        slot = self.slots[0]
        for end in ("end", "lose"):
            backend = self.served(slot)
            getattr(backend, end)()
            self.clock.advance(0)
            self.assertEqual((backend.lost, slot.lost), (True, False))
            self.assertIsNot(self.served(slot), backend)

    def test_it_says_something(self) -> None:
        """Nobody asked for that: it is no answer to the next request."""
        slot = self.slots[0]
        backend = self.served(slot)
        backend.deliver(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(backend.disconnecting)
        slot.clear()
        self.assertIsNot(self.served(slot), backend)
        self.assertEqual(slot.taken(), OK)

    def test_more_than_the_answer(self) -> None:
        """What comes behind an answer is cut off, and that connection not used again."""
        slot = self.slots[0]
        backend = self.served(slot, OK + b"HTTP/1.1 200 OK\r\n")
        self.assertEqual((slot.taken(), backend.disconnecting), (OK, True))
        self.assertIsNot(self.served(slot), backend)
        self.assertEqual(slot.taken(), OK)

    def test_its_end_is_not_read_yet(self) -> None:
        """The end, or bytes, wait in the socket: the reactor has not come to them."""
        slot = self.slots[0]
        backend = self.served(slot)
        self.patch(backend_module, "is_quiet", lambda transport: transport is not backend)
        slot.deliver(POST)
        self.assertEqual((len(self.backend.wires), self.backend.wires[-1].taken()), (2, POST))
        self.assertTrue(backend.disconnecting)

    def test_its_time_is_announced(self) -> None:
        """``Keep-Alive: timeout=5``: not used in the last second, when the backend may be closing it."""
        slot = self.slots[0]
        answer = OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: max=9, timeout=5\r\nConnection: keep-alive\r\n\r\n")
        backend = self.served(slot, answer)
        self.clock.advance(3.9)
        self.assertIs(self.served(slot, answer), backend)
        self.clock.advance(4.1)
        self.assertIsNot(self.served(slot), backend)
        self.assertTrue(backend.disconnecting)

    def test_closed_when_the_relay_stops(self) -> None:
        slot, other = self.slots
        backend = self.served(slot)
        stopped = self.service.stopService()
        slot.end()
        other.end()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.clock.advance(0)
        self.assertTrue(backend.lost)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FullBacklogTests(RelayTestCase):
    """A backend on a UNIX socket that is slow to accept: connect(2) says EAGAIN."""

    def setUp(self) -> None:
        super().setUp()
        self.full = 0
        connect = self.backend.connect

        def connect_or_not(factory: Any) -> Deferred[Any]:
            if self.full:
                self.full -= 1
                return fail(ConnectError(string=Failure(ConnectionDone())))
            return connect(factory)

        self.patch(self.backend, "connect", connect_or_not)

    def test_waited_for(self) -> None:
        self.full = 20
        self.slots[0].deliver(POST)
        self.clock.pump([FULL_BACKLOG_RETRY_S] * 19)
        self.assertEqual(self.backend.wires, [])
        self.clock.advance(FULL_BACKLOG_RETRY_S)
        self.assertEqual(self.backend.wires[0].taken(), POST)
        self.assertTrue(self.service.serving)

    def test_not_for_ever(self) -> None:
        self.full = 10**9
        slot = self.slots[0]
        slot.deliver(POST)
        self.clock.pump([FULL_BACKLOG_RETRY_S] * int(FULL_BACKLOG_S / FULL_BACKLOG_RETRY_S - 1))
        self.assertEqual(slot.taken(), b"")
        self.clock.pump([FULL_BACKLOG_RETRY_S] * 3)
        self.assertEqual((slot.taken(), self.service.serving), (CLOSING_RESPONSE, False))

    def test_the_proxy_gives_up(self) -> None:
        self.full = 10**9
        slot = self.slots[0]
        slot.deliver(POST)
        slot.lose()
        left = self.full
        self.clock.pump([FULL_BACKLOG_RETRY_S] * 10)
        self.assertEqual((self.full, self.service.serving), (left, True))


class AgainTests(RelayTestCase):
    """A request met a kept connection that was about to end."""

    def setUp(self) -> None:
        super().setUp()
        self.slot = self.slots[0]
        self.kept = self.request()
        self.kept.deliver(OK)
        self.kept.clear()
        self.slot.clear()
        self.unreceived = 0
        self.patch(backend_module, "unreceived_bytes", lambda transport: self.unreceived)

    def again(self) -> Wire:
        """The connection that got the request after ``kept``."""
        kept, again = self.backend.wires
        self.assertIs(kept, self.kept)
        self.unreceived = 0
        again.deliver(OK)
        self.assertEqual((self.slot.taken(), self.slot.lost), (OK, False))
        return again

    def test_idempotent(self) -> None:
        for end in ("end", "lose"):
            self.request()
            getattr(self.kept, end)()
            again = self.again()
            self.assertEqual(again.taken(), GET)
            self.backend.wires.remove(self.kept)
            self.kept = again

    def test_certainly_not_read(self) -> None:
        """The end was sent before the request arrived: whatever the method."""
        self.request(POST)
        self.unreceived = len(POST)
        self.kept.end()
        self.assertEqual(self.again().taken(), POST)

    def test_maybe_read(self) -> None:
        for unreceived in (0, len(POST) - 1):
            self.unreceived = unreceived
            self.slots[0].deliver(POST)
            self.backend.wires[-1].end()
            slot = self.slots[0]
            self.assertEqual((slot.taken()[-1:], slot.half_closed), (b"", True))
            slot.end()
            self.clock.advance(0)
            self.slots[0].deliver(GET)
            self.backend.wires[-1].deliver(OK)
            self.slots[0].clear()

    def test_reset(self) -> None:
        """A reset says nothing of what was read before it."""
        self.request(POST)
        self.unreceived = len(POST)
        self.kept.lose(ConnectionLost())
        self.assertEqual((self.slot.taken(), self.slot.half_closed), (b"", True))

    def test_bytes_that_crossed_the_request(self) -> None:
        """They were sent before it arrived: not its answer."""
        self.request(POST)
        self.unreceived = len(POST)
        self.kept.deliver(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(self.again().taken(), POST)
        self.assertTrue(self.kept.aborted)

    def test_in_pieces(self) -> None:
        """All that was sent is sent again, and what follows after that."""
        self.slot.deliver(UPLOAD)
        self.slot.deliver(b"x" * 10)
        self.kept.end()
        again = self.backend.wires[-1]
        self.assertEqual(again.taken(), UPLOAD + b"x" * 10)
        self.slot.deliver(b"x" * 35)
        self.assertEqual(again.taken(), b"x" * 35)
        self.again()

    def test_too_much_to_hold(self) -> None:
        """It is given back to the proxy, who has it all."""
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (2 * MAX_HELD_BYTES)
        self.slot.deliver(head)
        self.slot.deliver(b"x" * MAX_HELD_BYTES)
        self.unreceived = len(head) + MAX_HELD_BYTES
        self.kept.end()
        self.assertEqual((self.slot.taken(), len(self.backend.wires)), (CLOSING_RESPONSE, 1))

    def test_new_connections_too(self) -> None:
        """A backend that closes them, or says something, before it has anything of the request. Not for ever."""
        self.request(POST)
        self.unreceived = len(POST)
        self.kept.end()
        for number in range(2, MAX_CONNECTIONS + 1):
            self.assertEqual((self.backend.wires[-1].taken(), len(self.backend.wires)), (POST, number))
            self.backend.wires[-1].deliver(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual((self.slot.taken(), len(self.backend.wires)), (CLOSING_RESPONSE, MAX_CONNECTIONS))

    def test_once(self) -> None:
        """A new connection that ends without an answer did not end because nobody used it."""
        self.request()
        self.kept.end()
        self.backend.wires[-1].end()
        self.assertEqual((self.slot.taken(), self.slot.half_closed, len(self.backend.wires)), (b"", True, 2))

    def test_not_after_a_byte_of_the_answer(self) -> None:
        self.request()
        self.kept.deliver(OK[:1])
        self.kept.end()
        self.assertEqual((self.slot.half_closed, len(self.backend.wires)), (True, 1))

    def test_the_backend_has_died(self) -> None:
        """No new connection: the request is given back."""
        self.backend.mode = "refuse"
        self.request()
        self.kept.end()
        self.assertEqual(self.slot.taken(), CLOSING_RESPONSE)
        self.assertFalse(self.service.serving)
