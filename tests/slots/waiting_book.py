"""A book with a tide table: holders that say when their requests came."""

from __future__ import annotations

from typing import Dict, Hashable, List, Sequence

from xproxy.slots.actions import Action
from xproxy.slots.book import PoolBook
from xproxy.slots.tides import OWN_COLUMN, TABLE_BYTES, Tide, TideTable


class WaitingBook(PoolBook):
    """Holders get a column when they ask for the first time."""

    def __init__(self) -> None:
        self.table = TideTable(bytearray(TABLE_BYTES))
        self.place = self.table.place("default")
        self._columns: Dict[Hashable, int] = {}
        super().__init__("default", column_of=self.column_of)
        self.share(Tide(self.table.memory, OWN_COLUMN, self.place))

    def column_of(self, who: Hashable) -> int:
        """The column of a holder."""
        if who not in self._columns:
            self._columns[who] = self.table.join()
        return self._columns[who]

    def tide(self, who: Hashable) -> Tide:
        """The row as a holder sees it."""
        return Tide(self.table.memory, self.column_of(who), self.place)

    def wait(self, who: Hashable, arrivals: Sequence[float], seen: int, question: int = 0) -> List[Action]:
        """A holder says who waits there, in the table and by an ask."""
        self.tide(who).say(min(arrivals, default=None), max(arrivals, default=0.0), len(arrivals))
        return self.ask(who, len(arrivals), seen, question)
