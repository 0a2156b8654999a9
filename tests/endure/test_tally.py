"""What counts as a failure, as one that was to be expected, and as neither."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.endure.run import CLIENTS, Row
from tests.endure.tally import Outcomes


class TallyTests(SynchronousTestCase):
    """Outcomes and what is made of them."""

    def test_kinds(self) -> None:
        """Only what ran on the connections of a killed process is lost; all else has failed, what was refused too."""
        outcomes = Outcomes()
        outcomes.answered(0.1)
        outcomes.answered(9.0, counts=False)
        outcomes.failed("there", 4001)
        outcomes.may_fail([4001])
        outcomes.failed("elsewhere", 4002)
        outcomes.failed("nowhere", refused=True)
        tally = outcomes.take()
        self.assertEqual((5, 2, 1), (tally.requests, tally.answered, tally.refused))
        self.assertEqual(["there"], [failure.text for failure in tally.lost])
        self.assertEqual(["elsewhere", "nowhere"], [failure.text for failure in tally.failures])
        self.assertEqual(["elsewhere", "nowhere"], Row("", "", 1, tally).wrong)
        self.assertEqual(0, outcomes.take().requests)

    def test_bound(self) -> None:
        """More than the clients can have had at a killed process is wrong."""
        outcomes = Outcomes()
        outcomes.may_fail([1])
        for _ in range(CLIENTS + 1):
            outcomes.failed("there", 1)
        tally = outcomes.take()
        self.assertEqual([], Row("", "", 2, tally).wrong)
        self.assertEqual(1, len(Row("", "", 1, tally).wrong))

    def test_percentiles(self) -> None:
        """Of the waits that are looked at; the longest is the last."""
        outcomes = Outcomes()
        self.assertEqual(0.0, outcomes.take().percentile_ms(0.99))
        for number in range(100, 0, -1):
            outcomes.answered(number / 1000)
        tally = outcomes.take()
        self.assertEqual([51.0, 100.0, 100.0], [tally.percentile_ms(share) for share in (0.5, 0.99, 1)])
