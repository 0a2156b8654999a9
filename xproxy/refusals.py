"""What is said about strangers: a log line for each kind of mistake of each peer, and never more than a log can bear."""

from __future__ import annotations

from collections import OrderedDict
from typing import Callable, Hashable, Tuple

from twisted.logger import Logger

REPEAT_S = 60.0
"""The same peer with the same mistake is named once in this time. A service that redials makes a line a minute."""

LINES_PER_PERIOD = 60
"""Lines of all peers in ``REPEAT_S``: one a second on average, whatever the number of addresses a stranger has."""

REMEMBERED = 1024
"""Pairs of peer and mistake that are remembered; the one that was seen longest ago is forgotten first."""


class RefusalLog:
    """Logs at info level, seldom. Used by everything here that is open to others.

    :param monotonic: a clock in seconds.
    """

    def __init__(self, log: Logger, monotonic: Callable[[], float]) -> None:
        self._log = log
        self._monotonic = monotonic
        self._said: OrderedDict[Tuple[Hashable, ...], float] = OrderedDict()
        self._period = monotonic()
        self._lines = 0
        self._silent = 0

    def say(self, format: str, **fields: Hashable) -> bool:
        """Log one event unless it was logged not long ago; the fields tell events apart. Returns whether it was."""
        now = self._monotonic()
        if now - self._period >= REPEAT_S:
            if self._silent:
                self._log.info("{silent} refusals like those before were not logged", silent=self._silent)
            self._period, self._lines, self._silent = now, 0, 0
        key = (format, *sorted(fields.items()))
        last = self._said.get(key)
        if self._lines >= LINES_PER_PERIOD or (last is not None and now - last < REPEAT_S):
            self._silent += 1
            return False
        self._said[key] = now
        self._said.move_to_end(key)
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        self._lines += 1
        self._log.info(format, **fields)
        return True
