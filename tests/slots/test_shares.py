"""Tests for ``xproxy.slots.shares``."""

from __future__ import annotations

from typing import Dict

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xproxy.slots.shares import LEAST, Shares, most_of


class SharesTests(SynchronousTestCase):
    def test_most(self) -> None:
        self.assertEqual([most_of(limit, None) for limit in (1024, 64, 3)], [256, LEAST, LEAST])
        for limit, share, most in ((1024, 0.25, 256), (1024, 1.0, 1024), (3, 0.25, 1), (0, 0.25, 1), (10, 0.25, 2)):
            self.assertEqual(most_of(limit, share), most)

    def test_past_it(self) -> None:
        """One client past its share changes nothing for another, nor for itself once one of its requests is served."""
        shares = Shares(2)
        self.assertEqual([shares.enter("a") for _ in range(3)], [True, True, False])
        self.assertTrue(shares.enter("b"))
        shares.leave("a")
        self.assertTrue(shares.enter("a"))
        self.assertFalse(shares.enter("a"))

    def test_less_than_before(self) -> None:
        """A share that becomes smaller sends nobody away."""
        shares = Shares(3)
        for _ in range(3):
            shares.enter("a")
        shares.most = 1
        shares.leave("a")
        self.assertFalse(shares.enter("a"))
        shares.leave("a")
        shares.leave("a")
        self.assertTrue(shares.enter("a"))

    def test_nobody_to_leave(self) -> None:
        self.assertRaises(KeyError, Shares(1).leave, "a")

    @given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"))))
    def test_counts(self, steps: list) -> None:  # type: ignore[type-arg]
        """It is a count, and keeps nothing of clients that are gone."""
        shares = Shares(3)
        waiting: Dict[str, int] = {}
        for enters, client in steps:
            if enters:
                self.assertEqual(shares.enter(client), waiting.get(client, 0) < 3)
                waiting[client] = min(3, waiting.get(client, 0) + 1)
            elif waiting.get(client):
                shares.leave(client)
                waiting[client] -= 1
        self.assertEqual(len(shares), sum(1 for number in waiting.values() if number))
