"""Everything that waits for a slot of one pool, oldest first, whoever it belongs to.

``PoolBook`` puts in what holders ask and what one-byte clients wait for, and takes out the oldest when a slot is idle. Pure:
arrivals are monotonic seconds, of one clock for all processes of a host.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Generic, Hashable, Iterable, List, Tuple, TypeVar

import attr


@attr.define(eq=False)
class Asker:
    """Somebody with waiting requests. ``arrivals`` belongs to Waits: sorted, changed by its methods only."""

    who: Hashable
    serial: int
    """Decides between equal arrivals: who came to the pool first. Unique."""
    arrivals: List[float] = attr.field(factory=list, init=False)


AskerT = TypeVar("AskerT", bound=Asker)


class Waits(Generic[AskerT]):
    """One sorted list of all arrivals.

    A search costs O(log n); putting in and taking out moves the tail of an array of pointers, which for the few thousand
    arrivals that tens of holders may ask for is cheaper than any tree.
    """

    __slots__ = ("_order",)

    def __init__(self) -> None:
        self._order: List[Tuple[float, int, AskerT]] = []

    def __len__(self) -> int:
        return len(self._order)

    def replace(self, asker: AskerT, arrivals: Iterable[float]) -> None:
        """Let exactly ``arrivals`` of this asker wait. Costs as much as old and new list differ."""
        old, new = asker.arrivals, sorted(arrivals)
        gone = come = 0
        while gone < len(old) or come < len(new):
            if come == len(new) or (gone < len(old) and old[gone] < new[come]):
                del self._order[bisect_left(self._order, (old[gone], asker.serial))]
                gone += 1
            elif gone == len(old) or new[come] < old[gone]:
                insort(self._order, (new[come], asker.serial, asker))
                come += 1
            else:
                gone += 1
                come += 1
        asker.arrivals = new

    def take(self) -> AskerT:
        """Strike the oldest arrival of all and say whose it was. Raises IndexError when nobody waits."""
        asker = self._order.pop(0)[2]
        del asker.arrivals[0]
        return asker

    def others(self, asker: AskerT, count: int) -> Tuple[float, ...]:
        """The oldest ``count`` arrivals that are not this asker's, oldest first."""
        own = len(asker.arrivals)
        if count == 0 or own == len(self._order):
            return ()
        if own == 0:
            return tuple([entry[0] for entry in self._order[:count]])
        return tuple([entry[0] for entry in self._order[: count + own] if entry[2] is not asker][:count])
