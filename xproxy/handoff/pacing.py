"""How often a standing word is said: at once when it matters, else at most every ten milliseconds.

A recall is one: the newest replaces what was said before, so those in between need not be said. So is an ask, whose pace
``proxy.exchanges.asking`` keeps.
"""

from __future__ import annotations

from typing import Any, Callable, Generic, Optional, TypeVar

from twisted.internet.interfaces import IDelayedCall

ASK_INTERVAL_S = 0.01
"""The time between two changes that are not urgent: a hundred messages a second cost under two per cent of a core."""

ValueT = TypeVar("ValueT")


class Pacer(Generic[ValueT]):
    """Says the newest value of one word. A value that was said before is said again: only the caller knows what that means.

    :param clock: an IReactorTime.
    :param first: what the other end takes for granted before anything was said.
    :param send: says a value.
    :param urgent: whether the step from what was said last to a value is to be said at once.
    """

    def __init__(
        self, clock: Any, first: ValueT, send: Callable[[ValueT], None], urgent: Callable[[ValueT, ValueT], bool]
    ) -> None:
        self.newest = first
        self._clock = clock
        self._said = first
        self._send = send
        self._urgent = urgent
        self._said_at = float("-inf")
        self._timer: Optional[IDelayedCall] = None

    def say(self, value: ValueT) -> None:
        """This is the value from now on."""
        self.newest = value
        wait = self._said_at + ASK_INTERVAL_S - self._clock.seconds()
        if wait <= 0 or self._urgent(self._said, value):
            self.stop()
            self._say()
        elif self._timer is None:
            self._timer = self._clock.callLater(wait, self._later)

    def _later(self) -> None:
        self._timer = None
        self._say()

    def _say(self) -> None:
        self._said_at = self._clock.seconds()
        self._said = self.newest
        self._send(self._said)

    def stop(self) -> None:
        """What was not said yet is not said any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
