"""Services are used in turn at any load: requests that come at random, the real book, the real lines, and dealing.

The proxies do what ``exchanges.pool`` and ``exchanges.asking`` do, without sockets; a message takes LATENCY_S.
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, Callable, Dict, Hashable, List, Sequence, Set, Tuple

from twisted.trial.unittest import SynchronousTestCase

from xproxy.dispatch import RingDispatch
from xproxy.slots.actions import Action, AskBack, Ending, Grant, Recall
from xproxy.slots.book import ASK_WINDOW, PoolBook
from xproxy.slots.dealing import DEAL_INTERVAL_S
from xproxy.slots.line import Fate, Line

LATENCY_S = 0.0002
SERVICE_S = 0.02
"""The mean time of an exchange, exponentially distributed: among those that nobody shapes the widest there is."""

SERVICES = ("a", "b", "c", "d")
SLOTS = 8


def jain(shares: Sequence[float]) -> float:
    """Jain's index: 1 when all are equal, 1 / n when one has everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


class Proxy:
    """A proxy: requests are named by their numbers."""

    def __init__(self, model: Model) -> None:
        dispatch = RingDispatch()
        self.line: Line[int, int] = Line(1_000_000, dispatch.waiting(), dispatch.free_leases())  # type: ignore[arg-type]
        self.busy: Set[int] = set()
        self._model = model
        self._seen = 0

    def request(self, number: int) -> None:
        if self.line.free:
            self._begin(self.line.free.popleft(), number)
        else:
            self.line.join(number, self._model.now)
            self.ask()

    def ask(self) -> None:
        arrivals, seen = self.line.arrivals(ASK_WINDOW), self._seen
        more = len(self.line) - len(arrivals)
        self._model.later(LATENCY_S, lambda: self._model.asked(self, arrivals, seen, more))

    def granted(self, slot: int) -> None:
        self._seen += 1
        self.freed(slot)
        self.ask()

    def recalled(self, arrivals: Sequence[float], more: int) -> None:
        for slot in self.line.recalled(arrivals, more):
            self._give_back(slot)

    def asked_back(self, slot: int) -> None:
        if self.line.lost(slot):
            self._give_back(slot)

    def freed(self, slot: int) -> None:
        fate = self.line.freed(slot)
        if fate is Fate.GIVE_BACK:
            self._give_back(slot)
        elif not isinstance(fate, Fate):
            self._begin(slot, fate)
            self.ask()

    def _give_back(self, slot: int) -> None:
        self._model.later(LATENCY_S, lambda: self._model.given_back(self, slot))

    def _begin(self, slot: int, number: int) -> None:
        self.busy.add(slot)
        self._model.served[slot] += 1
        self._model.later(self._model.service_time(), lambda: self._end(slot))

    def _end(self, slot: int) -> None:
        self.busy.discard(slot)
        self.freed(slot)


class Model:
    """An acceptor, its services, and proxies that begin before any request comes.

    :ivar served: requests by slot.
    """

    def __init__(self, proxies: int, slots: Dict[str, int], seed: int = 1) -> None:
        self.now = 0.0
        self.served: Counter[int] = Counter()
        self._random = Random(seed)
        self._events: List[Tuple[float, int, Callable[[], Any]]] = []
        self._order = count()
        self._book = PoolBook("default", RingDispatch().idle_slots)
        self._service: Dict[int, str] = {}
        for service, number in slots.items():
            for _ in range(number):
                slot = len(self._service)
                self._service[slot] = service
                self._carry_out(self._book.register(slot, service))
        self.proxies = [Proxy(self) for _ in range(proxies)]
        for proxy in self.proxies:
            proxy.ask()
        self.later(DEAL_INTERVAL_S, self._deal)

    def later(self, delay: float, call: Callable[[], Any]) -> None:
        heappush(self._events, (self.now + delay, next(self._order), call))

    def service_time(self) -> float:
        return self._random.expovariate(1 / SERVICE_S)

    # -- the acceptor

    def asked(self, proxy: Proxy, arrivals: Sequence[float], seen: int, more: int) -> None:
        self._carry_out(self._book.ask(proxy, arrivals, seen, more))

    def given_back(self, proxy: Proxy, slot: int) -> None:
        self._carry_out(self._book.end_lease(proxy, slot, Ending.CLEAN))

    def _deal(self) -> None:
        self._carry_out(self._book.deal(self._busy, keep=False))
        self.later(DEAL_INTERVAL_S, self._deal)

    @staticmethod
    def _busy(holder: Hashable) -> Set[int]:
        assert isinstance(holder, Proxy)
        return holder.busy

    def _carry_out(self, actions: Sequence[Action]) -> None:
        for action in actions:
            proxy: Any = action.holder  # type: ignore[union-attr]
            if isinstance(action, Grant):
                self.later(LATENCY_S, lambda proxy=proxy, slot=action.slot: proxy.granted(slot))  # type: ignore[misc]
            elif isinstance(action, Recall):
                self.later(LATENCY_S, lambda proxy=proxy, said=action: proxy.recalled(said.arrivals, said.more))  # type: ignore[misc]
            else:
                assert isinstance(action, AskBack)
                self.later(LATENCY_S, lambda proxy=proxy, slot=action.slot: proxy.asked_back(slot))  # type: ignore[misc]

    # -- the requests

    def run(self, load: float, requests: int, begin_at: float = 1.0) -> List[int]:
        """Requests that come at random, at ``load`` of what the services can do; gives how many each service had."""
        rate = load * len(self._service) / SERVICE_S
        when = begin_at
        for number in range(requests):
            proxy = self._random.choice(self.proxies)
            self.later(when - self.now, lambda proxy=proxy, number=number: proxy.request(number))  # type: ignore[misc]
            when += self._random.expovariate(rate)
        while sum(self.served.values()) < requests:
            self.now, _, call = heappop(self._events)
            call()
        by_service: Counter[str] = Counter()
        for slot, served in self.served.items():
            by_service[self._service[slot]] += served
        return [by_service[service] for service in dict.fromkeys(self._service.values())]


class InTurnTests(SynchronousTestCase):
    """Four services of eight slots."""

    def fairness(self, proxies: int, load: float, requests: int = 2000, begin_at: float = 1.0) -> float:
        model = Model(proxies, dict.fromkeys(SERVICES, SLOTS))
        served = model.run(load, requests, begin_at)
        self.assertEqual(sum(served), requests)
        return jain(served)

    def test_one_proxy(self) -> None:
        for load in (0.01, 0.1, 0.5, 1.0):
            self.assertGreaterEqual(self.fairness(1, load), 0.99, load)

    def test_two_proxies(self) -> None:
        for load in (0.01, 0.1, 0.5, 1.0):
            self.assertGreaterEqual(self.fairness(2, load), 0.99, load)

    def test_the_first_requests(self) -> None:
        """Slots were dealt out before there was any: a hundred are spread already."""
        for proxies in (1, 2):
            for load in (0.01, 0.1):
                self.assertGreaterEqual(self.fairness(proxies, load, 100), 0.99, (proxies, load))

    def test_requests_that_come_with_the_proxy(self) -> None:
        """Before anything was dealt."""
        for load in (0.01, 0.1, 0.5, 1.0):
            self.assertGreaterEqual(self.fairness(1, load, 2000, 0.0), 0.99, load)
