"""Services are used in turn at any load: requests that come at random, the real book, the real lines, and dealing.

The proxies do what ``exchanges.pool`` and ``exchanges.asking`` do, without sockets; a message takes LATENCY_S.
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, Callable, Dict, Hashable, List, Sequence, Set, Tuple, Type

from twisted.trial.unittest import SynchronousTestCase

from tests.slots.waiting_book import WaitingBook
from xproxy.dispatch import RingDispatch
from xproxy.slots.actions import Action, AskBack, Ending, Grant, Recall
from xproxy.slots.dealing import DEAL_INTERVAL_S
from xproxy.slots.line import LOOK_INTERVAL_S, Fate, Line

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
        self.line.share(model.book.tide(self))
        self.model = model
        self._seen = 0
        self._looks = False

    def request(self, number: int) -> None:
        if self.line.free:
            self.begin(self.line.free.popleft(), number)
        else:
            self.line.join(number, self.model.now)
            self.ask()

    def ask(self) -> None:
        waiting, seen = len(self.line), self._seen
        self.model.later(LATENCY_S, lambda: self.model.asked(self, waiting, seen))

    def granted(self, slot: int) -> None:
        self._seen += 1
        self._dispose(slot, self.line.granted(slot))
        self.ask()

    def recalled(self, waiting: int) -> None:
        for slot in self.line.recalled(waiting):
            self._give_back(slot)
        self._look_soon()

    def _look_soon(self) -> None:
        if not self._looks and self.line.others_wait and self.line.free:
            self._looks = True
            self.model.later(LOOK_INTERVAL_S, self._look)

    def _look(self) -> None:
        self._looks = False
        for slot in self.line.look(self.model.now):
            self._give_back(slot)
        self._look_soon()

    def asked_back(self, slot: int) -> None:
        if self.line.lost(slot):
            self._give_back(slot)

    def _dispose(self, slot: int, fate: Any) -> None:
        if fate is Fate.GIVE_BACK:
            self._give_back(slot)
        elif not isinstance(fate, Fate):
            self.begin(slot, fate)
            self.ask()
        else:
            self._look_soon()

    def _give_back(self, slot: int) -> None:
        self.model.later(LATENCY_S, lambda: self.model.given_back(self, slot))

    def begin(self, slot: int, number: int) -> None:
        self.busy.add(slot)
        self.model.served[slot] += 1
        self.model.later(self.model.service_time(), lambda: self._end(slot))

    def _end(self, slot: int) -> None:
        self.busy.discard(slot)
        self._dispose(slot, self.line.freed(slot, self.model.now))


class Model:
    """An acceptor, its services, and proxies that begin before any request comes.

    :ivar served: requests by slot.
    """

    def __init__(self, proxies: int, slots: Dict[str, int], seed: int = 1, kind: Type[Proxy] = Proxy) -> None:
        self.now = 0.0
        self.served: Counter[int] = Counter()
        self._random = Random(seed)
        self._events: List[Tuple[float, int, Callable[[], Any]]] = []
        self._order = count()
        self.book = WaitingBook()
        self._service: Dict[int, str] = {}
        for service, number in slots.items():
            for _ in range(number):
                slot = len(self._service)
                self._service[slot] = service
                self._carry_out(self.book.register(slot, service))
        self.proxies = [kind(self) for _ in range(proxies)]
        for proxy in self.proxies:
            proxy.ask()
        self.later(DEAL_INTERVAL_S, self._deal)

    def later(self, delay: float, call: Callable[[], Any]) -> None:
        heappush(self._events, (self.now + delay, next(self._order), call))

    def service_time(self) -> float:
        return self._random.expovariate(1 / SERVICE_S)

    # -- the acceptor

    def asked(self, proxy: Proxy, waiting: int, seen: int) -> None:
        self._carry_out(self.book.ask(proxy, waiting, seen))

    def given_back(self, proxy: Proxy, slot: int) -> None:
        self._carry_out(self.book.end_lease(proxy, slot, Ending.CLEAN))

    def _deal(self) -> None:
        self._carry_out(self.book.deal(self._busy, keep=False))
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
                self.later(LATENCY_S, lambda proxy=proxy, said=action: proxy.recalled(said.waiting))  # type: ignore[misc]
            else:
                assert isinstance(action, AskBack)
                self.later(LATENCY_S, lambda proxy=proxy, slot=action.slot: proxy.asked_back(slot))  # type: ignore[misc]

    def step(self) -> None:
        """What is next."""
        self.now, _, call = heappop(self._events)
        call()

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
            self.step()
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
