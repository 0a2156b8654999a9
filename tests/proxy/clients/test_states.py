"""The table of a client's connection: whole, and as the documentation shows it."""

from __future__ import annotations

from pathlib import Path
from typing import List, Set

from twisted.trial.unittest import SynchronousTestCase

from xproxy.proxy.clients.connection import ACTIONS
from xproxy.proxy.clients.states import TABLE, Do, Input, State, on

PAGE = Path(__file__).parents[3] / "docs" / "architecture" / "exchange.md"
BEGIN, END = "<!-- states of a client -->\n", "<!-- end of states -->\n"

OF_THE_INTAKE = {Do.NOTHING, Do.PARSE, Do.FEED, Do.HOLD, Do.RELAY, Do.DROP, Do.DROP_A_WHILE, Do.BEGIN, Do.AWAIT}
"""What is done where bytes come in; the rest the connection does."""


def drawn() -> str:
    """The table as Markdown: rows that differ by the state alone are one."""
    rows: List[str] = ["| state | input | becomes | and |", "|---|---|---|---|"]
    for state in State:
        for event in Input:
            if (state, event) in TABLE:
                then, do = TABLE[state, event]
                doing = "" if do is Do.NOTHING else do.value
                becomes = "" if then is state else then.name
                rows.append(f"| {state.name} | {event.name} | {becomes} | {doing} |")
    return "\n".join(rows) + "\n"


class TableTests(SynchronousTestCase):
    """See the module's docstring."""

    def test_documented(self) -> None:
        """The page has the table as it is."""
        page = PAGE.read_text(encoding="utf-8")
        self.assertEqual(page.partition(BEGIN)[2].partition(END)[0], drawn())

    def test_every_state_is_reached(self) -> None:
        """From IDLE."""
        reached: Set[State] = {State.IDLE}
        while True:
            more = {then for (state, _), (then, _) in TABLE.items() if state in reached} - reached
            if not more:
                break
            reached |= more
        self.assertEqual(reached, set(State))

    def test_what_comes_from_outside_is_taken_everywhere(self) -> None:
        """The client, the clock and whoever stops the proxy choose their moments themselves."""
        for state in State:
            for event in (Input.BYTES, Input.EOF, Input.DEADLINE, Input.DRAIN):
                self.assertIn((state, event), TABLE)

    def test_the_end_is_the_end(self) -> None:
        """Nothing leads out of CLOSED."""
        self.assertEqual({then for (state, _), (then, _) in TABLE.items() if state is State.CLOSED}, {State.CLOSED})

    def test_everything_is_done_somewhere(self) -> None:
        """Each thing to do is somebody's."""
        self.assertEqual({do for _, do in TABLE.values()} - OF_THE_INTAKE, set(ACTIONS))
        self.assertEqual({do for _, do in TABLE.values()}, set(Do))

    def test_missing(self) -> None:
        """An input that can't come raises."""
        self.assertRaises(KeyError, lambda: on(Input.ANSWERED)[State.TUNNEL])
