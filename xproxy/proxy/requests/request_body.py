"""The body of one request: counted, limited, and kept until all of it may go to a slot.

A body that came in one piece stays that piece; what is longer goes to a spool: memory of its own, blocks that all share, then
an unlinked file. A disk that is full is the answer 507, for this request and for nobody else; so is a file too many.
"""

from __future__ import annotations

from typing import Optional, Tuple

from ...http1.errors import BadMessage
from ...net.bodies.blocks import Blocks
from ...net.bodies.space import Space, SpaceFull
from ...net.bodies.spool import Spool

JOINED_BYTES = 64 * 1024
"""What goes to the slot in one piece with its head: one copy more, and some calls of send less."""


def _no_room(error: OSError) -> BadMessage:
    """What is said to whoever sends what can't be kept."""
    return BadMessage(507, error.reason if isinstance(error, SpaceFull) else "no-space")


class RequestBody:
    """Owned by its request until ``take``, which gives the spool away; else ``clear`` it.

    :param limit_bytes: past it: 413.
    :param memory_bytes: what it may have of memory that is not shared (``limits.request_memory``).
    :param space: which is asked before anything goes to a file, for ``client``.
    :ivar size: bytes of content so far.
    :ivar start: the first byte of content; empty: there is none, or it was received past us.
    """

    __slots__ = ("size", "start", "_limit_bytes", "_memory_bytes", "_blocks", "_space", "_client", "_piece", "_spool")

    def __init__(self, limit_bytes: int, memory_bytes: int, blocks: Blocks, space: Space, client: str) -> None:
        self.size = 0
        self.start = b""
        self._limit_bytes = limit_bytes
        self._memory_bytes = memory_bytes
        self._blocks = blocks
        self._space = space
        self._client = client
        self._piece = b""
        self._spool: Optional[Spool] = None

    def count(self, size: int) -> None:
        """``size`` more bytes of content have come. Raises BadMessage: 413."""
        self.size += size
        if self.size > self._limit_bytes:
            raise BadMessage(413, "body-too-large")

    def keep(self, data: bytes) -> None:
        """Count and keep. Raises BadMessage: 413, or 507 when the disk is full."""
        if not self.size:
            self.start = data[:1]
        self.count(len(data))
        if self._spool is None and not self._piece and len(data) <= self._memory_bytes:
            self._piece = data
        else:
            self._put(data)

    def spool(self) -> Spool:
        """Where long bodies are kept: to be received into (``Spool.room``). Raises BadMessage: 507."""
        spool = self._spool
        if spool is None:
            spool = self._spool = Spool(self._memory_bytes, self._blocks, self._space, self._client)
            piece, self._piece = self._piece, b""
            self._put(piece)
        return spool

    def received(self, size: int) -> None:
        """Count and keep what was received into the room of the spool. Raises BadMessage: 413 or 507."""
        self.count(size)
        try:
            self.spool().received(size)
        except OSError as error:
            raise _no_room(error) from None

    def _put(self, data: bytes) -> None:
        try:
            self.spool().put(data)
        except OSError as error:
            raise _no_room(error) from None

    def take(self, ending: bytes = b"") -> Tuple[bytes, Optional[Spool]]:
        """All of it: the bytes to send with the head, and the rest, which is the caller's to clear.

        :param ending: what the chosen coding puts behind the content.
        :raises BadMessage: 507.
        """
        if self._spool is not None and ending:
            self._put(ending)
        spool, self._spool = self._spool, None
        if spool is None:
            piece, self._piece = self._piece, b""
            return piece + ending, None
        if spool.size > min(JOINED_BYTES, self._memory_bytes):
            return b"", spool
        content = b"".join(iter(spool.take, b""))
        spool.clear()
        return content, None

    def clear(self) -> None:
        """Drop what is kept."""
        self._piece = b""
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.clear()
