"""The tide table: how many requests wait at each proxy for each pool, and since when, in memory that all of them share.

The acceptor makes the memory; each holder (a proxy) writes its own cells and reads those of the others; so what is known of the
others is as fresh as a look into memory, and no message has to say it. One row for each pool, one cell in it for each holder:
when the request arrived that waits longest, when the one that came last, and how many wait. The first cell of a row is the
acceptor's own: one-byte clients that wait. A row is a page of memory.

Nobody can be kept from writing rubbish: each value that is read is a number of some kind, and a cell that makes no sense counts
for nothing. A cell that is read while it is written may be half of each; that is one decision on a wrong time.

Pure: any bytes that can be written to will do, a bytearray as well as a mapping.
"""

from __future__ import annotations

import struct
from functools import partial
from math import inf
from typing import Any, Callable, Dict, List, Optional, Tuple

HOLDERS = 128
"""Columns: the acceptor's own and those of 127 proxies, one for each core of the largest hosts."""

PLACES = 1024
"""Rows. The first one belongs to no pool: it says how many columns are in use."""

_CELL = struct.Struct("=ddQ8x")
_WIDTH = _CELL.size
_ROW = HOLDERS * _WIDTH
_USED = struct.Struct("=Q")
_CELLS: List[Callable[..., Tuple[Any, ...]]] = [
    struct.Struct("=" + "ddQ8x" * number).unpack_from for number in range(HOLDERS + 1)
]

TABLE_BYTES = PLACES * _ROW
"""The size of a table: four mebibytes, of which only the rows of pools that are there are ever touched."""

Cell = Tuple[float, float, int]
"""When the oldest arrived, when the latest, and how many wait."""

NOWHERE = 0
"""The place of a pool that has none."""

OWN_COLUMN = 0
"""The acceptor's."""

Others = Tuple[float, int, int]
"""Of the other holders: when the oldest of their waiting requests arrived, whose it is (a column), and how many wait at all."""

NOBODY: Others = (inf, -1, 0)


def _close(memory: Any) -> None:
    """Unmap what is mapped: a mapping has a descriptor of its own."""
    if hasattr(memory, "close"):
        memory.close()


class TableFull(Exception):
    """There are as many holders, or pools, as the table has room for."""


class TideTable:
    """A table as its acceptor has it, who says which cell is whose. Not to be used any more once it is closed.

    :param memory: TABLE_BYTES zeros, which others may share.
    """

    def __init__(self, memory: Any) -> None:
        self.memory = memory
        self.close = partial(_close, memory)
        self._places: Dict[str, int] = {}
        self._given_up: Dict[str, None] = {}
        self._columns: Dict[int, None] = {}
        self._note_columns()

    def place(self, pool: str) -> int:
        """The row of a pool, which keeps it as long as there is room. Raises TableFull."""
        self._given_up.pop(pool, None)
        place = self._places.get(pool)
        if place is None:
            place = len(self._places) + 1
            if place >= PLACES:
                if not self._given_up:
                    raise TableFull(f"{PLACES - 1} pools at most")
                gone = next(iter(self._given_up))
                del self._given_up[gone]
                place = self._places.pop(gone)
                self.memory[place * _ROW : (place + 1) * _ROW] = bytes(_ROW)
            self._places[pool] = place
        return place

    def known_place(self, pool: str) -> int:
        """The row of a pool; NOWHERE when it was given none."""
        return self._places.get(pool, NOWHERE)

    def give_up(self, pool: str) -> None:
        """A pool is gone: another one may have its row, once there is no other."""
        if pool in self._places:
            self._given_up[pool] = None

    def join(self) -> int:
        """A column for a holder, the first that is free. Raises TableFull."""
        column = next((column for column in range(OWN_COLUMN + 1, HOLDERS) if column not in self._columns), None)
        if column is None:
            raise TableFull(f"{HOLDERS - 1} proxies at most")
        self._columns[column] = None
        self.clear(column)
        self._note_columns()
        return column

    def leave(self, column: int) -> None:
        """A holder is gone, and what it had written."""
        if column in self._columns:
            del self._columns[column]
            self.clear(column)
            self._note_columns()

    def clear(self, column: int) -> None:
        """What this holder had written is not so, or not any more. It may write again."""
        for place in self._places.values():
            _CELL.pack_into(self.memory, place * _ROW + column * _WIDTH, 0.0, 0.0, 0)

    def _note_columns(self) -> None:
        _USED.pack_into(self.memory, 0, max(self._columns, default=OWN_COLUMN) + 1)


class Tide:
    """The row of one pool, as one holder sees it. Before its place is known nothing is written or read.

    :param memory: that of the table.
    :param column: the holder's own.
    """

    __slots__ = ("column", "_memory", "_row", "_own", "_said")

    def __init__(self, memory: Any, column: int, place: int = NOWHERE) -> None:
        self.column = column
        self._memory = memory
        self._row = self._own = NOWHERE
        self._said: Cell = (0.0, 0.0, 0)
        self.put(place)

    def put(self, place: int) -> None:
        """The pool has this row from here on. What was said is said there. Raises ValueError when there is no such row."""
        if not NOWHERE <= place < PLACES:
            raise ValueError(f"the table has no row {place}")
        self._row = place * _ROW
        self._own = self._row + self.column * _WIDTH
        if place != NOWHERE:
            _CELL.pack_into(self._memory, self._own, *self._said)

    def say(self, oldest: Optional[float], latest: float, waiting: int) -> None:
        """So many wait here, the first since ``oldest`` (None: nobody does), the last since ``latest``."""
        said = self._said = (0.0, 0.0, 0) if oldest is None else (oldest, latest, waiting)
        if self._row:
            _CELL.pack_into(self._memory, self._own, *said)

    def _cells(self) -> Tuple[Any, ...]:
        used = _USED.unpack_from(self._memory, 0)[0]
        return _CELLS[used if used <= HOLDERS else HOLDERS](self._memory, self._row)

    def waiting_elsewhere(self) -> int:
        """How many wait at the other holders."""
        if not self._row:
            return 0
        counts = self._cells()[2::3]
        total: int = sum(counts)
        return total - counts[self.column] if self.column < len(counts) else total

    def others(self, now: float) -> Others:
        """See Others; NOBODY when nobody waits anywhere else. A time that is still to come counts as now."""
        if not self._row:
            return NOBODY
        cells = self._cells()
        oldest, whose, waiting = NOBODY
        own = self.column
        for column, count in enumerate(cells[2::3]):
            if count and column != own:
                arrival = cells[3 * column]
                if -inf < arrival < inf:  # Which no NaN is.
                    waiting += count
                    if arrival < oldest:
                        oldest, whose = arrival, column
        return (min(oldest, now), whose, waiting) if whose >= 0 else NOBODY

    def of(self, column: int) -> Cell:
        """What a holder has said: nobody waits there when its cell makes no sense."""
        if not self._row:
            return 0.0, 0.0, 0
        oldest, latest, waiting = _CELL.unpack_from(self._memory, self._row + column * _WIDTH)
        if not waiting or not -inf < oldest < inf:
            return 0.0, 0.0, 0
        return oldest, latest if oldest <= latest < inf else oldest, waiting


class Tides:
    """The rows of all pools, as one holder sees them. The acceptor says where each one is, now or later. Not to be used any
    more once it is closed.

    :param memory: that of the table.
    :param column: the holder's own. Raises ValueError when there is no such column.
    """

    def __init__(self, memory: Any, column: int) -> None:
        if not OWN_COLUMN < column < HOLDERS:
            raise ValueError(f"the table has no column {column} for a proxy")
        self.close = partial(_close, memory)
        self._memory = memory
        self._column = column
        self._places: Dict[str, int] = {}
        self._tides: Dict[str, Tide] = {}

    def tide(self, pool: str) -> Tide:
        """The row of a pool."""
        tide = self._tides.get(pool)
        if tide is None:
            tide = self._tides[pool] = Tide(self._memory, self._column, self._places.get(pool, NOWHERE))
        return tide

    def put(self, pool: str, place: int) -> None:
        """The acceptor has said where a pool's row is, perhaps again. Raises ValueError when there is no such row.

        What was said there is said once more: a holder for which its process did not turn its loop was made to say nothing.
        """
        if not NOWHERE <= place < PLACES:
            raise ValueError(f"the table has no row {place}")
        self._places[pool] = place
        if pool in self._tides:
            self._tides[pool].put(place)


ASHORE = Tide(bytearray(0), OWN_COLUMN)
"""Of no table: for a line without an acceptor."""
