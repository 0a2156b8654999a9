"""The crew: the parent's side of all workers. Who sits where, who is started again, who hangs, and how all of them end.

The rules of seats and restarts are in ``seats`` and ``restarts``; a worker's process and its connection in ``process``. See
docs/architecture/workers.md.
"""

from __future__ import annotations

from typing import Any, Callable, Dict

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, LogLevel
from zope.interface import implementer

from .. import __version__
from .messages import (
    Configured,
    Dial,
    Drain,
    Drained,
    Failed,
    FromWorker,
    Leave,
    Message,
    Ready,
    Said,
    Told,
)
from .numbers import Tree
from .process import IEmployer, IWorker
from .seating import InForce, Seat, Seating
from .seats import SeatEvent, SeatState
from .tally import Tally, Whole

BEAT_S = 1.0
"""Seconds between two questions whether a worker's loop turns."""

DRAIN_GRACE_S = 3.0
"""How many seconds after ``drain_timeout`` a worker that drains may live: a worker ends what is left by itself, in a turn of
its loop."""

LEAVE_WAIT_S = 0.5
"""How many seconds after SIGTERM a worker is replaced: a service manager sends the signal to all processes, the parent among
them."""

_log = Logger()


@implementer(IEmployer)
class Crew:
    """All workers.

    :param clock: an IReactorTime.
    :param count: of seats.
    :param hire: starts a worker for a seat.
    :param brief: sends a new worker everything that a proxy needs: page, sockets, orders.
    :param dialled: gives a worker a connection to the acceptor.
    :param drain_timeout: gives ``drain_timeout`` in seconds, asked whenever a drain begins.
    :param freed: told the number of a seat, and whether its worker was leaving, when the worker's process is gone.
    :param goes_on: whether the program is not about to end: a worker that got SIGTERM is replaced only then.
    :param random: of [0, 1), for restarts.
    :ivar deaths: how many workers have ended without being told to.
    """

    def __init__(
        self,
        clock: Any,
        count: int,
        hire: Callable[[int, Any], IWorker],
        brief: Callable[[IWorker], None],
        dialled: Callable[[IWorker], None],
        drain_timeout: Callable[[], float],
        freed: Callable[[int, bool], None],
        goes_on: Callable[[], bool],
        random: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._hire = hire
        self._brief = brief
        self._dialled = dialled
        self._drain_timeout = drain_timeout
        self._freed = freed
        self._goes_on = goes_on
        self.seating = Seating(count, random)
        self.tally = Tally(clock)
        self.in_force = InForce(clock)
        self._last_words: Dict[Any, Tree] = {}
        self._stopping = False
        self.deaths = 0
        self._beat = LoopingCall(self._look)
        self._beat.clock = clock

    # -- the beginning

    def start(self) -> None:
        """Fill the seats."""
        self._beat.start(BEAT_S, now=False)
        for seat in self.seating.seats:
            self._fill(seat)

    def _fill(self, seat: Seat) -> None:
        seat.restarting = None
        seat.after(SeatEvent.START)
        seat.ready_at = None
        seat.worker = worker = self._hire(seat.number, self)
        self._brief(worker)

    def grow(self, count: int) -> None:
        """Have so many seats, if there are fewer, and start workers for the new ones."""
        for seat in self.seating.added(count):
            self._fill(seat)

    def shrink(self, count: int) -> None:
        """Have so many seats, if there are more: the workers of the others drain."""
        for seat in self.seating.removed(count):
            _log.info("worker {number} is one too many", number=seat.number)
            self._give_up(seat)

    # -- who there is

    def generation_of(self, worker: Any) -> int:
        """The generation of the orders that a worker goes by; 0: it has accepted none yet."""
        return self.in_force.generations.get(worker, 0)

    def numbers(self) -> Deferred[Whole]:
        """The numbers of all workers together. Fires within ``tally.ANSWER_S``, whether or not all answer."""
        return self.tally.ask(self.seating.workers)

    def say(self, message: Message) -> None:
        """Send a message to all workers."""
        for worker in self.seating.workers:
            worker.say(message)

    def accepted(self, generation: int, limit_s: float) -> Deferred[None]:
        """Fires when every worker that stays has answered the orders of a generation or is gone, or after ``limit_s``
        seconds."""
        return self.in_force.wait(self.seating.staying, generation, limit_s)

    # -- IEmployer

    def worker_heard(self, worker: Any, message: FromWorker) -> None:
        """See IEmployer."""
        if isinstance(message, Told):
            self.tally.told(worker, message.question, message.numbers)
        elif isinstance(message, Said):
            level = LogLevel.lookupByName(message.level)
            _log.emit(level, "worker {number}: {text}", number=worker.number, text=message.text)
        elif isinstance(message, Dial):
            self._dialled(worker)
        elif isinstance(message, Ready):
            self._ready(worker)
        elif isinstance(message, Configured):
            self._configured(worker, message)
        elif isinstance(message, Leave):
            self._clock.callLater(LEAVE_WAIT_S, self._left, worker)
        elif isinstance(message, Drained):
            self._last_words[worker] = message.numbers
        elif isinstance(message, Failed):
            _log.error("worker {number} can't go on: {reason}", number=worker.number, reason=message.reason)
        elif message.version != __version__:
            text = "worker {number} is of version {its}, and this is {ours}: the program was replaced, and must be restarted"
            _log.critical(text, number=worker.number, its=message.version, ours=__version__)
            worker.kill()
        elif self.seating.cold is not None:
            self.seating.cold.greeted()

    def worker_muttered(self, worker: Any, line: str) -> None:
        """See IEmployer."""
        _log.error("worker {number} says on standard error: {line}", number=worker.number, line=line)

    def worker_ended(self, worker: Any, how: str) -> None:
        """See IEmployer."""
        if self.seating.cold is not None:
            self.seating.cold.ended(worker, how)
        numbers = self._last_words.pop(worker, None)
        self.tally.ended(worker, numbers)
        self.in_force.gone(worker)
        drained = numbers is not None and how == "exit status 0"
        seat = self.seating.gone(worker)
        self._freed(worker.number, seat is None)
        if seat is None:
            self._say_end(worker, how, drained, "")
        else:
            seat.after(SeatEvent.ENDED)
            self._say_end(worker, how, drained, self._restart(seat))

    def _say_end(self, worker: Any, how: str, drained: bool, what_now: str) -> None:
        expected = drained or self._stopping
        self.deaths += not expected
        say = _log.info if expected else _log.error
        say("worker {number} has ended: {how}{now}", number=worker.number, how="drained" if drained else how, now=what_now)

    def _restart(self, seat: Seat) -> str:
        """Start another worker, now or later, where one has died; gives the words for the log."""
        if seat.state is not SeatState.WAITING:
            return ""
        delay_s = seat.restarts.died(0.0 if seat.ready_at is None else self._clock.seconds() - seat.ready_at)
        seat.restarting = self._clock.callLater(delay_s, self._fill, seat)
        return "; it is started again" if not delay_s else f"; it is started again in {delay_s:.1f} s"

    def _ready(self, worker: Any) -> None:
        worker.watch.starting = False
        seat = self.seating.seat_of(worker)
        if seat is not None:
            seat.after(SeatEvent.READY)
            seat.ready_at = self._clock.seconds()
            _log.info("worker {number} is ready: process {pid}", number=worker.number, pid=worker.pid)
            self._dismiss_predecessor(seat)
            if not self.seating.begun.called:
                self.seating.begun.callback(None)

    def _configured(self, worker: Any, answer: Configured) -> None:
        if answer.mistake:
            text = "worker {number} can't use the configuration, and is replaced: {mistake}"
            _log.error(text, number=worker.number, mistake=answer.mistake)
            self.replace(worker, "its configuration")
        self.in_force.answered(worker, answer.generation, not answer.mistake)

    # -- who hangs, and who goes

    def _look(self) -> None:
        for worker in self.seating.workers:
            if not worker.watch.beat():
                worker.ping()
            elif worker.watch.killed:
                continue  # Its end takes time: the kernel has much to tidy up.
            else:
                worker.watch.killed = True
                _log.error("worker {number} hangs, process {pid}: it is killed", number=worker.number, pid=worker.pid)
                worker.kill()

    def _left(self, worker: Any) -> None:
        if self._goes_on():
            self.replace(worker, "SIGTERM")

    def replace(self, worker: Any, why: str) -> None:
        """Start the successor of a worker; the worker drains when the successor is ready."""
        seat = self.seating.seat_of(worker)
        if seat is None or seat.state is not SeatState.SERVING:
            return
        _log.info("worker {number} is replaced: {why}", number=worker.number, why=why)
        seat.predecessor = worker
        self._fill(seat)

    def _dismiss_predecessor(self, seat: Seat) -> None:
        worker, seat.predecessor = seat.predecessor, None
        if worker is not None:
            self._send_off(worker)

    def _send_off(self, worker: Any) -> None:
        worker.say(Drain())
        self.seating.leaving[worker] = self._clock.callLater(self._drain_timeout() + DRAIN_GRACE_S, self._too_long, worker)

    def _too_long(self, worker: Any) -> None:
        _log.error("worker {number} has not ended in the time of its drain: it is killed", number=worker.number)
        worker.kill()

    # -- the end

    def drain(self) -> Deferred[Any]:
        """Have all workers drain; fires when their processes are gone."""
        self._stopping = True
        for seat in self.seating.seats:
            self._give_up(seat)
        return DeferredList([worker.ended for worker in self.seating.workers])

    def _give_up(self, seat: Seat) -> None:
        """The seat stays empty from here on; its worker drains."""
        if seat.restarting is not None:
            seat.restarting.cancel()
            seat.restarting = None
        if seat.worker is not None and seat.state is not SeatState.DRAINING:
            self._send_off(seat.worker)
        self._dismiss_predecessor(seat)
        seat.after(SeatEvent.STOP)

    def stop(self) -> Deferred[Any]:
        """Kill the workers that are left; fires when their processes are gone."""
        gone = self.drain()
        for worker in self.seating.workers:
            worker.kill()
        if self._beat.running:
            self._beat.stop()
        return gone
