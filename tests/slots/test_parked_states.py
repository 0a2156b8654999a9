"""The table of a slot's states: as the docs show it, and complete."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import TestCase

from xproxy.slots.parked_states import TRANSITIONS, ImpossibleTransition, SlotEvent, SlotState, after

PAGE = Path(__file__).parents[2] / "docs" / "architecture" / "slots.md"


class TableTests(TestCase):
    def test_as_the_docs_show_it(self) -> None:
        table = PAGE.read_text().partition("<!-- states of a parked slot -->")[2].partition("\n\n")[0]
        rows = [tuple(row) for row in re.findall(r"^\| ([a-z ]+) \| ([a-z ]+) \| ([a-z ]+) \|$", table, re.MULTILINE)]
        expected = [(state.value, event.value, then.value) for (state, event), then in TRANSITIONS.items()]
        self.assertEqual(rows[1:], expected)

    def test_what_is_not_there_raises(self) -> None:
        for state in SlotState:
            for event in SlotEvent:
                if (state, event) in TRANSITIONS:
                    self.assertIs(after(state, event), TRANSITIONS[state, event])
                else:
                    self.assertRaises(ImpossibleTransition, after, state, event)

    def test_every_state_is_left_and_reached_but_for_the_last_and_the_first(self) -> None:
        left = {state for state, _ in TRANSITIONS}
        reached = set(TRANSITIONS.values())
        self.assertEqual(set(SlotState) - left, {SlotState.CLOSED})
        self.assertEqual(set(SlotState) - reached, set())
        self.assertTrue(all((state, SlotEvent.ENDED) in TRANSITIONS for state in left))
