"""An acceptor that refuses a slot says why: in the log, not as a request for the protocol that serves."""

from __future__ import annotations

from typing import Any, List

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.dialling import GET, HalfRecorder, PortTestCase, Recorders, Wire
from tests.doubles.relaying import RelayTestCase
from xproxy.service.linger import LINGER_S
from xproxy.slots.serving.goodbye import CLOSING_RESPONSE
from xproxy.slots.serving.unasked import MAX_REASON_CHARACTERS, MAX_REFUSAL_BYTES, refusal_reason

TOKEN = "its token is not the pool's"
REFUSAL = (
    b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 28\r\n\r\n"
    + TOKEN.encode()
    + b"\n"
)


class WordsTests(SynchronousTestCase):
    """One line, bounded, whatever was sent."""

    def test_refusals(self) -> None:
        refused = "refused by the acceptor: "
        for response, words in (
            (REFUSAL, refused + TOKEN),
            (REFUSAL[:-10], refused + TOKEN[:-9]),
            (REFUSAL[:30], refused + "it does not say why"),
            (b"HTTP/1.1 403 Forbidden\r\n\r\na\r\nb\x00\xff\x1b[1mc", refused + "a b [1mc"),
            (b"HTTP/1.1 403 Forbidden\r\n\r\n" + b"x" * 4000, refused + "x" * MAX_REASON_CHARACTERS),
        ):
            self.assertEqual(refusal_reason(response), words)

    def test_others(self) -> None:
        for response in (
            b"HTTP/1.1 400 Bad Request\r\nX: y\r\n\r\n<html>",
            b"HTTP/1.1 400 Bad Request",
            b"HTTP/1.1 400 Bad Request\n",
        ):
            said = "answered by an HTTP server, not an acceptor: HTTP/1.1 400 Bad Request"
            self.assertEqual(refusal_reason(response), said)
        self.assertLess(len(refusal_reason(b"HTTP/1." + b"x" * 4000)), 300)


class RefusedTests(PortTestCase):
    """At the endpoint."""

    def setUp(self) -> None:
        super().setUp()
        self.events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.factory = Recorders()

    def refuse(self, wire: Wire, pieces: List[bytes]) -> None:
        """The acceptor sends these, and closes."""
        for piece in pieces:
            wire.deliver(piece)
        wire.end()
        self.clock.advance(0)

    def warned(self) -> List[Any]:
        return [event["why"] for event in self.events if event["log_level"].name == "warn"]

    def test_every_split(self) -> None:
        for at in range(1, len(REFUSAL)):
            self.setUp()
            self.listen(self.factory)
            self.refuse(self.acceptor.wires[0], [REFUSAL[:at], REFUSAL[at:]])
            self.assertEqual(self.warned()[-1:], [f"refused by the acceptor: {TOKEN}"])
            self.assertEqual(self.factory.built[0].received, b"")

    def test_logged_once(self) -> None:
        """Not for each slot, nor each time it is dialled again."""
        self.listen(self.factory, 8)
        for _ in range(600):
            for wire in self.acceptor.open:
                self.refuse(wire, [REFUSAL])
            self.clock.advance(0.1)
        self.assertEqual(self.warned(), [f"refused by the acceptor: {TOKEN}"])
        self.assertLess(self.acceptor.attempts, 20)
        self.assertEqual(b"".join(protocol.received for protocol in self.factory.built), b"")

    def test_no_goodbye(self) -> None:
        """The acceptor is told nothing, but that we close."""
        self.listen(self.factory)
        (wire,) = self.acceptor.wires
        wire.clear()
        wire.deliver(REFUSAL)
        self.assertEqual((wire.taken(), wire.half_closed, wire.lost), (b"", True, False))
        self.assertIsNotNone(self.factory.built[0].lost)

    def test_it_does_not_close(self) -> None:
        """Nor does it come to an end."""
        self.listen(self.factory)
        (wire,) = self.acceptor.wires
        for _ in range(1000):
            wire.deliver(REFUSAL)
        self.assertEqual(len(wire.protocol.end._response.said), MAX_REFUSAL_BYTES)
        self.clock.advance(LINGER_S)
        self.assertTrue(wire.aborted)

    def test_of_a_slot_that_had_worked(self) -> None:
        """The acceptor has changed its mind: no reason to dial it without a wait."""
        (wire,) = self.fresh()
        wire.deliver(GET)
        self.clock.advance(100)
        self.refuse(wire, [REFUSAL])
        self.assertEqual((len(self.acceptor.open), self.warned()), (0, [f"refused by the acceptor: {TOKEN}"]))

    def test_of_some(self) -> None:
        """Those that stay are not touched."""
        self.listen(self.factory, 2)
        one, other = self.acceptor.wires
        self.refuse(one, [REFUSAL])
        self.assertEqual((other.lost, other.half_closed), (False, False))

    def test_requests_begin_otherwise(self) -> None:
        """In any pieces, they get through whole."""
        for request in (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP / HTTP/1.1\r\nHost: a\r\n\r\n"):
            for at in range(1, 10):
                self.factory = Recorders()
                self.listen(self.factory)
                wire = self.acceptor.wires[-1]
                wire.deliver(request[:at])
                wire.deliver(request[at:])
                self.assertEqual(self.factory.built[0].received, request)
                self.assertFalse(wire.half_closed)

    def test_within_a_request(self) -> None:
        """A body may begin as it likes."""
        self.listen(self.factory)
        (wire,) = self.acceptor.wires
        wire.deliver(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n")
        wire.deliver(REFUSAL)
        self.assertTrue(self.factory.built[0].received.endswith(REFUSAL))

    def test_half_closing_protocols(self) -> None:
        self.factory = Recorders(HalfRecorder)
        self.listen(self.factory)
        self.refuse(self.acceptor.wires[0], [REFUSAL])
        self.assertEqual((self.factory.built[0].ends, self.acceptor.wires[0].lost), ([], True))
        self.assertEqual(self.warned(), [f"refused by the acceptor: {TOKEN}"])

    def test_the_goodbye_of_an_acceptor(self) -> None:
        """A 503 is no 403, and no request either."""
        self.listen(self.factory)
        self.refuse(self.acceptor.wires[0], [CLOSING_RESPONSE])
        self.assertEqual(self.factory.built[0].received, b"")
        self.assertIn("503 Service Unavailable", self.warned()[0])


class RefusedRelayTests(RelayTestCase):
    """At the relay: the backend hears nothing of it."""

    def test_refused(self) -> None:
        events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        for wire in self.slots:
            wire.deliver(REFUSAL)
            wire.end()
        self.clock.advance(0)
        self.assertEqual(self.backend.wires, [])
        warned = [event["why"] for event in events if event["log_level"].name == "warn"]
        self.assertEqual(warned, [f"refused by the acceptor: {TOKEN}"])
