"""The numbers of the whole: what all workers tell, what is known of who is silent, and what those have left who are gone."""

from __future__ import annotations

from itertools import count
from typing import Any, Dict, List, Optional, Sequence

import attr
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from ..metrics import ProxyCounts
from .messages import Tell
from .numbers import MAXIMA, Tree, added, counts_of, settled
from .process import IWorker

ANSWER_S = 1.0
"""How long is waited for a worker. Whoever looks has patience for more; a worker whose loop turns needs milliseconds."""


@attr.frozen
class Whole:
    """What is known at one moment.

    :ivar counts: of all workers, for ``/metrics``.
    :ivar status: the same for ``/status``, by pool.
    :ivar lost_lines: by log.
    :ivar told: what each worker that has answered tells.
    """

    counts: ProxyCounts
    status: Dict[str, Any]
    lost_lines: Dict[str, int]
    told: Dict[Any, Tree]


class Tally:
    """Asks, and remembers.

    :param clock: an IReactorTime.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._questions = count(1)
        self._asking: Dict[int, _Asking] = {}
        self._last: Dict[Any, Tree] = {}
        self._gone: Tree = {}
        self._most: Tree = {}

    def ask(self, workers: Sequence[IWorker]) -> Deferred[Whole]:
        """Ask all of them; fires after ANSWER_S at the latest."""
        asking = _Asking(list(workers))
        question = next(self._questions)
        self._asking[question] = asking
        asking.timer = self._clock.callLater(ANSWER_S, self._tell, question)
        for worker in workers:
            worker.say(Tell(question))
        if not workers:
            self._tell(question)
        return asking.answer

    def told(self, worker: IWorker, question: int, numbers: Tree) -> None:
        """A worker answers."""
        self._last[worker] = numbers
        asking = self._asking.get(question)
        if asking is not None:
            asking.told[worker] = numbers
            self._look(question, asking)

    def ended(self, worker: IWorker, numbers: Optional[Tree] = None) -> None:
        """A worker is gone; its last numbers, where it has told them."""
        last = self._last.pop(worker, {}) if numbers is None else numbers
        self._last.pop(worker, None)
        self._gone = added([self._gone, settled(last)])
        for question, asking in list(self._asking.items()):
            if worker in asking.workers:
                asking.workers.remove(worker)
                self._look(question, asking)

    def _look(self, question: int, asking: _Asking) -> None:
        if all(worker in asking.told for worker in asking.workers):
            self._tell(question)

    def _tell(self, question: int) -> None:
        asking = self._asking.pop(question)
        if asking.timer is not None and asking.timer.active():
            asking.timer.cancel()
        told = {worker: tree for worker, tree in asking.told.items() if worker in self._last}
        known = [told.get(worker) or settled(tree) for worker, tree in self._last.items()]
        self._forget_services(known)
        total = added([self._gone, self._most, *known])
        self._most = _maxima(total)
        status = {name: pool for name, pool in total.get("status", {}).items() if any(name in tree["status"] for tree in known)}
        asking.answer.callback(Whole(counts_of(total.get("counts", {})), status, total.get("lost_lines", {}), told))

    def _forget_services(self, known: List[Tree]) -> None:
        """Of services that no worker knows any more nothing is kept: their names are theirs to choose."""
        for tree in (self._gone, self._most):
            for name, pool in tree.get("status", {}).items():
                alive = {service for one in known for service in one["status"].get(name, {}).get("services", ())}
                pool["services"] = {service: entry for service, entry in pool.get("services", {}).items() if service in alive}


class _Asking:
    """One question to all workers."""

    def __init__(self, workers: List[Any]) -> None:
        self.workers = workers
        self.told: Dict[Any, Tree] = {}
        self.answer: Deferred[Whole] = Deferred()
        self.timer: Optional[IDelayedCall] = None


def _maxima(tree: Tree) -> Tree:
    """The maxima alone."""
    found = {key: _maxima(value) if isinstance(value, dict) else value for key, value in tree.items()}
    return {key: value for key, value in found.items() if key in MAXIMA or (isinstance(value, dict) and value)}
