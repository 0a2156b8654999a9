"""When a worker that has died is started again, and when a silent one is taken for hung. Pure."""

from __future__ import annotations

from typing import Callable

STEADY_S = 5.0
"""A worker that has served for so many seconds died for a reason of its own, and its successor is started at once."""

FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 15.0
"""Seconds between the death of a worker that served for less and the next start: doubled each time. A worker that can't start
costs a second of CPU each time, which the others need; whoever has mended what was wrong does not want to wait for minutes."""

HUNG_BEATS = 4
"""Beats, one a second, that a worker may leave unanswered. No work of ours takes a second; a process that waits for its turn on
a crowded host is no hung one, and killing it makes nothing better."""

STARTING_BEATS = 60
"""The same for a worker that starts: PyPy takes two seconds on an idle host, and twenty on a busy one."""


class Restarts:
    """The restarts of one seat.

    :param random: of [0, 1), so that workers that die together do not come together.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._early = 0

    def died(self, served_s: float) -> float:
        """A worker that has served for ``served_s`` is dead; gives after how many seconds the next one is started."""
        if served_s >= STEADY_S:
            self._early = 0
            return 0.0
        delay_s: float = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(self._early, 16))
        self._early += 1
        return delay_s * (0.75 + self._random() / 2)


class Watch:
    """Whether a worker's loop turns: the worker is asked at each beat, and whatever comes from it is an answer.

    :ivar starting: the worker has never been ready.
    :ivar killed: the worker was found to hang, and killed.
    """

    def __init__(self) -> None:
        self.starting = True
        self.killed = False
        self._unanswered = 0

    def heard(self) -> None:
        """Bytes came from the worker."""
        self._unanswered = 0

    def beat(self) -> bool:
        """Another beat is over, as far as our own loop turns; gives whether the worker hangs. If not, the caller asks it
        again."""
        self._unanswered += 1
        return self._unanswered > (STARTING_BEATS if self.starting else HUNG_BEATS)
