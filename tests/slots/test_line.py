"""The line of a proxy: call by call, and against a model that is too simple to be wrong."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple, Union

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from xproxy.slots.line import Fate, Line, LineFull
from xproxy.slots.tides import TABLE_BYTES, Tide, TideTable


class WaitingTests(SynchronousTestCase):
    """Who waits, in which order, and how many."""

    def setUp(self) -> None:
        self.line: Line[str, int] = Line(3)

    def test_arrival_order(self) -> None:
        """The first to come is the first to be served."""
        for arrival, name in enumerate("abc"):
            self.line.join(name, float(arrival))
        self.assertEqual(len(self.line), 3)
        self.assertEqual(self.line.oldest(), 0.0)
        self.assertEqual([self.line.freed(number, 0.0) for number in range(3)], ["a", "b", "c"])
        self.assertIsNone(self.line.oldest())

    def test_limit(self) -> None:
        """One more than the limit is refused and leaves no trace."""
        for name in "abc":
            self.line.join(name, 1.0)
        self.assertRaises(LineFull, self.line.join, "d", 2.0)
        self.assertEqual(len(self.line), 3)
        self.line.leave("a")
        self.line.join("d", 2.0)
        self.assertEqual([self.line.freed(number, 0.0) for number in range(3)], ["b", "c", "d"])

    def test_again_is_in_front_and_past_the_limit(self) -> None:
        """Who was served before has arrived before everybody who waits, and counts towards the limit of the others."""
        self.line.join("d", 4.0)
        self.line.join("e", 5.0)
        self.line.join("f", 6.0)
        self.line.rejoin("b", 2.0)
        self.line.rejoin("a", 1.0)
        self.line.rejoin("c", 3.0)
        self.assertEqual(len(self.line), 6)
        self.assertEqual(self.line.arrived_by(4.0), list("abcd"))
        self.assertRaises(LineFull, self.line.join, "g", 7.0)
        self.assertEqual([self.line.freed(number, 0.0) for number in range(6)], list("abcdef"))

    def test_again_at_the_same_moment(self) -> None:
        """Waiters that can't be ordered by anything but their arrival are not compared."""
        line: Line[object, int] = Line(1)
        waiters = [object() for _ in range(3)]
        for waiter in waiters:
            line.rejoin(waiter, 1.0)
        self.assertEqual({line.freed(number, 0.0) for number in range(3)}, set(waiters))

    def test_leave(self) -> None:
        """Whoever leaves is served no more, and can't leave twice."""
        self.line.join("b", 2.0)
        self.line.join("c", 3.0)
        self.line.rejoin("a", 1.0)
        self.assertTrue(self.line.leave("a"))
        self.assertFalse(self.line.leave("a"))
        self.assertTrue(self.line.leave("b"))
        self.assertFalse(self.line.leave("b"))
        self.assertFalse(self.line.leave("never came"))
        self.assertEqual(self.line.freed(1, 0.0), "c")
        self.assertFalse(self.line.leave("c"))

    def test_arrived_by(self) -> None:
        """Who has waited too long, oldest first, up to and with the moment itself; asking changes nothing."""
        self.line.join("b", 2.0)
        self.line.join("c", 3.0)
        self.line.rejoin("a", 1.0)
        self.assertEqual(self.line.arrived_by(0.5), [])
        self.assertEqual(self.line.arrived_by(1.0), ["a"])
        self.assertEqual(self.line.arrived_by(2.5), ["a", "b"])
        self.assertEqual(self.line.arrived_by(9.0), ["a", "b", "c"])
        self.assertEqual(len(self.line), 3)


class PastTheLimitTests(SynchronousTestCase):
    """Who comes when the line is full waits until it is known whether a slot is idle anywhere."""

    def setUp(self) -> None:
        self.line: Line[str, int] = Line(2)
        self.line.join("a", 1.0)
        self.line.join("b", 2.0)
        for arrival, (name, question) in enumerate((("c", 1), ("d", 1), ("e", 2)), 3):
            self.assertRaises(LineFull, self.line.join, name, float(arrival))
            self.line.join_past(name, float(arrival), question)

    def test_they_wait_as_all_do(self) -> None:
        """In their place."""
        self.assertEqual((len(self.line), self.line.past, self.line.oldest_past()), (5, 3, 3.0))
        self.assertEqual(self.line.arrived_by(9.0), list("abcde"))
        self.assertEqual([self.line.freed(number, 0.0) for number in range(5)], list("abcde"))
        self.assertEqual((len(self.line), self.line.past, self.line.oldest_past()), (0, 0, None))

    def test_nothing_is_idle(self) -> None:
        """Those whose question is answered are refused, the others wait for theirs."""
        self.assertEqual(self.line.decide(1), ["c", "d"])
        self.assertEqual((len(self.line), self.line.past), (3, 1))
        self.assertEqual(self.line.decide(1), [])
        self.assertEqual(self.line.decide(2), ["e"])
        self.assertEqual([self.line.freed(number, 0.0) for number in range(2)], ["a", "b"])

    def test_some_were_served(self) -> None:
        """Those who came first stand within the limit now, for good."""
        self.line.freed(1, 0.0)
        self.assertEqual(self.line.decide(1), ["d"])
        self.line.freed(2, 0.0)
        self.assertEqual(self.line.decide(1), [])
        self.assertEqual(self.line.decide(2), [])
        self.assertEqual((len(self.line), self.line.past), (2, 0))

    def test_all_were_served(self) -> None:
        """Nobody is left to be refused."""
        for number in range(4):
            self.line.freed(number, 0.0)
        self.assertEqual(self.line.decide(1), [])
        self.assertEqual((self.line.past, self.line.arrived_by(9.0)), (1, ["e"]))

    def test_no_answer(self) -> None:
        """Those who have waited for it too long are refused by the same rule."""
        self.assertEqual(self.line.decide(latest=2.9), [])
        self.assertEqual(self.line.decide(latest=3.0), ["c"])
        self.line.freed(1, 0.0)
        self.assertEqual(self.line.decide(latest=9.0), ["e"])
        self.assertEqual(self.line.arrived_by(9.0), ["b", "d"])

    def test_leave(self) -> None:
        """Without a trace."""
        self.assertTrue(self.line.leave("c"))
        self.assertEqual((self.line.past, self.line.oldest_past()), (2, 4.0))
        self.assertEqual(self.line.decide(2), ["d", "e"])

    def test_limit_that_changes(self) -> None:
        """Who waits already goes on waiting."""
        self.line.limit = 1
        self.assertEqual(self.line.decide(2), ["c", "d", "e"])
        self.assertEqual(self.line.arrived_by(9.0), ["a", "b"])
        self.line.limit = 3
        self.line.join("f", 6.0)
        self.assertRaises(LineFull, self.line.join, "g", 7.0)

    def test_limit_of_nobody(self) -> None:
        """With a limit of 0 everybody comes past it."""
        line: Line[str, int] = Line(0)
        line.join_past("a", 1.0, 1)
        line.join_past("b", 1.0, 1)
        self.assertEqual(line.freed(1, 0.0), "a")
        self.assertEqual(line.decide(1), ["b"])
        self.assertEqual(len(line), 0)


class LeaseTests(SynchronousTestCase):
    """What becomes of a lease when nobody else waits."""

    def setUp(self) -> None:
        self.line: Line[str, int] = Line(3)

    def test_kept_when_nobody_waits(self) -> None:
        """Free leases take turns, first in, first out."""
        for lease in (1, 2, 3):
            self.assertIs(self.line.freed(lease, 0.0), Fate.KEEP)
        self.assertEqual(list(self.line.free), [1, 2, 3])

    def test_retired(self) -> None:
        """Nothing is kept any more, but who waits is served."""
        self.line.freed(1, 0.0)
        self.line.freed(2, 0.0)
        self.assertEqual(self.line.retire(), [1, 2])
        self.line.join("a", 1.0)
        self.assertEqual(self.line.freed(3, 0.0), "a")
        self.assertIs(self.line.freed(3, 0.0), Fate.GIVE_BACK)
        self.assertEqual(list(self.line.free), [])

    def test_lost(self) -> None:
        """A lease that is over is not free any more."""
        self.line.freed(1, 0.0)
        self.line.freed(2, 0.0)
        self.assertTrue(self.line.lost(1))
        self.assertFalse(self.line.lost(1))
        self.assertEqual(list(self.line.free), [2])


class LineModel(RuleBasedStateMachine):
    """Everybody in one list, sorted from end to end whenever it matters."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.waiting: List[Tuple[float, int]] = []
        self.served: List[Tuple[float, int]] = []
        self.out: List[int] = []
        self.free: List[int] = []
        self.past: List[Tuple[float, int]] = []
        self.numbers = 0

    @initialize(limit=st.integers(min_value=1, max_value=4))
    def begin(self, limit: int) -> None:
        self.limit = limit
        self.question = 1
        self.line: Line[int, int] = Line(limit)
        table = TideTable(bytearray(TABLE_BYTES))
        place = table.place("default")
        self.own = table.join()
        self.other = Tide(table.memory, table.join(), place)
        self.line.share(Tide(table.memory, self.own, place))
        self.elsewhere = 0
        self.latest = 0.0

    @rule(waiting=st.integers(min_value=0, max_value=2))
    def others_wait(self, waiting: int) -> None:
        """They count towards the limit."""
        self.elsewhere = waiting
        self.other.say(self.now if waiting else None, self.now, waiting)

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    @rule(seconds=st.sampled_from([0.5, 1.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_request_comes(self) -> None:
        who = self.number()
        if self.free:
            self.out.append(self.free.pop(0))
            assert self.line.free.popleft() == self.out[-1]
            self.served.append((self.now, who))
            return
        try:
            self.line.join(who, self.now)
        except LineFull:
            assert len(self.waiting) + self.elsewhere >= self.limit
            self.line.join_past(who, self.now, self.question)
            self.past.append((self.now, self.question))
        else:
            assert len(self.waiting) + self.elsewhere < self.limit
        self.waiting.append((self.now, who))
        self.latest = self.now
        self.now += 0.25  # One clock reading for each, as two at one moment may be served in any order when tried again.

    @rule(answered=st.booleans())
    def a_question_is_over(self, answered: bool) -> None:
        """The one that was asked last is answered, or a new one begins."""
        if not answered:
            self.question += 1
            return
        waiting = {arrival for arrival, _ in self.waiting}
        candidates = sorted(arrival for arrival, asked in self.past if asked < self.question and arrival in waiting)
        others = sum(arrival in waiting for arrival, asked in self.past if asked == self.question)
        room = max(0, self.limit - self.elsewhere - (len(self.waiting) - others - len(candidates)))
        expected = [who for arrival, who in self.waiting if arrival in candidates[room:]]
        assert self.line.decide(self.question - 1) == expected
        self.waiting = [entry for entry in self.waiting if entry[1] not in expected]
        self.past = [entry for entry in self.past if entry[1] == self.question]

    @precondition(lambda self: self.served)
    @rule(data=st.data())
    def one_is_tried_again(self, data: st.DataObject) -> None:
        again = data.draw(st.sampled_from(self.served))
        self.served.remove(again)
        if self.free:
            self.out.append(self.line.free.popleft())
            self.free.pop(0)
            self.served.append(again)
        else:
            self.line.rejoin(again[1], again[0])
            self.waiting.append(again)
            self.latest = max(again[0], self.latest)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def one_leaves(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(gone)
        assert self.line.leave(gone[1])
        assert not self.line.leave(gone[1])

    def expected(self) -> Union[Fate, Optional[Tuple[float, int]]]:
        return min(self.waiting) if self.waiting else Fate.KEEP

    @rule()
    def a_lease_is_granted(self) -> None:
        self.freed(self.number())

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def a_lease_is_free(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.out))
        self.out.remove(lease)
        self.freed(lease)

    def freed(self, lease: int) -> None:
        expected = self.expected()
        found: Any = self.line.freed(lease, self.now)
        if expected is Fate.KEEP:
            self.free.append(lease)
            assert found is Fate.KEEP
        else:
            assert isinstance(expected, tuple)
            first = next(entry for entry in self.waiting if entry[1] == found)
            assert first[0] == expected[0]
            self.waiting.remove(first)
            self.past = [entry for entry in self.past if entry[0] != first[0]]  # Tried again, it waits as all do.
            self.served.append(first)
            self.out.append(lease)

    @precondition(lambda self: self.free)
    @rule(data=st.data())
    def a_free_lease_is_lost(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.free))
        self.free.remove(lease)
        assert self.line.lost(lease)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "line"):
            return
        arrivals = sorted(arrival for arrival, _ in self.waiting)
        assert len(self.line) == len(arrivals)
        assert self.line.past == sum(entry[0] in arrivals for entry in self.past)
        assert self.line.oldest() == (arrivals[0] if arrivals else None)
        assert list(self.line.free) == self.free
        assert not (self.free and self.waiting), "somebody waits beside a free lease"
        assert self.other.of(self.own) == ((arrivals[0], self.latest, len(arrivals)) if arrivals else (0.0, 0.0, 0))
        if arrivals:
            late = [who for arrival, who in self.waiting if arrival <= arrivals[len(arrivals) // 2]]
            assert sorted(self.line.arrived_by(arrivals[len(arrivals) // 2])) == sorted(late)


class LineModelTests(SynchronousTestCase):
    """The line does what its rules say, whatever the order of events."""

    def test_model(self) -> None:
        """Random calls."""
        run_state_machine_as_test(
            LineModel,
            settings=settings(
                max_examples=120,
                stateful_step_count=40,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
