"""When a worker that has died is started again, and when one that says nothing is taken for hung. Pure."""

from __future__ import annotations

from typing import Callable

STEADY_S = 5.0
"""Who has served for so long dies for a reason of its own, and its successor is started at once."""

FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 15.0
"""Between the death of one that did not and the next start: doubled each time. A worker that can't start costs a second of CPU
each time, which the others need; whoever has mended what was wrong does not want to wait for minutes."""

HUNG_BEATS = 4
"""Beats, one a second, that a worker may leave unanswered. No work of ours takes a second; a process that waits for its turn on
a crowded host is no hung one, and killing it makes nothing better."""

STARTING_BEATS = 60
"""The same while it starts: PyPy takes two seconds on an idle host, and twenty on a busy one."""


class Restarts:
    """The restarts of one seat.

    :param random: of [0, 1), so that workers that die together do not come together.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._early = 0

    def died(self, served_s: float) -> float:
        """A worker is dead, which has let clients in for so long; gives after how many seconds the next one is started."""
        if served_s >= STEADY_S:
            self._early = 0
            return 0.0
        delay_s: float = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(self._early, 16))
        self._early += 1
        return delay_s * (0.75 + self._random() / 2)


class Watch:
    """Whether a worker's loop turns: it is asked at each beat, and each word of it is an answer."""

    def __init__(self) -> None:
        self.starting = True
        """Whether it has never been ready."""
        self.killed = False
        """Whether something was done about it."""
        self._unanswered = 0

    def heard(self) -> None:
        """It said something."""
        self._unanswered = 0

    def beat(self) -> bool:
        """Another second is over, as far as we turn ourselves; gives whether it hangs. If not, ask it."""
        self._unanswered += 1
        return self._unanswered > (STARTING_BEATS if self.starting else HUNG_BEATS)
