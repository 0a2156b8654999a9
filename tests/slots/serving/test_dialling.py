"""When to dial: the plan alone, without a clock or a connection. See ``tests/service/test_dialler.py`` for what it means."""

from __future__ import annotations

from typing import Any, List

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xproxy.slots.serving.dialling import (
    DIALS_AT_ONCE,
    MAX_DELAY_S,
    RECENT_DELAY_S,
    RECENT_S,
    Dial,
    DialPlan,
    News,
    bounded_delay,
    jittered_backoff,
)


class PolicyTests(SynchronousTestCase):
    """How long to wait."""

    def test_grows_to_a_bound(self) -> None:
        highest = jittered_backoff(lambda: 1.0)
        delays = [highest(attempt) for attempt in range(1, 200)]
        self.assertEqual(delays[0], 0.5)
        self.assertEqual(delays, sorted(delays))
        self.assertEqual(delays[-1], MAX_DELAY_S)

    def test_bounded_for_who_was_there(self) -> None:
        self.assertEqual(bounded_delay(30.0, RECENT_S - 1), RECENT_DELAY_S)
        self.assertEqual(bounded_delay(0.1, RECENT_S - 1), 0.1)
        self.assertEqual(bounded_delay(30.0, RECENT_S), 30.0)

    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(st.integers(1, 500), st.floats(0, 1, exclude_max=True))
    def test_jitter_takes_up_to_half(self, attempt: int, random: float) -> None:
        most = jittered_backoff(lambda: 1.0)(attempt)
        self.assertTrue(most / 2 <= jittered_backoff(lambda: random)(attempt) <= most)


class PlanTests(SynchronousTestCase):
    """What it says, in the order in which things happen."""

    def due(self, plan: DialPlan, now: float) -> List[Dial]:
        """Everything that is to be dialled now."""
        found: List[Dial] = []
        dial = plan.due(now)
        while dial is not None:
            found.append(dial)
            dial = plan.due(now)
        return found

    def test_a_life(self) -> None:
        plan = DialPlan(3, lambda attempt: 10.0 * attempt)
        self.assertEqual((self.due(plan, 0.0), plan.wake_at), ([], None))
        plan.start(100.0)
        self.assertEqual(self.due(plan, 100.0), [Dial.ONE] * 3)
        for _ in range(3):
            plan.slot_parked()
            plan.connected(100.0, Dial.ONE)
        self.assertEqual((self.due(plan, 100.0), plan.wake_at, plan.parked, plan.dialling), ([], None, 3, 0))
        plan.slot_lost(1000.0, True, "")
        self.assertEqual(self.due(plan, 1000.0), [Dial.ONE])
        plan.not_connected(1000.0, "nobody there")
        self.assertEqual((self.due(plan, 1000.0), plan.wake_at), ([], 1000.0 + RECENT_DELAY_S))
        self.assertEqual(self.due(plan, 1000.4), [])
        self.assertEqual((self.due(plan, 1000.5), plan.wake_at), ([Dial.PROBE], None))
        plan.slot_parked()
        plan.connected(1000.6, Dial.PROBE)
        assert plan.wake_at is not None
        self.assertEqual((self.due(plan, plan.wake_at), plan.failures), ([], 0))
        self.assertEqual(plan.news, [(News.FAILED, "nobody there"), (News.SETTLED, "")])
        plan.slot_lost(2000.0, False, "refused")
        self.assertEqual((self.due(plan, 2000.0), plan.wake_at), ([], 2010.0))
        plan.stop()
        self.assertEqual((self.due(plan, 3000.0), plan.wake_at, plan.parked), ([], None, 2))

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(
        st.integers(1, 70),
        st.lists(
            st.one_of(
                st.sampled_from(["made", "refused", "worked", "failed", "stop", "start"]), st.floats(0.01, 40), st.just("wake")
            ),
            max_size=60,
        ),
    )
    def test_never_too_many_and_never_stuck(self, count: int, events: List[Any]) -> None:
        """While a slot is missing, one is being dialled or a time is set; never two probes; never more than wanted."""
        plan, now, dials, running = DialPlan(count, jittered_backoff(lambda: 1.0)), 0.0, [], True
        plan.start(now)
        dials = self.due(plan, now)
        for event in events:
            if isinstance(event, float):
                now += event
            elif event == "wake":
                now = max(now, plan.wake_at or now)
            elif event == "made" and dials:
                plan.slot_parked()
                plan.connected(now, dials.pop(0))
            elif event == "refused" and dials:
                dials.pop(0)
                plan.not_connected(now, "refused")
            elif event in ("worked", "failed") and plan.parked:
                plan.slot_lost(now, event == "worked", "lost")
            elif event in ("stop", "start"):
                running = event == "start"
                plan.start(now) if running else plan.stop()
            dials += self.due(plan, now)
            self.assertEqual(plan.dialling, len(dials))
            self.assertLessEqual(len(dials), DIALS_AT_ONCE)
            if running:
                self.assertLessEqual(plan.parked + plan.dialling, count)
                self.assertTrue(plan.parked == count or dials or (plan.wake_at or now) > now, (event, plan.__dict__))
            else:
                self.assertIsNone(plan.wake_at)
