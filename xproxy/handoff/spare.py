"""Spare descriptors: held for nothing, so that there are some when one that matters can't be had any other way."""

from __future__ import annotations

import errno
from typing import Any, List, Optional

from twisted.internet.interfaces import IDelayedCall

from ..net.descriptors import descriptors_of

SPARE_DESCRIPTORS = 8
"""Held by each proxy: a connection to the acceptor takes five at most (its socket; board and tide table, and a copy of each), a
grant two (the descriptor and the transport's copy of it)."""

REFILL_S = 1.0
"""How long after they were released, or could not be had, spare descriptors are opened again."""

SHORTAGES = (errno.EMFILE, errno.ENFILE)
"""There is no descriptor left, in this process or on this host."""


class SpareDescriptors:
    """Opened by ``fill``, closed by ``release`` for somebody who needs them more, and opened again later, until ``stop``.

    :param reactor: an IReactorTime, whose descriptors these are.
    """

    def __init__(self, reactor: Any, number: int = SPARE_DESCRIPTORS) -> None:
        self._clock = reactor
        self._descriptors = descriptors_of(reactor)
        self._number = number
        self._held: List[int] = []
        self._timer: Optional[IDelayedCall] = None

    def __len__(self) -> int:
        """How many there are."""
        return len(self._held)

    def fill(self) -> None:
        """Open what is missing; what can't be opened now is tried again later."""
        self._cancel()
        try:
            while len(self._held) < self._number:
                self._held.append(self._descriptors.spare())
        except OSError:
            self._timer = self._clock.callLater(REFILL_S, self._fill_again)

    def _fill_again(self) -> None:
        self._timer = None
        self.fill()

    def release(self) -> int:
        """Close them, so that others can be opened, for a while; gives how many there were."""
        released = self._close()
        if self._timer is None:
            self._timer = self._clock.callLater(REFILL_S, self._fill_again)
        return released

    def release_if_short(self) -> None:
        """The same, when no other descriptor can be opened: something has failed, perhaps for that reason."""
        try:
            self._descriptors.close(self._descriptors.spare())
        except OSError:
            self.release()

    def stop(self) -> None:
        """Close them, for good."""
        self._cancel()
        self._close()

    def _close(self) -> int:
        held, self._held = self._held, []
        for descriptor in held:
            self._descriptors.close(descriptor)
        return len(held)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
