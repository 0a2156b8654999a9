"""What is lent to one-byte clients: who waits for a slot, and the loans that run.

A part of the acceptor: the book says who gets which slot and when; here the socket pairs are made, and taken back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Hashable, List, Optional, Protocol, Tuple

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from ..net.pair_end import make_pair_end
from ..net.sweep import Sweep
from ..slots.actions import Ending, NotWaiting
from ..slots.book import PoolBook
from ..slots.parked_states import SlotEvent, SlotState
from ..startup import os_reason
from .loan import Loan
from .parked import ParkedSlot

if TYPE_CHECKING:
    from .acceptor import Acceptor


class Borrower(Hashable, Protocol):
    """A one-byte client, as the acceptor sees it."""

    def slot_lent(self, descriptor: int) -> None:
        """Here is one end of a socket pair, by which a slot is yours until you close it. You wait no longer."""

    def slot_unavailable(self) -> None:
        """There will be none. You wait no longer."""


class Lending:
    """The loans of one acceptor.

    :param reactor: an IReactorFDSet and IReactorTime.
    :ivar monotonic: the clock of arrivals and deadlines.
    :ivar clock: the reactor's.
    """

    _log = Logger()

    def __init__(self, acceptor: Acceptor, reactor: Any, monotonic: Callable[[], float]) -> None:
        self.monotonic = monotonic
        self.sweep = Sweep(reactor, monotonic)
        self.loans: Dict[Loan, None] = {}
        self.clients = 0
        """How many one-byte clients are connected."""
        self.clock = reactor
        self._acceptor = acceptor
        self._reactor = reactor
        self._waiting: Dict[Borrower, Tuple[PoolBook, float]] = {}
        self._draining: Optional[Deferred[None]] = None

    # -- from the clients

    def borrow(self, pool: str, borrower: Borrower) -> None:
        """Give a one-byte client a slot, now or when there is one. Raises UnknownPool, AlreadyWaiting."""
        book = self._acceptor.book(pool)
        if self._draining is not None:
            borrower.slot_unavailable()
            return
        arrival = self.monotonic()
        actions = book.borrow(borrower, arrival)
        self._waiting[borrower] = (book, arrival)
        self._acceptor.carry_out(book, actions)

    def borrow_no_more(self, borrower: Borrower) -> None:
        """A one-byte client waits no longer; nothing happens when it did not wait."""
        waiting = self._waiting.pop(borrower, None)
        if waiting is not None:
            try:
                actions = waiting[0].borrow_no_more(borrower)
            except NotWaiting:
                return  # It has just been lent a slot, which is among the actions that are being carried out.
            self._acceptor.carry_out(waiting[0], actions)

    # -- from the acceptor

    def lend(self, book: PoolBook, slot: ParkedSlot, borrower: Any) -> None:
        """The book has lent this idle slot to this client."""
        slot.step(SlotEvent.LENT)
        waiting = self._waiting.pop(borrower, None)
        if waiting is None:  # It has left meanwhile.
            self._end(slot, Ending.CLEAN)
            return
        if slot.spoke():  # Its end, or bytes that nobody asked for, which we have not read yet.
            self._end(slot, Ending.ANEW if slot.register_anew is not None else Ending.CLOSED, "ended")
            again = book.borrow(borrower, waiting[1])
            self._waiting[borrower] = waiting
            self._acceptor.carry_out(book, again)
            return
        loan = Loan(self, slot)
        try:
            _, descriptor = make_pair_end(self._reactor, loan)
        except OSError as error:
            reason = os_reason(error)
            self._log.error("pool {pool}: a slot can't be lent: {reason}", pool=slot.pool, reason=reason)
            self._end(slot, Ending.CLEAN)
            borrower.slot_unavailable()
            return
        slot.loan = loan
        slot.watch()
        self.loans[loan] = None
        self.sweep.add(loan)
        loan.begin()
        borrower.slot_lent(descriptor)

    def retire(self, book: PoolBook) -> None:
        """The pool is given up: nobody waits for its slots any more."""
        for borrower, waiting in list(self._waiting.items()):
            if waiting[0] is book:
                del self._waiting[borrower]
                borrower.slot_unavailable()

    # -- from a loan

    def over(self, loan: Loan, how: Ending, reason: str = "", data: bytes = b"") -> None:
        """The loan is over, and its end of the pair closed or being closed.

        :param reason: for the counts, when the slot is closed.
        :param data: the first bytes of the preamble, when the slot is to register anew.
        """
        self._forget(loan)
        slot = loan.slot
        slot.loan = None
        if how is Ending.CLEAN and slot.spoke():
            how, reason = Ending.CLOSED, "unasked"
        self._end(slot, how, reason, data)
        if self._draining is not None and not self._draining.called and not self.running:
            self._draining.callback(None)

    def _forget(self, loan: Loan) -> None:
        del self.loans[loan]
        self.sweep.discard(loan)

    def _end(self, slot: ParkedSlot, how: Ending, reason: str = "", data: bytes = b"") -> None:
        """A lent slot has come back."""
        book = slot.book
        if how is Ending.CLEAN:
            slot.step(SlotEvent.GIVEN_BACK)
            self._acceptor.carry_out(book, book.end_loan(slot.number, how), "retired")
            if slot.state is SlotState.IDLE:
                slot.watch()
                slot.transport.resumeProducing()  # The loan may have stopped it, because its client was slow.
        elif how is Ending.ANEW:
            self._acceptor.carry_out(book, book.end_loan(slot.number, how))
            self._acceptor.register_anew(slot, data)
        else:
            self._acceptor.carry_out(book, book.end_loan(slot.number, how), reason)

    # -- the end

    @property
    def running(self) -> bool:
        """Whether an exchange is on any lent slot."""
        return any(loan.running for loan in self.loans)

    def drain(self) -> Deferred[None]:
        """Lend nothing more; fires when no exchange is on a lent slot."""
        if self._draining is None:
            self._draining = Deferred()
            for borrower in list(self._waiting):
                self.borrow_no_more(borrower)
                borrower.slot_unavailable()
            for loan in [loan for loan in self.loans if not loan.running]:
                loan.end()
            if not self._draining.called and not self.running:
                self._draining.callback(None)
        return self._draining if not self._draining.called else succeed(None)

    def close(self) -> None:
        """The acceptor stops: every loan is over, whatever runs."""
        self.sweep.stop()
        borrowers: List[Borrower] = list(self._waiting)
        self._waiting.clear()
        for loan in list(self.loans):
            self._forget(loan)
            loan.cut_off()
        for borrower in borrowers:
            borrower.slot_unavailable()
