"""The book of a pool against a model that is too simple to be wrong: lists, searched from end to end."""

from __future__ import annotations

import contextlib
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple, Type

import attr
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import TestCase

from tests.slots.waiting_book import WaitingBook
from xproxy.slots.actions import (
    Action,
    AlreadyRegistered,
    AlreadyWaiting,
    BadAsk,
    BookError,
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

HOLDERS = st.sampled_from(["a", "b", "c"])
BORROWERS = st.sampled_from(["s", "t", "u"])
SLOTS = st.integers(min_value=0, max_value=11)
ARRIVALS = st.integers(min_value=0, max_value=20).map(float)


@attr.define
class Wait:
    """One waiting request in the model."""

    arrival: float
    place: int
    who: str
    borrows: bool


class Model:
    """What the book should do, written down as the rules read."""

    def __init__(self) -> None:
        self.ring: List[int] = []
        self.lent: List[int] = []
        self.leases: Dict[str, List[int]] = {}
        self.made: Dict[str, int] = {}
        self.waits: List[Wait] = []
        self.places: Dict[str, int] = {}
        self.next_place = 0
        self.last_of: Dict[int, str] = {}
        """Who had a slot last, by slot; forgotten when either is."""
        self.moves = 0

    def place(self, who: str) -> int:
        if who not in self.places:
            self.places[who] = self.next_place
            self.next_place += 1
        return self.places[who]

    def leased(self) -> List[int]:
        return [slot for slots in self.leases.values() for slot in slots]

    def registered(self) -> List[int]:
        return self.ring + self.lent + self.leased()

    def serve(self) -> List[Action]:
        done: List[Action] = []
        while self.waits and self.ring:
            wait = min(self.waits, key=lambda wait: (wait.arrival, wait.borrows, wait.place))
            self.waits.remove(wait)
            slot = self.ring.pop(0)
            if wait.borrows:
                self.lent.append(slot)
                del self.places[wait.who]
                done.append(Lend(wait.who, slot))
                continue
            self.leases[wait.who].append(slot)
            self.made[wait.who] += 1
            self.moves += self.last_of.get(slot, wait.who) != wait.who
            self.last_of[slot] = wait.who
            done.append(Grant(wait.who, slot))
        return done

    def recalled(self, holder: str) -> bool:
        return bool(self.leases[holder]) and any(wait.who != holder for wait in self.waits)


class BookMachine(RuleBasedStateMachine):
    """Any calls in any order: the book and the model do the same, and what must hold holds after each call."""

    def __init__(self) -> None:
        super().__init__()
        self.book = WaitingBook()
        self.model = Model()
        self.told: Dict[str, bool] = {}

    def check(self, actions: Sequence[Action], expected: Sequence[Action]) -> None:
        """Slots first and as the model says; then one recall for each holder for which others wait now, or do no longer."""
        changes = [action for action in actions if isinstance(action, Recall)]
        assert list(actions) == [*expected, *changes]
        for holder in self.model.leases:
            before, after = self.told.get(holder, False), self.model.recalled(holder)
            others = sum(wait.who != holder for wait in self.model.waits) if after else 0
            said = [change.waiting for change in changes if change.holder == holder]
            assert said == ([others] if before != after else []), (holder, before, after, said)
            self.told[holder] = after
        assert all(change.holder in self.model.leases for change in changes)

    @initialize(count=st.integers(min_value=0, max_value=6))
    def begin(self, count: int) -> None:
        """Most runs begin with slots and one holder that has them: from there the recalls are near."""
        for slot in range(count):
            self.register(slot)
        self.ask("a", 0.0, count, 0)

    @rule(slot=SLOTS)
    def register(self, slot: int) -> None:
        if slot not in self.model.registered():
            self.model.ring.append(slot)
            self.check(self.book.register(slot), self.model.serve())

    @rule(holder=HOLDERS, arrival=ARRIVALS, count=st.integers(0, 10), late=st.integers(min_value=0, max_value=8))
    def ask(self, holder: str, arrival: float, count: int, late: int) -> None:
        """All that wait have come at the same moment; what is made of different ones is told in test_book."""
        model = self.model
        made = model.made.setdefault(holder, 0)
        late = min(late, made)
        model.leases.setdefault(holder, [])
        place = model.place(holder)
        model.waits = [wait for wait in model.waits if wait.who != holder]
        model.waits += [Wait(arrival, place, holder, False) for _ in range(count - late)]
        self.check(self.book.wait(holder, [arrival] * count, made - late), model.serve())

    @precondition(lambda self: self.model.leased())
    @rule(data=st.data(), how=st.sampled_from(Ending))
    def end_lease(self, data: st.DataObject, how: Ending) -> None:
        slot = data.draw(st.sampled_from(sorted(self.model.leased())))
        holder = next(who for who, slots in self.model.leases.items() if slot in slots)
        self.model.leases[holder].remove(slot)
        closed = self.come_back(slot, how)
        self.check(self.book.end_lease(holder, slot, how), [*closed, *self.model.serve()])

    @precondition(lambda self: self.model.lent)
    @rule(data=st.data(), how=st.sampled_from(Ending))
    def end_loan(self, data: st.DataObject, how: Ending) -> None:
        slot = data.draw(st.sampled_from(sorted(self.model.lent)))
        self.model.lent.remove(slot)
        closed = self.come_back(slot, how)
        self.check(self.book.end_loan(slot, how), [*closed, *self.model.serve()])

    def come_back(self, slot: int, how: Ending) -> List[Action]:
        if how is Ending.CLEAN:
            self.model.ring.append(slot)
        else:
            self.model.last_of.pop(slot, None)
        return [Close(slot)] if how is Ending.CLOSED else []

    @rule(borrower=BORROWERS, arrival=ARRIVALS)
    def one_byte_client_comes_or_goes(self, borrower: str, arrival: float) -> None:
        model = self.model
        if any(wait.who == borrower for wait in model.waits):
            model.waits = [wait for wait in model.waits if wait.who != borrower]
            del model.places[borrower]
            self.check(self.book.borrow_no_more(borrower), [])
        else:
            model.waits.append(Wait(arrival, model.place(borrower), borrower, True))
            self.check(self.book.borrow(borrower, arrival), model.serve())

    @rule(slot=SLOTS, holder=HOLDERS, busy=st.none() | st.sets(SLOTS))
    def something_dies(self, slot: int, holder: str, busy: Optional[Set[int]]) -> None:
        """An idle slot, or a whole holder. One rule, so that runs get far enough between two deaths."""
        model = self.model
        if busy is None:
            if slot in model.ring:
                model.ring.remove(slot)
                model.last_of.pop(slot, None)
                self.check(self.book.lose(slot), [])
            return
        slots = model.leases.pop(holder, [])
        model.made.pop(holder, None)
        model.places.pop(holder, None)
        self.told.pop(holder, None)
        model.waits = [wait for wait in model.waits if wait.who != holder]
        closed: List[Action] = [Close(slot) for slot in slots if slot in busy]
        model.last_of = {
            slot: who for slot, who in model.last_of.items() if who != holder and slot not in busy.intersection(slots)
        }
        model.ring += [slot for slot in slots if slot not in busy]
        self.check(self.book.forget(holder, busy), closed + model.serve())

    @rule(holder=HOLDERS, slot=SLOTS, borrower=BORROWERS)
    def what_is_not_so_raises(self, holder: str, slot: int, borrower: str) -> None:
        book, model = self.book, self.model
        wrong: List[Tuple[Type[BookError], Callable[..., object], Tuple[object, ...]]] = [
            (BadAsk, book.ask, (holder, 1, model.made.get(holder, 0) + 1)),
            (BadAsk, book.ask, (holder, 1, -1)),
        ]
        if slot in model.registered():
            wrong.append((AlreadyRegistered, book.register, (slot,)))
        if slot not in model.ring:
            wrong.append((NotIdle, book.lose, (slot,)))
        for how in Ending:
            if slot not in model.leases.get(holder, []):
                wrong.append((NotLeased, book.end_lease, (holder, slot, how)))
            if slot not in model.lent:
                wrong.append((NotLent, book.end_loan, (slot, how)))
        if any(wait.who == borrower for wait in model.waits):
            wrong.append((AlreadyWaiting, book.borrow, (borrower, 1.0)))
        else:
            wrong.append((NotWaiting, book.borrow_no_more, (borrower,)))
        for error, call, arguments in wrong:
            with contextlib.suppress(error):
                call(*arguments)
                raise AssertionError(f"{call} took {arguments}")

    @invariant()
    def each_slot_is_in_one_state(self) -> None:
        book, model = self.book, self.model
        assert (book.idle, book.leased, book.lent) == (len(model.ring), len(model.leased()), len(model.lent))
        assert book.idle + book.leased + book.lent == book.registered
        for holder, slots in model.leases.items():
            assert list(book.leases_of(holder)) == slots

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        assert self.book.waiting == len(self.model.waits)
        assert self.book.moves == self.model.moves
        assert not (self.book.idle and self.book.waiting)


class ModelTests(TestCase):
    def test_against_the_model(self) -> None:
        run_state_machine_as_test(
            BookMachine,
            settings=settings(
                max_examples=100,
                stateful_step_count=50,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
