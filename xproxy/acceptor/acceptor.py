"""The acceptor: the parked slots of every pool, and who has them.

Slots come from ``acceptor.registration``, asks from ``acceptor.local`` and ``handoff``. Who gets what is decided by the pure
``slots.book``; this is the shell that touches the sockets and tells the proxies. See docs/architecture/slots.md.
"""

from __future__ import annotations

import socket
from collections import Counter, deque
from itertools import count
from typing import Any, Callable, Container, Deque, Dict, Hashable, Iterable, List, Protocol, Sequence, Tuple

from twisted.logger import Logger

from ..config import PoolConfig
from ..interfaces import ILeaseHolder
from ..slots.book import Action, Answer, Close, Grant, NotWaiting, PoolBook, Recall, Share
from .holding import BusyLeases, Holding
from .parked import ParkedSlot, SlotState


class UnknownPool(LookupError):
    """There is no pool of this name here."""


class Sharer(Hashable, Protocol):
    """A one-byte client, as the acceptor sees it."""

    def slot_shared(self, descriptor: int) -> None:
        """Here is a slot; the descriptor is yours. You wait no longer."""

    def slot_unavailable(self) -> None:
        """There will be none. You wait no longer."""


class Acceptor:
    """The slots of every pool.

    :param pools: the configured pools.
    :param monotonic: the clock of arrivals, in seconds, the same for all processes of the host.
    :ivar registrations: how registrations ended, by pool and result; ``xproxy_registrations_total``.
    :ivar closings: why slots ended, by pool and reason.
    """

    _log = Logger()

    def __init__(self, pools: Iterable[PoolConfig], monotonic: Callable[[], float]) -> None:
        self.books: Dict[str, PoolBook] = {pool.name: PoolBook(pool.name) for pool in pools}
        self.registrations: Counter[Tuple[str, str]] = Counter()
        self.closings: Counter[Tuple[str, str]] = Counter()
        self._monotonic = monotonic
        self._slots: Dict[int, ParkedSlot] = {}
        self._numbers = count()
        self._holdings: Dict[Holding, None] = {}
        self._sharers: Dict[Sharer, Tuple[PoolBook, float]] = {}
        self._actions: Deque[Tuple[PoolBook, Action, str]] = deque()
        self._carrying_out = False
        self._touched: Dict[str, PoolBook] = {}
        self._registered: Dict[str, bool] = {}
        """What the holders were told of each pool; one that is not here has nobody registered."""

    def book(self, pool: str) -> PoolBook:
        """The book of a pool. Raises UnknownPool."""
        try:
            return self.books[pool]
        except KeyError:
            raise UnknownPool(f"there is no pool {pool!r}") from None

    # -- slots

    def park(self, pool: str, service: str, transport: Any, lent: socket.socket) -> ParkedSlot:
        """A slot has registered: it is idle, and being read, unless somebody waited for it. Raises UnknownPool."""
        book = self.book(pool)
        slot = ParkedSlot(next(self._numbers), pool, service, transport, lent)
        self._slots[slot.number] = slot
        self.carry_out(book, book.register(slot.number))
        return slot

    def lose(self, slot: ParkedSlot, reason: str) -> None:
        """An idle or shared slot is over. One that is neither is somebody else's to end.

        :param reason: for the counts: ``ended``, ``closing`` (said politely) or ``unasked`` (bytes that nobody asked for).
        """
        if slot.state is SlotState.IDLE:
            end = slot.close
        elif slot.state is SlotState.SHARED:
            end = slot.let_go  # Who has the other copies may still read what came before the end.
        else:
            return
        book = self.books[slot.pool]
        del self._slots[slot.number]
        end()
        self.closings[slot.pool, reason] += 1
        self.carry_out(book, book.lose(slot.number))

    def watch_if_idle(self, slot: ParkedSlot) -> None:
        """A slot may have gone back to the ring: read from it if it did."""
        if slot.state is SlotState.IDLE:
            slot.watch()

    def lose_ended_shared(self) -> None:
        """Close the shared slots whose service is gone: nobody reads from them here, so somebody has to look now and then."""
        for slot in [slot for slot in self._slots.values() if slot.state is SlotState.SHARED and slot.ended()]:
            self.lose(slot, "ended")

    # -- proxies that lease

    def hold(self, holder: ILeaseHolder, busy: BusyLeases) -> Holding:
        """A proxy has come. What it calls is on the Holding; ``leave`` ends it."""
        holding = Holding(self, holder, busy)
        self._holdings[holding] = None
        return holding

    def forget(self, holding: Holding, closed: Container[int]) -> None:
        """A proxy is gone: its slots go back to the ring, but for those in ``closed``."""
        del self._holdings[holding]
        for book in self.books.values():
            self.carry_out(book, book.forget(holding, closed), "holder_lost")

    # -- clients of the one-byte protocol

    def share(self, pool: str, sharer: Sharer) -> None:
        """Give a one-byte client a slot, now or when there is one. Raises UnknownPool, AlreadyWaiting."""
        book = self.book(pool)
        arrival = self._monotonic()
        actions = book.share(sharer, arrival)
        self._sharers[sharer] = (book, arrival)
        self.carry_out(book, actions)

    def unshare(self, sharer: Sharer) -> None:
        """A one-byte client waits no longer; nothing happens when it did not wait."""
        waiting = self._sharers.pop(sharer, None)
        if waiting is not None:
            book = waiting[0]
            try:
                actions = book.unshare_wait(sharer)
            except NotWaiting:
                return  # Its Share is among the actions that are being carried out.
            self.carry_out(book, actions)

    # -- what a book says

    def carry_out(self, book: PoolBook, actions: Sequence[Action], closing: str = "") -> None:
        """Do what the book says, in its order across calls too: a proxy that calls while it is told something comes after.

        :param closing: why slots are closed, for the counts.
        """
        queue = self._actions
        queue.extend((book, action, closing) for action in actions)
        self._touched[book.name] = book
        if self._carrying_out:
            return
        self._carrying_out = True
        try:
            while queue:
                self._carry_out_one(*queue.popleft())
        finally:
            self._carrying_out = False
        self._say_registered()

    def _say_registered(self) -> None:
        """Tell the proxies of pools in which the first slot has registered, or of which the last one is gone."""
        while self._touched:
            name, book = self._touched.popitem()
            registered = book.registered > 0
            if registered is not self._registered.get(name, False):
                self._registered[name] = registered
                for holding in list(self._holdings):
                    holding.holder.service_registered(name, registered)

    def _carry_out_one(self, book: PoolBook, action: Action, closing: str) -> None:
        # A proxy of our own process that raises must not take down whoever made the call that reached it.
        try:
            if isinstance(action, Grant):
                self._grant(book, action)
            elif isinstance(action, Recall):
                holding: Any = action.holder
                if not holding.left:
                    holding.holder.leases_recalled(book.name, action.arrivals)
            elif isinstance(action, Share):
                self._share(book, action)
            elif isinstance(action, Answer):
                asker: Any = action.holder
                if not asker.left:
                    asker.holder.ask_answered(book.name, action.question)
            else:
                self._close(action, closing)
        except Exception:  # noqa: BLE001 - logged, and everybody else is served on
            self._log.failure("{action} of pool {pool} failed", action=action, pool=book.name)

    def _grant(self, book: PoolBook, action: Grant) -> None:
        holding: Any = action.holder
        if holding.left:
            return  # Then forgetting it has dealt with the slot.
        slot = self._slots[action.slot]
        slot.rest()
        slot.state = SlotState.LEASED
        if not holding.grant(slot):
            self.carry_out(book, book.lease_closed(holding, slot.number), "not_lent")

    def _share(self, book: PoolBook, action: Share) -> None:
        sharer: Any = action.sharer
        slot = self._slots[action.slot]
        fresh = slot.state is SlotState.IDLE
        slot.rest()
        slot.state = SlotState.SHARED
        waiting = self._sharers.get(sharer)
        if slot.spoke() if fresh else slot.ended():
            self.lose(slot, "ended")
            if waiting is not None:
                self.carry_out(book, book.share(sharer, waiting[1]))
            return
        if waiting is None:
            return
        del self._sharers[sharer]
        try:
            descriptor = slot.copy()
        except OSError as error:
            self._log.error("pool {pool}: a slot can't be shared: {error}", pool=book.name, error=error)
            sharer.slot_unavailable()
        else:
            sharer.slot_shared(descriptor)

    def _close(self, action: Close, closing: str) -> None:
        slot = self._slots.pop(action.slot)
        slot.close()
        self.closings[slot.pool, closing] += 1

    # -- the whole

    def census(self) -> Dict[str, Dict[str, Any]]:
        """What is where, by pool, for ``/status``: counts of slots and waiters, and the slots of each service."""
        services: Dict[str, Dict[str, Dict[str, Any]]] = {name: {} for name in self.books}
        for slot in self._slots.values():
            of_pool = services[slot.pool]
            row = of_pool.get(slot.service)
            if row is None:
                row = of_pool[slot.service] = {"name": slot.service, "slots": 0, "idle": 0, "leased": 0, "shared": 0}
            row["slots"] += 1
            row[slot.state.value] += 1
        in_flight = self._in_flight()
        return {
            name: {
                "slots": book.registered,
                "idle": book.idle,
                "leased": book.leased,
                "shared": book.shared,
                "in_flight": in_flight[name],
                "waiting": book.waiting,
                "services": list(services[name].values()),
                "registrations": self._of_pool(self.registrations, name),
                "closings": self._of_pool(self.closings, name),
            }
            for name, book in self.books.items()
        }

    @staticmethod
    def _of_pool(counts: Counter[Tuple[str, str]], name: str) -> Dict[str, int]:
        return {label: number for (pool, label), number in sorted(counts.items()) if pool == name}

    def _in_flight(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for holding in self._holdings:
            for lease in holding.in_flight():
                found[holding.leases[lease].pool] += 1
        return found

    def close(self) -> None:
        """The acceptor stops: idle slots are closed; those that a proxy has are its own from here on, as orphans."""
        holdings = list(self._holdings)
        sharers: List[Sharer] = list(self._sharers)
        slots = list(self._slots.values())
        leased = {slot for slot in slots if slot.state is not SlotState.IDLE}
        self._holdings.clear()
        self._sharers.clear()
        self._slots.clear()
        self._actions.clear()
        self.books = {name: PoolBook(name) for name in self.books}
        for slot in slots:
            if slot in leased:
                slot.let_go()
            else:
                slot.close()
        for holding in holdings:
            holding.left = True
            holding.leases.clear()
            holding.holder.acceptor_lost()
        for sharer in sharers:
            sharer.slot_unavailable()
