"""Deadlines without timers: a connection says until when it may go on, and one sweep looks now and then.

Starting and stopping a timer for each request costs as much as parsing it. Setting an attribute costs nothing, and a timeout
that fires a quarter of a second late does what it is for.
"""

from __future__ import annotations

from typing import Callable, Dict, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

SWEEP_INTERVAL_S = 0.25
"""How late a deadline may be noticed."""

NEVER = float("inf")
"""The deadline of what may take as long as it likes."""


class Perishable(Protocol):
    """Something with a deadline, in monotonic seconds."""

    @property
    def deadline(self) -> float:
        """Until when it may go on."""

    def deadline_passed(self, now: float) -> None:
        """It is later than ``deadline``. Called again at each sweep until the deadline is set anew."""


class Sweep:
    """Looks at everything that has a deadline, every SWEEP_INTERVAL_S."""

    def __init__(self, reactor: IReactorTime, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._members: Dict[Perishable, None] = {}
        self._call = LoopingCall(self.look)
        self._call.clock = reactor
        self.add = self._members.setdefault

    def discard(self, member: Perishable) -> None:
        """Look at it no more, if it was looked at."""
        self._members.pop(member, None)

    @property
    def running(self) -> bool:
        """Whether it looks."""
        return bool(self._call.running)

    def start(self) -> None:
        """Begin."""
        self._call.start(SWEEP_INTERVAL_S, now=False)

    def stop(self) -> None:
        """End; what is swept keeps its deadlines."""
        if self._call.running:
            self._call.stop()

    def look(self) -> None:
        """Tell everything whose deadline has passed."""
        now = self._monotonic()
        for member in [member for member in self._members if member.deadline < now]:
            if member.deadline < now:  # Still: what was told before may have put it off.
                member.deadline_passed(now)
