"""The acceptor's book of one pool: which slots are idle, who leases which, who waits, what is recalled.

Calls come from the acceptor's shell (a slot registered, a proxy asked, a connection was lost); each returns what the shell must
do about it. Pure: slots are any integers, holders (proxies) and borrowers (one-byte clients) any hashable objects, times
monotonic seconds. The rules are in docs/architecture/slots.md, "The book of a pool".

The actions are to be carried out in the order in which they were returned, across calls too: when carrying one out leads to
another call of the book, its actions come after what is left of the first call's. Otherwise an older recall could replace a
newer one.
"""

from __future__ import annotations

from itertools import count
from math import inf, isfinite
from typing import Callable, Container, Dict, Hashable, List

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
from xproxy.slots.holder import GRANT_WINDOW, Holder
from xproxy.slots.ring import Ring
from xproxy.slots.stock import Stock
from xproxy.slots.tides import ASHORE, Tide


class PoolBook(Stock):
    """One pool's slots, each idle, leased or lent, and who waits for them.

    What holds after each call: a slot is in one state; nobody waits while a slot is idle, but for a holder that has not
    yet seen GRANT_WINDOW grants.

    :ivar name: the pool's name; the book itself makes no use of it.
    :param idle_slots: makes the collection of idle slots, in the order of the pool's dispatch.
    :param column_of: which column of the tide table is a holder's.
    :ivar retired: the pool is given up: what comes back is closed.
    :ivar hung: holders that do not answer: nothing is dealt to them. Their asks are the caller's to take back and to say again.
    :ivar moves: how often a slot was granted to another holder than the one that had it before.
    """

    def __init__(
        self,
        name: str,
        idle_slots: Callable[[], Ring[int]] = Ring,
        column_of: Callable[[Hashable], int] = lambda who: 0,
    ) -> None:
        super().__init__(idle_slots)
        self.name = name
        self._idle_slots = idle_slots
        self._column_of = column_of
        self.retired = False
        self.hung: Dict[Hashable, None] = {}
        self.moves = 0
        self._had_by: Dict[int, Holder] = {}
        """Who leased a slot last, while both are there."""
        self._serials = count()
        self._looks = 0
        self._even = False
        """At the last look nothing was to be dealt."""

    def share(self, tide: Tide) -> None:
        """This is the pool's row of the tide table, as the acceptor sees it: since when requests wait. Before the first holder
        comes; without it, holders are served in the order in which they came to the pool.
        """
        self._tide = tide
        self._say_borrowers()

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
                record = self._holders[holder] = Holder(holder, next(self._serials), self._column_of(holder))
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
        self._strike(slot)
        return []

    def _strike(self, slot: int) -> None:
        del self._services[slot]
        self._had_by.pop(slot, None)

    def _close(self, slot: int) -> Close:
        self._strike(slot)
        return Close(slot)

    def retire(self) -> List[Action]:
        """The pool is given up: idle slots are closed now, others when they come back, and nobody waits any more."""
        self.retired = True
        for record in self._holders.values():
            record.waiting = 0
        self._borrowers.clear()
        self._say_borrowers()
        self._tide = ASHORE
        idle = list(self._ring)
        self._ring = self._idle_slots()
        return [*[self._close(slot) for slot in idle], *self._settle(), *self._answers()]

    # -- holders

    def ask(self, holder: Hashable, waiting: int, seen: int, question: int = 0) -> List[Action]:
        """Replace the holder's standing ask. Its first one, be it for nothing, says that the holder serves this pool.

        :param waiting: how many requests wait there.
        :param seen: how many grants the holder had received when it wrote the ask. Each grant it had not is on its way, and
            will serve one of those.
        :param question: see ``ISlotSource.ask``.
        :raises BadAsk: for what no honest holder sends.
        """
        record = self._holders.get(holder)
        made = 0 if record is None else record.made
        if waiting < 0 or question < 0:
            raise BadAsk("a number below zero")
        if not 0 <= seen <= made:
            raise BadAsk(f"{seen} grants seen of {made}")
        if record is None:
            record = self._holders[holder] = Holder(holder, next(self._serials), self._column_of(holder))
        record.seen = seen
        if not self.retired:
            record.waiting = max(0, waiting - (made - seen))
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
        self._questions.forget(holder)
        self._had_by = {slot: had for slot, had in self._had_by.items() if had is not record}
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
        self._borrowers[borrower] = arrival
        self._say_borrowers()
        return self._settle()

    def borrow_no_more(self, borrower: Hashable) -> List[Action]:
        """The one-byte client waits no longer: it is gone, or waited too long. Raises NotWaiting."""
        if self._borrowers.pop(borrower, None) is None:
            raise NotWaiting(f"{borrower!r} does not wait")
        self._say_borrowers()
        return self._settle()

    def _say_borrowers(self) -> None:
        """The holders see one-byte clients wait as they see each other's requests."""
        arrivals = self._borrowers.values()
        self._tide.say(min(arrivals, default=None), max(arrivals, default=0.0), len(arrivals))

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
        if self.waiting or self.retired or not self._holders:
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
            self._strike(slot)
            return self._settle()
        if how is Ending.CLOSED or self.retired:
            return [self._close(slot), *self._settle()]
        self._ring.put(slot, self._services[slot])
        return self._settle()

    def _grant(self, record: Holder, slot: int) -> Grant:
        """The slot, which was taken from the ring, is leased."""
        self._lease(record, slot)
        record.made += 1
        return Grant(record.who, slot)

    def _lease(self, record: Holder, slot: int) -> None:
        service = self._services[slot]
        self._leased.add(slot)
        record.leases[slot] = None
        record.of_service[service] = record.of_service.get(service, 0) + 1
        had_by = self._had_by.get(slot)
        if had_by is not record:
            self._had_by[slot] = record
            self.moves += had_by is not None

    def _settle(self) -> List[Action]:
        """Serve who waits, as far as slots are idle, and tell the holders whether others wait."""
        actions: List[Action] = []
        ring = self._ring
        while ring:
            turns = [
                (record.turn(self._tide), record.serial, record) for record in self._holders.values() if record.may_be_granted
            ]
            turn, _, record = min(turns, default=(inf, 0, None))
            borrower = min(self._borrowers, key=self._borrowers.__getitem__, default=None)
            if borrower is not None and (record is None or self._borrowers[borrower] < turn):
                slot = ring.take()
                self._lent.add(slot)
                del self._borrowers[borrower]
                self._say_borrowers()
                actions.append(Lend(borrower, slot))
            elif record is not None:
                record.serve_one(self._tide)
                actions.append(self._grant(record, ring.take_for(record.of_service)))
            else:
                break
        waiting = self.waiting
        for holder in self._holders.values():
            others = waiting - holder.waiting if holder.leases else 0
            if (others > 0) is not holder.recalled:
                holder.recalled = not holder.recalled
                actions.append(Recall(holder.who, others))
        return actions

    def _answers(self) -> List[Action]:
        """Answer the questions that can be, and recall for those that can't yet."""
        if self._questions.quiet:
            return []
        actions: List[Action] = []

        def stalled(who: Hashable) -> bool:
            """There are idle slots for the holder, who must first say that it has seen those that are on their way."""
            record = self._holders.get(who)
            return record is not None and record.waiting > 0 and len(self._ring) > 0

        def content(who: Hashable) -> bool:
            record = self._holders.get(who)
            return record is None or not record.waiting

        leasing = [who for who, record in self._holders.items() if record.leases]
        answers, recalled, number = self._questions.next(content, stalled, leasing)
        actions.extend(answers)
        waiting = self.waiting
        for who in recalled:
            record = self._holders[who]
            record.recalled = waiting > record.waiting
            actions.append(Recall(who, waiting - record.waiting, number))
        return actions
