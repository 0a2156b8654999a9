"""The crew, with workers that do what the test says, in virtual time."""

from __future__ import annotations

from typing import Any, List, Tuple

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.doubles.crewing import FakeWorker
from tests.doubles.logged import Logged
from xproxy import __version__
from xproxy.workers.crew import BEAT_S, DRAIN_GRACE_S, LEAVE_WAIT_S, Crew
from xproxy.workers.messages import Configure, Configured, Dial, Failed, Hello, Leave, Said
from xproxy.workers.process import IEmployer, IWorker
from xproxy.workers.restarts import FIRST_DELAY_S, HUNG_BEATS, LONGEST_DELAY_S, STARTING_BEATS, STEADY_S
from xproxy.workers.seats import SeatState

DRAIN_S = 30.0


class CrewCase(SynchronousTestCase):
    """Two seats, filled and ready."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.goes_on = True
        self.hired: List[FakeWorker] = []
        self.dialled: List[Any] = []
        self.freed: List[Tuple[int, bool]] = []
        self.logged = Logged(self)
        self.crew = Crew(
            self.clock,
            2,
            self.hire,
            lambda worker: worker.say(Configure(b"", 1)),
            self.dialled.append,
            lambda: DRAIN_S,
            lambda number, leaving: self.freed.append((number, leaving)),
            lambda: self.goes_on,
            lambda: 0.5,
        )
        self.crew.start()
        for worker in self.hired:
            worker.is_ready()

    def hire(self, number: int, crew: Any) -> FakeWorker:
        worker = FakeWorker(number, crew)
        self.hired.append(worker)
        return worker

    def live(self, seconds: float) -> None:
        """Time goes by, a beat at a time."""
        self.clock.pump([BEAT_S] * int(seconds / BEAT_S))

    def states(self) -> List[SeatState]:
        return [seat.state for seat in self.crew.seating.seats]


class LifeTests(CrewCase):
    """Who is started, and when."""

    def test_interfaces(self) -> None:
        self.assertTrue(verifyObject(IEmployer, self.crew))
        self.assertTrue(verifyObject(IWorker, self.hired[0]))

    def test_start(self) -> None:
        """Each seat has its worker, which is told its orders."""
        self.assertEqual([1, 2], [worker.number for worker in self.hired])
        self.assertEqual([SeatState.SERVING] * 2, self.states())
        self.assertEqual(1, self.crew.generation_of(self.hired[0]))
        self.successResultOf(self.crew.seating.begun)
        self.assertTrue(self.crew.seating.serving)

    def test_death(self) -> None:
        """Who has served for a while has a successor at once, on the same seat; the log says how it died."""
        self.live(STEADY_S)
        self.hired[1].ends()
        self.assertEqual([(2, False)], self.freed)
        self.clock.advance(0)
        self.assertEqual([1, 2, 2], [worker.number for worker in self.hired])
        self.assertEqual([SeatState.SERVING, SeatState.STARTING], self.states())
        self.assertIn("worker 2 has ended: killed by SIGKILL; it is started again", self.logged.lines)
        self.assertEqual(1, self.crew.deaths)

    def test_early_deaths(self) -> None:
        """Who can't live is started again with growing delays, for ever, and the other one goes on."""
        delays = []
        for count in range(2, 42):
            self.hired[-1].ends("exit status 1")
            died = self.clock.seconds()
            while len(self.hired) == count:
                self.clock.advance(FIRST_DELAY_S)
            delays.append(self.clock.seconds() - died)
        self.assertEqual((FIRST_DELAY_S, LONGEST_DELAY_S), (delays[0], delays[-1]))
        self.assertEqual(sorted(delays), delays)
        self.assertIs(SeatState.SERVING, self.states()[0])
        self.assertIs(self.crew.seating.seats[0].worker, self.hired[0])

    def test_slow_failures(self) -> None:
        """A start that takes long and comes to nothing is no life: the pauses grow."""
        self.hired[-1].ends("exit status 1")
        for count in range(2, 9):
            while len(self.hired) == count:
                self.clock.advance(FIRST_DELAY_S)
            self.clock.advance(STEADY_S)
            self.hired[-1].ends("exit status 1")
        self.assertIn("it is started again in 15.0 s", self.logged.lines[-1])

    def test_failed(self) -> None:
        """The raised hand is told."""
        self.hired[0].hears(Failed("no such file"))
        self.assertIn("worker 1 can't go on: no such file", self.logged.lines)

    def test_other_version(self) -> None:
        """The program was replaced meanwhile: a worker of the new one is not used, and the log says what to do."""
        self.hired[0].hears(Hello(__version__))
        self.assertFalse(self.hired[0].killed)
        self.hired[0].hears(Hello("99"))
        self.assertTrue(self.hired[0].killed)
        self.assertTrue(any("must be restarted" in line for line in self.logged.lines))

    def test_said(self) -> None:
        """What a worker logs, and what stands on its standard error, is in the parent's log."""
        self.hired[0].hears(Said("warn", "something\n\twith {braces}"))
        self.crew.worker_muttered(self.hired[1], "Fatal Python error")
        self.assertEqual(
            ["worker 1: something\n\twith {braces}", "worker 2 says on standard error: Fatal Python error"],
            self.logged.lines[-2:],
        )

    def test_dial(self) -> None:
        self.hired[1].hears(Dial())
        self.assertEqual([self.hired[1]], self.dialled)


class HungTests(CrewCase):
    """Who does not turn its loop."""

    def test_hangs(self) -> None:
        """It is killed after so many beats without a word, once; the others are not, and it is replaced when it is gone."""
        hung = self.hired[1]
        hung.obliging = False
        self.live(HUNG_BEATS)
        self.assertFalse(hung.killed)
        self.live(1)
        self.assertTrue(hung.killed)
        self.live(20)
        self.assertEqual(1, sum("hangs" in line for line in self.logged.lines))
        hung.ends()
        self.clock.advance(0)
        self.assertEqual(2, self.hired[-1].number)
        self.assertEqual(3, len(self.hired))
        self.assertFalse(self.hired[0].killed)

    def test_the_parent_was_stopped(self) -> None:
        """A parent that has stood still for a minute has asked nobody meanwhile, and kills nobody."""
        for worker in self.hired:
            worker.obliging = False
        for _ in range(HUNG_BEATS):
            self.clock.advance(60)
            self.assertEqual([False] * 2, [worker.killed for worker in self.hired])
        self.assertEqual([HUNG_BEATS] * 2, [worker.beats for worker in self.hired])

    def test_starting(self) -> None:
        """Who starts has longer."""
        self.live(STEADY_S)
        self.hired[0].ends()
        self.clock.advance(0)
        self.hired[-1].obliging = False
        self.live(STARTING_BEATS)
        self.assertFalse(self.hired[-1].killed)
        self.live(1)
        self.assertTrue(self.hired[-1].killed)


class LeaveTests(CrewCase):
    """One goes, the others stay."""

    def test_replaced(self) -> None:
        """SIGTERM to a worker: its successor is there before it drains, and then it ends without being missed."""
        old = self.hired[0]
        old.hears(Leave())
        self.clock.advance(LEAVE_WAIT_S)
        new = self.hired[-1]
        self.assertEqual((3, 1), (len(self.hired), new.number))
        self.assertFalse(old.drain_asked)
        self.assertIs(SeatState.SERVING, self.crew.seating.state_of(old))
        new.is_ready()
        self.assertTrue(old.drain_asked)
        self.assertIs(SeatState.DRAINING, self.crew.seating.state_of(old))
        self.assertIs(SeatState.SERVING, self.crew.seating.state_of(new))
        old.drains()
        self.assertEqual([(1, True)], self.freed)
        self.assertEqual([new, self.hired[1]], self.crew.seating.workers)
        self.assertEqual(0, self.crew.deaths)
        self.live(60)
        self.assertEqual(3, len(self.hired))

    def test_successor_dies(self) -> None:
        """While it starts: the old one goes on serving until another one is there."""
        old = self.hired[0]
        self.crew.replace(old, "test")
        self.hired[-1].ends("exit status 1")
        self.assertFalse(old.drain_asked)
        self.assertTrue(self.crew.seating.serving)
        self.live(2)
        self.hired[-1].is_ready()
        self.assertTrue(old.drain_asked)

    def test_predecessor_dies(self) -> None:
        """While its successor starts: nobody is started for it."""
        old = self.hired[0]
        self.crew.replace(old, "test")
        old.ends()
        self.hired[-1].is_ready()
        self.live(60)
        self.assertEqual(3, len(self.hired))
        self.assertEqual([self.hired[2], self.hired[1]], self.crew.seating.workers)

    def test_to_all(self) -> None:
        """A service manager sends SIGTERM to all processes: the parent is to stop, perhaps some time later, and nobody is
        replaced."""
        for worker in self.hired:
            worker.hears(Leave())
        self.goes_on = False
        self.clock.advance(LEAVE_WAIT_S)
        self.crew.drain()
        self.clock.advance(LEAVE_WAIT_S)
        self.assertEqual(2, len(self.hired))

    def test_drains_no_end(self) -> None:
        """It is killed some time after it should have ended by itself."""
        old = self.hired[0]
        self.crew.replace(old, "test")
        self.hired[-1].is_ready()
        self.live(DRAIN_S + DRAIN_GRACE_S - 1)
        self.assertFalse(old.killed)
        self.live(1)
        self.assertTrue(old.killed)


class OrderTests(CrewCase):
    """Whether all go by the same orders."""

    def test_all_obey(self) -> None:
        self.hired[1].obliging = False
        self.crew.say(Configure(b"", 2))
        done = self.crew.accepted(2, 10.0)
        self.assertNoResult(done)
        self.hired[1].hears(Configured(2, ""))
        self.successResultOf(done)
        self.assertEqual([2, 2], [self.crew.generation_of(worker) for worker in self.hired])

    def test_gone(self) -> None:
        """Who is gone is not waited for, and who says nothing not for ever."""
        for worker in self.hired:
            worker.obliging = False
        dead, silent = self.crew.accepted(2, 10.0), self.crew.accepted(3, 10.0)
        self.hired[0].ends()
        self.hired[1].hears(Configured(2, ""))
        self.successResultOf(dead)
        self.assertNoResult(silent)
        self.clock.advance(10)
        self.successResultOf(silent)

    def test_mistake(self) -> None:
        """Who can't use a configuration that the parent could is replaced."""
        self.hired[0].hears(Configured(2, "no such plugin"))
        self.assertEqual(1, self.crew.generation_of(self.hired[0]))
        self.assertEqual((3, 1), (len(self.hired), self.hired[-1].number))


class EndTests(CrewCase):
    """The whole ends."""

    def test_drain(self) -> None:
        """All at once; it is over when the last one is gone, and nobody is started any more."""
        drained = self.crew.drain()
        self.assertEqual([True, True], [worker.drain_asked for worker in self.hired])
        self.hired[0].drains()
        self.assertNoResult(drained)
        self.hired[1].drains()
        self.successResultOf(drained)
        self.live(60)
        self.assertEqual(2, len(self.hired))

    def test_drain_while_they_start(self) -> None:
        """Who starts is told too: it serves those who wait at its sockets first. Who is to be started again is not."""
        self.live(STEADY_S)
        self.hired[0].ends()
        self.clock.advance(0)
        self.hired[1].ends("exit status 1")
        drained = self.crew.drain()
        starting = self.hired[-1]
        self.assertTrue(starting.drain_asked)
        starting.is_ready()
        starting.drains()
        self.successResultOf(drained)
        self.live(60)
        self.assertEqual(3, len(self.hired))

    def test_drain_with_a_predecessor(self) -> None:
        """Who would have gone on until its successor is there drains too."""
        self.crew.replace(self.hired[0], "test")
        drained = self.crew.drain()
        self.assertEqual([True] * 3, [worker.drain_asked for worker in self.hired])
        for worker in self.hired:
            worker.drains()
        self.successResultOf(drained)

    def test_killed_while_it_drains(self) -> None:
        """That is the end of it too."""
        drained = self.crew.drain()
        for worker in self.hired:
            worker.ends()
        self.successResultOf(drained)
        self.assertEqual(0, self.crew.deaths)

    def test_stop(self) -> None:
        """At once: all are killed."""
        self.crew.drain()
        stopped = self.crew.stop()
        self.assertEqual([True, True], [worker.killed for worker in self.hired])
        for worker in self.hired:
            worker.ends()
        self.successResultOf(stopped)
        self.assertEqual([], self.clock.getDelayedCalls())
