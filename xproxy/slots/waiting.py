"""Who waits in a line, in the order of arrival. Pure: waiters are any hashable objects, times monotonic seconds."""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from itertools import count
from typing import Generic, Hashable, List, Optional, Tuple, TypeVar

WaiterT = TypeVar("WaiterT", bound=Hashable)


class Waiting(Generic[WaiterT]):
    """First come, first served; who was served before and stands here again goes before all that were not."""

    __slots__ = ("_first", "_again", "_serials")

    def __init__(self) -> None:
        self._first: OrderedDict[WaiterT, float] = OrderedDict()
        self._again: List[Tuple[float, int, WaiterT]] = []
        self._serials = count()

    def __len__(self) -> int:
        return len(self._first) + len(self._again)

    def add(self, waiter: WaiterT, arrival: float) -> None:
        """A new one, who arrived after all others."""
        self._first[waiter] = arrival

    def add_again(self, waiter: WaiterT, arrival: float) -> None:
        """One who was served, in vain, and keeps the place that its arrival gives it."""
        insort(self._again, (arrival, next(self._serials), waiter))

    def remove(self, waiter: WaiterT) -> bool:
        """Wait no longer; False when it did not wait."""
        if self._first.pop(waiter, None) is not None:
            return True
        before = len(self._again)
        self._again = [entry for entry in self._again if entry[2] is not waiter]
        return len(self._again) < before

    def take(self) -> Optional[WaiterT]:
        """Who is served next, and waits no longer; None when nobody waits."""
        if self._again:
            return self._again.pop(0)[2]
        return self._first.popitem(last=False)[0] if self._first else None

    def arrival_of(self, waiter: WaiterT) -> float:
        """When a new one arrived. Raises KeyError."""
        return self._first[waiter]

    def oldest(self) -> Optional[float]:
        """When the one who waits longest arrived, None when nobody waits."""
        if self._again:
            return self._again[0][0]
        for arrival in self._first.values():
            return arrival
        return None

    def arrived_by(self, latest: float) -> List[WaiterT]:
        """Everybody who arrived at ``latest`` or before, oldest first."""
        found = [waiter for arrival, _, waiter in self._again if arrival <= latest]
        for waiter, arrival in self._first.items():
            if arrival > latest:
                break
            found.append(waiter)
        return found
