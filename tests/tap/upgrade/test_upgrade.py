"""The side of a program that replaces itself, without processes: what is started when, and what is said of it."""

from __future__ import annotations

from typing import Any, Callable, List, Optional

from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.logged import Logged
from xproxy.acceptor.succession.giver import GONE
from xproxy.tap.upgrade.former import Predecessor
from xproxy.tap.upgrade.states import Stage
from xproxy.tap.upgrade.upgrade import END_S, START_S, Upgrade


class ClockWithSockets(Clock):
    """Time of the test's, and connections that are none."""

    def adoptStreamConnection(self, descriptor: int, family: Any, factory: Any) -> None:
        """See IReactorSocket."""
        factory.buildProtocol(None).makeConnection(StringTransport())


class PlayedGiver(Protocol):
    """In the place of a Giver."""

    dropped = ""

    def __init__(self, gone: Callable[[], object], patience_s: float, failed: Callable[[str], object]) -> None:
        self.gone, self.patience_s, self.failed = gone, patience_s, failed

    def drop(self, reason: str) -> None:
        """See BoxConnection."""
        self.dropped = reason
        self.failed(reason)


class PlayedProgram:
    """In the place of a NewProgram."""

    def __init__(self, pid: int, ended: Callable[[str], object]) -> None:
        self.pid, self.ended, self.killed = pid, ended, 0

    def kill(self) -> None:
        """See NewProgram."""
        self.killed += 1


class UpgradeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = ClockWithSockets()
        self.givers: List[PlayedGiver] = []
        self.programs: List[PlayedProgram] = []
        self.replaced_by: List[int] = []
        self.mistake: Optional[OSError] = None
        start: Any = self.start
        self.upgrade = Upgrade(self.clock, start, self.give, self.replaced_by.append, lambda: 1.0)
        self.logged = Logged(self)

    def give(self, gone: Callable[[], object], patience_s: float, failed: Callable[[str], object]) -> PlayedGiver:
        """Makes one."""
        self.givers.append(PlayedGiver(gone, patience_s, failed))
        return self.givers[-1]

    def start(self, connection: int, ended: Callable[[str], object]) -> PlayedProgram:
        """Starts one."""
        if self.mistake is not None:
            raise self.mistake
        self.programs.append(PlayedProgram(100 + len(self.programs), ended))
        return self.programs[-1]

    def said(self, text: str) -> None:
        """The last line has this."""
        self.assertIn(text, self.logged.lines[-1])

    def test_takes_over(self) -> None:
        """It is started with a connection, and serves: this program is told, once."""
        self.upgrade.asked()
        self.said("a new program is started, process 100")
        self.assertEqual(START_S, self.givers[0].patience_s)
        self.upgrade.asked()
        self.said("starts already")
        self.givers[0].gone()
        self.assertEqual([100], self.replaced_by)
        self.upgrade.asked()
        self.said("this program ends")
        self.upgrade.stopped()
        self.programs[0].ended("exit status 1")
        self.said("the new program has ended: exit status 1")
        self.assertEqual((1, None), (len(self.programs), self.upgrade.failure))

    def test_ends_before(self) -> None:
        """Why is said with its last words, and another can be asked for."""
        self.upgrade.asked()
        self.givers[0].failed(GONE)
        self.programs[0].ended("xproxy: bad (exit status 1)")
        self.said("this one carries on: xproxy: bad (exit status 1)")
        shown = self.upgrade.shown()["failed_upgrade"]
        self.assertEqual(("1970-01-01T00:00:01+00:00", "xproxy: bad (exit status 1)"), (shown["at"], shown["reason"]))
        self.clock.advance(END_S + START_S)
        self.assertEqual(0, self.programs[0].killed)
        self.upgrade.asked()
        self.assertEqual((2, Stage.STARTING), (len(self.programs), self.upgrade.stage))

    def test_silent(self) -> None:
        """One that has got nothing, and does not end by itself, is killed; both reasons are told."""
        self.upgrade.asked()
        self.givers[0].drop("it did not say what it wants")
        self.clock.advance(END_S)
        self.assertEqual(1, self.programs[0].killed)
        self.programs[0].ended("killed by SIGKILL")
        self.said("carries on: it did not say what it wants; killed by SIGKILL")

    def test_cannot_be_started(self) -> None:
        """No process, no descriptor: it is said, and nothing is left."""
        self.mistake = OSError(12, "Cannot allocate memory")
        self.upgrade.asked()
        self.said("carries on: it can't be started: cannot allocate memory")
        self.assertEqual(("there is no new program", Stage.SETTLED), (self.givers[0].dropped, self.upgrade.stage))

    def test_stopped_meanwhile(self) -> None:
        """The one that starts is killed, and takes nothing; that is no failure."""
        self.upgrade.asked()
        self.upgrade.stopped()
        self.assertEqual(("the program stops", 1), (self.givers[0].dropped, self.programs[0].killed))
        self.programs[0].ended("killed by SIGKILL")
        self.assertIsNone(self.upgrade.failure)
        self.assertEqual([], self.replaced_by)

    def test_a_former_one_is_there(self) -> None:
        """It is shown; who asks meanwhile is heeded when it is gone. One that stays too long is killed."""
        killed: List[int] = []
        self.upgrade.former = former = Predecessor(self.clock, 99, 0.0, self.upgrade.former_gone, killed.append)
        former.drains(30.0)
        expected = {"pid": 99, "state": "draining", "since": "1970-01-01T00:00:00+00:00"}
        self.assertEqual([expected], self.upgrade.shown()["old_generations"])
        for _ in range(2):
            self.upgrade.asked()
            self.said("a new program is started when the former one, process 99, has drained")
        self.assertEqual([], self.programs)
        self.clock.advance(30.0)
        self.assertEqual([99], killed)
        former.gone()
        self.assertEqual(([], 1), (self.upgrade.shown()["old_generations"], len(self.programs)))

    def test_a_former_one_goes(self) -> None:
        """Nobody asked: nothing is started, nobody is killed."""
        killed: List[int] = []
        self.upgrade.former = former = Predecessor(self.clock, 99, 0.0, self.upgrade.former_gone, killed.append)
        former.drains(30.0)
        former.gone()
        self.clock.advance(30.0)
        self.assertEqual(([], []), (killed, self.programs))
