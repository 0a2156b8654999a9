"""The relay: a backend behind slots. In memory; see ``test_relay_sockets`` for real ones."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface.verify import verifyObject

from tests.doubles.dialling import GET
from tests.doubles.relaying import OK, UPGRADE, UPLOAD, RelayTestCase
from xproxy.service import linger
from xproxy.service.backend import BackendConnection, BackendConnections
from xproxy.service.linger import LINGER_S
from xproxy.service.relay import HALF_CLOSED_S, RelayFactory
from xproxy.service.served_slot import ITracksExchanges

CLOSE = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class PassingTests(RelayTestCase):
    """Bytes from one to the other."""

    def test_interfaces(self) -> None:
        connections = BackendConnections(self.clock, self.backend)
        relay = RelayFactory(self.clock, connections, lambda failure: None).buildProtocol(None)
        self.assertTrue(verifyObject(IHalfCloseableProtocol, relay))
        self.assertTrue(verifyObject(ITracksExchanges, relay))
        self.assertTrue(verifyObject(IHalfCloseableProtocol, BackendConnection(connections)))

    def test_idle_slots_hold_no_backend_connection(self) -> None:
        self.assertEqual((len(self.slots), self.backend.wires), (2, []))

    def test_exchanges_on_a_kept_connection(self) -> None:
        slot = self.slots[0]
        for _ in range(3):
            backend = self.request()
            self.assertEqual(backend.taken(), GET)
            backend.deliver(OK)
            self.assertEqual(slot.taken(), OK)
        self.assertEqual(len(self.backend.wires), 1)

    def test_each_slot_has_its_own(self) -> None:
        for slot in self.slots:
            slot.deliver(GET)
        self.assertEqual([wire.taken() for wire in self.backend.wires], [GET, GET])

    def test_the_slot_waits_while_the_backend_is_connected(self) -> None:
        self.backend.mode = "pend"
        slot = self.slots[0]
        slot.deliver(GET[:10])
        self.assertEqual(slot.producerState, "paused")
        slot.deliver(GET[10:])  # A transport such as TLS may have some more.
        self.backend.pending[0].callback(None)
        self.assertEqual(slot.producerState, "producing")
        self.assertEqual(self.backend.wires[0].taken(), GET)

    def test_backpressure_both_ways(self) -> None:
        slot = self.slots[0]
        backend = self.request()
        assert slot.producer is not None and backend.producer is not None
        slot.producer.pauseProducing()
        self.assertEqual((backend.producerState, slot.producerState), ("paused", "producing"))
        backend.producer.pauseProducing()
        self.assertEqual(slot.producerState, "paused")
        slot.producer.resumeProducing()
        backend.producer.resumeProducing()
        self.assertEqual((backend.producerState, slot.producerState), ("producing", "producing"))


class EndingTests(RelayTestCase):
    """When one of the two ends."""

    def test_the_backend_does_not_keep_connections(self) -> None:
        """Each answer says close: the slot stays, the next request gets a new connection."""
        slot = self.slots[0]
        for number in range(1, 4):
            backend = self.request()
            self.assertEqual(backend.taken(), GET)
            backend.deliver(CLOSE)
            backend.end()
            self.clock.advance(0)
            self.assertEqual(slot.taken(), OK)
            self.assertEqual((backend.lost, slot.lost, slot.producer), (True, False, None))
            self.assertEqual(len(self.backend.wires), number)
        self.assertEqual(self.acceptor.attempts, 2)

    def test_an_old_backend(self) -> None:
        """HTTP/1.0."""
        slot = self.slots[0]
        backend = self.request()
        backend.deliver(OK.replace(b"HTTP/1.1", b"HTTP/1.0"))
        backend.end()
        self.clock.advance(0)
        self.assertEqual((slot.taken(), slot.lost, backend.lost), (OK, False, True))

    def test_an_answer_that_ends_with_the_connection(self) -> None:
        slot = self.slots[0]
        backend = self.request()
        backend.deliver(b"HTTP/1.0 200 OK\r\n\r\nuntil ")
        backend.deliver(b"the end")
        self.assertTrue(slot.taken().endswith(b"chunked\r\n\r\n6\r\nuntil \r\n7\r\nthe end\r\n"))
        backend.end()
        self.clock.advance(0)
        self.assertEqual((slot.taken(), slot.half_closed, slot.lost, backend.lost), (b"0\r\n\r\n", False, False, True))

    def test_the_same_for_a_proxy_that_closes(self) -> None:
        """Nothing is rewritten: the slot ends with the answer."""
        slot = self.slots[0]
        for answer in (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", CLOSE):
            slot = self.slots[0]
            slot.clear()
            backend = self.request(b"GET / HTTP/1.0\r\n\r\n")
            backend.deliver(answer)
            backend.end()
            self.assertEqual((slot.taken(), slot.half_closed, slot.aborted), (answer, True, False))
            slot.end()
            self.clock.advance(0)
            self.assertTrue(slot.lost)
        self.assertEqual(len(self.slots), 2)

    def test_an_answer_that_is_cut_does_not_look_whole(self) -> None:
        for request, answer, reset in (
            (b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nuntil the e", True),
            (GET, b"HTTP/1.1 200 OK\r\n\r\nuntil the e", False),
            (GET, OK[:-1], False),
            (GET, OK[:9], False),
        ):
            slot = self.slots[0]
            backend = self.request(request)
            backend.deliver(answer)
            backend.lose(ConnectionLost())
            self.assertEqual((slot.aborted, slot.half_closed), (reset, not reset))
            self.assertFalse(slot.taken().endswith(b"0\r\n\r\n"))
            slot.lose()

    def test_no_answer(self) -> None:
        """The backend had the request, and closed: nobody knows what it did with it, so no closing response."""
        for end in ("end", "lose"):
            slot = self.slots[0]
            backend = self.request()
            getattr(backend, end)()
            self.assertEqual((slot.taken()[-4:], slot.half_closed, len(self.backend.wires)), (b"", True, 1))
            slot.end()
            self.clock.advance(0)
            self.assertTrue(slot.lost)
            self.backend.wires.clear()
            for fresh in self.slots:
                fresh.clear()

    def test_the_proxy_gives_up(self) -> None:
        """It closes in the middle of an exchange: the backend is told by a reset, whatever it is doing."""
        slot = self.slots[0]
        backend = self.request()
        slot.end()
        self.clock.advance(0)
        self.assertEqual((slot.lost, backend.aborted), (True, True))
        self.assertEqual(len(self.slots), 2)

    def test_the_proxy_closes_a_kept_slot(self) -> None:
        """The backend's connection is for any slot."""
        slot = self.slots[0]
        backend = self.request()
        backend.deliver(OK)
        slot.end()
        self.clock.advance(0)
        self.assertEqual((slot.lost, backend.aborted, backend.lost, backend.producer), (True, False, False, None))
        self.assertIs(self.request(), backend)

    def test_the_proxy_gives_up_while_the_backend_is_connected(self) -> None:
        self.backend.mode = "pend"
        self.slots[0].deliver(GET)
        self.slots[0].lose()
        self.assertEqual(self.backend.cancelled, 1)
        self.assertTrue(self.service.serving)

    def test_tunnels_are_closed_by_halves(self) -> None:
        slot = self.slots[0]
        backend = self.request()
        backend.deliver(UPGRADE)
        slot.end()
        self.assertEqual((backend.half_closed, backend.lost, slot.lost), (True, False, False))
        backend.deliver(b"still")
        self.assertTrue(slot.taken().endswith(b"still"))
        backend.end()
        self.clock.advance(0)
        self.assertEqual((slot.lost, slot.aborted, backend.lost, backend.aborted), (True, False, True, False))

    def test_the_other_half_first(self) -> None:
        slot = self.slots[0]
        backend = self.request()
        backend.deliver(UPGRADE)
        backend.end()
        self.assertEqual((slot.half_closed, slot.lost, backend.lost), (True, False, False))
        backend.clear()
        slot.deliver(b"still")
        self.assertEqual(backend.taken(), b"still")
        slot.end()
        self.clock.advance(0)
        self.assertEqual((slot.lost, slot.aborted, backend.lost, backend.aborted), (True, False, True, False))

    def test_half_closed_and_silent(self) -> None:
        slot = self.slots[0]
        backend = self.request()
        backend.deliver(UPGRADE)
        slot.end()
        self.clock.advance(HALF_CLOSED_S - 1)
        backend.deliver(b"a sign of life")
        self.clock.advance(HALF_CLOSED_S - 1)
        self.assertFalse(slot.lost)
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertEqual((slot.lost, backend.aborted), (True, True))

    def test_a_tunnel_whose_backend_closed_first(self) -> None:
        """What the client still sends meets a reset: what the backend said before is not lost by that."""
        slot = self.slots[0]
        backend = self.request()
        backend.deliver(UPGRADE + b"good bye")
        backend.end()
        slot.deliver(b"still")
        backend.lose(ConnectionLost())
        self.assertEqual((slot.taken(), slot.half_closed, slot.aborted), (UPGRADE + b"good bye", True, False))
        slot.end()
        self.clock.advance(0)
        self.assertTrue(slot.lost)


class EarlyTests(RelayTestCase):
    """The backend answers before it has the whole request."""

    def test_and_closes(self) -> None:
        """The proxy gets the answer, and can say the rest of its request to nobody."""
        slot = self.slots[0]
        backend = self.request(UPLOAD)
        assert backend.producer is not None
        backend.producer.pauseProducing()
        backend.deliver(TOO_LARGE)
        self.assertEqual(slot.taken(), TOO_LARGE.replace(b"Connection: close\r\n", b""))
        self.assertEqual((backend.aborted, slot.producerState, slot.producer), (True, "producing", None))
        backend.clear()
        slot.deliver(b"x" * 45)
        self.assertEqual((backend.taken(), slot.lost, slot.half_closed), (b"", False, False))
        again = self.request()
        self.assertIsNot(again, backend)
        self.assertEqual(again.taken(), GET)

    def test_the_next_request_in_the_same_piece(self) -> None:
        """For the proxy the exchange is over; it does not wait until the rest is read."""
        slot = self.slots[0]
        self.request(UPLOAD).deliver(TOO_LARGE)
        slot.clear()
        again = self.request(b"x" * 45 + GET)
        self.assertEqual(again.taken(), GET)
        again.deliver(OK)
        self.assertEqual(slot.taken(), OK)

    def test_and_reads_on(self) -> None:
        """It gets the rest; but its connection is not trusted with another request."""
        slot = self.slots[0]
        backend = self.request(UPLOAD)
        backend.deliver(OK)
        self.assertEqual(slot.taken(), OK)
        backend.clear()
        slot.deliver(b"x" * 45 + GET)
        self.assertEqual((backend.taken(), backend.disconnecting), (b"x" * 45, True))
        self.assertEqual(self.backend.wires[-1].taken(), GET)

    def test_and_ends_in_the_meantime(self) -> None:
        for end in ("end", "lose"):
            slot = self.slots[0]
            backend = self.request(UPLOAD)
            backend.deliver(OK)
            getattr(backend, end)()
            slot.deliver(b"x" * 45)
            self.assertEqual((slot.taken()[-len(OK) :], slot.lost, slot.half_closed), (OK, False, False))

    def test_the_proxy_leaves(self) -> None:
        """As it does when it has the answer and not sent everything."""
        slot = self.slots[0]
        backend = self.request(UPLOAD)
        backend.deliver(OK)
        slot.end()
        self.clock.advance(0)
        self.assertEqual((slot.lost, backend.aborted), (True, True))

    def test_a_slow_proxy_gets_everything(self) -> None:
        """A slot that ends waits for as long as its last bytes move."""
        waiting = [3000, 2000, 1000, 1000]
        self.patch(linger, "unacknowledged_bytes", lambda transport: waiting.pop(0))
        slot = self.slots[0]
        backend = self.request(b"GET / HTTP/1.0\r\n\r\n")
        backend.deliver(CLOSE)
        for _ in range(2):
            self.clock.advance(LINGER_S)
            self.assertFalse(slot.aborted)
        self.clock.advance(LINGER_S)
        self.assertTrue(slot.aborted)
