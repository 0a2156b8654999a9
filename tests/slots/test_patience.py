"""How long a request may wait: under which terms, and for whom."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from xproxy.slots.patience import SAY_ABSENT_S, Patience, Terms


class PatienceTests(SynchronousTestCase):
    """Terms of 30 and 5 seconds."""

    def setUp(self) -> None:
        self.patience = Patience(Terms(30.0, 5.0))

    def test_while_somebody_is_registered(self) -> None:
        """The queue's timeout from the arrival."""
        self.assertEqual(self.patience.until(100.0), (130.0, "timeout"))

    def test_while_nobody_is(self) -> None:
        """The shorter one, from the arrival or from when the last service was gone, whichever came later."""
        self.patience.absent_since = 100.0
        self.assertEqual(self.patience.until(102.0), (107.0, "absent"))
        self.assertEqual(self.patience.until(90.0), (105.0, "absent"))
        self.assertEqual(self.patience.until(74.0), (104.0, "timeout"))
        self.patience.absent_since = None
        self.assertEqual(self.patience.until(102.0), (132.0, "timeout"))

    def test_absence_is_told(self) -> None:
        """Once, when a request has waited for a while since the last service was gone."""
        self.assertEqual(self.patience.absence_at(90.0), inf)
        self.patience.absent_since = 100.0
        self.assertEqual([self.patience.absence_at(oldest) - SAY_ABSENT_S for oldest in (90.0, 102.0)], [100.0, 102.0])
        self.patience.absence_said = True
        self.assertEqual(self.patience.absence_at(90.0), inf)

    def test_longer_for_nobody(self) -> None:
        """The queue's timeout holds in any case."""
        patience = Patience(Terms(3.0, 5.0))
        patience.absent_since = 100.0
        self.assertEqual(patience.until(101.0), (104.0, "timeout"))

    def test_changed(self) -> None:
        """Who waits already does so by the terms it came under, through any number of changes."""
        self.patience.change(Terms(10.0, 1.0), 100.0, 90.0)
        self.patience.change(Terms(1.0, 1.0), 110.0, 90.0)
        found = [self.patience.until(at)[0] for at in (90.0, 99.9, 100.0, 109.9, 110.0)]
        self.assertEqual(found, [120.0, 129.9, 110.0, 119.9, 111.0])
        self.assertEqual([self.patience.soonest(oldest) for oldest in (90.0, 105.0, 112.0)], [110.0, 111.0, 113.0])
        self.patience.absent_since = 0.0
        self.assertEqual([self.patience.until(at)[0] for at in (90.0, 100.0, 110.0)], [95.0, 101.0, 111.0])

    def test_former_terms_are_forgotten(self) -> None:
        """Once nobody waits who came under them."""
        for number in range(100):
            self.patience.change(Terms(float(number), 1.0), float(number), float(number) - 1.5)
        self.assertLessEqual(len(self.patience._former), 2)
        self.patience.change(Terms(7.0, 1.0), 200.0, None)
        self.assertEqual(self.patience._former, [])
        self.assertEqual(self.patience.until(0.0), (7.0, "timeout"))
