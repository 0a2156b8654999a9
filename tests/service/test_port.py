"""The port: slots that are registered, served and dialled again. In memory."""

from __future__ import annotations

from typing import Any, List

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from zope.interface.verify import verifyObject

from tests.doubles.dialling import ACCEPTOR, GET, HERE, SLOW, HalfRecorder, PortTestCase, Recorder, Recorders, Wire
from xproxy.service.endpoint import SlotsServerEndpoint
from xproxy.service.linger import LINGER_S
from xproxy.service.port import MAX_COUNT
from xproxy.slots.preambles.registration import RegistrationParser
from xproxy.slots.serving.goodbye import CLOSING_RESPONSE


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
        self.listen(Recorders(lambda: None), random=lambda: 1.0)
        self.clock.pump([0.1] * 50)
        self.assertEqual(self.acceptor.wires, [])
        self.assertTrue(2 <= self.acceptor.attempts < 12, self.acceptor.attempts)

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


class ResizeTests(PortTestCase):
    """The number of slots changes while they are used."""

    def leaving(self) -> List[Wire]:
        return [wire for wire in self.acceptor.open if wire.half_closed]

    def test_grows(self) -> None:
        self.fresh(2)
        self.port.resize(5)
        self.assertEqual((len(self.acceptor.open), self.leaving(), self.port.getHost().count), (5, [], 5))

    def test_shrinks_idle_slots_first(self) -> None:
        one, two, three = self.fresh(3)
        one.deliver(SLOW)
        self.port.resize(1)
        self.assertEqual((two.taken(), three.taken(), one.taken()), (CLOSING_RESPONSE, CLOSING_RESPONSE, b""))
        for wire in (two, three):
            wire.end()
        self.clock.pump([0.5] * 20)
        self.assertEqual((self.acceptor.open, self.acceptor.attempts), ([one], 3))
        self.resource.waiting[0].finish()
        one.clear()
        one.deliver(GET)
        self.assertTrue(one.taken().endswith(b"hello"), "the one that is kept")

    def test_busy_ones_end_after_their_answer(self) -> None:
        wires = self.fresh(2)
        for wire in wires:
            wire.deliver(SLOW)
        self.port.resize(1)
        self.assertEqual([wire.taken() for wire in wires], [b"", b""])
        for request in self.resource.waiting:
            request.finish()
        self.clock.advance(0)
        self.assertEqual([wire.taken().endswith(CLOSING_RESPONSE) for wire in wires], [True, False])

    def test_tunnels_are_closed_last(self) -> None:
        """They may go on for hours: others are answered soon."""
        factory = Recorders()
        self.port = self.listen(factory, 2)
        for wire in self.acceptor.wires:
            wire.clear()
            wire.deliver(GET)
        tunnel, other = (protocol.transport for protocol in factory.built)
        tunnel.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        self.port.resize(1)
        other.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.clock.advance(0)
        self.assertEqual(self.leaving(), [self.acceptor.wires[1]])

    def test_a_pause(self) -> None:
        port = self.listen(Recorders(), 2)
        port.resize(0)
        for wire in self.acceptor.wires:
            self.assertTrue(wire.value().endswith(CLOSING_RESPONSE))
            wire.end()
        self.clock.pump([1.0] * 5)
        self.assertEqual((self.acceptor.open, self.clock.getDelayedCalls()), ([], []))
        port.resize(2)
        self.assertEqual(len(self.acceptor.open), 2)

    def test_the_last_of_several_holds(self) -> None:
        """What runs and was to be closed is kept; what has said goodbye counts until it is gone."""
        wires = self.fresh(4)
        wires[0].deliver(SLOW)
        for count in (0, 4, 1, 6, 3):
            self.port.resize(count)
        self.assertEqual((self.leaving(), self.acceptor.attempts), (wires[1:], 6))
        self.resource.waiting[0].finish()
        self.clock.advance(0)
        self.assertFalse(wires[0].half_closed)
        for wire in wires[1:]:
            wire.end()
        self.clock.advance(0)
        self.assertEqual((len(self.acceptor.open), self.acceptor.attempts), (3, 6))

    def test_while_dialling(self) -> None:
        self.acceptor.mode = "pend"
        port = self.listen(Recorders(), 5)
        port.resize(2)
        self.assertEqual(self.acceptor.cancelled, 3)
        port.resize(3)
        self.assertEqual(self.acceptor.attempts, 6)
        port.resize(0)
        self.assertEqual((self.acceptor.cancelled, self.clock.getDelayedCalls()), (6, []))

    def test_while_nobody_answers(self) -> None:
        """The wait goes on: another number is no reason to hammer."""
        self.acceptor.mode = "refuse"
        port = self.listen(Recorders(), 5)
        for count in (3, 8, 0, 4):
            port.resize(count)
        self.assertEqual(self.acceptor.attempts, 1)
        self.acceptor.mode = "accept"
        self.clock.pump([0.1] * 30)
        self.assertEqual(len(self.acceptor.open), 4)

    def test_a_dial_that_comes_through_too_late(self) -> None:
        """The endpoint can't stop it any more."""
        self.acceptor.mode = "pend"
        factory = Recorders()
        port = self.listen(factory, 1)
        port.resize(0)
        self.acceptor.accept(port._slot_factory)
        self.assertTrue(self.acceptor.wires[0].value().endswith(CLOSING_RESPONSE))

    def test_by_its_endpoint(self) -> None:
        endpoint = SlotsServerEndpoint(self.clock, self.acceptor, 3)
        ports: List[Any] = [self.successResultOf(endpoint.listen(Recorders())) for _ in range(2)]
        endpoint.resize(4)
        self.assertEqual(len(self.acceptor.open), 8)
        ports.append(self.successResultOf(endpoint.listen(Recorders())))
        self.assertEqual([port.getHost().count for port in ports], [4, 4, 4])

    def test_bounds(self) -> None:
        self.fresh(2)
        endpoint = SlotsServerEndpoint(self.clock, self.acceptor, 3)
        for resize in (self.port.resize, endpoint.resize):
            for count in (-1, MAX_COUNT + 1):
                with self.assertRaisesRegex(ValueError, "from 0 to 16384"):
                    resize(count)
            with self.assertRaises(TypeError):
                resize(2.5)  # type: ignore[arg-type]
        self.assertEqual((len(self.acceptor.open), endpoint.count), (2, 3))

    def test_a_port_that_stops(self) -> None:
        (wire,) = self.fresh(1)
        stopped = self.port.stopListening()
        self.port.resize(9)
        wire.end()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(self.acceptor.attempts, 1)


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
