"""Tests for ``xproxy.metrics``: buckets and counts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from xproxy.metrics import SECONDS_BUCKETS, Histogram, PoolCounts, ProxyCounts


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
        counts = PoolCounts()
        counts.began()
        counts.began()
        counts.ended()
        counts.began()
        counts.ended()
        counts.ended()
        self.assertEqual((counts.in_flight, counts.most_in_flight), (0, 2))

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
