"""The tables of a takeover: as the docs show them, and fit for each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, Tuple

from twisted.trial.unittest import SynchronousTestCase

from xproxy.acceptor.succession.states import GIVER, TAKER, GiverInput, Giving, TakerInput, Taking

PAGE = Path(__file__).parents[3] / "docs" / "architecture" / "takeover.md"


class TableTests(SynchronousTestCase):
    def assert_shown(self, name: str, table: Dict[Tuple[Any, Any], Any]) -> None:
        shown = PAGE.read_text().partition(f"<!-- states of {name} -->")[2].partition("\n\n")[0]
        rows = [tuple(row) for row in re.findall(r"^\| ([a-z ]+) \| ([a-z ]+) \| ([a-z ]+) \|$", shown, re.MULTILINE)]
        self.assertEqual(rows[1:], [(state.value, event.value, then.value) for (state, event), then in table.items()])

    def test_as_the_docs_show_them(self) -> None:
        self.assert_shown("the giver", GIVER)
        self.assert_shown("the taker", TAKER)

    def test_the_giver_can_fail_until_it_has_let_go(self) -> None:
        for state in (Giving.PARTING, Giving.SENDING, Giving.SENT):
            self.assertIs(GIVER[state, GiverInput.FAILED], Giving.ABORTED)
        self.assertFalse([state for state, _ in GIVER if state in (Giving.GONE, Giving.ABORTED)])

    def test_who_serves(self) -> None:
        """The taker serves by the giver's word or its death; by its death only where that was giving."""
        ways = [(state, event) for (state, event), then in TAKER.items() if then is Taking.SERVING]
        self.assertEqual(
            ways, [(Taking.RECEIVING, TakerInput.DIED), (Taking.READY, TakerInput.YOURS), (Taking.READY, TakerInput.DIED)]
        )
