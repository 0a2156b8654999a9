"""The table of a leased slot's states: the documentation shows it as it is, and nothing in it is idle talk."""

from __future__ import annotations

from pathlib import Path
from typing import List, Tuple

from twisted.trial.unittest import SynchronousTestCase

from xproxy.proxy.exchanges.slot_states import TABLE, Do, LeasedSlotState, SlotInput

PAGE = Path(__file__).parents[3] / "docs" / "architecture" / "exchange.md"


def documented() -> List[Tuple[str, ...]]:
    """The rows of the table in the documentation."""
    _, _, rest = PAGE.read_text().partition("## States of a leased slot")
    rows = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows[2:]]


class TableTests(SynchronousTestCase):
    """The table."""

    def test_documented(self) -> None:
        """Row by row, in the same order."""
        rows = [(was.value, given.value, then.value, do.value) for (was, given), (then, do) in TABLE.items()]
        self.assertEqual(documented(), rows)

    def test_missing_entries_raise(self) -> None:
        """A closed slot takes no request, a free one is not answered on."""
        self.assertRaises(KeyError, TABLE.__getitem__, (LeasedSlotState.CLOSED, SlotInput.BEGIN))
        self.assertRaises(KeyError, TABLE.__getitem__, (LeasedSlotState.IDLE, SlotInput.WHOLE))

    def test_everything_is_used(self) -> None:
        """Every state is reached and left, every input and every thing to do is in the table."""
        self.assertEqual({then for then, _ in TABLE.values()}, set(LeasedSlotState))
        self.assertEqual({was for was, _ in TABLE}, set(LeasedSlotState))
        self.assertEqual({given for _, given in TABLE}, set(SlotInput))
        self.assertEqual({do for _, do in TABLE.values()}, set(Do))

    def test_closed_is_the_end(self) -> None:
        """And whatever is done there was done before."""
        ends = {then for (was, _), then in TABLE.items() if was is LeasedSlotState.CLOSED}
        self.assertEqual(ends, {(LeasedSlotState.CLOSED, Do.NOTHING)})
