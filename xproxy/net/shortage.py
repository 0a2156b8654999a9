"""What happens when the kernel has no descriptor or no memory for one more connection: room is made, and it is said, seldom."""

from __future__ import annotations

from typing import Any, Callable, Optional

from twisted.logger import Logger

from ..startup import os_reason

REPEAT_S = 60.0
"""How often it is said."""

NEVER = float("-inf")


class Shortage:
    """Shared by ports whose connections are of one kind.

    :param clock: an IReactorTime.
    :param relieve: makes room by closing what can be spared; gives how much.
    :param failures: where they are counted.
    :ivar failures: how often accept(2) has failed, by its reason.
    """

    _log = Logger()

    def __init__(self, clock: Any, relieve: Callable[[], int] = lambda: 0, failures: Optional[dict[str, int]] = None) -> None:
        self._clock = clock
        self._relieve = relieve
        self._said_at = NEVER
        self.failures: dict[str, int] = {} if failures is None else failures

    def met(self, error: OSError) -> bool:
        """There is nothing to accept with; gives whether room was made."""
        reason = os_reason(error)
        self.failures[reason] = self.failures.get(reason, 0) + 1
        now = self._clock.seconds()
        if now - self._said_at >= REPEAT_S:
            self._said_at = now
            self._log.warn("no connection can be accepted for now: {reason}", reason=reason)
        return self._relieve() > 0
