"""Waiting for the other end of a slot after our last words: until it has closed, or takes nothing more."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.interfaces import IDelayedCall

from xproxy.net.outlet import unacknowledged_bytes

LINGER_S = 5.0
"""How long the other end may take to close after our last words, or to take some more of them, in seconds; nginx
lingering_timeout 5s."""


class Linger:
    """Waits, then resets the connection.

    :param clock: IReactorTime.
    :param transport: ours, whose last words are written.
    """

    def __init__(self, clock: Any, transport: Any) -> None:
        self._clock = clock
        self._transport = transport
        self._unsent = unacknowledged_bytes(transport)
        self._timer: Optional[IDelayedCall] = clock.callLater(LINGER_S, self._over)

    def stop(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        self._timer = None
        before, self._unsent = self._unsent, unacknowledged_bytes(self._transport)
        if 0 < self._unsent < before:
            self._timer = self._clock.callLater(LINGER_S, self._over)  # A slow reader, but it reads.
        else:
            self._transport.abortConnection()
