"""The numbers of all workers together: of those that answer, the last known ones of those that are silent, and the sums of
those that are gone."""

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
"""How many seconds a worker's answer is waited for: less than a scrape's patience; a worker whose loop turns needs
milliseconds."""


@attr.frozen
class Whole:
    """The numbers of all workers together, at one moment.

    :ivar counts: of all workers, for ``/metrics``.
    :ivar status: the same for ``/status``, by pool.
    :ivar lost_lines: lines that workers could not write, by log.
    :ivar told: the tree of each worker that has answered.
    """

    counts: ProxyCounts
    status: Dict[str, Any]
    lost_lines: Dict[str, int]
    told: Dict[Any, Tree]


class Tally:
    """Asks workers for their numbers, and remembers those of workers that are silent or gone.

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
        """Ask these workers; fires after ANSWER_S at the latest."""
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
        """A worker has answered a question."""
        self._last[worker] = numbers
        asking = self._asking.get(question)
        if asking is not None:
            asking.told[worker] = numbers
            self._look(question, asking)

    def ended(self, worker: IWorker, numbers: Optional[Tree] = None) -> None:
        """A worker is gone.

        :param numbers: its last ones, as Drained has them; None: the worker died without, and those that it told last are kept.
        """
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
        """Drop the services that no worker knows any more: services choose their names, and the memory must stay bounded."""
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
    """A tree with the maxima alone."""
    found = {key: _maxima(value) if isinstance(value, dict) else value for key, value in tree.items()}
    return {key: value for key, value in found.items() if key in MAXIMA or (isinstance(value, dict) and value)}
