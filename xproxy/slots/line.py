"""The line of a pool in one proxy: requests that wait, leases that are free, and when one is given to another proxy.

Pure: waiters and leases are any hashable objects, times are monotonic seconds. ``exchanges.pool`` drives it; the rules are in
docs/architecture/slots.md, "The line of a proxy".
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from math import inf
from typing import Deque, Dict, Generic, Hashable, List, Optional, Tuple, TypeVar, Union

from xproxy.slots.tides import ASHORE, Others, Tide
from xproxy.slots.waiting import Waiting

WaiterT = TypeVar("WaiterT", bound=Hashable)
LeaseT = TypeVar("LeaseT", bound=Hashable)


MOVE_AGE_S = 0.01
"""How much earlier than the oldest here a request must have come to another proxy for a slot to go there: to move one costs
three processes some hundred microseconds, and the slot is idle meanwhile. Ten milliseconds are under what a person notices."""

MOVE_INTERVAL_S = 0.01
"""From one such move to the next: what the first one does to the order shows only after a while, and more would be too many."""

ORDER_BOUND_S = 0.02
"""Past this difference slots follow each other as fast as they arrive: no slot that is free serves a request that came so much
later than one that waits at another proxy, unless a slot is on its way there."""

IDLE_AGE_S = 0.001
"""How long somebody must have waited for a slot that is idle here: who waits for less is served before it could arrive."""

LOOK_INTERVAL_S = 0.001
"""How often it is looked at what the others wait for, while it is not known to be older than what waits here."""

TRIP_S = 0.002
"""In this time a slot is where it was sent to, and used: so long it is not known who waits still."""


class LineFull(Exception):
    """As many requests wait already as the pool's ``queue_limit`` allows, here and at the other proxies."""


class Fate(Enum):
    """What becomes of a lease that nobody here is served with."""

    KEEP = "keep"
    GIVE_BACK = "give back"


class Line(Generic[WaiterT, LeaseT]):
    """Who waits and what is free. Somebody waits only while nothing is free.

    :param waiting: who waits, empty, in the order of the pool's dispatch.
    :param free: the free leases, the same.
    :ivar limit: how many may wait, here and elsewhere; may be changed, which sends nobody away who waits already.
    :ivar others_wait: the acceptor says so. Only then is it looked what they wait for.
    """

    __slots__ = (
        "limit", "free", "others_wait", "_waiting", "_past", "_retired", "_tide", "_latest", "_look_at", "_theirs", "_moved_at",
        "_moved_for", "_moved_of", "_idle",
    )  # fmt: skip

    def __init__(self, limit: int, waiting: Optional[Waiting[WaiterT]] = None, free: Optional[Deque[LeaseT]] = None) -> None:
        self.limit = limit
        self.free: Deque[LeaseT] = deque() if free is None else free
        self.others_wait = False
        self._waiting: Waiting[WaiterT] = Waiting() if waiting is None else waiting
        self._past: Dict[WaiterT, int] = {}
        """Those among ``_waiting`` that came when the line was full, with the question whose answer decides on them."""
        self._retired = False
        self._tide = ASHORE
        self._latest = -inf
        """When the last one came."""
        self._look_at = self._moved_at = -inf
        self._theirs = inf
        """When the oldest of the others came, at the last look."""
        self._moved_for: Tuple[int, float] = (-1, inf)
        """Whose request the last slot was given for, and when it came."""
        self._moved_of = 0
        """How many waited elsewhere then."""
        self._idle = 0
        """How many leases were free at the last look."""

    def share(self, tide: Tide) -> None:
        """What waits here is said there from now on, and what waits elsewhere looked up."""
        self._tide = tide
        self._say()

    def leave_others(self) -> None:
        """There is no acceptor any more, and nobody to share with."""
        self._tide.say(None, 0.0, 0)
        self._tide = ASHORE
        self.others_wait = False

    def _say(self) -> None:
        self._tide.say(self._waiting.oldest(), self._latest, len(self._waiting))

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, waiter: WaiterT, arrival: float) -> None:
        """Stand at the end. Raises LineFull."""
        if len(self._waiting) + self._tide.waiting_elsewhere() >= self.limit:
            raise LineFull()
        self._add(waiter, arrival)

    def _add(self, waiter: WaiterT, arrival: float) -> None:
        self._waiting.add(waiter, arrival)
        self._latest = arrival
        self._say()

    def join_past(self, waiter: WaiterT, arrival: float, question: int) -> None:
        """Stand at the end of a full line, until it is known whether a slot is idle anywhere.

        :param question: of the ask that will tell: see ``decide``. The questions of one line rise.
        """
        self._add(waiter, arrival)
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

    def decide(self, question: float = inf, latest: float = inf) -> List[WaiterT]:
        """Of those who waited past the limit for an answer the last to come are refused, as many as the line is too long by;
        they leave it and are returned, in the order of their arrival. The others wait on as all do.

        :param question: the asks up to this one are answered; those who wait for a later answer stay undecided.
        :param latest: for those who arrived then or before, no answer has come for too long; who came later stays undecided.
        """
        past, arrival_of = self._past.items(), self._waiting.arrival_of
        decided = [waiter for waiter, asked in past if asked <= question and arrival_of(waiter) <= latest]
        undecided = len(self._past) - len(decided)
        standing = len(self) - undecided - len(decided) + self._tide.waiting_elsewhere()
        for waiter in decided:
            del self._past[waiter]
        refused = decided[max(0, self.limit - standing) :]
        for waiter in refused:
            self._waiting.remove(waiter)
        self._say()
        return refused

    def rejoin(self, waiter: WaiterT, arrival: float) -> None:
        """Stand where ``arrival`` belongs: in front of all that were never served. Past the limit too: it was let in once."""
        self._waiting.add_again(waiter, arrival)
        self._latest = max(arrival, self._latest)
        self._say()

    def leave(self, waiter: WaiterT) -> bool:
        """Wait no longer; False when it did not wait."""
        if self._past:
            self._past.pop(waiter, None)
        left = self._waiting.remove(waiter)
        if left:
            self._say()
        return left

    def oldest(self) -> Optional[float]:
        """When the one who waits longest arrived, None when nobody waits."""
        return self._waiting.oldest()

    def arrived_by(self, latest: float) -> List[WaiterT]:
        """Everybody who arrived at ``latest`` or before, oldest first: who has waited too long."""
        return self._waiting.arrived_by(latest)

    def freed(self, lease: LeaseT, now: float) -> Union[WaiterT, Fate]:
        """A lease is free: the waiter to serve with it (who leaves the line), or what becomes of it."""
        if self.others_wait:
            oldest = self._waiting.oldest()
            ahead = (now if oldest is None else oldest) - self._theirs
            if (ahead >= MOVE_AGE_S or now >= self._look_at) and self._is_due(now):
                return Fate.GIVE_BACK
        return self.granted(lease)

    def granted(self, lease: LeaseT) -> Union[WaiterT, Fate]:
        """The same for a lease that has just come: it was sent for those who wait here."""
        waiter = self._waiting.take() if self._waiting else None
        if waiter is not None:
            if self._past:
                self._past.pop(waiter, None)
            self._say()
            return waiter
        if self._retired:
            return Fate.GIVE_BACK
        self.free.append(lease)
        return Fate.KEEP

    def _is_due(self, now: float) -> bool:
        """Whether another proxy has so much older a request that a slot goes there, and none is on its way."""
        theirs, whose, waiting = self._others(now)
        oldest = self._waiting.oldest()
        ahead = (now if oldest is None else oldest) - theirs
        if ahead < MOVE_AGE_S:
            return False
        if now - self._moved_at < MOVE_INTERVAL_S:
            on_its_way = self._moved_for == (whose, theirs) and waiting >= self._moved_of
            if ahead < ORDER_BOUND_S or on_its_way:
                return False
        self._moved_at, self._moved_for, self._moved_of = now, (whose, theirs), waiting
        return True

    def _others(self, now: float) -> Others:
        """Look. Until the next look what is found is a bound: who waits there has come no earlier, or since."""
        self._look_at = now + LOOK_INTERVAL_S
        others = self._tide.others(now)
        self._theirs = others[0]
        return others

    def recalled(self, waiting: int, at_once: bool = False) -> List[LeaseT]:
        """So many wait at other proxies, replacing what was said before: the free leases to give back now.

        :param at_once: a request may be refused for want of them; else they are given back by ``look``.
        """
        self.others_wait = waiting > 0
        self._idle = len(self.free)
        return self._give(min(self._idle, waiting)) if at_once else []

    def look(self, now: float) -> List[LeaseT]:
        """While others wait and a lease is free here, every LOOK_INTERVAL_S: those to give back.

        They go when they are idle: one that is free for a moment only, between two requests, is not missed by others.
        """
        idle, self._idle = min(self._idle, len(self.free)), len(self.free)
        if not self.others_wait or not self.free or now - self._moved_at < TRIP_S:
            return []
        theirs, whose, waiting = self._others(now)
        if idle and now - theirs >= IDLE_AGE_S:
            self._moved_at, self._moved_for, self._moved_of = now, (whose, theirs), waiting
            return self._give(min(idle, waiting))
        return self._give(1) if self._is_due(now) else []

    def _give(self, number: int) -> List[LeaseT]:
        given = [self.free.popleft() for _ in range(number)]
        self._idle = len(self.free)
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
