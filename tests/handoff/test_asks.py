"""When a proxy's ask can't wait for the next ten milliseconds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xproxy.handoff.client import _ask_is_urgent


class UrgencyTests(SynchronousTestCase):
    """An ask is (arrivals, grants seen)."""

    def test_more_than_the_acceptor_knows_of(self) -> None:
        """Which is what was said, less one for each grant since."""
        self.assertTrue(_ask_is_urgent(((), 0), ((1.0,), 0)))
        self.assertTrue(_ask_is_urgent(((1.0,), 0), ((1.0, 2.0), 0)))
        self.assertTrue(_ask_is_urgent(((1.0,), 0), ((2.0,), 1)))

    def test_no_more(self) -> None:
        """Others in the same places, or fewer."""
        self.assertFalse(_ask_is_urgent(((1.0,), 0), ((2.0,), 0)))
        self.assertFalse(_ask_is_urgent(((1.0, 2.0), 0), ((2.0,), 1)))
        self.assertFalse(_ask_is_urgent(((1.0,), 0), ((), 1)))
