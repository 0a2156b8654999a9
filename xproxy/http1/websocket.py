"""Where the frames of a WebSocket end (RFC 6455 section 5.2): known from their lengths alone, for who wants to put one between.

Nothing of their content is looked at. Control frames may stand between the fragments of a message (section 5.4), so each end of
a frame will do.
"""

from __future__ import annotations

GOING_AWAY = b"\x88\x02\x03\xe9"
"""A server's Close frame with the code 1001: section 7.4.1, "such as a server going down"."""

_CLOSE = 8
_MASK_BYTES = 4
_LONGEST_HEADER_BYTES = 14
_LENGTH_BYTES = {126: 2, 127: 8}
"""Of the extended length, by what stands in the place of the length."""


class Frames:
    """Counts the frames of one direction.

    :ivar between: all that came was whole frames.
    :ivar closing: a Close frame was among them: none may follow it (section 5.5.1).
    """

    __slots__ = ("between", "closing", "_left", "_header")

    def __init__(self) -> None:
        self.between = True
        self.closing = False
        self._left = 0
        """Bytes of the frame that are to come."""
        self._header = b""
        """The beginning of a header."""

    def passed(self, data: bytes) -> None:
        """``data`` is what comes next."""
        at, size = 0, len(data)
        while at < size:
            at = self._step(data, at)

    def first_end(self, data: bytes) -> int:
        """The same, up to the first end of a frame; gives where that is, -1: not in ``data``."""
        at, size = 0, len(data)
        while at < size:
            at = self._step(data, at)
            if self.between:
                return at
        return -1

    def _step(self, data: bytes, at: int) -> int:
        """One header, or what is there of the rest of a frame; gives where it ends in ``data``."""
        left = self._left
        if left:
            passed = min(left, len(data) - at)
            self._left = left - passed
            self.between = passed == left
            return at + passed
        before = len(self._header)
        header = self._header + data[at : at + _LONGEST_HEADER_BYTES - before]
        self.between = False
        if len(header) < 2:
            self._header = header
            return len(data)
        length = header[1] & 0x7F
        more = _LENGTH_BYTES.get(length, 0)
        needed = 2 + more + (_MASK_BYTES if header[1] & 0x80 else 0)
        if len(header) < needed:
            self._header = header
            return len(data)
        self._header = b""
        self._left = int.from_bytes(header[2 : 2 + more], "big") if more else length
        self.between = not self._left
        if header[0] & 0x0F == _CLOSE:
            self.closing = True
        return at + needed - before
