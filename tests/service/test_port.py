"""The port: slots that are registered, served, dialled again, and closed politely. In memory."""

from __future__ import annotations

from typing import Any, List, Optional

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.service.doubles import ACCEPTOR, HERE, MemoryAcceptor, Wire
from xproxy.service.endpoint import MAX_COUNT, SlotsServerEndpoint
from xproxy.service.port import SlotsPort
from xproxy.service.slot import CLOSING_RESPONSE, LINGER_S
from xproxy.slots.registration import RegistrationParser

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"


class Hello(Resource):
    """``/`` answers at once, ``/slow`` when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: List[Request] = []
        self.gone: List[Failure] = []

    def getChild(self, path: bytes, request: Request) -> Resource:
        return self

    def render_GET(self, request: Request) -> Any:
        if request.path != b"/slow":
            request.setHeader(b"content-length", b"5")
            return b"hello"
        self.waiting.append(request)
        request.notifyFinish().addErrback(self.gone.append)
        return NOT_DONE_YET


class Recorder(Protocol):
    """A raw protocol that notes what happens to it."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.lost: Optional[Failure] = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert self.lost is None
        self.lost = reason


@implementer(IHalfCloseableProtocol)
class HalfRecorder(Recorder):
    """One that wants to hear of half-closed connections."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: List[str] = []

    def readConnectionLost(self) -> None:
        self.ends.append("read")

    def writeConnectionLost(self) -> None:
        self.ends.append("write")


class Recorders(Factory):
    """Notes its protocols, and how often it was started and stopped."""

    noisy = False

    def __init__(self, kind: Any = Recorder) -> None:
        self.kind = kind
        self.built: List[Any] = []
        self.calls: List[str] = []

    def startFactory(self) -> None:
        self.calls.append("start")

    def stopFactory(self) -> None:
        self.calls.append("stop")

    def buildProtocol(self, addr: Any) -> Any:
        self.address = addr
        protocol = self.kind()
        self.built.append(protocol)
        return protocol


class PortTestCase(TestCase):
    """A port with slots at a memory acceptor."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.acceptor = MemoryAcceptor(self.clock)

    def listen(self, factory: Any, count: int = 1, **settings: Any) -> SlotsPort:
        endpoint = SlotsServerEndpoint(self.clock, self.acceptor, count, **settings)
        port: Any = self.successResultOf(endpoint.listen(factory))
        return port

    def site(self) -> Site:
        self.resource = Hello()
        return Site(self.resource, reactor=self.clock)

    def fresh(self, count: int = 1, **settings: Any) -> List[Wire]:
        """The wires of a site's slots, their registration taken."""
        self.port = self.listen(self.site(), count, **settings)
        for wire in self.acceptor.wires:
            wire.clear()
        return list(self.acceptor.wires)


class ListenTests(PortTestCase):
    """The interfaces, and what is sent first."""

    def test_interfaces(self) -> None:
        endpoint = SlotsServerEndpoint(self.clock, self.acceptor, 3, description="tcp:a:1")
        self.assertTrue(verifyObject(IStreamServerEndpoint, endpoint))
        port: Any = self.successResultOf(endpoint.listen(Recorders()))
        self.assertTrue(verifyObject(IListeningPort, port))
        self.assertTrue(verifyObject(IAddress, port.getHost()))
        self.assertEqual((port.getHost().acceptor, port.getHost().count), ("tcp:a:1", 3))

    def test_registration_of_all_slots(self) -> None:
        self.listen(Recorders(), 3, pool="api", token="s3cret")
        said = []
        for wire in self.acceptor.wires:
            found = RegistrationParser("proxy").feed(wire.value())
            assert found is not None
            registration, rest = found
            self.assertEqual((registration.pool, registration.token, rest), ("api", b"s3cret", b""))
            said.append(registration.instance)
        self.assertEqual(len(said), 3)
        self.assertEqual(len(set(said)), 1)

    def test_two_endpoints_are_two_instances(self) -> None:
        self.listen(Recorders())
        self.listen(Recorders())
        one, two = (wire.value() for wire in self.acceptor.wires)
        self.assertNotEqual(one, two)

    def test_addresses(self) -> None:
        factory = Recorders()
        self.listen(factory)
        transport = factory.built[0].transport
        self.assertEqual((transport.getHost(), transport.getPeer(), factory.address), (HERE, ACCEPTOR, ACCEPTOR))

    def test_no_acceptor_yet(self) -> None:
        """listen() does not wait for it."""
        self.acceptor.mode = "refuse"
        self.listen(Recorders(), 4)
        self.assertEqual((self.acceptor.attempts, self.acceptor.wires), (1, []))
        self.acceptor.mode = "accept"
        self.clock.pump([0.1] * 30)
        self.assertEqual(len(self.acceptor.open), 4)

    def test_counts(self) -> None:
        for count in (0, -1, MAX_COUNT + 1):
            with self.assertRaisesRegex(ValueError, "count="):
                SlotsServerEndpoint(self.clock, self.acceptor, count)

    def test_drain_timeouts(self) -> None:
        for seconds in (-1.0, float("inf"), float("nan")):
            with self.assertRaisesRegex(ValueError, "drain="):
                SlotsServerEndpoint(self.clock, self.acceptor, 1, drain_timeout_s=seconds)

    def test_factory_is_started_once(self) -> None:
        factory = Recorders()
        port = self.listen(factory, 3)
        port.startListening()
        self.acceptor.wires[0].lose()
        self.assertEqual(factory.calls, ["start"])
        port.stopListening()
        self.clock.advance(LINGER_S)
        self.clock.advance(0)
        self.assertEqual(factory.calls, ["start", "stop"])

    def test_a_factory_without_a_protocol(self) -> None:
        """The slot is closed, and not dialled in a loop."""
        self.listen(Recorders(lambda: None))
        self.clock.pump([0.1] * 50)
        self.assertEqual(self.acceptor.wires, [])
        self.assertTrue(2 <= self.acceptor.attempts < 10, self.acceptor.attempts)

    def test_a_protocol_that_cannot_be_set_up(self) -> None:
        class Broken(Recorder):
            def connectionMade(self) -> None:
                raise ZeroDivisionError("broken")

        factory = Recorders(Broken)
        self.listen(factory)
        self.clock.advance(0)
        self.assertTrue(self.acceptor.wires[0].aborted)
        self.assertIsNotNone(factory.built[0].lost)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.acceptor.attempts, 1)


class ServingTests(PortTestCase):
    """A twisted.web site on slots."""

    def test_request_after_request(self) -> None:
        (wire,) = self.fresh()
        for _ in range(5):
            wire.deliver(GET)
            answer = wire.taken()
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)
            self.assertTrue(answer.endswith(b"\r\n\r\nhello"), answer)
        self.assertEqual(self.acceptor.attempts, 1)

    def test_a_slot_waits_for_as_long_as_it_takes(self) -> None:
        """The site's own timeout is for clients that say nothing; waiting is what a slot is for."""
        (wire,) = self.fresh()
        wire.deliver(GET)
        self.clock.pump([30] * 100)
        self.assertEqual((wire.lost, self.acceptor.attempts), (False, 1))

    def test_raw_factory(self) -> None:
        factory = Recorders()
        self.listen(factory)
        wire = self.acceptor.wires[0]
        wire.taken()
        wire.deliver(b"a")
        wire.deliver(b"b")
        self.assertEqual(factory.built[0].received, b"ab")
        factory.built[0].transport.writeSequence([b"c", b"d"])
        self.assertEqual(wire.taken(), b"cd")

    def test_producers_and_reading_are_the_transports(self) -> None:
        factory = Recorders()
        self.listen(factory)
        wire, transport = self.acceptor.wires[0], factory.built[0].transport
        producer = object()
        transport.registerProducer(producer, True)
        self.assertIs(wire.producer, producer)
        transport.unregisterProducer()
        transport.unregisterProducer()
        self.assertIsNone(wire.producer)
        transport.pauseProducing()
        self.assertEqual(wire.producerState, "paused")
        transport.resumeProducing()
        self.assertEqual(wire.producerState, "producing")
        transport.loseWriteConnection()
        self.assertTrue(wire.half_closed)
        transport.abortConnection()
        self.assertTrue(wire.aborted)

    def test_half_close_is_heard(self) -> None:
        factory = Recorders(HalfRecorder)
        self.listen(factory)
        wire, protocol = self.acceptor.wires[0], factory.built[0]
        wire.end()
        self.assertEqual((protocol.ends, protocol.lost), (["read"], None))
        wire.protocol.writeConnectionLost()
        self.assertEqual(protocol.ends, ["read", "write"])

    def test_half_close_of_who_does_not_hear_it(self) -> None:
        factory = Recorders()
        self.listen(factory)
        self.acceptor.wires[0].end()
        self.assertIsNotNone(factory.built[0].lost)


class RedialTests(PortTestCase):
    """What is dialled again, and when."""

    def test_after_a_request_at_once(self) -> None:
        wire, _ = self.fresh(2)
        wire.deliver(GET)
        wire.lose()
        self.assertEqual(len(self.acceptor.open), 2)

    def test_after_a_while_at_once(self) -> None:
        """Nothing was asked of it, but it was not refused."""
        wire, _ = self.fresh(2)
        self.clock.advance(1)
        wire.lose()
        self.assertEqual(len(self.acceptor.open), 2)

    def test_closed_without_a_request(self) -> None:
        wire, _ = self.fresh(2)
        self.clock.advance(0.9)
        wire.lose(ConnectionLost())
        self.assertEqual(len(self.acceptor.open), 1)
        self.clock.advance(0.5)
        self.assertEqual(len(self.acceptor.open), 2)

    def test_always_closed_without_a_request(self) -> None:
        self.port = self.listen(self.site(), 10)
        for _ in range(600):
            for wire in self.acceptor.open:
                wire.lose()
            self.clock.advance(0.1)
        self.assertLess(self.acceptor.attempts, 25)

    def test_an_http_server_is_no_acceptor(self) -> None:
        """It answers the registration with an error, and closes: bytes, but no request."""
        self.port = self.listen(self.site(), 1)
        for _ in range(600):
            for wire in self.acceptor.open:
                wire.deliver(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                wire.lose()
            self.clock.advance(0.1)
        self.assertLess(self.acceptor.attempts, 12)


class PoliteClosingTests(PortTestCase):
    """stopListening()."""

    def test_idle(self) -> None:
        wires = self.fresh(3)
        stopped = self.port.stopListening()
        for wire in wires:
            self.assertEqual(wire.taken(), CLOSING_RESPONSE)
            self.assertTrue(wire.half_closed)
            self.assertFalse(wire.lost or wire.disconnecting)
            self.assertNoResult(stopped)
            wire.end()
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_crosses_is_ignored(self) -> None:
        (wire,) = self.fresh()
        self.port.stopListening()
        wire.taken()
        wire.deliver(GET)
        self.assertEqual(wire.taken(), b"")

    def test_nobody_closes(self) -> None:
        (wire,) = self.fresh()
        stopped = self.port.stopListening()
        self.clock.advance(LINGER_S - 0.1)
        self.assertFalse(wire.aborted)
        self.clock.advance(0.1)
        self.assertTrue(wire.aborted)
        self.clock.advance(0)
        self.successResultOf(stopped)

    def test_kept_idle(self) -> None:
        """Idle, after it has served."""
        (wire,) = self.fresh()
        wire.deliver(GET)
        wire.taken()
        self.port.stopListening()
        self.assertEqual(wire.taken(), CLOSING_RESPONSE)

    def test_running(self) -> None:
        idle, running = self.fresh(2)
        running.deliver(SLOW)
        stopped = self.port.stopListening()
        idle.end()
        self.clock.advance(20)
        self.assertEqual((running.taken(), running.half_closed, running.lost), (b"", False, False))
        request = self.resource.waiting[0]
        request.write(b"late")
        self.clock.advance(0)
        self.assertTrue(running.taken().endswith(b"4\r\nlate\r\n"))
        self.assertFalse(running.half_closed)
        request.finish()
        self.assertEqual(running.taken(), b"0\r\n\r\n")
        self.clock.advance(0)
        self.assertEqual((running.taken(), running.half_closed), (CLOSING_RESPONSE, True))
        self.assertEqual(self.resource.gone, [])
        self.assertNoResult(stopped)
        running.end()
        self.successResultOf(stopped)

    def test_half_a_request_is_running(self) -> None:
        (wire,) = self.fresh()
        wire.deliver(GET[:10])
        stopped = self.port.stopListening()
        self.assertEqual(wire.taken(), b"")
        wire.deliver(GET[10:])
        self.assertTrue(wire.taken().endswith(b"hello"))
        self.clock.advance(0)
        self.assertEqual(wire.taken(), CLOSING_RESPONSE)
        wire.end()
        self.successResultOf(stopped)

    def test_a_response_that_says_close(self) -> None:
        """No words after the last ones."""
        (wire,) = self.fresh()
        wire.deliver(SLOW.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        stopped = self.port.stopListening()
        self.resource.waiting[0].finish()
        self.assertTrue(wire.taken().startswith(b"HTTP/1.1 200 OK"))
        self.clock.advance(0)
        self.assertEqual((wire.taken(), wire.lost), (b"", True))
        self.successResultOf(stopped)

    def test_drain_timeout(self) -> None:
        (wire,) = self.fresh(drain_timeout_s=30.0)
        wire.deliver(SLOW)
        stopped = self.port.stopListening()
        self.clock.advance(29)
        self.assertFalse(wire.aborted)
        self.clock.advance(1)
        self.assertTrue(wire.aborted, "a response that is cut must not look like a whole one")
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(len(self.resource.gone), 1)

    def test_no_drain(self) -> None:
        (wire,) = self.fresh(drain_timeout_s=0.0)
        wire.deliver(SLOW)
        stopped = self.port.stopListening()
        self.clock.advance(0)
        self.assertTrue(wire.aborted)
        self.clock.advance(0)
        self.successResultOf(stopped)

    def test_tunnels_run_until_they_are_closed(self) -> None:
        factory = Recorders()
        port = self.listen(factory)
        wire, protocol = self.acceptor.wires[0], factory.built[0]
        wire.taken()
        wire.deliver(GET)
        protocol.transport.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        stopped = port.stopListening()
        wire.deliver(b"\x81\x01a")
        protocol.transport.write(b"\x81\x01b")
        self.clock.advance(10)
        self.assertTrue(protocol.received.endswith(b"\x81\x01a"))
        self.assertTrue(wire.taken().endswith(b"\x81\x01b"))
        wire.lose()
        self.successResultOf(stopped)

    def test_raw_protocols_get_no_words(self) -> None:
        factory = Recorders()
        port = self.listen(factory, 2)
        owed, quiet = self.acceptor.wires
        for wire in (owed, quiet):
            wire.taken()
            wire.deliver(b"\x00ping\n")
        factory.built[1].transport.write(b"pong")
        stopped = port.stopListening()
        self.assertEqual((quiet.taken(), quiet.half_closed), (b"pong", True))
        self.assertFalse(owed.half_closed)
        factory.built[0].transport.write(b"pong")
        self.clock.advance(0)
        self.assertEqual((owed.taken(), owed.half_closed), (b"pong", True))
        owed.end()
        quiet.end()
        self.successResultOf(stopped)

    def test_the_protocol_is_told_once(self) -> None:
        factory = Recorders()
        port = self.listen(factory)
        wire, protocol = self.acceptor.wires[0], factory.built[0]
        port.stopListening()
        self.assertIsNotNone(protocol.lost)
        wire.taken()
        protocol.transport.write(b"x")
        protocol.transport.loseConnection()
        wire.deliver(b"y")
        self.assertEqual((wire.taken(), protocol.received, wire.disconnecting), (b"", b"", False))
        wire.end()

    def test_half_close_while_closing(self) -> None:
        factory = Recorders(HalfRecorder)
        port = self.listen(factory)
        wire = self.acceptor.wires[0]
        stopped = port.stopListening()
        wire.protocol.writeConnectionLost()
        wire.end()
        self.clock.advance(0)
        self.assertEqual(factory.built[0].ends, [])
        self.successResultOf(stopped)

    def test_what_the_protocol_left_behind(self) -> None:
        """A paused transport and a producer do not keep a slot from being closed."""
        factory = Recorders()
        port = self.listen(factory)
        wire, transport = self.acceptor.wires[0], factory.built[0].transport
        transport.registerProducer(object(), True)
        transport.pauseProducing()
        port.stopListening()
        self.assertEqual((wire.producer, wire.producerState), (None, "producing"))

        class Producer:
            stopped = False

            def stopProducing(self) -> None:
                self.stopped = True

        late = Producer()
        transport.registerProducer(late, True)
        self.assertEqual((late.stopped, wire.producer), (True, None))

    def test_connections_being_made(self) -> None:
        self.acceptor.mode = "pend"
        port = self.listen(Recorders(), 4)
        stopped = port.stopListening()
        self.assertEqual(self.acceptor.cancelled, 4)
        self.successResultOf(stopped)

    def test_made_while_we_stop(self) -> None:
        factory = Recorders()
        port = self.listen(factory, 1)
        stopped = port.stopListening()
        self.acceptor.wires[0].end()
        self.successResultOf(stopped)
        self.acceptor.accept(port._slot_factory)
        late = self.acceptor.wires[1]
        self.assertTrue(late.value().endswith(CLOSING_RESPONSE))

    def test_again_and_before(self) -> None:
        """Each call is answered."""
        port = self.listen(Recorders(), 1)
        first, second = port.stopListening(), port.stopListening()
        self.assertNoResult(first)
        self.acceptor.wires[0].end()
        self.successResultOf(first)
        self.successResultOf(second)
        self.successResultOf(port.stopListening())

    def test_withdrawn_and_offered_again(self) -> None:
        """Never more than the count, what still runs included."""
        running, idle = self.fresh(2)
        running.deliver(SLOW)
        self.port.withdraw()
        idle.end()
        self.assertEqual(self.acceptor.open, [running])
        self.clock.advance(100)
        self.port.offer()
        self.assertEqual(len(self.acceptor.open), 2)
        self.resource.waiting[0].finish()
        self.clock.advance(0)
        running.end()
        self.assertEqual(len(self.acceptor.open), 2)
        self.assertTrue(running.lost)


class ShutdownTests(TestCase):
    """Servers that never call stopListening()."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.acceptor = MemoryAcceptor(self.reactor)
        self.factory = Recorders()
        endpoint = SlotsServerEndpoint(self.reactor, self.acceptor, 2)
        self.port: Any = self.successResultOf(endpoint.listen(self.factory))

    def shut_down(self) -> Any:
        (trigger,) = self.reactor.triggers["before"]["shutdown"]
        function, args, kwargs = trigger
        return function(*args, **kwargs)

    def test_idle_slots_are_closed_politely(self) -> None:
        gone = self.shut_down()
        for wire in self.acceptor.wires:
            self.assertTrue(wire.value().endswith(CLOSING_RESPONSE))
            self.assertNoResult(gone)
            wire.end()
        self.successResultOf(gone)

    def test_running_requests_are_not_waited_for(self) -> None:
        one, two = self.acceptor.wires
        one.deliver(GET)
        gone = self.shut_down()
        two.end()
        self.successResultOf(gone)
        self.assertFalse(one.lost)

    def test_nothing_idle(self) -> None:
        for wire in self.acceptor.wires:
            wire.deliver(GET)
        self.assertIsNone(self.shut_down())

    def test_removed_when_stopped(self) -> None:
        removed: List[object] = []
        self.patch(self.reactor, "addSystemEventTrigger", lambda *args: args)
        self.patch(self.reactor, "removeSystemEventTrigger", removed.append)
        port: Any = self.successResultOf(SlotsServerEndpoint(self.reactor, self.acceptor, 1).listen(self.factory))
        stopped = port.stopListening()
        self.assertEqual(removed, [])
        self.acceptor.wires[-1].end()
        self.successResultOf(stopped)
        self.assertEqual(removed, [("before", "shutdown", port._reactor_stops)])
