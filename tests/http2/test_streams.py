"""Tests for ``streams`` and ``allowance``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xproxy.http2.allowance import Allowance
from xproxy.http2.streams import TABLE, Input, Reaction, StreamState


class TableTests(SynchronousTestCase):
    """The states of a stream."""

    def test_every_frame_has_a_place_in_every_state(self) -> None:
        for state in StreamState:
            for given in (Input.HEADERS, Input.DATA, Input.RST_STREAM, Input.WINDOW_UPDATE):
                self.assertIn((state, given), TABLE)

    def test_what_is_ours_happens_to_open_streams_only(self) -> None:
        for given in (Input.END, Input.ANSWERED, Input.CANCEL):
            states = {state for state, found in TABLE if found is given}
            self.assertLessEqual(
                states, {StreamState.OPEN, StreamState.HALF_CLOSED, StreamState.IDLE} if given is Input.CANCEL else {1, 2}
            )

    def test_every_state_is_reached_and_left_but_the_last(self) -> None:
        reached = {StreamState.IDLE}
        while True:
            more = {to for (state, _), (to, _) in TABLE.items() if state in reached}
            if more <= reached:
                break
            reached |= more
        self.assertEqual(reached, set(StreamState))
        self.assertEqual({to for (state, _), (to, _) in TABLE.items() if state is StreamState.CLOSED}, {StreamState.CLOSED})

    def test_errors_change_nothing(self) -> None:
        for (state, _), (to, reaction) in TABLE.items():
            if reaction not in (Reaction.TAKE, Reaction.DROP, Reaction.RESET):
                self.assertIs(to, state)


class AllowanceTests(SynchronousTestCase):
    """The bucket."""

    def test_it_empties_and_fills(self) -> None:
        allowance = Allowance(2, 4.0, 10.0)
        self.assertEqual([allowance.spend(10.0) for _ in range(3)], [True, True, False])
        self.assertFalse(allowance.spend(10.2))
        self.assertTrue(allowance.spend(10.25))
        self.assertEqual([allowance.spend(100.0) for _ in range(3)], [True, True, False])

    def test_what_is_earned(self) -> None:
        allowance = Allowance(2, 0.0, 0.0)
        self.assertTrue(allowance.spend(0.0) and allowance.spend(0.0))
        self.assertFalse(allowance.spend(0.0, 0.5))
        self.assertTrue(allowance.spend(0.0, 0.5))
        self.assertEqual([allowance.spend(0.0, earned) for earned in (100.0, 0.0, 0.0)], [True, True, False])
