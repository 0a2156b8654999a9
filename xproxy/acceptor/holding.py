"""What one proxy holds at the acceptor: its leases by number, and its board.

Calls come from ``acceptor.local`` or ``handoff.holder``; what the book answers is carried out by ``acceptor.acceptor``.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Callable, Collection, Dict, List, Sequence, Set

from twisted.logger import Logger

from ..interfaces import BOARD_BYTES, ILeaseHolder
from ..slots.book import Answer, NotLeased
from .parked import ParkedSlot, SlotState

if TYPE_CHECKING:
    from .acceptor import Acceptor

MAX_LEASES = BOARD_BYTES - 1
"""Leases of one holder at once. The last byte of a board belongs to none: a proxy may write there what counts nowhere."""

BusyLeases = Callable[[Collection[int]], Set[int]]
"""Says which of the given leases are in an exchange, by the holder's board. What can't be read counts."""


class Holding:
    """The leases of one holder. Made by ``Acceptor.hold``; over when ``leave`` was called.

    :ivar leases: the live leases by number, the lowest free number first.
    """

    _log = Logger()

    def __init__(self, acceptor: Acceptor, holder: ILeaseHolder, busy: BusyLeases) -> None:
        self.holder = holder
        self.leases: Dict[int, ParkedSlot] = {}
        self.left = False
        self._acceptor = acceptor
        self._busy = busy
        self._free: List[int] = []
        self._next = 0
        self._undelivered: Dict[str, int] = {}

    # -- from the proxy

    def ask(self, pool: str, arrivals: Sequence[float], seen: int, more: int = 0, question: int = 0) -> None:
        """Replace the standing ask. Raises UnknownPool, BadAsk."""
        book = self._acceptor.book(pool)
        actions = book.ask(self, arrivals, seen + self._undelivered.get(pool, 0))
        if question:
            actions.append(Answer(self, question))
        self._acceptor.carry_out(book, actions)

    def give_back(self, lease: int) -> None:
        """The slot is clean, says the proxy: back to the ring, unless something waits on it after all. Raises NotLeased."""
        slot = self._end(lease)
        book = self._acceptor.book(slot.pool)
        if slot.spoke():
            self._acceptor.carry_out(book, book.lease_closed(self, slot.number), "unasked")
        else:
            slot.state = SlotState.IDLE
            self._acceptor.carry_out(book, book.give_back(self, slot.number))
            self._acceptor.watch_if_idle(slot)

    def lease_closed(self, lease: int) -> None:
        """The slot is not good any more. Raises NotLeased."""
        slot = self._end(lease)
        book = self._acceptor.book(slot.pool)
        self._acceptor.carry_out(book, book.lease_closed(self, slot.number), "lease_closed")

    def in_flight(self) -> Set[int]:
        """The numbers of the leases in an exchange."""
        return self._busy(self.leases.keys())

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
                slot.state = SlotState.IDLE
        self._acceptor.forget(self, closed)
        for _, slot in slots:
            self._acceptor.watch_if_idle(slot)

    # -- from the acceptor

    def grant(self, slot: ParkedSlot) -> bool:
        """Give the proxy a copy of the slot; False when that can't be: too many descriptors, or too many leases."""
        if not self._free and self._next >= MAX_LEASES:
            self._miss(slot, f"the proxy has {MAX_LEASES} leases")
            return False
        try:
            descriptor = slot.copy()
        except OSError as error:
            self._miss(slot, str(error))
            return False
        if self._free:
            lease = heappop(self._free)
        else:
            lease = self._next
            self._next += 1
        slot.holding, slot.lease = self, lease
        self.leases[lease] = slot
        self.holder.lease_granted(slot.pool, lease, descriptor, slot.service)
        return True

    def say_registered(self) -> None:
        """Tell the proxy, which is new, for each pool whether anybody is registered."""
        for name, book in self._acceptor.books.items():
            self.holder.service_registered(name, book.registered > 0)

    def _miss(self, slot: ParkedSlot, reason: str) -> None:
        """The book has counted a grant that the proxy will never see: see it for the proxy."""
        self._undelivered[slot.pool] = self._undelivered.get(slot.pool, 0) + 1
        self._log.error("pool {pool}: a slot can't be lent and is closed: {reason}", pool=slot.pool, reason=reason)

    def _end(self, lease: int) -> ParkedSlot:
        slot = self.leases.pop(lease, None)
        if slot is None:
            raise NotLeased(f"there is no lease {lease}")
        heappush(self._free, lease)
        slot.holding = None
        return slot
