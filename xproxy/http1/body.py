"""Bodies (RFC 9112 sections 6 and 7): readers that say where a body ends, and the chunked coding on the way out."""

from __future__ import annotations

import re
from typing import List, Optional, Tuple, Union

from xproxy.http1 import grammar
from xproxy.http1.errors import BadMessage
from xproxy.http1.limits import HeadLimits
from xproxy.http1.trailers import passed_on


class LengthBody:
    """A body of known length. ``remaining``: bytes of content that are still to come."""

    __slots__ = ("remaining",)

    def __init__(self, length: int) -> None:
        self.remaining = length

    def bound(self, most_bytes: int) -> None:
        """Raises BadMessage (413) when more than ``most_bytes`` were announced."""
        if self.remaining > most_bytes:
            raise BadMessage(413, "body-too-large")

    def feed(self, data: bytes) -> Tuple[bytes, Optional[bytes]]:
        """Take the bytes that were read. Returns (content, rest); rest is None while the body goes on, else the bytes behind
        it."""
        remaining = self.remaining
        if len(data) < remaining:
            self.remaining = remaining - len(data)
            return data, None
        self.remaining = 0
        if len(data) == remaining:
            return data, b""
        return data[:remaining], data[remaining:]


class CloseBody:
    """A response body that ends with the connection."""

    __slots__ = ()

    def feed(self, data: bytes) -> Tuple[bytes, Optional[bytes]]:
        """Take the bytes that were read: all of them are content, always."""
        return data, None


_SIZE = rb"0*([0-9A-Fa-f]{1,15})[ \t]*"
_UNQUOTED = rb"[\t !#-~\x80-\xff]*"
_QUOTED = rb"\"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*\""
_chunk_line = re.compile(_SIZE + rb"(?:;" + _UNQUOTED + rb"(?:" + _QUOTED + _UNQUOTED + rb")*)?\r\n").match
"""Extensions are ignored, whatever they say (RFC 9112 section 7.1.1), so they need no grammar. But a quote that is not closed
would go on behind the line end to a reader that knows quotes."""
_begun_chunk_line = re.compile(rb"(?:0*[0-9A-Fa-f]{1,15}[ \t]*(?:;[\t -~\x80-\xff]*)?\r?)?").fullmatch

MAX_OVERHEAD = 16384
"""By how many bytes chunk framing may outweigh content, as Go's net/http (CVE-2023-39326): tiny chunks with long extensions
cost more to read than they bring."""


class ChunkedBody:
    """A chunked body, decoded.

    ``trailers`` are the trailer lines that may be forwarded, each ended by CRLF, once the body has ended.
    """

    __slots__ = ("trailers", "_limits", "_pending", "_left", "_in_trailers", "_searched", "_overhead", "_room")

    def __init__(self, limits: HeadLimits) -> None:
        self.trailers = b""
        self._limits = limits
        self._pending = b""
        """The beginning of a line that is not complete."""
        self._left = 0
        """How many bytes of this chunk's data, and of the CRLF behind it, are still to come."""
        self._in_trailers = False
        self._searched = 0
        """How many bytes of the trailer section were found sound."""
        self._overhead = 0
        self._room = float("inf")
        """How many bytes more may be announced."""

    def bound(self, most_bytes: int) -> None:
        """From now on ``feed`` raises BadMessage (413) when chunks announce more than ``most_bytes``, before these come."""
        self._room = most_bytes

    def feed(self, data: bytes) -> Tuple[bytes, Optional[bytes]]:
        """Take the bytes that were read. Returns (content, rest); rest is None while the body goes on, else the bytes behind
        it.

        :raises BadMessage: 400, 431 for trailers, or 413 (see ``bound``).
        """
        if self._pending:
            data = self._pending + data
            self._pending = b""
        pieces: List[bytes] = []
        position = 0
        while not self._in_trailers:
            if self._left:
                position = self._chunk_data(data, position, pieces)
                if self._left:
                    return b"".join(pieces), None
            match = _chunk_line(data, position)
            if match is None:
                self._pending = self._begun_line(data, position)
                return b"".join(pieces), None
            length = match.end() - position
            if length > self._limits.chunk_line:
                raise BadMessage(400, "chunk-line-too-long")
            position += length
            size = int(match[1], 16)
            end = position + size
            if not size:
                self._in_trailers = True
                break
            self._room -= size
            if self._room < 0:
                raise BadMessage(413, "body-too-large")
            self._overhead = max(0, self._overhead + length - 16 - 2 * size)
            if self._overhead > MAX_OVERHEAD:
                raise BadMessage(400, "chunk-overhead")
            if data[end : end + 2] == b"\r\n":
                pieces.append(data[position:end])
                position = end + 2
            else:
                self._left = size + 2
        return b"".join(pieces), self._end(data, position)

    def _chunk_data(self, data: bytes, position: int, pieces: List[bytes]) -> int:
        """Take the part of a chunk's data and its CRLF that is there; returns where that part ends."""
        content = self._left - 2
        if content > 0:
            piece = data[position : position + content]
            pieces.append(piece)
            self._left -= len(piece)
            position += len(piece)
        if self._left <= 2:
            found = data[position : position + self._left]
            if not b"\r\n"[2 - self._left :].startswith(found):
                raise BadMessage(400, "chunk-end")
            self._left -= len(found)
            position += len(found)
        return position

    def _begun_line(self, data: bytes, position: int) -> bytes:
        """The beginning of a chunk line, when it can still become one."""
        begun = data[position : position + self._limits.chunk_line]
        if _begun_chunk_line(begun) is None:
            raise BadMessage(400, "chunk-size")
        if len(begun) == self._limits.chunk_line:
            raise BadMessage(400, "chunk-line-too-long")
        return begun

    def _end(self, data: bytes, position: int) -> Optional[bytes]:
        """The trailer section: lines, then an empty one."""
        if data.startswith(b"\r\n", position):
            return data[position + 2 :]
        end = data.find(b"\r\n\r\n", max(position, self._searched - 3))
        if end < 0:
            fault = grammar.fault(data, position, self._searched)
            if fault:
                raise BadMessage(400, fault)
            self._pending = data[position:]
            self._searched = len(self._pending)
            if self._searched > self._limits.trailers + 2:
                raise BadMessage(431, "trailers-too-large")
            return None
        self.trailers = passed_on(data[position : end + 2], self._limits)
        return data[end + 4 :]


BodyReader = Union[LengthBody, ChunkedBody, CloseBody]


def encode_chunk(data: bytes) -> bytes:
    """One chunk; nothing for no data, which would be the last chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(trailers: bytes = b"") -> bytes:
    """The end of a chunked body. ``trailers`` are lines ended by CRLF, as ``ChunkedBody.trailers``."""
    return b"0\r\n" + trailers + b"\r\n"
