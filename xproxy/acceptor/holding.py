"""What one proxy holds at the acceptor: its leases by number, and its board.

Calls come from ``acceptor.local`` or ``acceptor.remote_holder``; what the book answers is carried out by ``acceptor.acceptor``.
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Callable, Collection, Dict, List, Optional, Protocol, Set, Tuple, Union

from twisted.logger import Logger

from ..interfaces import BOARD_BYTES
from ..slots.actions import Answer, AskBack, Ending, NotLeased, Recall
from ..slots.book import PoolBook
from ..slots.parked_states import SlotEvent
from ..slots.preambles.registration import begins_preamble
from ..slots.serving.goodbye import is_goodbye
from .parked import ParkedSlot

if TYPE_CHECKING:
    from .acceptor import Acceptor

MAX_LEASES = BOARD_BYTES - 1
"""Leases of one holder at once. The last byte of a board belongs to none: a proxy may write there what counts nowhere."""

MAX_UNKNOWN_POOLS = 64
"""Asks for pools that are not served here, which are kept in case the next configuration serves them."""

BusyLeases = Callable[[Collection[int]], Set[int]]
"""Says which of the given leases are in an exchange, by the holder's board. What can't be read counts."""


class LeaseEnd(Protocol):
    """Where what the acceptor says to one proxy goes: to itself, or to the connection to it. See ILeaseHolder."""

    def lease_granted(self, pool: str, lease: int, descriptor: int, service: str) -> None:
        """See ILeaseHolder."""

    def leases_recalled(self, pool: str, waiting: int, number: int) -> None:
        """See ILeaseHolder. With a number, ``Holding.recall_done`` is to be called when what can be is given back."""

    def lease_asked_back(self, pool: str, lease: int) -> None:
        """See ILeaseHolder."""

    def ask_answered(self, pool: str, question: int) -> None:
        """See ILeaseHolder."""

    def service_registered(self, pool: str, registered: bool, place: int) -> None:
        """See ILeaseHolder. And which row of the tide table is the pool's."""

    def acceptor_lost(self) -> None:
        """See ILeaseHolder."""


class Holding:
    """The leases of one holder. Made by ``Acceptor.hold``; over when ``leave`` was called.

    :ivar end: where what is said to the holder goes.
    :ivar leases: the live leases by number, the lowest free number first.
    :ivar column: the holder's in the tide table. Raises TableFull when there is none.
    :param column: the one that it has already.
    """

    _log = Logger()

    def __init__(self, acceptor: Acceptor, end: LeaseEnd, busy: BusyLeases, column: Optional[int] = None) -> None:
        self.end = end
        self.leases: Dict[int, ParkedSlot] = {}
        self.left = False
        self.column = acceptor.tides.join() if column is None else column
        self._acceptor = acceptor
        self._busy = busy
        self._free: List[int] = []
        self._next = 0
        self._asks: Dict[str, Tuple[int, int, int]] = {}
        self._delivered: Counter[str] = Counter()
        """Grants, by pool: what the holder counts."""
        self._before: Dict[PoolBook, int] = {}
        """How many of them were those of an earlier pool of the same name."""
        self._undelivered: Counter[PoolBook] = Counter()
        """Grants that a book has counted and the holder has not."""
        self._void: Dict[int, None] = {}
        """Leases that were ended here, of which the holder will say so too when it finds out: then their numbers are free."""

    # -- from the proxy

    def ask(self, pool: str, waiting: int, seen: int, question: int = 0) -> None:
        """Replace the standing ask. Raises BadAsk. An ask for an unknown pool is kept until there is one, and answered."""
        book = self._acceptor.books.get(pool)
        if book is None:
            if pool in self._asks or len(self._asks) < len(self._acceptor.books) + MAX_UNKNOWN_POOLS:
                self._asks[pool] = (waiting, seen, question)
            self.service_registered(pool, False)
            if question:
                self.end.ask_answered(pool, question)
            return
        self._asks[pool] = (waiting, seen, question)
        self._ask(book, waiting, seen, question)

    def _ask(self, book: PoolBook, waiting: int, seen: int, question: int) -> None:
        pool = book.name
        before = self._before.setdefault(book, self._delivered[pool])
        seen = max(0, seen - before) + self._undelivered[book]
        self._acceptor.carry_out(book, book.ask(self, waiting, seen, question))

    def ask_again(self) -> None:
        """There are other pools now: ask in those that are new."""
        for pool, standing in list(self._asks.items()):
            book = self._acceptor.books.get(pool)
            if book is not None and book not in self._before:
                self.ask(pool, *standing)

    def give_back(self, lease: int) -> None:
        """The slot is clean, says the proxy: back to the ring, unless something waits on it after all. Raises NotLeased."""
        slot = self._end(lease)
        if slot is None:
            return
        waits = slot.unread()
        if waits is not None:
            self._judge(slot, waits, taken=False)
            return
        slot.step(SlotEvent.GIVEN_BACK)
        self._acceptor.carry_out(slot.book, slot.book.end_lease(self, slot.number, Ending.CLEAN), "retired")
        self._acceptor.watch_if_idle(slot)

    def lease_closed(self, lease: int) -> None:
        """The slot is not good any more. Raises NotLeased."""
        slot = self._end(lease)
        if slot is not None:
            self._close(slot, "lease_closed")

    def spoke(self, lease: int, data: bytes) -> None:
        """A slot with a free lease has sent this, or nothing any more, says the proxy. Raises NotLeased."""
        slot = self._end(lease)
        if slot is not None:
            self._judge(slot, data, taken=True)

    def recall_done(self, pool: str, number: int) -> None:
        """The holder has given back what it could for the recall with this number."""
        book = self._acceptor.books.get(pool)
        if book is not None:
            self._acceptor.carry_out(book, book.recall_done(self, number))

    def in_flight(self) -> Set[int]:
        """The numbers of the leases in an exchange."""
        return self._busy(self.leases.keys())

    def hang(self) -> int:
        """The proxy does not turn its loop: take back the leases on which nothing runs, and grant it nothing until ``wake``.

        It has the descriptors and may go on at any moment: so their connections are shut down, which every copy sees, and the
        services dial again. The board is read anew right before each: a proxy sets its byte before it looks whether the slot is
        good. Gives how many they were.
        """
        for pool, (_, seen, _) in list(self._asks.items()):
            book = self._acceptor.books.get(pool)
            if book is not None:
                book.hung[self] = None
                self._ask(book, 0, seen, 0)
        self._acceptor.tides.clear(self.column)  # Else others would give slots up for those who wait there.
        busy = self.in_flight()
        free = [lease for lease in self.leases if lease not in busy and not self._busy((lease,))]
        for lease in free:
            slot = self.leases.pop(lease)
            slot.holding = None
            self._void[lease] = None
            self._close(slot, "hung")
        return len(free)

    def wake(self) -> None:
        """It turns its loop again: what it asked for holds again, and hearing of its pools it says anew what waits there."""
        self._acceptor.greet(self)
        for pool, standing in list(self._asks.items()):
            book = self._acceptor.books.get(pool)
            if book is not None:
                book.hung.pop(self, None)
                self._ask(book, *standing)

    def offered(self, lease: int, slot: Optional[ParkedSlot]) -> None:
        """The holder has leased this slot from an acceptor that is gone, and goes on with it as this lease of ours.

        :param lease: ``next_offer``.
        :param slot: None: it is not wanted here.
        """
        assert lease == self.next_offer
        self._next += 1
        if slot is None:
            self._void[lease] = None
        else:
            slot.holding, slot.lease = self, lease
            self.leases[lease] = slot

    @property
    def next_offer(self) -> int:
        """The number of the next lease that can be offered; -1: none can be any more."""
        return self._next if not (self._delivered or self._free) and self._next < MAX_LEASES else -1

    def leave(self, alive: bool = False) -> None:
        """The proxy is gone: clean slots go back to the ring, those in an exchange are closed. A second call does nothing.

        :param alive: the proxy may live on, cut off from here, and go on using what it leases: then every slot is closed, for
            two proxies on one slot would mix up their exchanges.
        """
        if self.left:
            return
        busy = set(self.leases) if alive else self.in_flight()
        self.left = True
        slots = list(self.leases.items())
        self.leases.clear()
        closed: Set[int] = set()
        for lease, slot in slots:
            slot.holding = None
            if lease in busy or slot.spoke():
                closed.add(slot.number)
            else:
                slot.step(SlotEvent.GIVEN_BACK)
        self._acceptor.tides.leave(self.column)
        self._acceptor.forget(self, closed)
        for _, slot in slots:
            self._acceptor.watch_if_idle(slot)

    # -- from the acceptor

    def acceptor_closed(self) -> None:
        """The acceptor stops: what the proxy leases is its own."""
        self.left = True
        for record in (self.leases, self._before, self._undelivered):
            record.clear()
        self.end.acceptor_lost()

    def tell(self, book: PoolBook, action: Union[Recall, Answer, AskBack]) -> None:
        """Tell the proxy what the book of this pool says."""
        if isinstance(action, Recall):
            self.end.leases_recalled(book.name, action.waiting, action.number)
        elif isinstance(action, Answer):
            self.end.ask_answered(book.name, action.question)
        else:
            slot = self._acceptor.slots[action.slot]
            if slot.holding is self:
                self.end.lease_asked_back(book.name, slot.lease)

    def service_registered(self, pool: str, registered: bool) -> None:
        """Tell the proxy whether any slot of a pool is."""
        self.end.service_registered(pool, registered, self._acceptor.tides.known_place(pool))

    def grant(self, slot: ParkedSlot) -> bool:
        """Give the proxy a copy of the slot; False when that can't be: too many descriptors, or too many leases."""
        if not self._free and self._next >= MAX_LEASES:
            self.miss(slot, f"the proxy has {MAX_LEASES} leases")
            return False
        try:
            descriptor = slot.copy()
        except OSError as error:
            self.miss(slot, str(error))
            return False
        if self._free:
            lease = heappop(self._free)
        else:
            lease = self._next
            self._next += 1
        slot.holding, slot.lease = self, lease
        self.leases[lease] = slot
        self._delivered[slot.pool] += 1
        self.end.lease_granted(slot.pool, lease, descriptor, slot.service)
        return True

    def miss(self, slot: ParkedSlot, reason: str) -> None:
        """The book has counted a grant that the proxy will never see: see it for the proxy.

        :param reason: for the log; empty when there is nothing to say.
        """
        self._undelivered[slot.book] += 1
        if reason:
            self._log.error("pool {pool}: a slot can't be leased and is closed: {reason}", pool=slot.pool, reason=reason)

    # -- inside

    def _end(self, lease: int) -> Optional[ParkedSlot]:
        """The holder says that a lease is over; None: it was already."""
        slot = self.leases.pop(lease, None)
        if slot is None and lease in self._void:
            del self._void[lease]
            heappush(self._free, lease)
            return None
        if slot is None:
            raise NotLeased(f"there is no lease {lease}")
        heappush(self._free, lease)
        slot.holding = None
        return slot

    def _close(self, slot: ParkedSlot, reason: str) -> None:
        self._acceptor.carry_out(slot.book, slot.book.end_lease(self, slot.number, Ending.CLOSED), reason)

    def _judge(self, slot: ParkedSlot, said: bytes, taken: bool) -> None:
        """A slot has said something that nobody asked for; what follows from it.

        :param taken: it was read from the socket.
        """
        if slot.register_anew is not None and begins_preamble(said):
            self._acceptor.carry_out(slot.book, slot.book.end_lease(self, slot.number, Ending.ANEW))
            self._acceptor.register_anew(slot, said if taken else b"")
        elif said:
            self._close(slot, "closing" if is_goodbye(said) else "unasked")
        else:
            self._close(slot, "ended")
