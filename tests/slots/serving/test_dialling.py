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
        self.assertEqual(bounded_delay(lambda _: 30.0, 5, RECENT_S - 1), RECENT_DELAY_S)
        self.assertEqual(bounded_delay(float, 5, RECENT_S), 5.0)

    def test_random_for_who_was_there(self) -> None:
        """However often it was tried: or all of a fleet come back at the same moment."""
        for random in (0.0, 0.4, 0.9):
            delay = jittered_backoff(lambda random=random: random)  # type: ignore[misc]
            for attempt in (1, 5, 50):
                self.assertEqual(bounded_delay(delay, attempt, 1.0), RECENT_DELAY_S * (0.5 + random / 2))

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
        plan.not_connected(1000.0, "nobody there", Dial.ONE)
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

    def settled(self, count: int) -> DialPlan:
        """A plan whose connections are all there."""
        plan = DialPlan(count, lambda attempt: 10.0 * attempt)
        plan.start(0.0)
        for dial in self.due(plan, 0.0):
            plan.slot_parked()
            plan.connected(0.0, dial)
        return plan

    def test_more_are_wanted(self) -> None:
        plan = self.settled(2)
        plan.resize(5)
        self.assertEqual(self.due(plan, 1.0), [Dial.ONE] * 3)

    def test_fewer_are_wanted(self) -> None:
        """What is given up is neither dialled again nor a failure; and a later one that had worked waits its turn."""
        plan = self.settled(5)
        plan.resize(2)
        for _ in range(3):
            plan.slot_closed()
        self.assertEqual((self.due(plan, 1.0), plan.parked, plan.news, plan.wake_at), ([], 2, [], None))
        plan.slot_lost(2.0, False, "refused")
        self.assertEqual((self.due(plan, 2.0), plan.wake_at), ([], 12.0))

    def test_none_and_again(self) -> None:
        plan = self.settled(2)
        plan.resize(0)
        plan.slot_closed()
        plan.slot_closed()
        self.assertEqual((self.due(plan, 1.0), plan.wake_at), ([], None))
        plan.resize(2)
        self.assertEqual(self.due(plan, 1.0), [Dial.ONE] * 2)

    def test_what_is_being_dialled_is_surplus_too(self) -> None:
        plan = DialPlan(8, lambda attempt: 10.0)
        plan.start(0.0)
        self.assertEqual(len(self.due(plan, 0.0)), 8)
        plan.slot_parked()
        plan.connected(0.0, Dial.ONE)
        plan.resize(3)
        self.assertEqual(plan.surplus, 5)
        for _ in range(5):
            plan.given_up(Dial.ONE)
        self.assertEqual((self.due(plan, 1.0), plan.surplus, plan.dialling), ([], 0, 2))

    def test_a_pause_does_not_shorten_a_wait(self) -> None:
        """Who asks for none and for some again, while nobody answers, gets no attempt more; and nothing is said to be well."""
        plan = self.settled(2)
        plan.slot_lost(100.0, False, "refused")
        self.due(plan, 100.0)
        plan.resize(0)
        plan.resize(2)
        self.assertEqual((self.due(plan, 100.0), plan.wake_at), ([], 110.0))
        plan.resize(0)
        plan.slot_closed()
        self.assertEqual((self.due(plan, 120.0), plan.wake_at), ([], None))
        plan.resize(3)
        self.assertEqual(self.due(plan, 120.0), [Dial.PROBE])
        self.assertEqual(plan.news, [(News.FAILED, "refused")])

    def test_the_probe_is_given_up(self) -> None:
        """There is another when slots are wanted again, and never two."""
        plan = self.settled(1)
        plan.slot_lost(100.0, False, "refused")
        self.assertEqual((self.due(plan, 100.0), self.due(plan, 110.0)), ([], [Dial.PROBE]))
        plan.resize(0)
        self.assertEqual(plan.surplus, 1)
        plan.resize(4)
        self.assertEqual(self.due(plan, 110.0), [])
        plan.resize(0)
        plan.given_up(Dial.PROBE)
        plan.resize(4)
        self.assertEqual(self.due(plan, 110.0), [Dial.PROBE])

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(
        st.integers(1, 70),
        st.lists(
            st.one_of(
                st.sampled_from(["made", "refused", "given up", "worked", "failed", "closed", "stop", "start"]),
                st.floats(0.01, 40),
                st.just("wake"),
                st.integers(0, 70),
            ),
            max_size=60,
        ),
    )
    def test_never_too_many_and_never_stuck(self, count: int, events: List[Any]) -> None:
        """While a slot is missing, one is being dialled or a time is set; never two probes; never more than wanted."""
        plan, now, running, most = DialPlan(count, jittered_backoff(lambda: 1.0)), 0.0, True, count
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
                plan.not_connected(now, "refused", dials.pop(0))
            elif event == "given up" and plan.surplus:
                plan.given_up(dials.pop())
            elif event in ("worked", "failed") and plan.parked:
                plan.slot_lost(now, event == "worked", "lost")
            elif event == "closed" and plan.parked > count:
                plan.slot_closed()
            elif isinstance(event, int):
                most = max(count := event, plan.parked + plan.dialling)
                plan.resize(event)
            elif event in ("stop", "start"):
                running = event == "start"
                plan.start(now) if running else plan.stop()
            dials += self.due(plan, now)
            self.assertEqual(plan.dialling, len(dials))
            self.assertLessEqual(len(dials), DIALS_AT_ONCE)
            self.assertLessEqual(dials.count(Dial.PROBE), 1)
            if running:
                self.assertLessEqual(plan.parked + plan.dialling, most)
                most = max(count, plan.parked + plan.dialling)
                self.assertTrue(plan.parked >= count or dials or (plan.wake_at or now) > now, (event, plan.__dict__))
            else:
                self.assertIsNone(plan.wake_at)
