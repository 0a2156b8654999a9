"""When a proxy's ask can't wait for the next ten milliseconds."""

from __future__ import annotations

from typing import Sequence

from twisted.trial.unittest import SynchronousTestCase

from xproxy.handoff.client import Standing, _ask_is_urgent


def asked(arrivals: Sequence[float], seen: int, more: int = 0) -> Standing:
    """An ask."""
    return (tuple(arrivals), seen, more, 0)


class UrgencyTests(SynchronousTestCase):
    """From what was said to what is to be said."""

    def test_more_than_the_acceptor_knows_of(self) -> None:
        """Which is what was said, less one for each grant since."""
        self.assertTrue(_ask_is_urgent(asked([], 0), asked([1.0], 0)))
        self.assertTrue(_ask_is_urgent(asked([1.0], 0), asked([1.0, 2.0], 0)))
        self.assertTrue(_ask_is_urgent(asked([1.0], 0), asked([2.0], 1)))
        self.assertTrue(_ask_is_urgent(asked([1.0], 0), asked([1.0], 0, 1)))

    def test_no_more(self) -> None:
        """Others in the same places, or fewer."""
        self.assertFalse(_ask_is_urgent(asked([1.0], 0), asked([2.0], 0)))
        self.assertFalse(_ask_is_urgent(asked([1.0, 2.0], 0), asked([2.0], 1)))
        self.assertFalse(_ask_is_urgent(asked([1.0], 0), asked([], 1)))
        self.assertFalse(_ask_is_urgent(asked([1.0], 0, 5), asked([1.0], 1, 4)))
