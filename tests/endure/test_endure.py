"""``make endure`` in short: each event once, under load, and nothing fails that may not."""

from __future__ import annotations

from typing import List

from twisted.trial.unittest import SynchronousTestCase

from tests.endure.arrangement import Arrangement
from tests.endure.arrangements import Apart, Whole
from tests.endure.run import Row, Run


class EndureTests(SynchronousTestCase):
    """Both arrangements."""

    def endure(self, arrangement: Arrangement) -> None:
        """Every row has requests, and nothing is wrong."""
        rows: List[Row] = []
        self.assertEqual([], Run(arrangement, 1, rows.append).run())
        self.assertEqual(["nothing", *(name for name, _ in arrangement.events)], [row.event for row in rows])
        self.assertNotIn(0, [row.tally.answered for row in rows])

    def test_acceptor_and_proxies(self) -> None:
        """Reload, takeover, services, ``kill -9`` of the acceptor."""
        self.endure(Apart(self))

    def test_workers(self) -> None:
        """Reload, drain, upgrade, services, ``kill -9`` of a worker."""
        self.endure(Whole(self))
