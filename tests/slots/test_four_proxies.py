"""One slot for four proxies, and a few for some: the order of arrival within its bound, nobody starves, few moves.

The model is that of test_in_turn: the real book and the real lines, messages that take LATENCY_S.
"""

from __future__ import annotations

from typing import Callable, Dict, List

from twisted.trial.unittest import SynchronousTestCase

from tests.slots.test_in_turn import LATENCY_S, Model, Proxy
from xproxy.slots.line import IDLE_AGE_S, LOOK_INTERVAL_S, MOVE_AGE_S, MOVE_INTERVAL_S, ORDER_BOUND_S

TRIP_S = 2 * LATENCY_S
"""Of a slot from one proxy to another."""


class Punctual(Proxy):
    """A proxy that notes how long its requests waited, and by how much each overtook one that still waits elsewhere.

    :ivar next: called with this proxy when a request of its is served: a client in a closed loop asks again.
    """

    model: Host

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.waits: List[float] = []
        self.next: Callable[[Punctual], object] = lambda proxy: None

    def begin(self, slot: int, number: int) -> None:
        """See Proxy."""
        super().begin(slot, number)
        model = self.model
        came = model.came[number]
        self.waits.append(model.now - came)
        for other in model.proxies:
            oldest = other.line.oldest()
            if other is not self and oldest is not None:
                model.overtaken = max(model.overtaken, came - oldest)
        self.model.later(model.service_s, lambda: self.next(self))


class Host(Model):
    """An acceptor and proxies whose requests come when the test says so."""

    proxies: List[Punctual]  # type: ignore[assignment]

    def __init__(self, proxies: int, slots: int, service_s: float) -> None:
        self.service_s = service_s
        self.came: Dict[int, float] = {}
        self.overtaken = 0.0
        super().__init__(proxies, {"only": slots}, kind=Punctual)
        self.run_until(1.0)

    def service_time(self) -> float:
        """See Model: always the same."""
        return self.service_s

    def come(self, proxy: Punctual) -> None:
        """A request comes now."""
        number = len(self.came)
        self.came[number] = self.now
        proxy.request(number)

    def later_come(self, delay: float, proxy: Punctual) -> None:
        """A request comes in so many seconds."""
        self.later(delay, lambda: self.come(proxy))

    def run_until(self, when: float) -> None:
        """Let time pass."""
        over: List[None] = []
        self.later(when - self.now, lambda: over.append(None))
        while not over:
            self.step()

    @property
    def moves(self) -> float:
        """For each request."""
        return self.book.moves / max(1, sum(self.served.values()))


class OneSlotTests(SynchronousTestCase):
    """The least there can be: one slot, four proxies."""

    def check(self, host: Host) -> None:
        """Everybody was served, and nobody overtaken by more than the bound, without exception."""
        self.assertEqual(sum(len(proxy.waits) for proxy in host.proxies), len(host.came))
        self.assertLess(host.overtaken, ORDER_BOUND_S)

    def closed_loop(self, host: Host, clients: List[int], seconds: float) -> None:
        """So many clients at each proxy, each asking again as soon as it is answered."""
        end = host.now + seconds
        for proxy, number in zip(host.proxies, clients):
            proxy.next = lambda proxy: host.come(proxy) if host.now < end else None
            for _ in range(number):
                host.come(proxy)
        host.run_until(end + 1.0)

    def test_equal_loads(self) -> None:
        """Served in turns, in equal parts; a slot serves several requests where it is before it moves on."""
        host = Host(4, 1, 0.001)
        self.closed_loop(host, [16] * 4, 2.0)
        self.check(host)
        served = [len(proxy.waits) for proxy in host.proxies]
        self.assertGreater(min(served), 0.9 * max(served))
        self.assertLess(host.moves, 0.35)

    def test_a_crowd_and_three_single_clients(self) -> None:
        """Nobody starves beside a crowd: who waits alone waits no longer than those in the crowd, but for the bound."""
        host = Host(4, 1, 0.001)
        self.closed_loop(host, [61, 1, 1, 1], 2.0)
        self.check(host)
        longest = [max(proxy.waits) for proxy in host.proxies]
        for alone in longest[1:]:
            self.assertLess(alone, longest[0] + ORDER_BOUND_S)

    def test_a_slot_that_is_idle_elsewhere(self) -> None:
        """It comes within a few milliseconds, each time."""
        host = Host(4, 1, 0.001)
        for number in range(40):
            host.later_come(0.05 * number, host.proxies[number % 4])
        host.run_until(4.0)
        self.check(host)
        waits = [wait for proxy in host.proxies for wait in proxy.waits]
        self.assertLess(max(waits), IDLE_AGE_S + 2 * LOOK_INTERVAL_S + TRIP_S + 2 * LATENCY_S)

    def test_no_time_to_serve(self) -> None:
        """The worst pattern: a slot that is free again at once, wanted everywhere."""
        host = Host(4, 1, 0.0001)
        self.closed_loop(host, [4] * 4, 0.5)
        self.check(host)
        served = [len(proxy.waits) for proxy in host.proxies]
        self.assertGreater(min(served), 0.8 * max(served))
        self.assertLess(host.book.moves, 4 * (0.5 / MOVE_INTERVAL_S + 2))


class SeveralTests(SynchronousTestCase):
    """More slots, so that a difference takes several moves."""

    def loops(self, host: Host, clients: List[int], seconds: float) -> None:
        """As in OneSlotTests."""
        OneSlotTests.closed_loop(OneSlotTests(), host, clients, seconds)

    def test_balance(self) -> None:
        """Two proxies with the same load pass hardly anything to and fro."""
        for slots, service_s in ((8, 0.005), (8, 0.001), (32, 0.0005)):
            host = Host(2, slots, service_s)
            self.loops(host, [32, 32], 1.0)
            self.assertLess(host.moves, 0.05)
            self.assertLess(host.overtaken, ORDER_BOUND_S)
            served = [len(proxy.waits) for proxy in host.proxies]
            self.assertGreater(min(served), 0.9 * max(served))

    def test_all_slots_on_the_wrong_side(self) -> None:
        """A crowd comes where no slot is, while others go on where all are: each slot takes its way in turn, which the bound
        allows for.
        """
        host = Host(2, 8, 0.005)
        first, second = host.proxies
        for _ in range(8):
            host.later_come(0.0, first)
        host.run_until(host.now + 0.02)
        for number in range(400):
            host.later_come(0.0005 * number, first)
        host.run_until(host.now + 0.05)
        for _ in range(64):
            host.come(second)
        host.run_until(host.now + 2.0)
        self.assertEqual(len(first.waits) + len(second.waits), 472)
        self.assertLess(host.overtaken, ORDER_BOUND_S + 8 * (TRIP_S + LOOK_INTERVAL_S))
        self.assertGreater(host.overtaken, MOVE_AGE_S / 2)
