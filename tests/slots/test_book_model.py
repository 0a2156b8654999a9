"""The book of a pool against a model that is too simple to be wrong: lists, searched from end to end."""

from __future__ import annotations

import contextlib
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple, Type

import attr
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import TestCase

from xproxy.slots.book import (
    ASK_WINDOW,
    Action,
    AlreadyRegistered,
    AlreadyWaiting,
    BadAsk,
    BookError,
    Close,
    Grant,
    NotLeased,
    NotParked,
    NotWaiting,
    PoolBook,
    Recall,
    Share,
)

HOLDERS = st.sampled_from(["a", "b", "c"])
SHARERS = st.sampled_from(["s", "t", "u"])
SLOTS = st.integers(min_value=0, max_value=11)
ARRIVALS = st.integers(min_value=0, max_value=20).map(float)


@attr.define
class Wait:
    """One waiting request in the model."""

    arrival: float
    place: int
    who: str
    shares: bool


class Model:
    """What the book should do, written down as the rules read."""

    def __init__(self) -> None:
        self.ring: List[int] = []
        self.shared: List[int] = []
        self.leases: Dict[str, List[int]] = {}
        self.made: Dict[str, int] = {}
        self.waits: List[Wait] = []
        self.places: Dict[str, int] = {}
        self.next_place = 0

    def place(self, who: str) -> int:
        if who not in self.places:
            self.places[who] = self.next_place
            self.next_place += 1
        return self.places[who]

    def leased(self) -> List[int]:
        return [slot for slots in self.leases.values() for slot in slots]

    def registered(self) -> List[int]:
        return self.ring + self.shared + self.leased()

    def oldest(self) -> Wait:
        return min(self.waits, key=lambda wait: (wait.arrival, wait.place))

    def serve(self) -> List[Action]:
        done: List[Action] = []
        while self.waits and (self.ring or self.shared_serves()):
            wait = self.oldest() if not self.shared_serves() else self.oldest_sharer()
            self.waits.remove(wait)
            if not wait.shares:
                slot = self.ring.pop(0)
                self.leases[wait.who].append(slot)
                self.made[wait.who] += 1
                done.append(Grant(wait.who, slot))
            else:
                slot = self.shared.pop(0) if self.shared else self.ring.pop(0)
                self.shared.append(slot)
                del self.places[wait.who]
                done.append(Share(wait.who, slot))
        return done

    def shared_serves(self) -> bool:
        return bool(self.shared) and any(wait.shares for wait in self.waits)

    def oldest_sharer(self) -> Wait:
        return min((wait for wait in self.waits if wait.shares), key=lambda wait: (wait.arrival, wait.place))

    def recall(self, holder: str) -> Tuple[float, ...]:
        others = sorted(wait.arrival for wait in self.waits if wait.who != holder)
        return tuple(others[: min(len(self.leases[holder]), ASK_WINDOW)])


class BookMachine(RuleBasedStateMachine):
    """Any calls in any order: the book and the model do the same, and what must hold holds after each call."""

    def __init__(self) -> None:
        super().__init__()
        self.book = PoolBook("default")
        self.model = Model()
        self.told: Dict[str, Tuple[float, ...]] = {}

    def check(self, actions: Sequence[Action], expected: Sequence[Action], gave_back: Optional[str] = None) -> None:
        """Slots first and as the model says; then one recall for each holder whose list changed, and no other."""
        changes = [action for action in actions if isinstance(action, Recall)]
        assert list(actions) == [*expected, *changes]
        for holder in self.model.leases:
            before, after = self.told.get(holder, ()), self.model.recall(holder)
            said = [change.arrivals for change in changes if change.holder == holder]
            must_say = before != after or (holder == gave_back and bool(before))
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

    @rule(holder=HOLDERS, arrivals=st.lists(ARRIVALS, max_size=6), late=st.integers(min_value=0, max_value=3))
    def ask(self, holder: str, arrivals: List[float], late: int) -> None:
        model = self.model
        made = model.made.setdefault(holder, 0)
        late = min(late, made)
        model.leases.setdefault(holder, [])
        place = model.place(holder)
        model.waits = [wait for wait in model.waits if wait.who != holder]
        model.waits += [Wait(arrival, place, holder, False) for arrival in sorted(arrivals)[late:]]
        self.check(self.book.ask(holder, arrivals, made - late), model.serve())

    @precondition(lambda self: self.model.leased())
    @rule(data=st.data(), clean=st.booleans())
    def end_lease(self, data: st.DataObject, clean: bool) -> None:
        slot = data.draw(st.sampled_from(sorted(self.model.leased())))
        holder = next(who for who, slots in self.model.leases.items() if slot in slots)
        self.model.leases[holder].remove(slot)
        if clean:
            self.model.ring.append(slot)
            self.check(self.book.give_back(holder, slot), self.model.serve(), gave_back=holder)
        else:
            self.check(self.book.lease_closed(holder, slot), [Close(slot), *self.model.serve()])

    @rule(sharer=SHARERS, arrival=ARRIVALS)
    def one_byte_client_comes_or_goes(self, sharer: str, arrival: float) -> None:
        model = self.model
        if any(wait.who == sharer for wait in model.waits):
            model.waits = [wait for wait in model.waits if wait.who != sharer]
            del model.places[sharer]
            self.check(self.book.unshare_wait(sharer), [])
        elif model.ring:
            model.shared.append(model.ring.pop(0))
            self.check(self.book.share(sharer, arrival), [Share(sharer, model.shared[-1])])
        else:
            model.waits.append(Wait(arrival, model.place(sharer), sharer, True))
            self.check(self.book.share(sharer, arrival), model.serve())

    @rule(slot=SLOTS, holder=HOLDERS, busy=st.none() | st.sets(SLOTS))
    def something_dies(self, slot: int, holder: str, busy: Optional[Set[int]]) -> None:
        """A parked slot, or a whole holder. One rule, so that runs get far enough between two deaths."""
        model = self.model
        if busy is None:
            for parked in (model.ring, model.shared):
                if slot in parked:
                    parked.remove(slot)
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

    @rule(holder=HOLDERS, slot=SLOTS, sharer=SHARERS)
    def what_is_not_so_raises(self, holder: str, slot: int, sharer: str) -> None:
        book, model = self.book, self.model
        wrong: List[Tuple[Type[BookError], Callable[..., object], Tuple[object, ...]]] = [
            (BadAsk, book.ask, (holder, [1.0], model.made.get(holder, 0) + 1)),
            (BadAsk, book.ask, (holder, [1.0], -1)),
        ]
        if slot in model.registered():
            wrong.append((AlreadyRegistered, book.register, (slot,)))
        if slot not in model.ring + model.shared:
            wrong.append((NotParked, book.lose, (slot,)))
        if slot not in model.leases.get(holder, []):
            wrong += [(NotLeased, end, (holder, slot)) for end in (book.give_back, book.lease_closed)]
        if any(wait.who == sharer for wait in model.waits):
            wrong.append((AlreadyWaiting, book.share, (sharer, 1.0)))
        else:
            wrong.append((NotWaiting, book.unshare_wait, (sharer,)))
        for error, call, arguments in wrong:
            with contextlib.suppress(error):
                call(*arguments)
                raise AssertionError(f"{call} took {arguments}")

    @invariant()
    def each_slot_is_in_one_state(self) -> None:
        book, model = self.book, self.model
        assert (book.idle, book.leased, book.shared) == (len(model.ring), len(model.leased()), len(model.shared))
        assert book.idle + book.leased + book.shared == book.registered
        for holder, slots in model.leases.items():
            assert list(book.leases_of(holder)) == slots

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        assert self.book.waiting == len(self.model.waits)
        assert not (self.book.idle and self.book.waiting)
        assert not (self.book.shared and any(wait.shares for wait in self.model.waits))


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
