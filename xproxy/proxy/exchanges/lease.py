"""A lease: a proxy's right to one slot until it gives it back, with all that belongs to it at the acceptor.

Made by whoever is told of a grant (``proxy_service``), owned by the ``LeasedSlot`` that adopts the descriptor.
"""

from __future__ import annotations

from typing import Optional

from ...interfaces import ISlotSource


class Lease:
    """One lease of one source. Its number means something to that source only, so leases of two sources never collide.

    :ivar number: the lease's number at its source, and the index of its byte on the source's board.
    :ivar service: who registered the slot, for status and logs.
    :ivar orphaned: the source of this lease is gone, or has it back: the slot may go on working, but can't be given back.
    """

    __slots__ = ("number", "service", "orphaned", "_source", "_board")

    def __init__(self, source: ISlotSource, number: int, service: str) -> None:
        self.number = number
        self.service = service
        self.orphaned = False
        self._source: Optional[ISlotSource] = source
        self._board = source.board

    def busy(self) -> None:
        """An exchange begins: said before its first byte is sent. An orphan writes where nobody reads."""
        self._board[self.number] = 1

    def free(self) -> None:
        """The exchange is over."""
        self._board[self.number] = 0

    def orphan(self) -> None:
        """The source is gone."""
        self._leave()

    def _leave(self) -> Optional[ISlotSource]:
        source, self._source = self._source, None
        self.orphaned = True
        return source

    def offered(self, source: ISlotSource, number: int) -> None:
        """An orphan is a lease of ``source`` from here on, whose board says already whether an exchange is on it."""
        self.number = number
        self.orphaned = False
        self._source = source
        self._board = source.board

    def give_back(self) -> None:
        """The slot is clean, and its descriptor here is closed: the acceptor may lend it again. Said once; not of an orphan."""
        source = self._leave()
        if source is not None:
            source.give_back(self.number)

    def close(self) -> None:
        """The slot is not good any more: the acceptor, where there still is one, closes its copy. Said once."""
        source = self._leave()
        if source is not None:
            source.lease_closed(self.number)

    def spoke(self, data: bytes) -> None:
        """The service has sent this on the free slot, whose descriptor here is closed: the acceptor judges it. Said once."""
        source = self._leave()
        if source is not None:
            source.spoke(self.number, data)
