"""Which worker sits where, which leave their seats, and which orders each goes by."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from ..startup import StartupError
from .restarts import Restarts
from .seats import SeatEvent, SeatState, next_state


class Seat:
    """A number from 1, and the worker that has it.

    :ivar ready_at: when that worker began to serve, by the reactor's clock; None: it does not yet.
    :ivar restarting: the start of the next worker, while that is waited for.
    :ivar predecessor: the worker that serves until the one that has the seat does.
    """

    def __init__(self, number: int, random: Callable[[], float]) -> None:
        self.number = number
        self.state = SeatState.WAITING
        self.worker: Any = None
        self.restarts = Restarts(random)
        self.ready_at: Optional[float] = None
        self.restarting: Optional[IDelayedCall] = None
        self.predecessor: Any = None

    def after(self, event: SeatEvent) -> None:
        """Go on to the state after this event. Raises KeyError for one that can't be."""
        self.state = next_state(self.state, event)


class Seating:
    """All workers, by what they do.

    :ivar seats: in the order of their numbers, from 1.
    :ivar leaving: the workers that drain, each with the timer that kills it when the drain takes too long.
    :ivar cold: those that are started before there are orders; None: there are orders from the start on.
    :ivar begun: fires when a worker serves for the first time.
    """

    def __init__(self, count: int, random: Callable[[], float]) -> None:
        self._random = random
        self.seats: List[Seat] = []
        self.leaving: Dict[Any, IDelayedCall] = {}
        self.cold: Optional[Cold] = None
        self.begun: Deferred[None] = Deferred()
        self.added(count)

    def added(self, count: int) -> List[Seat]:
        """Have so many seats, if there are fewer; gives the new ones."""
        new = [Seat(number, self._random) for number in range(len(self.seats) + 1, count + 1)]
        self.seats += new
        return new

    def warm_up(self) -> Deferred[None]:
        """Fires when those who are started next can take orders; fails with StartupError when one has ended instead."""
        self.cold = Cold(len(self.seats))
        return self.cold.warm

    def removed(self, count: int) -> List[Seat]:
        """Have so many seats, if there are more; gives those that were removed."""
        gone, self.seats = self.seats[count:], self.seats[:count]
        return gone

    def seat_of(self, worker: Any) -> Optional[Seat]:
        """The seat of a worker; None: it has none."""
        return next((seat for seat in self.seats if seat.worker is worker), None)

    @property
    def workers(self) -> List[Any]:
        """All workers that live, those that leave too."""
        places = [worker for seat in self.seats for worker in (seat.worker, seat.predecessor) if worker is not None]
        return [*places, *(worker for worker in self.leaving if worker not in places)]

    @property
    def staying(self) -> List[Any]:
        """The workers that do not drain."""
        return [worker for worker in self.workers if worker not in self.leaving]

    @property
    def serving(self) -> bool:
        """Whether a worker serves."""
        return any(seat.state is SeatState.SERVING or seat.predecessor is not None for seat in self.seats)

    def state_of(self, worker: Any) -> SeatState:
        """The state of a worker, by that of its seat."""
        if worker in self.leaving:
            return SeatState.DRAINING
        if any(seat.predecessor is worker for seat in self.seats):
            return SeatState.SERVING
        seat = self.seat_of(worker)
        return SeatState.OVER if seat is None else seat.state

    def gone(self, worker: Any) -> Optional[Seat]:
        """The process of a worker is gone; gives the seat that it had, None where it had none."""
        timer = self.leaving.pop(worker, None)
        if timer is not None and timer.active():
            timer.cancel()
        for seat in self.seats:
            if seat.predecessor is worker:
                seat.predecessor = None
        seat_of_it = self.seat_of(worker)
        if seat_of_it is not None:
            seat_of_it.worker = None
        return seat_of_it


class Cold:
    """Workers that start and have no orders yet.

    :param count: how many.
    :ivar warm: fires when they could take some; fails with StartupError when one has ended.
    """

    def __init__(self, count: int) -> None:
        self._missing = count
        self.warm: Deferred[None] = Deferred()

    def greeted(self) -> None:
        """One has said Hello."""
        self._missing -= 1
        if self._missing == 0 and not self.warm.called:
            self.warm.callback(None)

    def ended(self, worker: Any, how: str) -> None:
        """One is gone."""
        if not self.warm.called:
            self.warm.errback(StartupError(f"worker {worker.number} has ended: {how}"))


class InForce:
    """Which orders each worker goes by, and the reloads that wait until all go by some.

    :param clock: an IReactorTime.
    :ivar generations: of the orders, by worker.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self.generations: Dict[Any, int] = {}
        self._awaited: Dict[int, List[Any]] = {}
        self._waiting: Dict[int, Deferred[None]] = {}

    def wait(self, workers: List[Any], generation: int, limit_s: float) -> Deferred[None]:
        """Fires when these workers have answered the orders of a generation or are gone, or after ``limit_s`` seconds."""
        done: Deferred[None] = Deferred()
        self._awaited[generation] = [worker for worker in workers if self.generations.get(worker, 0) < generation]
        self._waiting[generation] = done
        timer = self._clock.callLater(limit_s, self._end, generation)
        done.addCallback(lambda _: timer.cancel() if timer.active() else None)
        self._look()
        return done

    def answered(self, worker: Any, generation: int, obeys: bool) -> None:
        """A worker has answered the orders of a generation: it goes by them, or (``obeys`` is false) by others as before."""
        if obeys:
            self.generations[worker] = generation
        for number, awaited in self._awaited.items():
            if number <= generation and worker in awaited:
                awaited.remove(worker)
        self._look()

    def gone(self, worker: Any) -> None:
        """The process of a worker is gone: its answer is not waited for."""
        self.answered(worker, max(self._awaited, default=0), False)
        self.generations.pop(worker, None)

    def _look(self) -> None:
        for generation in [number for number, awaited in self._awaited.items() if not awaited]:
            self._end(generation)

    def _end(self, generation: int) -> None:
        self._awaited.pop(generation, None)
        waiting = self._waiting.pop(generation, None)
        if waiting is not None:
            waiting.callback(None)
