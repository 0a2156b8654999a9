"""The book of a pool against a model that is too simple to be wrong: lists, searched from end to end."""

from __future__ import annotations

import contextlib
from math import inf
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple, Type

import attr
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import TestCase

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
from xproxy.slots.book import ASK_WINDOW, PoolBook

HOLDERS = st.sampled_from(["a", "b", "c"])
BORROWERS = st.sampled_from(["s", "t", "u"])
SLOTS = st.integers(min_value=0, max_value=11)
ARRIVALS = st.integers(min_value=0, max_value=20).map(float)


@attr.define
class Wait:
    """One waiting request in the model."""

    arrival: float
    """Infinity: one of those that an ask does not list."""
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
        self.served = 0
        self.last_served: Dict[str, int] = {}
        """When one of a holder's requests that are not listed was served last, or began to wait: they take turns."""

    def place(self, who: str) -> int:
        if who not in self.places:
            self.places[who] = self.next_place
            self.next_place += 1
        return self.places[who]

    def leased(self) -> List[int]:
        return [slot for slots in self.leases.values() for slot in slots]

    def registered(self) -> List[int]:
        return self.ring + self.lent + self.leased()

    def first(self) -> Wait:
        listed = [wait for wait in self.waits if wait.arrival < inf]
        if listed:
            return min(listed, key=lambda wait: (wait.arrival, wait.place))
        return min(self.waits, key=lambda wait: self.last_served[wait.who])

    def serve(self) -> List[Action]:
        done: List[Action] = []
        while self.waits and self.ring:
            wait = self.first()
            self.waits.remove(wait)
            slot = self.ring.pop(0)
            if wait.borrows:
                self.lent.append(slot)
                del self.places[wait.who]
                done.append(Lend(wait.who, slot))
                continue
            if wait.arrival == inf:
                self.turn(wait.who)
            self.leases[wait.who].append(slot)
            self.made[wait.who] += 1
            done.append(Grant(wait.who, slot))
        return done

    def turn(self, who: str) -> None:
        self.served += 1
        self.last_served[who] = self.served

    def recall(self, holder: str) -> Tuple[Tuple[float, ...], int]:
        others = sorted(wait.arrival for wait in self.waits if wait.who != holder)[: len(self.leases[holder])]
        listed = tuple(arrival for arrival in others[:ASK_WINDOW] if arrival < inf)
        return listed, len(others) - len(listed) if listed else 0


class BookMachine(RuleBasedStateMachine):
    """Any calls in any order: the book and the model do the same, and what must hold holds after each call."""

    def __init__(self) -> None:
        super().__init__()
        self.book = PoolBook("default")
        self.model = Model()
        self.told: Dict[str, Tuple[Tuple[float, ...], int]] = {}

    def check(self, actions: Sequence[Action], expected: Sequence[Action], gave_back: Optional[str] = None) -> None:
        """Slots first and as the model says; then one recall for each holder whose list changed, and no other."""
        changes = [action for action in actions if isinstance(action, Recall)]
        assert list(actions) == [*expected, *changes]
        for holder in self.model.leases:
            before, after = self.told.get(holder, ((), 0)), self.model.recall(holder)
            said = [(change.arrivals, change.more) for change in changes if change.holder == holder]
            must_say = before != after or (holder == gave_back and before != ((), 0))
            assert said == ([after] if must_say else []), (holder, before, after, said)
            self.told[holder] = after
        assert all(change.holder in self.model.leases for change in changes)

    @initialize(count=st.integers(min_value=0, max_value=6))
    def begin(self, count: int) -> None:
        """Most runs begin with slots and one holder that has them: from there the recalls are near."""
        for slot in range(count):
            self.register(slot)
        self.ask("a", [0.0] * count, 0)

    @rule(slot=SLOTS)
    def register(self, slot: int) -> None:
        if slot not in self.model.registered():
            self.model.ring.append(slot)
            self.check(self.book.register(slot), self.model.serve())

    @rule(
        holder=HOLDERS,
        arrivals=st.lists(ARRIVALS, max_size=6),
        more=st.integers(min_value=0, max_value=4),
        late=st.integers(min_value=0, max_value=8),
    )
    def ask(self, holder: str, arrivals: List[float], late: int, more: int = 0) -> None:
        model = self.model
        made = model.made.setdefault(holder, 0)
        late = min(late, made)
        model.leases.setdefault(holder, [])
        place = model.place(holder)
        had_more = any(wait.who == holder and wait.arrival == inf for wait in model.waits)
        model.waits = [wait for wait in model.waits if wait.who != holder]
        left = [*sorted(arrivals), *[inf] * more][late:]
        model.waits += [Wait(arrival, place, holder, False) for arrival in left]
        if inf in left and not had_more:
            model.turn(holder)
        self.check(self.book.ask(holder, arrivals, made - late, more), model.serve())

    @precondition(lambda self: self.model.leased())
    @rule(data=st.data(), how=st.sampled_from(Ending))
    def end_lease(self, data: st.DataObject, how: Ending) -> None:
        slot = data.draw(st.sampled_from(sorted(self.model.leased())))
        holder = next(who for who, slots in self.model.leases.items() if slot in slots)
        self.model.leases[holder].remove(slot)
        closed = self.come_back(slot, how)
        gave_back = holder if how is Ending.CLEAN else None
        self.check(self.book.end_lease(holder, slot, how), [*closed, *self.model.serve()], gave_back)

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
                self.check(self.book.lose(slot), [])
            return
        slots = model.leases.pop(holder, [])
        model.made.pop(holder, None)
        model.places.pop(holder, None)
        self.told.pop(holder, None)
        model.waits = [wait for wait in model.waits if wait.who != holder]
        closed: List[Action] = [Close(slot) for slot in slots if slot in busy]
        model.ring += [slot for slot in slots if slot not in busy]
        self.check(self.book.forget(holder, busy), closed + model.serve())

    @rule(holder=HOLDERS, slot=SLOTS, borrower=BORROWERS)
    def what_is_not_so_raises(self, holder: str, slot: int, borrower: str) -> None:
        book, model = self.book, self.model
        wrong: List[Tuple[Type[BookError], Callable[..., object], Tuple[object, ...]]] = [
            (BadAsk, book.ask, (holder, [1.0], model.made.get(holder, 0) + 1)),
            (BadAsk, book.ask, (holder, [1.0], -1)),
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
