"""Free leases while a service is new. A lease is written as its service and a number."""

from __future__ import annotations

from collections import Counter, deque
from typing import Deque, Tuple

from twisted.trial.unittest import SynchronousTestCase

from xproxy.slots.slow_start import SlowStart

Lease = Tuple[str, int]

SECONDS = 10.0


class SlowStartTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.plain: Deque[Lease] = deque()
        self.free: SlowStart[Lease] = SlowStart(self.plain, lambda lease: lease[0], lambda: self.now)
        self.assertIs(self.free.leases(SECONDS), self.free)

    def park(self, service: str, count: int) -> None:
        """So many slots of a service come."""
        self.free.came(service)
        for number in range(count):
            self.free.append((service, number))

    def share(self, service: str, requests: int = 1200) -> float:
        """Which part of the requests a service gets, one after the other, each over before the next one comes."""
        used: Counter[str] = Counter()
        for _ in range(requests):
            lease = self.free.popleft()
            used[lease[0]] += 1
            self.free.append(lease)
        return used[service] / requests

    def test_grows_to_its_part(self) -> None:
        """Two services of four slots: the new one gets none, an eighth, a quarter, three eighths, a half."""
        self.park("old", 4)
        self.now = 20.0
        self.park("new", 4)
        for passed, share in ((0.0, 0.0), (2.5, 0.125), (5.0, 0.25), (7.5, 0.375), (10.0, 0.5), (60.0, 0.5)):
            self.now = 20.0 + passed
            self.assertAlmostEqual(self.share("new"), share, delta=0.002, msg=str(passed))
        self.assertEqual(len(self.plain), 8, "no lease is held apart for ever")

    def test_nobody_waits(self) -> None:
        """Where nothing else is free, the newcomer's are used, in the order in which they became free."""
        self.park("old", 1)
        self.now = 20.0
        self.park("new", 2)
        self.assertEqual([self.free.popleft() for _ in range(3)], [("old", 0), ("new", 0), ("new", 1)])
        with self.assertRaises(IndexError):
            self.free.popleft()

    def test_who_is_there_first_is_not_new(self) -> None:
        """The proxy itself has just come, or found its acceptor again."""
        self.now = 20.0
        self.free.began()
        self.now = 20.0 + SECONDS / 2
        self.park("a", 1)
        self.assertEqual(list(self.plain), [("a", 0)])
        self.now = 20.0 + SECONDS
        self.park("b", 1)
        self.assertEqual((list(self.plain), list(self.free)), ([("a", 0)], [("a", 0), ("b", 0)]))

    def test_switched_off(self) -> None:
        """Then the plain collection is used, as it is."""
        self.now = 20.0
        self.park("new", 2)
        self.assertIs(self.free.leases(0.0), self.plain)
        self.assertEqual(list(self.plain), [("new", 0), ("new", 1)])
        self.free.leases(SECONDS)
        self.free.append(("new", 2))
        self.assertEqual(len(self.plain), 3)

    def test_as_a_deque(self) -> None:
        self.park("old", 1)
        self.now = 20.0
        self.park("new", 2)
        self.free.remove(("new", 0))
        self.assertEqual((len(self.free), list(self.free)), (2, [("old", 0), ("new", 1)]))
        self.free.remove(("old", 0))
        with self.assertRaises(ValueError):
            self.free.remove(("new", 0))
        self.free.clear()
        self.assertEqual((len(self.free), bool(self.free)), (0, False))

    def test_forgets_those_that_are_new_no_longer(self) -> None:
        """Their names are strangers' to choose."""
        for number in range(1000):
            self.now = 20.0 + number
            self.free.came(str(number))
        self.assertLessEqual(len(self.free._since), SECONDS)
