"""What an HTTP/2 client may send that brings no request forward: counted frame by frame, before anything is understood of it.

hyper-h2 bounds single frames, header lists and open streams, not how often a client may say nothing. Each such frame costs us
some ten microseconds, and some cost an answer, so there is an allowance: it grows with time and with what we send the client,
and a client that has used it up is told to calm down (RFC 9113 section 10.5). Bytes go through here on their way to hyper-h2.
"""

from __future__ import annotations

from h2.errors import ErrorCodes

PREFACE_BYTES = 24
"""RFC 9113 section 3.4."""

HEADER_BYTES = 9

DATA, HEADERS, CONTINUATION = 0, 1, 9
END_STREAM, END_HEADERS = 0x1, 0x4

IDLE_FRAMES = 1000
"""How many frames that bring nothing a client may send at once: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM,
CONTINUATION, unknown ones, and DATA shorter than its own header. A browser sends some ten at the start; Go's server holds up to
10,000 answers to such frames."""

IDLE_FRAMES_PER_S = 100.0
"""How many more for each second that passes."""

BYTES_PER_IDLE_FRAME = 1024
"""And one more for so many bytes of content that we send: a client that reads tells us so, by WINDOW_UPDATE and PING."""

RESETS = 200
"""How many streams a client may reset, before they were answered, at once: a browser that leaves a page resets all of its up to
100. CVE-2023-44487 was used with thousands a second; Twisted allows 1,000."""

RESETS_PER_S = 20.0
"""And for each second that passes; Twisted allows 33."""


FRAME_BYTES = 16384
"""The largest payload that a client may send: SETTINGS_MAX_FRAME_SIZE, which we leave at its least (RFC 9113 section 6.5.2).
hyper-h2 looks only when it has all of a frame, which may be 16 MB by then."""


class Flood(Exception):
    """The client has used up an allowance.

    :ivar reason: a fixed few words.
    :ivar code: what the client is told.
    """

    def __init__(self, reason: str, code: ErrorCodes = ErrorCodes.ENHANCE_YOUR_CALM) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Allowance:
    """A bucket of tokens that fills with time.

    :param burst: how many it holds, and has at first.
    :param rate: how many come back in a second.
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_at")

    def __init__(self, burst: int, rate: float, now: float) -> None:
        self._burst = float(burst)
        self._rate = rate
        self._tokens = self._burst
        self._at = now

    def spend(self, now: float) -> bool:
        """Take one token; False when there is none."""
        self.earn((now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def earn(self, tokens: float) -> None:
        """Put some back."""
        self._tokens = min(self._burst, self._tokens + tokens)


class FrameMeter:
    """Follows the frames of one client.

    :param max_block_bytes: what a header block may have on the wire, HEADERS and CONTINUATION together.
    """

    __slots__ = ("in_block", "_idle", "_resets", "_max_block_bytes", "_block_bytes", "_begun", "_skip")

    def __init__(self, now: float, max_block_bytes: int) -> None:
        self.in_block = False
        """A header block has begun and not ended."""
        self._idle = Allowance(IDLE_FRAMES, IDLE_FRAMES_PER_S, now)
        self._resets = Allowance(RESETS, RESETS_PER_S, now)
        self._max_block_bytes = max_block_bytes
        self._block_bytes = 0
        self._begun = b""
        """The part of a frame's header that has come."""
        self._skip = PREFACE_BYTES
        """How much is still to come of what need not be looked at."""

    def feed(self, data: bytes, now: float) -> None:
        """Count the frames whose headers are in ``data``. Raises Flood."""
        position, size = self._skip, len(data)
        while position < size:
            begun = self._begun
            header = begun + data[position : position + HEADER_BYTES - len(begun)]
            if len(header) < HEADER_BYTES:
                self._begun = header
                self._skip = 0
                return
            position += HEADER_BYTES - len(begun)
            self._begun = b""
            length = header[0] << 16 | header[1] << 8 | header[2]
            self._count(length, header[3], header[4], now)
            position += length
        self._skip = position - size

    def _count(self, length: int, kind: int, flags: int, now: float) -> None:
        if length > FRAME_BYTES:
            raise Flood("frame-size", ErrorCodes.FRAME_SIZE_ERROR)
        if kind == DATA:
            if length >= HEADER_BYTES or flags & END_STREAM:
                return
        elif kind in (HEADERS, CONTINUATION):
            self._block_bytes = length if kind == HEADERS else self._block_bytes + length
            self.in_block = not flags & END_HEADERS
            if self._block_bytes > self._max_block_bytes:
                raise Flood("header-block")
            if kind == HEADERS:
                return
        if not self._idle.spend(now):
            raise Flood("idle-frames")

    def sent(self, size: int) -> None:
        """``size`` bytes of content were sent to the client."""
        self._idle.earn(size / BYTES_PER_IDLE_FRAME)

    def reset(self, now: float) -> None:
        """A stream was reset before it was answered. Raises Flood."""
        if not self._resets.spend(now):
            raise Flood("rapid-reset")
