"""A process' standard streams and a reactor without sockets, for the tests of commands."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.python.usage import Options
from twisted.trial.unittest import SynchronousTestCase


class FakeReactor(Clock):
    """Time, the few calls that a tree makes, and their record."""

    def __init__(self) -> None:
        super().__init__()
        self.when_running: list[Callable[[], None]] = []
        self.stops = 0

    def callWhenRunning(self, call: Callable[[], None]) -> None:
        """Remember ``call``; ``run`` makes it."""
        self.when_running.append(call)

    def callFromThread(self, call: Callable[..., None], *args: Any) -> None:
        """At once."""
        call(*args)

    def stop(self) -> None:
        """Count."""
        self.stops += 1

    def run(self) -> None:
        """The reactor runs from here on."""
        calls, self.when_running = self.when_running, []
        for call in calls:
            call()


class CommandTestCase(SynchronousTestCase):
    """What a command says and how it exits."""

    def setUp(self) -> None:
        self.out = io.StringIO()
        self.err = io.StringIO()
        for name in ("stdout", "__stdout__"):
            self.patch(sys, name, self.out)
        for name in ("stderr", "__stderr__"):
            self.patch(sys, name, self.err)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.addCleanup(signal.pthread_sigmask, signal.SIG_SETMASK, mask)

    def refused(self, call: Callable[..., Any], *args: Any) -> str:
        """The one line that ``call`` ends with, at status 1."""
        self.err.seek(0)
        self.err.truncate()
        exit_ = self.assertRaises(SystemExit, call, *args)
        self.assertEqual(exit_.code, 1)
        self.assertEqual(self.out.getvalue(), "")
        line = self.err.getvalue()
        self.assertTrue(line.endswith("\n") and line.count("\n") == 1, line)
        return line[:-1]


class TwistdOptions(Options):
    """As much of twistd's own options as its commands look at."""

    def __init__(self, **values: Any) -> None:
        super().__init__()
        self.update(values)
