"""The relay: a backend behind slots. In memory first, then with real servers."""

from __future__ import annotations

from typing import Any, List

from twisted.internet import reactor as _reactor
from twisted.internet.defer import gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, clientFromString
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase
from twisted.web.server import Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.doubles.dialling import GET, Hello, MemoryAcceptor, Wire
from tests.doubles.parking import Parking
from tests.doubles.programs import ProgramTestCase
from xproxy.service.endpoint import SlotsServerEndpoint
from xproxy.service.relay import HALF_CLOSED_S, BackendSide, RelayFactory
from xproxy.service.relay_service import RelayService
from xproxy.slots.goodbye import CLOSING_RESPONSE

reactor: Any = _reactor

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
OLD = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"


class RelayTestCase(TestCase):
    """A relay between two memory ends: ``slots`` are the acceptor's, ``backends`` the connections to the backend."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.acceptor = MemoryAcceptor(self.clock)
        self.backend = MemoryAcceptor(self.clock)
        endpoint = SlotsServerEndpoint(self.clock, self.acceptor, 2)
        self.service = RelayService(self.clock, self.backend, [endpoint], "backend", delay=lambda attempt: 4.0)
        self.service.startService()
        self.clock.advance(0)  # The probe closes.
        self.backend.wires.clear()
        for wire in self.slots:
            wire.clear()

    @property
    def slots(self) -> List[Wire]:
        return self.acceptor.open

    def request(self, data: bytes = GET) -> Wire:
        """Send a request on the first slot; the backend connection that gets it."""
        self.slots[0].deliver(data)
        return self.backend.wires[-1]


class PassingTests(RelayTestCase):
    """Bytes from one to the other."""

    def test_interfaces(self) -> None:
        relay = RelayFactory(self.clock, self.backend, lambda failure: None).buildProtocol(None)
        self.assertTrue(verifyObject(IHalfCloseableProtocol, relay))
        self.assertTrue(verifyObject(IHalfCloseableProtocol, BackendSide(relay)))

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
        """Between requests: the slot stays, the next request gets a new connection."""
        slot = self.slots[0]
        backend = self.request()
        backend.deliver(OK)
        backend.end()
        self.clock.advance(0)
        self.assertEqual((backend.lost, slot.lost, slot.producer), (True, False, None))
        again = self.request()
        self.assertIsNot(again, backend)
        self.assertEqual(again.taken(), GET)

    def test_the_backend_resets_between_requests(self) -> None:
        slot = self.slots[0]
        backend = self.request()
        backend.deliver(OK)
        assert backend.producer is not None
        backend.producer.pauseProducing()
        backend.lose(ConnectionLost())
        self.assertEqual((slot.lost, slot.producerState), (False, "producing"))
        self.assertEqual(self.request().taken(), GET)

    def test_an_old_backend(self) -> None:
        """HTTP/1.0: the answer says that the connection ends, so the slot does, after what was written."""
        slot = self.slots[0]
        backend = self.request()
        backend.deliver(OLD)
        backend.end()
        self.clock.advance(0)
        self.assertEqual((slot.taken(), slot.disconnecting, slot.aborted, slot.lost), (OLD, True, False, True))
        self.assertEqual(len(self.slots), 2)
        self.assertTrue(backend.lost)

    def test_an_answer_that_ends_with_the_connection(self) -> None:
        slot = self.slots[0]
        backend = self.request()
        backend.deliver(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        backend.end()
        self.assertEqual((slot.half_closed, slot.lost), (True, False))
        slot.end()
        self.clock.advance(0)
        self.assertTrue(slot.lost)
        self.assertTrue(backend.aborted)
        self.assertEqual(len(self.slots), 2)

    def test_an_answer_that_is_cut_does_not_look_whole(self) -> None:
        slot = self.slots[0]
        backend = self.request()
        backend.deliver(b"HTTP/1.1 200 OK\r\n\r\nuntil the e")
        backend.lose(ConnectionLost())
        self.assertTrue(slot.aborted)

    def test_no_answer(self) -> None:
        """The backend had the request, and closed: nobody knows what it did with it, so no closing response."""
        slot = self.slots[0]
        backend = self.request()
        backend.lose()
        self.clock.advance(0)
        self.assertEqual((slot.taken(), slot.lost), (b"", True))

    def test_the_proxy_gives_up(self) -> None:
        """It closes in the middle of an exchange: the backend is told by a reset, whatever it is doing."""
        slot = self.slots[0]
        backend = self.request()
        slot.end()
        self.clock.advance(0)
        self.assertEqual((slot.lost, backend.aborted), (True, True))
        self.assertEqual(len(self.slots), 2)

    def test_the_proxy_closes_a_kept_slot(self) -> None:
        slot = self.slots[0]
        backend = self.request()
        backend.deliver(OK)
        slot.end()
        self.clock.advance(0)
        self.assertEqual((slot.lost, backend.aborted, backend.lost, backend.producer), (True, False, True, None))

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

    def test_an_early_answer(self) -> None:
        """The backend answers before it has the whole request, and closes."""
        slot = self.slots[0]
        backend = self.request(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello")
        backend.deliver(OK)
        backend.end()
        self.clock.advance(0)
        self.assertEqual((slot.taken(), slot.lost), (OK, True))


class UnreachableTests(RelayTestCase):
    """A dead service is a closed socket."""

    def test_the_request_is_given_back(self) -> None:
        slot, other = self.slots
        self.backend.mode = "refuse"
        slot.deliver(GET)
        self.assertEqual((slot.taken(), slot.half_closed), (CLOSING_RESPONSE, True))
        self.assertEqual((other.taken(), other.half_closed), (CLOSING_RESPONSE, True))
        self.assertFalse(self.service.serving)

    def test_no_slots_until_it_answers(self) -> None:
        self.backend.mode = "refuse"
        slots = self.slots
        slots[0].deliver(GET)
        for slot in slots:
            slot.end()
        attempts = self.backend.attempts
        self.clock.advance(0)
        for _ in range(3):
            self.assertEqual(self.slots, [])
            self.clock.advance(4)
        self.assertEqual(self.backend.attempts, attempts + 3)
        self.backend.mode = "accept"
        self.clock.advance(4)
        self.clock.advance(0)
        self.assertEqual(len(self.slots), 2)
        self.assertEqual(self.backend.open, [])
        self.request().deliver(OK)
        self.assertTrue(self.slots[0].value().endswith(OK))

    def test_what_runs_goes_on(self) -> None:
        running, failing = self.slots
        backend = self.request()
        self.backend.mode = "refuse"
        failing.deliver(GET)
        failing.end()
        self.backend.mode = "accept"
        self.clock.advance(4)
        self.clock.advance(0)
        self.assertEqual(len(self.slots), 2, "what runs counts")
        backend.deliver(OK)
        self.clock.advance(0)
        self.assertEqual(running.taken(), OK + CLOSING_RESPONSE)
        running.end()
        self.clock.advance(0)
        self.assertEqual(len(self.slots), 2)

    def test_many_fail_at_once(self) -> None:
        """One wait, whoever failed."""
        self.backend.mode = "pend"
        slots = self.slots
        for slot in slots:
            slot.deliver(GET)
        for pending in self.backend.pending:
            pending.errback(ConnectionLost())
        self.assertEqual([slot.taken() for slot in slots], [CLOSING_RESPONSE] * 2)
        self.assertEqual(self.service._failures, 1)


class ServiceTests(TestCase):
    """Start and stop."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.acceptor = MemoryAcceptor(self.clock)
        self.backend = MemoryAcceptor(self.clock)
        endpoints = [SlotsServerEndpoint(self.clock, self.acceptor, 2) for _ in range(2)]
        self.service = RelayService(self.clock, self.backend, endpoints, "backend", delay=lambda attempt: 4.0)

    def test_no_slots_before_the_backend_answers(self) -> None:
        self.backend.mode = "refuse"
        self.service.startService()
        self.clock.advance(3)
        self.assertEqual((self.acceptor.attempts, self.backend.attempts), (0, 1))
        self.backend.mode = "accept"
        self.clock.advance(1)
        self.assertEqual(len(self.acceptor.open), 4)

    def test_stop(self) -> None:
        self.service.startService()
        self.clock.advance(0)
        stopped = self.service.stopService()
        for wire in self.acceptor.open:
            self.assertTrue(wire.value().endswith(CLOSING_RESPONSE))
            self.assertNoResult(stopped)
            wire.end()
            self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_while_probing(self) -> None:
        self.backend.mode = "pend"
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.assertEqual((self.backend.cancelled, self.clock.getDelayedCalls()), (1, []))

    def test_stop_while_waiting(self) -> None:
        self.backend.mode = "refuse"
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Lines(Protocol):
    """Answers each read with an HTTP response of many bytes."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(200):
            self.transport.write(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        self.transport.write(b"0\r\n\r\n")


@implementer(IHalfCloseableProtocol)
class Upper(Protocol):
    """Answers with an upgrade; then with capitals when the other side has ended."""

    transport: Any
    received = b""

    def dataReceived(self, data: bytes) -> None:
        if not self.received:
            self.transport.write(UPGRADE)
        self.received += data

    def readConnectionLost(self) -> None:
        self.transport.write(self.received.partition(b"\r\n\r\n")[2].upper())
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass


class RealTests(ProgramTestCase):
    """On real sockets."""

    timeout = 40

    async def listen(self, factory: Any) -> Any:
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(maybeDeferred, port.stopListening)
        return port

    async def park(self) -> Parking:
        self.parking = Parking()
        self.slots_port = await self.listen(self.parking)
        self.addCleanup(self.parking.closed)
        return self.parking

    async def relay(self, factory: Any, count: int) -> Parking:
        """A backend of this factory behind slots."""
        backend = (await self.listen(factory)).getHost().port
        parking = await self.park()
        slots = clientFromString(reactor, f"tcp:127.0.0.1:{self.slots_port.getHost().port}")
        service = RelayService(
            reactor,
            clientFromString(reactor, f"tcp:127.0.0.1:{backend}"),
            [SlotsServerEndpoint(reactor, slots, count)],
            "backend",
        )
        service.startService()
        self.addCleanup(service.stopService)
        await parking.filled(count)
        return parking

    async def test_keep_alive_and_chunked(self) -> None:
        resource = Hello()
        parking = await self.relay(Site(resource), 2)
        slot = parking.parked[0]
        for _ in range(3):
            head, body = await slot.request(GET)
            self.assertEqual((head.status, body), (200, b"hello"))
        slow = slot.request(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        while not resource.waiting:
            await deferLater(reactor, 0)
        for piece in (b"one", b"two"):
            resource.waiting[0].write(piece)
        resource.waiting[0].finish()
        head, body = await slow
        self.assertEqual((head.fields.chunked, body), (True, b"onetwo"))

    async def test_much(self) -> None:
        """More than all buffers on the way."""
        parking = await self.relay(Factory.forProtocol(Lines), 1)
        (slot,) = parking.parked
        for _ in range(2):
            head, body = await slot.request(GET)
            self.assertEqual((head.status, len(body)), (200, 2_000_000))

    async def test_half_close(self) -> None:
        parking = await self.relay(Factory.forProtocol(Upper), 1)
        (slot,) = parking.parked
        slot.transport.write(GET)
        await parking.until(lambda: slot.received == UPGRADE)
        slot.transport.write(b"abc")
        slot.transport.loseWriteConnection()
        await parking.until(lambda: slot.received == UPGRADE + b"ABC")
        await slot.gone()

    async def test_programs(self) -> None:
        """``python -m http.server`` behind ``twistd xrelay``; then it dies, and comes back."""
        self.write("page.html", "<p>hello</p>")
        (self.folder / "large").write_bytes(b"x" * 3_000_000)
        free = await self.listen(Factory.forProtocol(Protocol))
        port = free.getHost().port
        await free.stopListening()
        parking = await self.park()
        slots = f"slots:tcp:127.0.0.1:{self.slots_port.getHost().port}:count=3:pool=files"
        relay = self.start("-m", "twisted", "xrelay", "--backend", f"tcp:127.0.0.1:{port}", "--slots", slots)
        server = self.start("-m", "http.server", "--bind", "127.0.0.1", str(port))
        await parking.filled(3)
        for _ in range(3):
            for head, body in await gatherResults(
                [slot.request(b"GET /page.html HTTP/1.1\r\nHost: a\r\n\r\n") for slot in await parking.filled(3)]
            ):
                self.assertEqual((head.status, body), (200, b"<p>hello</p>"))
        (slot, *_) = await parking.filled(3)
        head, body = await slot.request(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual((head.status, len(body)), (200, 3_000_000))
        slots_left = await parking.filled(3)
        await server.terminate()
        for head, _ in await gatherResults([slots_left[0].request(GET), *(slot.response() for slot in slots_left[1:])]):
            self.assertEqual((head.status, head.slot_closing), (503, True))
        await gatherResults([slot.gone() for slot in slots_left])
        self.assertEqual(parking.parked, [])
        self.start("-m", "http.server", "--bind", "127.0.0.1", str(port))
        (slot, *others) = await parking.filled(3)
        head, body = await slot.request(b"GET /page.html HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual((head.status, body), (200, b"<p>hello</p>"))
        ended = relay.terminate()
        head, _ = await others[0].response()
        self.assertTrue(head.slot_closing)
        await ended
        self.assertNotIn("Traceback", relay.text())
