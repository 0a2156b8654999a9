"""The table of seats."""

from __future__ import annotations

import itertools

from twisted.trial.unittest import SynchronousTestCase

from xproxy.workers.seats import SeatEvent, SeatState, next_state


class SeatTests(SynchronousTestCase):
    def test_the_end_is_the_end(self) -> None:
        """Whatever happens, after STOP nobody is started any more, and every seat gets to OVER."""
        for state in SeatState:
            state = next_state(state, SeatEvent.STOP)
            self.assertIn(state, (SeatState.DRAINING, SeatState.OVER))
            with self.assertRaises(KeyError):
                next_state(state, SeatEvent.START)
            if state is SeatState.DRAINING:
                self.assertIs(SeatState.OVER, next_state(state, SeatEvent.ENDED))

    def test_nobody_dies_twice(self) -> None:
        """Only who sits there can be ready or gone."""
        for state, event in itertools.product((SeatState.WAITING, SeatState.OVER), (SeatEvent.READY, SeatEvent.ENDED)):
            with self.assertRaises(KeyError):
                next_state(state, event)
