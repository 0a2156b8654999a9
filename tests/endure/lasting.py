"""A program that may have been replaced by a new one (SIGUSR2), which goes on saying where the first one has said."""

from __future__ import annotations

import os
import signal
from typing import List

from tests.e2e.played import wait_for
from tests.e2e.processes import TIMEOUT_S, Answering
from tests.e2e.test_new_program import has_ended


class Lasting(Answering):
    """Whichever of them serves."""

    def pids(self) -> List[int]:
        """All that have served, in order."""
        found = [line.rpartition(" ")[2] for line in self.lines if "the new program serves, process " in line]
        return [self.process.pid, *map(int, found)]

    @property
    def pid(self) -> int:
        """Of the one that serves."""
        return self.pids()[-1]

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def upgrade(self) -> None:
        """Wait until there is a new program, and nothing of the old one."""
        old = self.pid
        os.kill(old, signal.SIGUSR2)
        self.eventually(lambda: self.pid != old, "a new program")
        self._test.addCleanup(self._end, self.pid)
        self.eventually(lambda: self._ended(old), "the end of the old one")
        self.eventually(lambda: self.status()["old_generations"] == [], "no old generation")

    def exit_status(self, timeout_s: float = TIMEOUT_S) -> int:
        """Of the first one; when the last one has ended too."""
        status = super().exit_status(timeout_s)
        wait_for(lambda: self._ended(self.pid), "the end of the last one")
        return status

    def _ended(self, pid: int) -> bool:
        """The first one is a child of ours, so its end has to be asked for."""
        return self.process.poll() is not None if pid == self.process.pid else has_ended(pid)

    def _end(self, pid: int) -> None:
        if not self._ended(pid):
            os.kill(pid, signal.SIGKILL)
