"""The line of a pool in one proxy: requests that wait, leases that are free, and what other proxies wait for.

Pure: waiters and leases are any hashable objects, times are monotonic seconds. ``exchanges.pool`` drives it; the rules are in
docs/architecture/slots.md, "The line of a proxy".
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Deque, Dict, Generic, Hashable, List, Optional, Sequence, TypeVar, Union

from xproxy.slots.waiting import Waiting

WaiterT = TypeVar("WaiterT", bound=Hashable)
LeaseT = TypeVar("LeaseT", bound=Hashable)


class LineFull(Exception):
    """As many requests wait already as the pool's ``queue_limit`` allows."""


class Fate(Enum):
    """What becomes of a lease that nobody here is served with."""

    KEEP = "keep"
    GIVE_BACK = "give back"


class Line(Generic[WaiterT, LeaseT]):
    """Who waits, what is free, what was recalled. Somebody waits only while nothing is free.

    :param waiting: who waits, empty, in the order of the pool's dispatch.
    :param free: the free leases, the same.
    :ivar limit: how many may wait; may be changed, which sends nobody away who waits already.
    """

    __slots__ = ("limit", "free", "_waiting", "_past", "_recalled", "_retired")

    def __init__(self, limit: int, waiting: Optional[Waiting[WaiterT]] = None, free: Optional[Deque[LeaseT]] = None) -> None:
        self.limit = limit
        self.free: Deque[LeaseT] = deque() if free is None else free
        self._waiting: Waiting[WaiterT] = Waiting() if waiting is None else waiting
        self._past: Dict[WaiterT, int] = {}
        """Those among ``_waiting`` that came when the line was full, with the question whose answer decides on them."""
        self._recalled: Deque[float] = deque()
        self._retired = False

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, waiter: WaiterT, arrival: float) -> None:
        """Stand at the end. Raises LineFull."""
        if len(self._waiting) >= self.limit:
            raise LineFull()
        self._waiting.add(waiter, arrival)

    def join_past(self, waiter: WaiterT, arrival: float, question: int) -> None:
        """Stand at the end of a full line, until it is known whether a slot is idle anywhere.

        :param question: of the ask that will tell: see ``decide``. The questions of one line rise.
        """
        self._waiting.add(waiter, arrival)
        self._past[waiter] = question

    @property
    def past(self) -> int:
        """How many wait past the limit for an answer."""
        return len(self._past)

    def oldest_past(self) -> Optional[float]:
        """When the first of them arrived; None when there are none."""
        for waiter in self._past:
            return self._waiting.arrival_of(waiter)
        return None

    def decide(self, question: int) -> List[WaiterT]:
        """The asks up to this question are answered: of those who waited for that, the last to come are refused, as many as the
        line is too long by; they leave it and are returned, in the order of their arrival. The others wait on as all do."""
        return self._decide([waiter for waiter, asked in self._past.items() if asked <= question])

    def decide_late(self, latest: float) -> List[WaiterT]:
        """The same for those who came at ``latest`` or before: no answer has come for too long."""
        return self._decide([waiter for waiter in self._past if self._waiting.arrival_of(waiter) <= latest])

    def _decide(self, decided: List[WaiterT]) -> List[WaiterT]:
        undecided = len(self._past) - len(decided)
        room = max(0, self.limit - (len(self) - undecided - len(decided)))
        for waiter in decided:
            del self._past[waiter]
        refused = decided[room:]
        for waiter in refused:
            self._waiting.remove(waiter)
        return refused

    def rejoin(self, waiter: WaiterT, arrival: float) -> None:
        """Stand where ``arrival`` belongs: in front of all that were never served. Past the limit too: it was let in once."""
        self._waiting.add_again(waiter, arrival)

    def leave(self, waiter: WaiterT) -> bool:
        """Wait no longer; False when it did not wait."""
        if self._past:
            self._past.pop(waiter, None)
        return self._waiting.remove(waiter)

    def oldest(self) -> Optional[float]:
        """When the one who waits longest arrived, None when nobody waits."""
        return self._waiting.oldest()

    def arrivals(self, count: int) -> List[float]:
        """When the first ``count`` of the line arrived, oldest first."""
        return self._waiting.arrivals(count)

    def arrived_by(self, latest: float) -> List[WaiterT]:
        """Everybody who arrived at ``latest`` or before, oldest first: who has waited too long."""
        return self._waiting.arrived_by(latest)

    def freed(self, lease: LeaseT) -> Union[WaiterT, Fate]:
        """A lease is free: the waiter to serve with it (who leaves the line), or what becomes of it."""
        if self._recalled:
            oldest = self.oldest()
            if oldest is None or self._recalled[0] < oldest:
                self._recalled.popleft()
                return Fate.GIVE_BACK
        waiter = self._waiting.take() if self._waiting else None
        if waiter is not None:
            if self._past:
                self._past.pop(waiter, None)
            return waiter
        if self._retired:
            return Fate.GIVE_BACK
        self.free.append(lease)
        return Fate.KEEP

    def recalled(self, arrivals: Sequence[float], more: int = 0) -> List[LeaseT]:
        """Others wait since ``arrivals`` (replacing what was said before), and ``more`` of them: the free leases to give back
        at once.
        """
        self._recalled = deque(arrivals)
        given: List[LeaseT] = []
        while (self._recalled or more) and self.free:
            if self._recalled:
                self._recalled.popleft()
            else:
                more -= 1
            given.append(self.free.popleft())
        return given

    def retire(self) -> List[LeaseT]:
        """Keep no lease from here on: those that are free are to be given back at once, the others once nobody waits."""
        self._retired = True
        free = list(self.free)
        self.free.clear()
        return free

    def lost(self, lease: LeaseT) -> bool:
        """A free lease is over; False when it was not free."""
        try:
            self.free.remove(lease)
        except ValueError:
            return False
        return True
