"""The table of an upgrade: as the docs show it, and fit for what it must hold."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from xproxy.tap.upgrade.states import NEXT, Event, Stage

PAGE = Path(__file__).parents[3] / "docs" / "architecture" / "upgrade.md"


class TableTests(SynchronousTestCase):
    def test_as_the_docs_show_it(self) -> None:
        shown = PAGE.read_text().partition("<!-- states of a program -->")[2].partition("\n\n")[0]
        rows = re.findall(r"^\| ([a-z ]+) \| ([a-z ]+) \| ([a-z ]+) \|$", shown, re.MULTILINE)
        self.assertEqual(rows[1:], [(state.value, event.value, then.value) for (state, event), then in NEXT.items()])

    def test_it_can_be_stopped_and_asked_anywhere(self) -> None:
        """Neither has a moment at which it may not come. A former program is there only where none has been started."""
        asked = {stage for stage, event in NEXT if event in (Event.ASKED, Event.ASKED_EARLY)}
        self.assertEqual(asked, set(Stage))
        self.assertEqual({stage for stage, event in NEXT if event is Event.STOPPED}, set(Stage))

    def test_who_is_replaced_stays_so(self) -> None:
        self.assertEqual({Stage.REPLACED}, {then for (stage, _), then in NEXT.items() if stage is Stage.REPLACED})
        self.assertEqual([Stage.STARTING], [stage for (stage, event), _ in NEXT.items() if event is Event.TOOK_OVER])
