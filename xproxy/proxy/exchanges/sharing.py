"""What a pool gives to other proxies while their requests wait: its free leases, after a look at what the others say.

When a lease is given is decided by the pure ``slots.line``; this is the timer. Owned by the pool.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

from twisted.internet.interfaces import IDelayedCall

from ...slots.line import LOOK_INTERVAL_S, Line
from ...slots.tides import Tide


class Sharing:
    """Looks every ``LOOK_INTERVAL_S``, while others wait and a lease is free here.

    :param reactor: an IReactorTime.
    :param give_back: gives a lease back that was taken from the line's free ones.
    """

    def __init__(
        self, reactor: Any, monotonic: Callable[[], float], line: Line[Any, Any], give_back: Callable[[Any], object]
    ) -> None:
        self._reactor = reactor
        self._monotonic = monotonic
        self._line = line
        self._give_back = give_back
        self._looking: Optional[IDelayedCall] = None

    def begin(self, tide: Tide) -> None:
        """There is an acceptor, by which to share with others."""
        self._line.share(tide)

    def recalled(self, waiting: int, at_once: bool) -> None:
        """See ILeaseHolder."""
        for lease in self._line.recalled(waiting, at_once):
            self._give_back(lease)
        self.look_soon()

    def look_soon(self) -> None:
        """A lease may be free that others wait for."""
        if self._looking is None and self._line.others_wait and self._line.free:
            self._looking = self._reactor.callLater(LOOK_INTERVAL_S, self._look)

    def _look(self) -> None:
        self._looking = None
        for lease in self._line.look(self._monotonic()):
            self._give_back(lease)
        self.look_soon()

    def stop(self) -> None:
        """There is nobody to share with any more, or nothing."""
        self._line.leave_others()
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
