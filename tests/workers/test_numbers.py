"""How the numbers of workers add up."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from xproxy.metrics import PoolCounts, ProxyCounts
from xproxy.workers.numbers import MAXIMA, MOMENTARY, Tree, added, counts_of, settled, told


def busy(pool: str = "default", in_flight: int = 1, most: int = 2) -> Tree:
    """The numbers of a worker that has done something, as they come over the wire."""
    counts = ProxyCounts()
    found = counts.pool(pool)
    found.served, found.in_flight, found.most_in_flight = 5, in_flight, most
    found.answered(200)
    found.answered(503)
    found.retried("stale")
    found.queue_seconds["served"].observe(0.004)
    found.response_seconds.observe(0.002)
    found.response_seconds.observe(100.0)
    counts.opened("client")
    counts.answered(400)
    counts.refuse("too-many-connections")
    service = {"held": 1, "in_flight": in_flight, "most_in_flight": most, "served": 5}
    status = {
        pool: {"in_flight": in_flight, "most_in_flight": most, "queue_length": 3, "served": 5, "services": {"held": service}}
    }
    tree: Tree = json.loads(json.dumps(told(counts, status, {"access": 2})))
    return tree


class NumberTests(SynchronousTestCase):
    def test_counts_come_back(self) -> None:
        """What a worker counted is what its parent shows."""
        counts = counts_of(busy()["counts"])
        pool = counts.pools["default"]
        self.assertEqual((5, 1, 2), (pool.served, pool.in_flight, pool.most_in_flight))
        self.assertEqual({200: 1, 503: 1}, pool.codes)
        self.assertEqual({400: 1}, counts.routeless)
        self.assertEqual({"client": 1, "slot": 0}, counts.connections)
        self.assertEqual(2, pool.response_seconds.count)
        self.assertEqual(1, pool.queue_seconds["served"].count)

    def test_every_count_is_told(self) -> None:
        """A count that somebody adds is told too, and is known for momentary where its name says so."""
        tree = busy()["counts"]
        self.assertEqual({name for name in ProxyCounts.__slots__ if name[0] != "_"}, set(tree))
        known = {name for name in PoolCounts.__slots__ if name[0] != "_"} - {"served_waits", "services"}
        self.assertEqual(known, set(tree["pools"]["default"]))

    def test_sum(self) -> None:
        """Counts and buckets add up."""
        total = added([busy(), busy(), busy("other")])
        pool = counts_of(total["counts"]).pools["default"]
        self.assertEqual({200: 2, 503: 2}, pool.codes)
        self.assertEqual((4, 200.004), (pool.response_seconds.count, round(pool.response_seconds.sum, 6)))
        self.assertEqual(2, pool.response_seconds.counts[-1])
        self.assertEqual({"default", "other"}, set(total["status"]))
        self.assertEqual(6, total["status"]["default"]["queue_length"])
        self.assertEqual({"access": 6}, total["lost_lines"])

    def test_maxima(self) -> None:
        """They are of different moments: the largest is told, and what there is now, where that is more."""
        self.assertEqual(7, added([busy(most=7), busy(most=3)])["status"]["default"]["most_in_flight"])
        total = added([busy(in_flight=4, most=4), busy(in_flight=3, most=5)])
        self.assertEqual(7, total["status"]["default"]["most_in_flight"])
        self.assertEqual(7, total["counts"]["pools"]["default"]["most_in_flight"])

    def test_nobody(self) -> None:
        self.assertEqual({}, added([]))

    def test_settled(self) -> None:
        """Of who is gone nothing momentary is left; all else is, whatever names services have."""
        total = added([settled(busy()), busy()])
        pool = total["status"]["default"]
        self.assertEqual((1, 3, 10), (pool["in_flight"], pool["queue_length"], pool["served"]))
        self.assertEqual((1, 10), (pool["services"]["held"]["in_flight"], pool["services"]["held"]["served"]))
        self.assertEqual({"client": 1, "slot": 0}, total["counts"]["connections"])
        self.assertEqual({"client": 2}, total["counts"]["connections_total"])
        self.assertFalse(MOMENTARY & set(settled(busy())["status"]["default"]))
        self.assertFalse(MOMENTARY & set(settled(busy())["counts"]))
        self.assertEqual(2, settled(busy())["status"]["default"][next(iter(MAXIMA))])

    def test_never_back(self) -> None:
        """When a worker ends, no count that rises falls."""
        before = added([busy(), busy()])
        after = added([settled(busy()), busy()])
        self.assertEqual(before["counts"]["pools"]["default"]["codes"], after["counts"]["pools"]["default"]["codes"])
