"""Everything that waits for a slot of one pool, oldest first, whoever it belongs to.

``PoolBook`` puts in what holders ask and what one-byte clients wait for, and takes out the oldest when a slot is idle. An ask
lists a window of arrivals and says how many more wait; those came later than the listed ones of the same asker, and have their
turn when nobody is listed any more. Pure: arrivals are monotonic seconds, of one clock for all processes of a host.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Dict, Generic, Hashable, Iterable, List, Tuple, TypeVar

import attr


@attr.define(eq=False)
class Asker:
    """Somebody with waiting requests. ``arrivals`` and ``more`` belong to Waits: changed by its methods only."""

    who: Hashable
    serial: int
    """Decides between equal arrivals: who came to the pool first. Unique."""
    arrivals: List[float] = attr.field(factory=list, init=False)
    """The oldest of them, sorted."""
    more: int = attr.field(default=0, init=False)
    """How many wait beyond those."""

    @property
    def waiting(self) -> int:
        """How many of this asker's requests wait."""
        return len(self.arrivals) + self.more


AskerT = TypeVar("AskerT", bound=Asker)


class Waits(Generic[AskerT]):
    """One sorted list of all listed arrivals, and who has more than that.

    A search costs O(log n); putting in and taking out moves the tail of an array of pointers, which for the few thousand
    arrivals that tens of holders may ask for is cheaper than any tree.
    """

    __slots__ = ("_order", "_unlisted", "_more")

    def __init__(self) -> None:
        self._order: List[Tuple[float, int, AskerT]] = []
        self._unlisted: Dict[int, AskerT] = {}
        self._more = 0

    def __len__(self) -> int:
        return len(self._order) + self._more

    @property
    def listed(self) -> int:
        """How many arrivals are listed."""
        return len(self._order)

    @property
    def unlisted(self) -> List[AskerT]:
        """Who has more waiting than is listed, the one that was served longest ago first."""
        return list(self._unlisted.values())

    def replace(self, asker: AskerT, arrivals: Iterable[float], more: int = 0) -> None:
        """Let exactly ``arrivals`` of this asker wait, and ``more``. Costs as much as old and new list differ."""
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
        self._set_more(asker, more)

    def _set_more(self, asker: AskerT, more: int) -> None:
        self._more += more - asker.more
        asker.more = more
        if more:
            self._unlisted[asker.serial] = asker
        else:
            self._unlisted.pop(asker.serial, None)

    def take(self) -> AskerT:
        """Strike the oldest listed arrival of all and say whose it was. Raises IndexError when none is listed."""
        asker = self._order.pop(0)[2]
        del asker.arrivals[0]
        return asker

    def take_more(self, asker: AskerT) -> None:
        """Strike one that is not listed. Its asker stands last in ``unlisted`` then."""
        del self._unlisted[asker.serial]
        self._set_more(asker, asker.more - 1)

    def others(self, asker: AskerT, count: int, window: int) -> Tuple[Tuple[float, ...], int]:
        """Of what is not this asker's: the oldest arrivals, oldest first, at most ``window``; and how many wait beyond them.

        :param count: both together are this many at most.
        """
        own = len(asker.arrivals)
        if count == 0 or own == len(self._order):
            return (), 0
        listed = min(count, window)
        if own == 0:
            arrivals = tuple([entry[0] for entry in self._order[:listed]])
        else:
            arrivals = tuple([entry[0] for entry in self._order[: listed + own] if entry[2] is not asker][:listed])
        waiting = len(self._order) + self._more - asker.waiting
        return arrivals, min(waiting, count) - len(arrivals)
