"""When a relay offers slots: while its backend can be reached."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tests.doubles.dialling import GET, MemoryAcceptor
from tests.doubles.relaying import OK, RelayTestCase
from xproxy.service.endpoint import SlotsServerEndpoint
from xproxy.service.relay_service import RelayService
from xproxy.slots.serving.dialling import RECENT_DELAY_S, RECENT_S
from xproxy.slots.serving.goodbye import CLOSING_RESPONSE


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
        self.clock.pump([RECENT_DELAY_S] * int(RECENT_S / RECENT_DELAY_S))
        attempts = self.backend.attempts
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

    def test_back_soon_after_a_restart(self) -> None:
        """The backend was there a moment ago: the wait between probes does not grow, until that is a while ago."""
        self.backend.mode = "refuse"
        slots = self.slots
        slots[0].deliver(GET)
        for slot in slots:
            slot.end()
        self.clock.pump([0.1] * 200)
        self.assertEqual(self.slots, [])
        self.backend.mode = "accept"
        self.clock.advance(RECENT_DELAY_S)
        self.clock.advance(0)
        self.assertEqual(len(self.slots), 2)

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
        self.assertEqual((running.taken(), running.half_closed), (OK, False), "and is wanted again")
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


class ResizeTests(RelayTestCase):
    """How many requests the backend has at once changes."""

    def test_all_its_ports(self) -> None:
        self.service.resize(5)
        self.assertEqual((len(self.slots), self.service.ports[0].getHost().count), (5, 5))
        self.service.resize(1)
        self.assertEqual([slot.half_closed for slot in self.slots], [True] * 4 + [False])

    def test_what_runs_is_answered(self) -> None:
        running = self.slots[0]
        backend = self.request()
        self.service.resize(0)
        backend.deliver(OK)
        self.clock.advance(0)
        self.assertEqual(running.taken(), OK + CLOSING_RESPONSE)

    def test_while_the_backend_is_away(self) -> None:
        """No slot comes before it answers; then as many as were said last."""
        self.backend.mode = "refuse"
        slots = self.slots
        slots[0].deliver(GET)
        for slot in slots:
            slot.end()
        self.clock.advance(0)
        self.service.resize(3)
        self.assertEqual(self.slots, [])
        self.backend.mode = "accept"
        self.clock.advance(4)
        self.clock.advance(0)
        self.assertEqual(len(self.slots), 3)


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

    def test_stand(self) -> None:
        """For a person."""
        self.assertEqual(self.service.stand, "backend backend does not answer")
        self.service.startService()
        self.assertEqual(self.service.stand, "backend backend answers, 4 of 4 slots are there")
        self.acceptor.mode = "pend"
        self.service.resize(5)
        self.assertEqual(self.service.stand, "backend backend answers, 4 of 10 slots are there")

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
