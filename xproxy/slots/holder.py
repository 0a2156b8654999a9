"""What the book of a pool knows of one holder. Pure, a part of ``slots.book``."""

from __future__ import annotations

from math import inf
from typing import Dict, Hashable

import attr

from xproxy.slots.tides import Tide

GRANT_WINDOW = 256
"""How many grants of one pool may be on their way to a holder, as far as its asks tell: it reads as fast as it says so. A
quarter of what may wait for it unwritten (``handoff.outbox``)."""


@attr.define(eq=False)
class Holder:
    """A proxy, as far as one pool goes."""

    who: Hashable
    serial: int
    """Decides between equal arrivals: who came to the pool first. Unique."""
    column: int
    """Where in the pool's row of the tide table it says since when its requests wait."""
    waiting: int = 0
    """How many do, as far as its asks and our grants tell."""
    made: int = 0
    """Grants of this pool since the holder came."""
    seen: int = 0
    """How many of them it had received when it asked last."""
    leases: Dict[int, None] = attr.field(factory=dict)
    """A set that remembers the order, so that what goes back to the ring goes in the order it was granted."""
    of_service: Dict[str, int] = attr.field(factory=dict)
    """How many of its leases are of each service; no zeros."""
    recalled: bool = False
    """It was told that others wait."""
    _head: float = 0.0
    """The oldest arrival that the table had of it when a request of it was served last."""
    _served_of_head: int = 0
    """How many grants were made since that was the oldest: they are on their way."""

    @property
    def may_be_granted(self) -> bool:
        """Whether a slot that is idle could go there for somebody."""
        return self.waiting > 0 and self.made - self.seen < GRANT_WINDOW

    def turn(self, tide: Tide) -> float:
        """When the request came that the next grant would serve, as far as anybody knows.

        The table tells of the oldest request that waits there and of the latest. The grants that are on their way will serve
        the oldest ones; those behind them have come one after the other, evenly.
        """
        oldest, latest, waiting = tide.of(self.column)
        if not waiting:
            return inf  # All have been served meanwhile.
        on_their_way = self._served_of_head if self._head == oldest else 0
        return oldest + (latest - oldest) * min(on_their_way, waiting) / waiting

    def serve_one(self, tide: Tide) -> None:
        """One of its requests is served by a grant."""
        oldest, _, _ = tide.of(self.column)
        self._served_of_head = self._served_of_head + 1 if self._head == oldest else 1
        self._head = oldest
        self.waiting -= 1
