"""What progress earns, in virtual time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xproxy.net.pace import paced
from xproxy.net.sweep import NEVER

WINDOW_S = 60.0
RATE = 240


def lasts(size: int, interval_s: float, rate: int = RATE, most_s: float = 10_000.0) -> float:
    """For how long one may go on who moves ``size`` bytes each ``interval_s``."""
    now, deadline = 0.0, paced(NEVER, WINDOW_S, 0, rate)
    while now < most_s:
        if now + interval_s > deadline:
            return deadline
        now += interval_s
        deadline = paced(deadline, now + WINDOW_S, size, rate)
    return most_s


class PaceTests(SynchronousTestCase):
    """``paced``."""

    def test_a_byte_now_and_then(self) -> None:
        """A byte each five seconds is as good as nothing, unless no rate is asked for."""
        self.assertLess(lasts(1, 5.0), WINDOW_S + 1.0)
        self.assertEqual(lasts(1, 5.0, rate=0), 10_000.0)

    @settings(deadline=None)
    @given(st.floats(0.01, WINDOW_S), st.floats(1.01, 1000.0))
    def test_the_rate_is_enough(self, interval_s: float, faster: float) -> None:
        """Whoever is a little faster than the rate goes on, in pieces as large as a window's."""
        self.assertEqual(lasts(int(RATE * interval_s * faster) + 1, interval_s, most_s=1000.0), 1000.0)

    @settings(deadline=None)
    @given(st.floats(0.01, WINDOW_S), st.floats(0.0, 0.8))
    def test_less_is_not(self, interval_s: float, slower: float) -> None:
        """Whoever is slower is late after what its bytes have earned: five windows, at four fifths of the rate."""
        self.assertLess(lasts(int(RATE * interval_s * slower), interval_s), WINDOW_S / (1 - slower) + 1.0)

    @given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(0, 2**40), st.integers(0, 2**30))
    def test_never_past_a_window(self, before: float, most: float, size: int, rate: int) -> None:
        """However much has moved: what is earned is not saved up."""
        self.assertLessEqual(paced(before, most, size, rate), most)
