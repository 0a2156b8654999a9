"""The acceptor's book of one pool: which slots are idle, who leases which, who waits, what is recalled.

Calls come from the acceptor's shell (a slot registered, a proxy asked, a connection was lost); each returns what the shell must
do about it. Pure: slots are descriptors or any other integers, holders and sharers any hashable objects, times monotonic
seconds. The rules are in docs/architecture/slots.md, "The book of a pool".

The actions are to be carried out in the order in which they were returned, across calls too: when carrying one out leads to
another call of the book, its actions come after what is left of the first call's. Otherwise an older recall list could replace
a newer one.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from math import isfinite
from typing import Container, Dict, Hashable, List, Optional, Sequence, Set, Tuple, Union

import attr

from xproxy.slots.waits import Asker, Waits

ASK_WINDOW = 64
"""How many arrivals an ask or a recall may have: 512 bytes of doubles, well below the 65,535 of one AMP value."""


class BookError(ValueError):
    """The caller and the book disagree about a slot, a holder or a sharer. Nothing was changed."""


class AlreadyRegistered(BookError):
    """The slot is in the book."""


class NotParked(BookError):
    """The slot is neither idle nor shared."""


class NotLeased(BookError):
    """The holder has no lease of this slot."""


class BadAsk(BookError):
    """Too many arrivals, one that is no time, or more grants seen than were made."""


class AlreadyWaiting(BookError):
    """The sharer waits for a slot already."""


class NotWaiting(BookError):
    """The sharer does not wait for a slot."""


@attr.frozen
class Grant:
    """Lease this slot to this holder."""

    holder: Hashable
    slot: int


@attr.frozen
class Recall:
    """Tell this holder what the others wait for; replaces what it was told before, an empty list takes it back."""

    holder: Hashable
    arrivals: Tuple[float, ...]


@attr.frozen
class Share:
    """Hand this slot to this one-byte client (after a look whether it is still alive)."""

    sharer: Hashable
    slot: int


@attr.frozen
class Close:
    """Shut the socket down and close the acceptor's copy. The slot is out of the book."""

    slot: int


@attr.frozen
class Answer:
    """Tell this holder that everything that its asks up to this question could bring was granted."""

    holder: Hashable
    question: int


Action = Union[Grant, Recall, Share, Close, Answer]


@attr.define(eq=False)
class _Holder(Asker):
    made: int = 0
    """Grants of this pool since the holder came."""
    leases: Dict[int, None] = attr.field(factory=dict)
    """A set that remembers the order, so that what goes back to the ring goes in the order it was granted."""
    told: Optional[Tuple[float, ...]] = ()
    """The holder's recall list as far as we know it; None when the holder struck something from it."""


@attr.define(eq=False)
class _Sharer(Asker):
    pass


class PoolBook:
    """One pool's slots, each idle, leased or shared, and who waits for them.

    What holds after each call: a slot is in one state; nobody waits while a slot is idle; no sharer waits while one is shared.

    :ivar name: the pool's name; the book itself makes no use of it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._ring: OrderedDict[int, None] = OrderedDict()
        self._leased: Set[int] = set()
        self._shared: OrderedDict[int, None] = OrderedDict()
        self._holders: Dict[Hashable, _Holder] = {}
        self._sharers: Dict[Hashable, _Sharer] = {}
        self._waits: Waits[Union[_Holder, _Sharer]] = Waits()
        self._serials = count()

    @property
    def registered(self) -> int:
        """Slots in the book: idle + leased + shared."""
        return len(self._ring) + len(self._leased) + len(self._shared)

    @property
    def idle(self) -> int:
        """Slots in the ring."""
        return len(self._ring)

    @property
    def leased(self) -> int:
        """Slots that holders have."""
        return len(self._leased)

    @property
    def shared(self) -> int:
        """Slots that were handed to one-byte clients."""
        return len(self._shared)

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot, as far as the asks show them, and waiting one-byte clients."""
        return len(self._waits)

    def leases_of(self, holder: Hashable) -> Tuple[int, ...]:
        """The slots this holder has, in the order of the grants; empty when it is unknown."""
        record = self._holders.get(holder)
        return () if record is None else tuple(record.leases)

    def register(self, slot: int) -> List[Action]:
        """A new slot is idle: it stands at the tail of the ring. Raises AlreadyRegistered."""
        if slot in self._ring or slot in self._leased or slot in self._shared:
            raise AlreadyRegistered(f"slot {slot} is in the book already")
        self._ring[slot] = None
        return self._settle()

    def lose(self, slot: int) -> List[Action]:
        """An idle or shared slot is over: end of file, bytes nobody asked for, found dead. Raises NotParked.

        Whoever found out closes it: no Close is returned.
        """
        for parked in (self._ring, self._shared):
            if slot in parked:
                del parked[slot]
                return []
        raise NotParked(f"slot {slot} is neither idle nor shared")

    def ask(self, holder: Hashable, arrivals: Sequence[float], seen: int) -> List[Action]:
        """Replace the holder's standing ask.

        :param arrivals: when the holder's waiting requests arrived, at most ASK_WINDOW of them.
        :param seen: how many grants the holder had received when it wrote the ask. For each grant it had not, the oldest
            arrival is struck: that grant is on its way and will serve it.
        :raises BadAsk: for what no honest holder sends.
        """
        record = self._holders.get(holder)
        made = 0 if record is None else record.made
        if len(arrivals) > ASK_WINDOW or not all(map(isfinite, arrivals)):
            raise BadAsk(f"an ask is at most {ASK_WINDOW} times")
        if not 0 <= seen <= made:
            raise BadAsk(f"{seen} grants seen of {made}")
        if record is None:
            record = self._holders[holder] = _Holder(holder, next(self._serials))
        self._waits.replace(record, sorted(arrivals)[made - seen :])
        return self._settle()

    def give_back(self, holder: Hashable, slot: int) -> List[Action]:
        """A lease is over and its slot is clean: it stands at the tail of the ring. Raises NotLeased."""
        record = self._end_lease(holder, slot)
        self._ring[slot] = None
        if record.told:
            # The holder struck the oldest arrival of its recall list for this slot, but the slot may serve something else (a
            # request of its own that it no longer has). So it is told the list again, even when that is the same as before.
            record.told = None
        return self._settle()

    def lease_closed(self, holder: Hashable, slot: int) -> List[Action]:
        """A lease is over and its slot is not good any more. Raises NotLeased."""
        self._end_lease(holder, slot)
        return [Close(slot), *self._settle()]

    def forget(self, holder: Hashable, busy: Container[int]) -> List[Action]:
        """The holder is gone, with its ask and its count of grants; nothing happens when it never asked here.

        :param busy: those of its slots on which an exchange was running: they are closed. The others go back to the ring.
        """
        record = self._holders.pop(holder, None)
        if record is None:
            return []
        self._waits.replace(record, ())
        actions: List[Action] = []
        for slot in record.leases:
            self._leased.discard(slot)
            if slot in busy:
                actions.append(Close(slot))
            else:
                self._ring[slot] = None
        return actions + self._settle()

    def share(self, sharer: Hashable, arrival: float) -> List[Action]:
        """A one-byte client wants a slot: an idle one, which is shared from now on, else the next of those shared already.

        When there is neither, it waits like everybody: no Share is returned now, but by a later call. When the slot turns out
        dead, the shell calls ``lose`` and ``share`` again. Raises AlreadyWaiting, and BadAsk when ``arrival`` is no time.
        """
        if sharer in self._sharers:
            raise AlreadyWaiting(f"{sharer!r} waits already")
        if not isfinite(arrival):
            raise BadAsk("an arrival is a time")
        if self._ring:
            return [Share(sharer, self._idle_to_shared())]
        if self._shared:
            return [Share(sharer, self._next_shared())]
        record = self._sharers[sharer] = _Sharer(sharer, next(self._serials))
        self._waits.replace(record, (arrival,))
        return self._settle()

    def unshare_wait(self, sharer: Hashable) -> List[Action]:
        """The one-byte client waits no longer: it is gone, or waited too long. Raises NotWaiting."""
        record = self._sharers.pop(sharer, None)
        if record is None:
            raise NotWaiting(f"{sharer!r} does not wait")
        self._waits.replace(record, ())
        return self._settle()

    def _end_lease(self, holder: Hashable, slot: int) -> _Holder:
        record = self._holders.get(holder)
        if record is None or slot not in record.leases:
            raise NotLeased(f"{holder!r} has no lease of slot {slot}")
        del record.leases[slot]
        self._leased.discard(slot)
        return record

    def _idle_to_shared(self) -> int:
        """Take the head of the ring for a sharer."""
        slot, _ = self._ring.popitem(last=False)
        self._shared[slot] = None
        return slot

    def _next_shared(self) -> int:
        """The shared slot whose last turn is longest ago."""
        slot = next(iter(self._shared))
        self._shared.move_to_end(slot)
        return slot

    def _settle(self) -> List[Action]:
        """Serve who waits, as far as slots are idle, and say the recall lists that changed."""
        actions: List[Action] = []
        while self._ring and self._waits:
            asker = self._waits.take()
            if isinstance(asker, _Holder):
                slot, _ = self._ring.popitem(last=False)
                self._leased.add(slot)
                asker.leases[slot] = None
                asker.made += 1
                actions.append(Grant(asker.who, slot))
            else:
                actions.append(Share(asker.who, self._idle_to_shared()))
                del self._sharers[asker.who]
                actions.extend(self._share_out())
        for holder in self._holders.values():
            recall = self._waits.others(holder, min(len(holder.leases), ASK_WINDOW))
            if recall != holder.told:
                holder.told = recall
                actions.append(Recall(holder.who, recall))
        return actions

    def _share_out(self) -> List[Action]:
        """A slot has become shared: one is enough for all sharers, so nobody of them waits any more."""
        served = sorted(self._sharers.values(), key=lambda sharer: (sharer.arrivals, sharer.serial))
        self._sharers.clear()
        actions: List[Action] = []
        for sharer in served:
            self._waits.replace(sharer, ())
            actions.append(Share(sharer.who, self._next_shared()))
        return actions
