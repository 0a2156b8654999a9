"""What of an answer waits for an HTTP/2 client: the head, one piece of content, then a backlog in memory and file.

Only answers that can't be sent at once and whole have one; it hands out one frame whenever the connection has room for it.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Optional

from ...http2.connection import Connection
from ...http2.streams import OpenStream
from ...net.bodies.space import Space
from ...net.bodies.spool import Backlog

PIECE_BYTES = 64 * 1024
"""What of one piece of content may stay in memory beside the backlog, when the client's window is shut."""


class Sent(Enum):
    """What came of a turn."""

    LAST = "the answer is whole"
    MORE = "another frame could be sent"
    ALL = "there is nothing more for now"
    NO_ROOM = "the client's window is shut"


class WaitingAnswer:
    """Of one stream.

    :param head: the header block.
    :param memory_bytes: what the backlog may hold in memory.
    :param space: which is asked for its file, for ``client``.
    :ivar complete: no more content follows.
    :ivar trailers: the header block behind the content, empty: none; known when it is complete.
    """

    __slots__ = ("complete", "trailers", "_earned", "_head", "_piece", "_at", "_backlog", "_memory_bytes", "_space", "_client")

    def __init__(self, head: bytes, memory_bytes: int, space: Space, client: str) -> None:
        self.complete = False
        self._earned = 0
        self.trailers = b""
        self._head = head
        self._piece = b""
        self._at = 0
        """How much of the piece is sent."""
        self._backlog: Optional[Backlog] = None
        self._memory_bytes = memory_bytes
        self._space = space
        self._client = client

    @property
    def backlog_bytes(self) -> int:
        """What waits beside the piece that is being sent."""
        return self._backlog.unread if self._backlog is not None else 0

    def exceeds(self, most_bytes: int) -> bool:
        """Whether more than so much waits there, or than there is room for in files."""
        return self._backlog is not None and self._backlog.exceeds(most_bytes)

    def put(self, content: bytes) -> bool:
        """More content. True: it is the next to be sent, and its turn may come at once. Raises OSError: the disk is full."""
        if self._at < len(self._piece) or self.backlog_bytes:
            if content:
                self._keep(content)
            return False
        self._piece, self._at = content, 0
        return True

    def bound(self) -> None:
        """Hold no long piece whose turn is over. Raises OSError: the disk is full."""
        if len(self._piece) - self._at > PIECE_BYTES:
            rest, self._piece, self._at = self._piece[self._at :], b"", 0
            self._keep(rest)

    def _keep(self, content: bytes) -> None:
        if self._backlog is None:
            self._backlog = Backlog(self._memory_bytes, self._space, self._client)
        self._backlog.put(content)

    def send_frame(self, h2: Connection[Any, Any], stream: OpenStream) -> Sent:
        """Send the head, or as much content as one frame holds."""
        head, self._head = self._head, b""
        if self._at >= len(self._piece):
            self._piece, self._at = (self._backlog.take() if self._backlog is not None else b""), 0
        if head:
            last = self.complete and not self._piece and not self.trailers
            h2.send_head(stream, head, last)
            if last:
                return Sent.LAST
        if not self._piece:
            return self._send_end(h2, stream)
        room = h2.room(stream)
        if room <= 0:
            return Sent.NO_ROOM
        data = self._piece[self._at : self._at + room]
        self._at += len(data)
        self._earned += len(data)
        rest = self._at < len(self._piece) or self.backlog_bytes > 0
        last = self.complete and not rest and not self.trailers
        h2.send_data(stream, data, last)
        if last:
            return Sent.LAST
        return Sent.MORE if rest or self.complete else Sent.ALL

    def earned(self) -> int:
        """How much of the content was sent since this was asked last."""
        earned, self._earned = self._earned, 0
        return earned

    def _send_end(self, h2: Connection[Any, Any], stream: OpenStream) -> Sent:
        if not self.complete:
            return Sent.ALL
        if self.trailers:
            h2.send_head(stream, self.trailers, True)
        else:
            h2.send_data(stream, b"", True)
        return Sent.LAST

    def clear(self) -> None:
        """Drop everything."""
        self._head = self._piece = b""
        if self._backlog is not None:
            self._backlog.clear()
