"""How slots are closed: politely when idle, after the response when a request runs, by a reset when it takes too long."""

from __future__ import annotations

from typing import Any, List

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import TestCase

from tests.doubles.dialling import GET, SLOW, HalfRecorder, MemoryAcceptor, PortTestCase, Recorders
from xproxy.service.endpoint import SlotsServerEndpoint
from xproxy.service.linger import LINGER_S
from xproxy.slots.serving.goodbye import CLOSING_RESPONSE


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
