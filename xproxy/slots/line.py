"""The line of a pool in one proxy: requests that wait, leases that are free, and what other proxies wait for.

Pure: waiters and leases are any hashable objects, times are monotonic seconds. ``proxy.pool`` drives it; the rules are in
docs/architecture/slots.md, "The line of a proxy".
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict, deque
from enum import Enum
from itertools import islice
from typing import Deque, Generic, Hashable, List, Optional, Sequence, Tuple, TypeVar, Union

WaiterT = TypeVar("WaiterT", bound=Hashable)
LeaseT = TypeVar("LeaseT", bound=Hashable)


class LineFull(Exception):
    """As many requests wait already as the pool's ``queue_limit`` allows."""


class Fate(Enum):
    """What becomes of a lease that nobody here is served with."""

    KEEP = "keep"
    GIVE_BACK = "give back"


class Line(Generic[WaiterT, LeaseT]):
    """Who waits, what is free, what was recalled. Somebody waits only while nothing is free."""

    __slots__ = ("limit", "free", "_waiting", "_again", "_recalled")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.free: Deque[LeaseT] = deque()
        self._waiting: OrderedDict[WaiterT, float] = OrderedDict()
        self._again: List[Tuple[float, int, WaiterT]] = []
        self._recalled: Deque[float] = deque()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._again)

    def join(self, waiter: WaiterT, arrival: float) -> None:
        """Stand at the end. Raises LineFull."""
        if len(self._waiting) + len(self._again) >= self.limit:
            raise LineFull()
        self._waiting[waiter] = arrival

    def rejoin(self, waiter: WaiterT, arrival: float) -> None:
        """Stand where ``arrival`` belongs: in front of all that were never served. Past the limit too: it was let in once."""
        insort(self._again, (arrival, id(waiter), waiter))

    def leave(self, waiter: WaiterT) -> bool:
        """Wait no longer; False when it did not wait."""
        if self._waiting.pop(waiter, None) is not None:
            return True
        before = len(self._again)
        self._again = [entry for entry in self._again if entry[2] is not waiter]
        return len(self._again) < before

    def oldest(self) -> Optional[float]:
        """When the first of the line arrived, None when nobody waits."""
        if self._again:
            return self._again[0][0]
        for arrival in self._waiting.values():
            return arrival
        return None

    def arrivals(self, count: int) -> List[float]:
        """When the first ``count`` of the line arrived, oldest first."""
        again = [entry[0] for entry in self._again[:count]]
        return again + list(islice(self._waiting.values(), count - len(again)))

    def arrived_by(self, latest: float) -> List[WaiterT]:
        """Everybody who arrived at ``latest`` or before, oldest first: who has waited too long."""
        found = [waiter for arrival, _, waiter in self._again if arrival <= latest]
        for waiter, arrival in self._waiting.items():
            if arrival > latest:
                break
            found.append(waiter)
        return found

    def freed(self, lease: LeaseT) -> Union[WaiterT, Fate]:
        """A lease is free: the waiter to serve with it (who leaves the line), or what becomes of it."""
        if self._recalled:
            oldest = self.oldest()
            if oldest is None or self._recalled[0] < oldest:
                self._recalled.popleft()
                return Fate.GIVE_BACK
        if self._again:
            return self._again.pop(0)[2]
        if self._waiting:
            return self._waiting.popitem(last=False)[0]
        self.free.append(lease)
        return Fate.KEEP

    def recalled(self, arrivals: Sequence[float]) -> List[LeaseT]:
        """Others wait since ``arrivals`` (replacing what was said before): the free leases to give back at once."""
        self._recalled = deque(arrivals)
        given: List[LeaseT] = []
        while self._recalled and self.free:
            self._recalled.popleft()
            given.append(self.free.popleft())
        return given

    def lost(self, lease: LeaseT) -> bool:
        """A free lease is over; False when it was not free."""
        try:
            self.free.remove(lease)
        except ValueError:
            return False
        return True
