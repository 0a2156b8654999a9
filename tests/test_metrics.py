"""Tests for ``xproxy.metrics``: buckets and counts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from xproxy.metrics import GONE_S, MAX_GONE, SECONDS_BUCKETS, Histogram, PoolCounts, ProxyCounts


class HistogramTests(TestCase):
    """Fixed buckets."""

    def test_a_value_on_a_bound_belongs_to_it(self) -> None:
        histogram = Histogram((1.0, 2.0))
        for value in (0.0, 1.0, 1.5, 2.0, 2.5):
            histogram.observe(value)
        self.assertEqual(histogram.cumulative(), [(1.0, 2), (2.0, 4), (float("inf"), 5)])
        self.assertEqual((histogram.count, histogram.sum), (5, 7.0))

    def test_bounds_must_rise(self) -> None:
        for bounds in ((), (1.0, 1.0), (2.0, 1.0)):
            self.assertRaises(ValueError, Histogram, bounds)

    def test_an_empty_one(self) -> None:
        self.assertEqual((Histogram().count, Histogram().sum), (0, 0.0))
        self.assertEqual(len(Histogram().cumulative()), len(SECONDS_BUCKETS) + 1)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.lists(st.floats(min_value=0, max_value=100)))
    def test_every_bucket_counts_what_lies_at_or_below_it(self, values: list[float]) -> None:
        histogram = Histogram()
        for value in values:
            histogram.observe(value)
        for bound, count in histogram.cumulative():
            self.assertEqual(count, sum(value <= bound for value in values))
        self.assertEqual(histogram.count, len(values))


class CountsTests(TestCase):
    """Pools and the proxy."""

    def test_most_in_flight_stays(self) -> None:
        """Of a service and of its pool."""
        pool = PoolCounts()
        one, other = pool.service("one"), pool.service("other")
        one.took_slot()
        other.took_slot()
        one.left_slot(False)
        one.took_slot()
        one.left_slot(True)
        other.left_slot(True)
        self.assertEqual((pool.in_flight, pool.most_in_flight, pool.served), (0, 2, 2))
        self.assertEqual((one.in_flight, one.most_in_flight, one.served), (0, 1, 1))

    def test_services_that_are_gone_are_remembered(self) -> None:
        """For a while, and not more than so many: one that closes its slot after each answer is not forgotten between them."""
        pool = PoolCounts()
        for second in range(3):
            counts = pool.service("one")
            pool.slot_held(counts)
            counts.took_slot()
            counts.left_slot(True)
            pool.slot_gone(counts, float(second))
        self.assertEqual(pool.service("one").served, 3)
        pool.forget_gone(2.0 + GONE_S)
        self.assertIn("one", pool.services)
        pool.forget_gone(2.5 + GONE_S)
        self.assertEqual(pool.services, {})

    def test_services_by_the_thousand(self) -> None:
        """Those with a slot are never forgotten, those without when there are newer ones."""
        pool = PoolCounts()
        stays = pool.service("stays")
        pool.slot_held(stays)
        for number in range(1000):
            counts = pool.service(f"{number}")
            pool.slot_held(counts)
            pool.slot_gone(counts, 0.0)
        self.assertEqual(list(pool.services), ["stays"] + [f"{number}" for number in range(1000 - MAX_GONE, 1000)])

    def test_codes_and_retries(self) -> None:
        counts = PoolCounts()
        counts.answered(200)
        counts.answered(200)
        counts.answered(502)
        counts.retried("closing")
        self.assertEqual((counts.codes, counts.retries), ({200: 2, 502: 1}, {"closing": 1}))

    def test_a_pool_is_made_once(self) -> None:
        counts = ProxyCounts()
        self.assertIs(counts.pool("a"), counts.pool("a"))
        self.assertEqual(list(counts.pools), ["a"])

    def test_connections(self) -> None:
        counts = ProxyCounts()
        counts.opened("client")
        counts.opened("client")
        counts.closed("client")
        counts.opened("slot")
        counts.refuse("connections")
        counts.timed_out("head")
        counts.answered(404)
        self.assertEqual(counts.connections, {"client": 1, "slot": 1})
        self.assertEqual(counts.connections_total, {"client": 2, "slot": 1})
        self.assertEqual((counts.refused, counts.routeless, counts.timeouts), ({"connections": 1}, {404: 1}, {"head": 1}))
