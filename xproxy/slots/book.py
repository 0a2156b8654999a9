"""The acceptor's book of one pool: which slots are idle, who leases which, who waits, what is recalled.

Calls come from the acceptor's shell (a slot registered, a proxy asked, a connection was lost); each returns what the shell must
do about it. Pure: slots are any integers, holders (proxies) and borrowers (one-byte clients) any hashable objects, times
monotonic seconds. The rules are in docs/architecture/slots.md, "The book of a pool".

The actions are to be carried out in the order in which they were returned, across calls too: when carrying one out leads to
another call of the book, its actions come after what is left of the first call's. Otherwise an older recall list could replace
a newer one.
"""

from __future__ import annotations

from itertools import count
from math import isfinite
from typing import Callable, Container, Dict, Hashable, List, Optional, Sequence, Set, Tuple, Union

import attr

from xproxy.slots.actions import (
    Action,
    AlreadyRegistered,
    AlreadyWaiting,
    AskBack,
    BadAsk,
    Close,
    Ending,
    Grant,
    Lend,
    NotIdle,
    NotLeased,
    NotLent,
    NotWaiting,
    Recall,
)
from xproxy.slots.dealing import CALM_LOOKS, Share, deal
from xproxy.slots.questions import Questions
from xproxy.slots.ring import Ring
from xproxy.slots.waits import Asker, Waits

ASK_WINDOW = 64
"""How many arrivals an ask or a recall may list: 512 bytes of doubles, well below the 65,535 of one AMP value."""

GRANT_WINDOW = 256
"""How many grants of one pool may be on their way to a holder beyond what its asks list: it reads as fast as it says so. A
quarter of what may wait for it unwritten (``handoff.outbox``)."""


@attr.define(eq=False)
class _Holder(Asker):
    made: int = 0
    """Grants of this pool since the holder came."""
    seen: int = 0
    """How many of them it had received when it asked last."""
    leases: Dict[int, None] = attr.field(factory=dict)
    """A set that remembers the order, so that what goes back to the ring goes in the order it was granted."""
    of_service: Dict[str, int] = attr.field(factory=dict)
    """How many of its leases are of each service; no zeros."""
    told: Optional[Tuple[Tuple[float, ...], int]] = ((), 0)
    """The holder's recall list as far as we know it; None when the holder struck something from it."""


@attr.define(eq=False)
class _Borrower(Asker):
    pass


class PoolBook:
    """One pool's slots, each idle, leased or lent, and who waits for them.

    What holds after each call: a slot is in one state; nobody waits while a slot is idle, but for a holder that has not
    yet seen GRANT_WINDOW grants.

    :ivar name: the pool's name; the book itself makes no use of it.
    :param idle_slots: makes the collection of idle slots, in the order of the pool's dispatch.
    :ivar retired: the pool is given up: what comes back is closed.
    :ivar hung: holders that do not answer: nothing is dealt to them. Their asks are the caller's to take back and to say again.
    """

    def __init__(self, name: str, idle_slots: Callable[[], Ring[int]] = Ring) -> None:
        self.name = name
        self._idle_slots = idle_slots
        self.retired = False
        self.hung: Dict[Hashable, None] = {}
        self._services: Dict[int, str] = {}
        """Whose each registered slot is."""
        self._ring: Ring[int] = idle_slots()
        self._leased: Set[int] = set()
        self._lent: Set[int] = set()
        self._holders: Dict[Hashable, _Holder] = {}
        self._borrowers: Dict[Hashable, _Borrower] = {}
        self._waits: Waits[Union[_Holder, _Borrower]] = Waits()
        self._questions = Questions()
        self._serials = count()
        self._looks = 0
        self._even = False
        """At the last look nothing was to be dealt."""

    @property
    def registered(self) -> int:
        """Slots in the book: idle + leased + lent."""
        return len(self._services)

    @property
    def idle(self) -> int:
        """Slots in the ring."""
        return len(self._ring)

    @property
    def leased(self) -> int:
        """Slots that holders have."""
        return len(self._leased)

    @property
    def lent(self) -> int:
        """Slots that borrowers have."""
        return len(self._lent)

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot, as far as the asks tell of them, and waiting borrowers."""
        return len(self._waits)

    @property
    def round_number(self) -> int:
        """The number of the recalls that holders have not all confirmed, 0 when there are none; see ``slots.questions``."""
        return self._questions.number

    def leases_of(self, holder: Hashable) -> Tuple[int, ...]:
        """The slots this holder has, in the order of the grants; empty when it is unknown."""
        record = self._holders.get(holder)
        return () if record is None else tuple(record.leases)

    # -- slots

    def register(self, slot: int, service: str = "", holder: Hashable = None) -> List[Action]:
        """A new slot is idle: it stands in the ring, the last one of its service. Raises AlreadyRegistered, and
        ValueError when the pool is retired.

        :param holder: who leases it already, from a former acceptor; None: nobody. It is no grant that anybody counts.
        """
        if self.retired:
            raise ValueError(f"pool {self.name} is given up")
        if slot in self._services:
            raise AlreadyRegistered(f"slot {slot} is in the book already")
        self._services[slot] = service
        if holder is None:
            self._ring.put(slot, service)
        else:
            record = self._holders.get(holder)
            if record is None:
                record = self._holders[holder] = _Holder(holder, next(self._serials))
            self._lease(record, slot)
        return self._settle()

    def lose(self, slot: int) -> List[Action]:
        """An idle slot is over: end of file, bytes nobody asked for. Raises NotIdle.

        Whoever found out closes it: no Close is returned.
        """
        service = self._services.get(slot)
        if service is None or not self._ring.has(slot, service):
            raise NotIdle(f"slot {slot} is not idle")
        self._ring.remove(slot, service)
        del self._services[slot]
        return []

    def _close(self, slot: int) -> Close:
        del self._services[slot]
        return Close(slot)

    def retire(self) -> List[Action]:
        """The pool is given up: idle slots are closed now, others when they come back, and nobody waits any more."""
        self.retired = True
        askers: List[Union[_Holder, _Borrower]] = [*self._holders.values(), *self._borrowers.values()]
        for asker in askers:
            self._waits.replace(asker, ())
        self._borrowers.clear()
        idle = list(self._ring)
        self._ring = self._idle_slots()
        return [*[self._close(slot) for slot in idle], *self._settle(), *self._answers()]

    # -- holders

    def ask(self, holder: Hashable, arrivals: Sequence[float], seen: int, more: int = 0, question: int = 0) -> List[Action]:
        """Replace the holder's standing ask. Its first one, be it empty, says that the holder serves this pool.

        :param arrivals: when the holder's waiting requests arrived, at most ASK_WINDOW of them.
        :param seen: how many grants the holder had received when it wrote the ask. For each grant it had not, the oldest
            arrival is struck: that grant is on its way and will serve it.
        :param more: how many wait beyond ``arrivals``, and came later than those.
        :param question: see ``ISlotSource.ask``.
        :raises BadAsk: for what no honest holder sends.
        """
        record = self._holders.get(holder)
        made = 0 if record is None else record.made
        if len(arrivals) > ASK_WINDOW or not all(map(isfinite, arrivals)):
            raise BadAsk(f"an ask is at most {ASK_WINDOW} times")
        if more < 0 or question < 0:
            raise BadAsk("a number below zero")
        if not 0 <= seen <= made:
            raise BadAsk(f"{seen} grants seen of {made}")
        if record is None:
            record = self._holders[holder] = _Holder(holder, next(self._serials))
        record.seen = seen
        if not self.retired:
            struck = made - seen
            self._waits.replace(record, sorted(arrivals)[struck:], more - max(0, min(more, struck - len(arrivals))))
        self._questions.asked(holder, question)
        return [*self._settle(), *self._answers()]

    def end_lease(self, holder: Hashable, slot: int, how: Ending) -> List[Action]:
        """A lease is over. A clean slot stands in the ring, the last one of its service. Raises NotLeased."""
        record = self._holders.get(holder)
        if record is None or slot not in record.leases:
            raise NotLeased(f"{holder!r} has no lease of slot {slot}")
        del record.leases[slot]
        service = self._services[slot]
        left = record.of_service[service] - 1
        if left:
            record.of_service[service] = left
        else:
            del record.of_service[service]
        self._leased.discard(slot)
        if how is Ending.CLEAN and record.told != ((), 0):
            # The holder struck the oldest arrival of its recall list for this slot, but the slot may serve something else (a
            # request of its own that it no longer has). So it is told the list again, even when that is the same as before.
            record.told = None
        return self._ended(slot, how)

    def recall_done(self, holder: Hashable, number: int) -> List[Action]:
        """The holder has given back what it could for the recall with this number; a wrong number is of no meaning."""
        self._questions.recall_done(holder, number)
        return self._answers()

    def recalls_late(self) -> List[Action]:
        """Recalls were sent long ago: questions are answered without those holders that have not said anything."""
        self._questions.end_round()
        return self._answers()

    def forget(self, holder: Hashable, busy: Container[int]) -> List[Action]:
        """The holder is gone, with its ask and its count of grants; nothing happens when it never asked here.

        :param busy: those of its slots on which an exchange was running: they are closed. The others go back to the ring.
        """
        record = self._holders.pop(holder, None)
        if record is None:
            return []
        self.hung.pop(holder, None)
        self._waits.replace(record, ())
        self._questions.forget(holder)
        actions: List[Action] = []
        for slot in record.leases:
            self._leased.discard(slot)
            if slot in busy or self.retired:
                actions.append(self._close(slot))
            else:
                self._ring.put(slot, self._services[slot])
        return [*actions, *self._settle(), *self._answers()]

    # -- borrowers

    def borrow(self, borrower: Hashable, arrival: float) -> List[Action]:
        """A one-byte client wants a slot: it is lent an idle one, now or by a later call.

        Raises AlreadyWaiting, and BadAsk when ``arrival`` is no time.
        """
        if borrower in self._borrowers:
            raise AlreadyWaiting(f"{borrower!r} waits already")
        if not isfinite(arrival):
            raise BadAsk("an arrival is a time")
        record = self._borrowers[borrower] = _Borrower(borrower, next(self._serials))
        self._waits.replace(record, (arrival,))
        return self._settle()

    def borrow_no_more(self, borrower: Hashable) -> List[Action]:
        """The one-byte client waits no longer: it is gone, or waited too long. Raises NotWaiting."""
        record = self._borrowers.pop(borrower, None)
        if record is None:
            raise NotWaiting(f"{borrower!r} does not wait")
        self._waits.replace(record, ())
        return self._settle()

    def end_loan(self, slot: int, how: Ending) -> List[Action]:
        """A loan is over. A clean slot stands in the ring, the last one of its service. Raises NotLent."""
        if slot not in self._lent:
            raise NotLent(f"slot {slot} is not lent")
        self._lent.discard(slot)
        return self._ended(slot, how)

    # -- dealing

    def deal(self, busy: Callable[[Hashable], Container[int]], keep: bool) -> List[Action]:
        """Deal idle slots out to the holders, ahead of need; see ``slots.dealing``. Nothing happens while somebody waits.

        :param busy: says those slots of a holder on which an exchange is running.
        :param keep: borrowers come here too: as many slots as a holder has are left for them.
        """
        if self._waits or self.retired or not self._holders:
            return []
        if not self._ring:
            self._looks += 1
            if len(self._holders) < 2 or (self._even and self._looks % CALM_LOOKS):
                return []
        holders = [record for record in self._holders.values() if record.who not in self.hung]
        shares = [Share(record.leases, busy(record.who), GRANT_WINDOW - record.made + record.seen) for record in holders]
        dealt = deal(self._ring, shares, self._services, keep)
        self._even = not (dealt.granted or dealt.asked_back)
        return [
            *[self._grant(holders[number], slot) for number, slot in dealt.granted],
            *[AskBack(holders[number].who, slot) for number, slot in dealt.asked_back],
        ]

    # -- inside

    def _ended(self, slot: int, how: Ending) -> List[Action]:
        """A leased or lent slot has come back."""
        if how is Ending.ANEW:
            del self._services[slot]
            return self._settle()
        if how is Ending.CLOSED or self.retired:
            return [self._close(slot), *self._settle()]
        self._ring.put(slot, self._services[slot])
        return self._settle()

    def _grant(self, record: _Holder, slot: int) -> Grant:
        """The slot, which was taken from the ring, is leased."""
        self._lease(record, slot)
        record.made += 1
        return Grant(record.who, slot)

    def _lease(self, record: _Holder, slot: int) -> None:
        service = self._services[slot]
        self._leased.add(slot)
        record.leases[slot] = None
        record.of_service[service] = record.of_service.get(service, 0) + 1

    def _settle(self) -> List[Action]:
        """Serve who waits, as far as slots are idle, and say the recall lists that changed."""
        actions: List[Action] = []
        waits, ring = self._waits, self._ring
        while ring and waits.listed:
            asker = waits.take()
            if isinstance(asker, _Holder):
                actions.append(self._grant(asker, ring.take_for(asker.of_service)))
            else:
                slot = ring.take()
                self._lent.add(slot)
                del self._borrowers[asker.who]
                actions.append(Lend(asker.who, slot))
        while ring:
            askers = [
                asker for asker in waits.unlisted if isinstance(asker, _Holder) and asker.made - asker.seen < GRANT_WINDOW
            ]
            if not askers:
                break
            for asker in askers[: len(ring)]:
                waits.take_more(asker)
                actions.append(self._grant(asker, ring.take_for(asker.of_service)))
        for holder in self._holders.values():
            recall = waits.others(holder, len(holder.leases), ASK_WINDOW)
            if recall != holder.told:
                holder.told = recall
                actions.append(Recall(holder.who, *recall))
        return actions

    def _answers(self) -> List[Action]:
        """Answer the questions that can be, and recall for those that can't yet."""
        if self._questions.quiet:
            return []
        actions: List[Action] = []

        def stalled(who: Hashable) -> bool:
            """There are idle slots for the holder, who must first say that it has seen those that are on their way."""
            record = self._holders.get(who)
            return record is not None and record.more > 0 and len(self._ring) > 0

        def content(who: Hashable) -> bool:
            record = self._holders.get(who)
            return record is None or not record.waiting

        leasing = [who for who, record in self._holders.items() if record.leases]
        answers, recalled, number = self._questions.next(content, stalled, leasing)
        actions.extend(answers)
        for who in recalled:
            record = self._holders[who]
            record.told = self._waits.others(record, len(record.leases), ASK_WINDOW)
            actions.append(Recall(who, *record.told, number))
        return actions
