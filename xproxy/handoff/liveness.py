"""Whether the other end of a handoff connection still answers: a process that hangs closes nothing.

A stopped process (SIGSTOP, a debugger, a disk that never comes back) keeps its sockets open, and its kernel takes what is sent.
So each end that has heard nothing for a while asks (``Ping``), and any message is an answer.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

from twisted.internet.task import LoopingCall

PING_S = 1.0
"""How long an end may say nothing before it is asked: on a quiet host two messages a second for each proxy."""

SILENT_S = 3.0
"""How long it may leave everything unanswered before it is taken for hung: longer than any work of ours takes, and soon enough
for a balancer in front that looks every few seconds."""


class Liveness:
    """Watches one connection, from ``start`` to ``stop``.

    :param clock: an IReactorTime.
    :param ping: asks the other end.
    :param changed: told False when nothing has been heard for SILENT_S, and True when something is heard again.
    :ivar answers: whether the other end answers.
    """

    def __init__(self, clock: Any, ping: Callable[[], None], changed: Callable[[bool], None]) -> None:
        self.answers = True
        self._clock = clock
        self._ping = ping
        self._changed = changed
        self._heard_at = self._looked_at = 0.0
        self._looking: Optional[LoopingCall] = None

    def start(self) -> None:
        """The connection is there."""
        self._heard_at = self._looked_at = self._clock.seconds()
        self._looking = LoopingCall(self._look)
        self._looking.clock = self._clock
        self._looking.start(PING_S, now=False)

    def stop(self) -> None:
        """The connection is gone."""
        looking, self._looking = self._looking, None
        if looking is not None and looking.running:
            looking.stop()

    @property
    def silent_s(self) -> float:
        """For how long nothing has been heard."""
        silent: float = self._clock.seconds() - self._heard_at
        return silent

    def heard(self) -> None:
        """Something has come from the other end."""
        self._heard_at = self._clock.seconds()
        if not self.answers:
            self.answers = True
            self._changed(True)

    def _look(self) -> None:
        now = self._clock.seconds()
        late_s = now - self._looked_at - PING_S
        self._looked_at = now
        if late_s > PING_S / 2:
            # We stood still ourselves (stopped, or busy): what has come meanwhile waits to be read, and nobody is to blame.
            self._heard_at = min(now, self._heard_at + late_s)
        silent_s = self.silent_s
        if self.answers and silent_s >= SILENT_S:
            self.answers = False
            self._changed(False)
        if silent_s >= PING_S / 2 and self._looking is not None:
            self._ping()
