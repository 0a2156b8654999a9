"""The acceptor: the parked slots of every pool, and who has them.

Slots come from ``acceptor.registering``, asks from ``acceptor.local`` and ``acceptor.remote_holder``. Who gets what is decided
by the pure ``slots.book``; this is the shell that touches the sockets and tells the proxies. See docs/architecture/slots.md.
"""

from __future__ import annotations

import socket
from collections import Counter, deque
from itertools import count
from typing import Any, Callable, Container, Deque, Dict, Hashable, List, Optional, Sequence, Set, Tuple

from twisted.logger import Logger

from ..config import Config
from ..dispatch import find_dispatch
from ..net.descriptors import descriptors_of
from ..slots.actions import Action, Answer, AskBack, Ending, Grant, Lend, Recall
from ..slots.book import PoolBook
from ..slots.parked_states import SlotEvent, SlotState
from ..slots.serving.refusal import refusal_response
from ..slots.tides import OWN_COLUMN, TABLE_BYTES, Tide, TideTable
from .census import census
from .holding import BusyLeases, Holding, LeaseEnd
from .lending import Lending
from .parked import ParkedSlot
from .presence import Presence

ROUND_LOOKS = 3
"""How many looks (``slots.dealing.DEAL_INTERVAL_S`` apart) recalled holders have to say that they are done, before a question
is answered without them: many round trips, and well within ``interfaces.ANSWER_S``."""


class UnknownPool(LookupError):
    """There is no pool of this name here."""


def _column_of(holder: Hashable) -> int:
    assert isinstance(holder, Holding)
    return holder.column


def _busy_slots(holder: Hashable) -> Set[int]:
    assert isinstance(holder, Holding)
    return {holder.leases[lease].number for lease in holder.in_flight()}


class Acceptor:
    """The slots of every pool.

    :param config: the configuration. Whatever depends on it looks it up here, each time, so that another can take its place.
    :param monotonic: the clock of arrivals, in seconds, the same for all processes of the host.
    :param reactor: an IReactorFDSet and IReactorTime, for what is lent.
    :ivar registrations: how registrations ended, by pool and result; ``xproxy_registrations_total``.
    :ivar closings: why slots ended, by pool and reason.
    """

    _log = Logger()

    def __init__(self, config: Config, monotonic: Callable[[], float], reactor: Any) -> None:
        self.config = config
        self._descriptors = descriptors_of(reactor)
        self._table = -1
        self._tides: Optional[TideTable] = None
        self.books: Dict[str, PoolBook] = {name: self._new_book(name) for name in config.pools}
        self.registrations: Counter[Tuple[str, str]] = Counter()
        self.closings: Counter[Tuple[str, str]] = Counter()
        self.lending = Lending(self, reactor, monotonic)
        self.reactor = reactor
        self.handing_on = False
        """Another acceptor takes over, or has: no proxy is let in."""
        self.slots: Dict[int, ParkedSlot] = {}
        self.holdings: Dict[Holding, None] = {}
        self._numbers = count()
        self._retired: List[PoolBook] = []
        self._presence = Presence(monotonic, self.holdings)
        self._rounds: Dict[PoolBook, Tuple[int, int]] = {}
        self._actions: Deque[Tuple[PoolBook, Action, str]] = deque()
        self._carrying_out = False
        self._touched: Dict[PoolBook, None] = {}

    def _new_book(self, pool: str) -> PoolBook:
        book = PoolBook(pool, find_dispatch(self.config.pools[pool].dispatch).idle_slots, _column_of)
        if self._tides is not None:
            self._share(book)
        return book

    def _share(self, book: PoolBook) -> None:
        tides = self.tides
        book.share(Tide(tides.memory, OWN_COLUMN, tides.place(book.name)))

    @property
    def tides(self) -> TideTable:
        """What each proxy says of who waits there: made for the first one. Raises OSError when there is no memory for it."""
        if self._tides is None:
            self._table, memory = self._descriptors.memory(TABLE_BYTES)
            self._tides = TideTable(memory)
            for book in self.books.values():
                self._share(book)
        return self._tides

    def book(self, pool: str) -> PoolBook:
        """The book of a pool. Raises UnknownPool."""
        try:
            return self.books[pool]
        except KeyError:
            raise UnknownPool(f"there is no pool {pool!r}") from None

    def configure(self, config: Config) -> None:
        """Another configuration from here on. Pools that it does not have are given up: their idle slots are closed, with
        a word that says why, leased and lent ones when they come back.
        """
        self.config = config
        for name in [name for name in self.books if name not in config.pools]:
            book = self.books.pop(name)
            if self._tides is not None:
                self._tides.give_up(name)
            self._retired.append(book)
            self.lending.retire(book)
            self.carry_out(book, book.retire(), "retired")
        added = [name for name in config.pools if name not in self.books]
        for name in added:
            self.books[name] = self._new_book(name)
        for holding in list(self.holdings):
            self._presence.greet(holding, added)
            holding.ask_again()
        self._presence.look(self.books)

    # -- slots

    def park(
        self,
        pool: str,
        service: str,
        transport: Any,
        lent: socket.socket,
        register_anew: Optional[Callable[[bytes], None]] = None,
        holding: Optional[Holding] = None,
    ) -> ParkedSlot:
        """A slot has registered: it is idle, and being read, unless somebody waited for it. Raises UnknownPool.

        :param register_anew: see ParkedSlot.
        :param holding: who leases it already, from an acceptor that is gone.
        """
        book = self.book(pool)
        slot = ParkedSlot(next(self._numbers), book, service, transport, lent, self._descriptors, register_anew)
        self.slots[slot.number] = slot
        if holding is not None:
            slot.rest()
            slot.step(SlotEvent.GRANTED)
        self.carry_out(book, book.register(slot.number, service, holding))
        return slot

    def lose(self, slot: ParkedSlot, reason: str) -> None:
        """An idle slot is over. One that is not idle is somebody else's to end.

        :param reason: for the counts: ``ended``, ``closing`` (said politely) or ``unasked`` (bytes that nobody asked for).
        """
        if slot.state is SlotState.IDLE:
            del self.slots[slot.number]
            slot.close()
            self.closings[slot.pool, reason] += 1
            self.carry_out(slot.book, slot.book.lose(slot.number))

    def introduced(self, slot: ParkedSlot, data: bytes) -> None:
        """An idle slot that was taken for raw has sent the first bytes of a preamble: it registers anew."""
        self.carry_out(slot.book, slot.book.lose(slot.number))
        self.register_anew(slot, data)

    def register_anew(self, slot: ParkedSlot, data: bytes) -> None:
        """The same for a slot that is in no book any more."""
        slot.step(SlotEvent.INTRODUCED)
        del self.slots[slot.number]
        assert slot.register_anew is not None
        slot.register_anew(data)

    def watch_if_idle(self, slot: ParkedSlot) -> None:
        """A slot may have gone back to the ring: read from it if it did."""
        if slot.state is SlotState.IDLE:
            slot.watch()

    # -- proxies

    def hold(self, end: LeaseEnd, busy: BusyLeases) -> Holding:
        """A proxy has come. What it calls is on the Holding; ``leave`` ends it."""
        holding = Holding(self, end, busy)
        self.holdings[holding] = None
        return holding

    def another_table(self) -> int:
        """A descriptor of the tide table, which is the caller's. Raises OSError."""
        return self._descriptors.another(self._table)

    def greet(self, holding: Holding) -> None:
        """Tell a proxy that has come which pools have services."""
        self._presence.greet(holding, self.books)

    def forget(self, holding: Holding, closed: Container[int]) -> None:
        """A proxy is gone: its slots go back to the ring, but for those in ``closed``."""
        del self.holdings[holding]
        for book in [*self.books.values(), *self._retired]:
            self.carry_out(book, book.forget(holding, closed), "holder_lost")

    def look(self) -> None:
        """Every ``DEAL_INTERVAL_S``: deal idle slots out, answer what can't wait longer, see where nobody is registered."""
        keep = self.lending.clients > 0
        for book in list(self.books.values()):
            self.carry_out(book, book.deal(_busy_slots, keep))
            number = book.round_number
            known, looks = self._rounds.pop(book, (0, 0))
            if number and number == known and looks >= ROUND_LOOKS:
                self.carry_out(book, book.recalls_late())
            elif number:
                self._rounds[book] = (number, looks + 1 if number == known else 1)
        self._retired = [book for book in self._retired if book.registered]
        self._presence.look(self.books)

    # -- what a book says

    def carry_out(self, book: PoolBook, actions: Sequence[Action], closing: str = "") -> None:
        """Do what the book says, in its order across calls too: a proxy that calls while it is told something comes after.

        :param closing: why slots are closed, for the counts.
        """
        queue = self._actions
        queue.extend((book, action, closing) for action in actions)
        self._touched[book] = None
        if self._carrying_out:
            return
        self._carrying_out = True
        try:
            while queue:
                self._carry_out_one(*queue.popleft())
        finally:
            self._carrying_out = False
        while self._touched:
            self._presence.touched(self._touched.popitem()[0])

    def _carry_out_one(self, book: PoolBook, action: Action, closing: str) -> None:
        # A proxy of our own process that raises must not take down whoever made the call that reached it.
        try:
            if isinstance(action, Grant):
                self._grant(book, action)
            elif isinstance(action, Lend):
                self.lending.lend(book, self.slots[action.slot], action.borrower)
            elif isinstance(action, (Recall, Answer, AskBack)):
                holding: Any = action.holder
                if not holding.left:
                    holding.tell(book, action)
            else:
                self._close(self.slots.pop(action.slot), closing)
        except Exception:  # noqa: BLE001 - logged, and everybody else is served on
            self._log.failure("{action} of pool {pool} failed", action=action, pool=book.name)

    def _grant(self, book: PoolBook, action: Grant) -> None:
        holding: Any = action.holder
        if holding.left:
            return  # Then forgetting it has dealt with the slot.
        slot = self.slots[action.slot]
        slot.rest()
        slot.step(SlotEvent.GRANTED)
        if slot.register_anew is not None and slot.spoke():
            holding.miss(slot, "")
            self.carry_out(book, book.end_lease(holding, slot.number, Ending.ANEW))
            self.register_anew(slot, b"")
        elif not holding.grant(slot):
            self.carry_out(book, book.end_lease(holding, slot.number, Ending.CLOSED), "not_lent")

    def _close(self, slot: ParkedSlot, closing: str) -> None:
        if closing == "retired" and slot.state is SlotState.IDLE:
            slot.say(refusal_response(f"pool {slot.pool} is no longer served here"))
        slot.close()
        self.closings[slot.pool, closing] += 1

    # -- when another acceptor takes over

    def take_out_idle(self) -> List[ParkedSlot]:
        """Every idle slot. They are in no book any more, are not read, and are the caller's."""
        idle = [slot for slot in self.slots.values() if slot.state is SlotState.IDLE]
        for slot in idle:
            slot.rest()
            slot.book.lose(slot.number)
            del self.slots[slot.number]
        return idle

    def put_back(self, slot: ParkedSlot, holding: Optional[Holding] = None) -> bool:
        """A slot that was taken out is idle here again, or leased by this proxy; False: its pool is no more, it is closed."""
        if slot.book.retired:
            slot.close()
            return False
        slot.number = next(self._numbers)
        self.slots[slot.number] = slot
        self.carry_out(slot.book, slot.book.register(slot.number, slot.service, holding))
        self.watch_if_idle(slot)
        return True

    def part(self, holding: Holding) -> None:
        """A proxy is none of this acceptor any more. Its leases are in no book, and are the caller's. Nobody can be waiting for
        them here: all who could are parted, one after the other.
        """
        holding.left = True
        del self.holdings[holding]
        for slot in holding.leases.values():
            slot.book.end_lease(holding, slot.number, Ending.ANEW)
            del self.slots[slot.number]
        for book in [*self.books.values(), *self._retired]:
            book.forget(holding, ())

    # -- the whole

    def census(self) -> Dict[str, Dict[str, Any]]:
        """What is where, by pool, for ``/status``: counts of slots and waiters, and the slots of each service."""
        return census(self)

    def close(self) -> None:
        """The acceptor stops: idle and lent slots are closed; those that a proxy has are its own from here on, as orphans."""
        holdings = list(self.holdings)
        slots = list(self.slots.values())
        self.holdings.clear()
        self.slots.clear()
        self._actions.clear()
        self._retired.clear()
        self._rounds.clear()
        for book in self.books.values():
            book.retire()
        tides, self._tides = self._tides, None
        self.books = {name: self._new_book(name) for name in self.books}
        self.lending.close()
        for slot in slots:
            if slot.state is SlotState.LEASED:
                slot.let_go()
            else:
                slot.close()
        for holding in holdings:
            holding.acceptor_closed()
        if tides is not None:
            self._descriptors.close(self._table)
            tides.close()
