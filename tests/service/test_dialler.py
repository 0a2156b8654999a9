"""When slots are dialled: at once, with backoff, and how many at a time."""

from __future__ import annotations

from typing import Any, Callable, List

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from xproxy.service.dialler import Dialler
from xproxy.slots.serving.dialling import (
    DIALS_AT_ONCE,
    MAX_DELAY_S,
    MAX_REASONS,
    RECENT_DELAY_S,
    RECENT_S,
    RECENTLY_SETTLED_S,
    SETTLED_S,
    jittered_backoff,
)
from xproxy.slots.serving.unasked import SlotRefused

DONE = Failure(ConnectionDone())


class Field:
    """Where a dialler dials: the test decides what becomes of each attempt."""

    def __init__(self, count: int, delay: Callable[[int], float] = lambda attempt: 2.0**attempt) -> None:
        self.clock = Clock()
        self.pending: List[Deferred[Any]] = []
        self.attempts: List[float] = []
        self.cancelled = 0
        self.refusing = False
        self.dialler = Dialler(self.clock, self.connect, count, delay, "there")

    def connect(self) -> Deferred[Any]:
        self.attempts.append(self.clock.seconds())
        if self.refusing:
            return fail(ConnectionRefusedError())
        dial: Deferred[Any] = Deferred(self.cancel)
        self.pending.append(dial)
        return dial

    def cancel(self, dial: Deferred[Any]) -> None:
        self.cancelled += 1

    def answer(self) -> None:
        """Every attempt connects, and those that follow from it too."""
        while self.pending:
            self.dialler.slot_parked()
            self.pending.pop(0).callback(object())

    def lose(self, worked: bool) -> None:
        self.dialler.slot_lost(worked, DONE)


class DialTests(TestCase):
    """Without failures."""

    def test_all_of_them(self) -> None:
        field = Field(1000)
        field.dialler.start()
        self.assertEqual(len(field.pending), DIALS_AT_ONCE)
        field.answer()
        self.assertEqual((field.dialler.plan.parked, len(field.attempts)), (1000, 1000))
        self.assertEqual(field.clock.getDelayedCalls(), [])

    def test_never_more_at_once(self) -> None:
        field = Field(100)
        field.dialler.start()
        field.dialler.slot_parked()
        field.pending.pop(0).callback(object())
        self.assertEqual(len(field.pending), DIALS_AT_ONCE)

    def test_one_that_worked_is_dialled_again_at_once(self) -> None:
        field = Field(2)
        field.dialler.start()
        field.answer()
        field.lose(worked=True)
        self.assertEqual(len(field.pending), 1)
        field.answer()
        self.assertEqual(field.dialler.plan.parked, 2)

    def test_stopping_cancels(self) -> None:
        field = Field(3)
        field.dialler.start()
        field.dialler.stop()
        self.assertEqual((field.cancelled, field.dialler.plan.dialling), (3, 0))
        self.assertEqual(field.clock.getDelayedCalls(), [])

    def test_nothing_after_stopping(self) -> None:
        field = Field(2)
        field.dialler.start()
        field.answer()
        field.dialler.stop()
        field.lose(worked=True)
        field.lose(worked=False)
        field.clock.advance(1000)
        self.assertEqual(len(field.attempts), 2)

    def test_started_again(self) -> None:
        field = Field(2)
        field.dialler.start()
        field.answer()
        field.dialler.stop()
        field.lose(worked=False)
        field.dialler.start()
        self.assertEqual(len(field.pending), 1)

    def test_thousand_that_connect_at_once(self) -> None:
        """No recursion, however quickly an endpoint connects."""
        clock = Clock()

        def connect() -> Deferred[Any]:
            dialler.slot_parked()
            done: Deferred[Any] = Deferred()
            done.callback(None)
            return done

        dialler = Dialler(clock, connect, 5000, lambda attempt: 1.0, "there")
        dialler.start()
        self.assertEqual(dialler.plan.parked, 5000)


class BackoffTests(TestCase):
    """With failures."""

    def test_one_attempt_for_all(self) -> None:
        """Nobody listens: all slots together try once for each delay; the delays grow when the first minute is over."""
        field = Field(500, float)
        field.refusing = True
        field.dialler.start()
        self.assertEqual(len(field.attempts), 1)
        field.clock.pump([RECENT_DELAY_S] * int(RECENT_S / RECENT_DELAY_S))
        first_minute = RECENT_S / RECENT_DELAY_S + 1
        self.assertEqual(len(field.attempts), first_minute)
        for _ in range(400):
            field.clock.advance(1)
        waits = [later - before for before, later in zip(field.attempts[-4:], field.attempts[-3:])]
        self.assertEqual(waits, [first_minute, first_minute + 1, first_minute + 2])
        self.assertEqual(len(field.clock.getDelayedCalls()), 1)

    def test_what_is_under_way_counts_once(self) -> None:
        field = Field(500)
        field.dialler.start()
        for dial in list(field.pending):
            dial.errback(ConnectionRefusedError())
        self.assertEqual(field.dialler.plan.failures, 1)
        self.assertEqual(len(field.attempts), DIALS_AT_ONCE)

    def test_back_again(self) -> None:
        """One probe, and when it has stayed, all the others."""
        field = Field(100)
        field.refusing = True
        field.dialler.start()
        field.refusing = False
        field.clock.advance(2)
        self.assertEqual(len(field.pending), 1)
        field.answer()
        self.assertEqual((field.dialler.plan.parked, field.pending), (1, []))
        field.clock.advance(SETTLED_S)
        field.answer()
        self.assertEqual((field.dialler.plan.parked, field.dialler.plan.failures), (100, 0))
        self.assertEqual(field.clock.getDelayedCalls(), [])

    def test_refused_at_once(self) -> None:
        """The acceptor takes the connection and closes it: no busy loop."""
        field = Field(4)
        field.dialler.start()
        for _ in range(121):
            while field.pending:
                field.dialler.slot_parked()
                field.pending.pop(0).callback(object())
                field.lose(worked=False)
            field.clock.advance(1)
        self.assertEqual(field.attempts, [0, 0, 0, 0, 2, 6, 14, 30, 62])

    def test_refused_while_it_settles(self) -> None:
        field = Field(4)
        field.refusing = True
        field.dialler.start()
        field.refusing = False
        field.clock.advance(2)
        field.answer()
        field.clock.advance(RECENTLY_SETTLED_S / 2)
        field.lose(worked=False)
        field.clock.advance(SETTLED_S)
        self.assertEqual((field.dialler.plan.failures, field.dialler.plan.parked, field.pending), (2, 0, []))

    def test_those_that_work_do_not_wait_for_those_that_do_not(self) -> None:
        """The acceptor takes three of four: each of the three is dialled again at once."""
        field = Field(4)
        field.dialler.start()
        field.answer()
        field.lose(worked=False)
        self.assertEqual(field.pending, [])
        for _ in range(10):
            field.lose(worked=True)
            self.assertEqual(len(field.pending), 1)
            field.answer()
        self.assertEqual((field.dialler.plan.parked, field.dialler.plan.failures), (3, 1))

    def test_the_acceptor_dies_after_long_work(self) -> None:
        """All its slots had worked, none is hammered for that."""
        field = Field(1000)
        field.dialler.start()
        field.answer()
        field.refusing = True
        for _ in range(1000):
            field.lose(worked=True)
        self.assertEqual(len(field.attempts), 1000 + 1)
        field.refusing = False
        field.clock.advance(2)
        field.answer()
        field.clock.advance(SETTLED_S)
        field.answer()
        self.assertEqual(field.dialler.plan.parked, 1000)

    def test_the_acceptor_dies_at_once(self) -> None:
        """The same, but attempts take a while to fail: at most one round of them."""
        field = Field(1000)
        field.dialler.start()
        field.answer()
        for _ in range(1000):
            field.lose(worked=True)
        dials, field.pending = field.pending, []
        self.assertEqual(len(dials), DIALS_AT_ONCE)
        for dial in dials:
            dial.errback(ConnectionRefusedError())
        self.assertEqual(field.pending, [])

    def test_the_place_was_taken(self) -> None:
        """When the wait is over and nothing is missing, the failure is forgotten."""
        field = Field(1)
        field.dialler.start()
        field.answer()
        field.lose(worked=False)
        field.dialler.slot_parked()
        field.clock.advance(2)
        self.assertEqual((field.dialler.plan.failures, field.pending), (0, []))

    def test_connect_raises(self) -> None:
        clock = Clock()

        def connect() -> Deferred[Any]:
            raise ValueError("no such host")

        dialler = Dialler(clock, connect, 3, lambda attempt: 1.0, "there")
        dialler.start()
        self.assertEqual(dialler.plan.failures, 1)
        dialler.stop()
        self.assertEqual(clock.getDelayedCalls(), [])


class RestartTests(TestCase):
    """An acceptor that was there a moment ago."""

    def setUp(self) -> None:
        self.field = Field(100)
        self.field.dialler.start()
        self.field.answer()
        self.field.clock.advance(1000)
        self.field.refusing = True
        for _ in range(100):
            self.field.lose(worked=True)
        self.field.attempts.clear()

    def test_back_soon(self) -> None:
        """However long it takes, the slots are back less than a second after it is."""
        field = self.field
        field.clock.pump([0.1] * 200)
        self.assertEqual(len(field.attempts), 40)
        field.refusing = False
        field.clock.advance(RECENT_DELAY_S)
        field.answer()
        field.clock.advance(RECENTLY_SETTLED_S)
        field.answer()
        self.assertEqual((field.dialler.plan.parked, field.dialler.plan.failures), (100, 0))

    def test_not_for_ever(self) -> None:
        field = self.field
        field.clock.pump([0.1] * 700)
        field.attempts.clear()
        field.clock.pump([1.0] * 1000)
        self.assertEqual(field.attempts, [])

    def test_refused_by_the_new_one(self) -> None:
        """That is another matter than being away."""
        field = self.field
        field.refusing = False
        for _ in range(121):
            while field.pending:
                field.dialler.slot_parked()
                field.pending.pop(0).callback(object())
                field.lose(worked=False)
            field.clock.advance(0.5)
        self.assertLess(len(field.attempts), 10)


class ReasonTests(TestCase):
    """What the log says of failures."""

    def setUp(self) -> None:
        self.field = Field(2, lambda attempt: 1.0)
        self.events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.field.dialler.start()

    def refused(self, why: str) -> None:
        """Each attempt of the next second is refused for this reason."""
        field = self.field
        while field.pending:
            field.dialler.slot_parked()
            field.pending.pop(0).callback(object())
            field.dialler.slot_lost(False, Failure(SlotRefused(why)))
        field.clock.advance(1)

    def warned(self) -> List[str]:
        return [event["why"] for event in self.events if event["log_level"].name == "warn"]

    def test_each_once(self) -> None:
        for why in ("a", "a", "b", "a", "b"):
            self.refused(why)
        self.assertEqual(self.warned(), ["a", "b"])

    def test_again_after_a_time_without(self) -> None:
        self.refused("a")
        self.field.answer()
        self.field.clock.advance(SETTLED_S)
        self.field.answer()
        self.field.lose(worked=False)
        self.field.clock.advance(1)
        self.refused("a")
        self.assertEqual([why[:6] for why in self.warned()], ["a", "closed", "a"])

    def test_bounded(self) -> None:
        for number in range(3 * MAX_REASONS):
            self.refused(str(number))
        self.assertEqual(len(self.warned()), MAX_REASONS)


class AnythingTests(TestCase):
    """What Hypothesis finds."""

    @settings(max_examples=120, deadline=None, derandomize=True)
    @given(
        st.integers(1, 70),
        st.lists(
            st.one_of(st.sampled_from(["answer", "refuse", "worked", "failed", "stop", "start"]), st.floats(0.01, 20)),
            max_size=40,
        ),
    )
    def test_bounds_hold_and_all_comes_back(self, count: int, events: List[Any]) -> None:
        """Whatever happens: never too many, at most two timers; and when everything is well again, all slots are there."""
        field = Field(count, jittered_backoff(lambda: 1.0))
        field.dialler.start()
        for event in events:
            self.happen(field, event)
            dialler = field.dialler
            self.assertLessEqual(dialler.plan.parked + dialler.plan.dialling, count)
            self.assertLessEqual(dialler.plan.dialling, DIALS_AT_ONCE)
            self.assertEqual(dialler.plan.dialling, len(field.pending))
            self.assertLessEqual(len(field.clock.getDelayedCalls()), 2)
        field.dialler.start()
        for _ in range(4):
            field.answer()
            field.clock.advance(MAX_DELAY_S)
        field.answer()
        self.assertEqual((field.dialler.plan.parked, field.pending), (count, []))
        self.assertEqual((field.dialler.plan.failures, field.clock.getDelayedCalls()), (0, []))

    def happen(self, field: Field, event: Any) -> None:
        if isinstance(event, float):
            field.clock.advance(event)
        elif event == "answer" and field.pending:
            field.dialler.slot_parked()
            field.pending.pop(0).callback(object())
        elif event == "refuse" and field.pending:
            field.pending.pop(0).errback(ConnectionRefusedError())
        elif event in ("worked", "failed") and field.dialler.plan.parked:
            field.lose(worked=event == "worked")
        elif event == "stop":
            field.dialler.stop()
            field.pending.clear()
        elif event == "start":
            field.dialler.start()
