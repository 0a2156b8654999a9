"""What an HTTP/2 client may send that brings no request forward.

Each such frame costs us some microseconds, and some cost an answer, so there is an allowance: it grows with time and with what
we send the client, and a client that has used it up is told to calm down (RFC 9113 section 10.5). ``connection`` spends it.
"""

from __future__ import annotations

IDLE_FRAMES = 1000
"""How many frames that bring nothing a client may send at once: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM,
CONTINUATION, unknown ones, DATA shorter than its own header, and whatever comes on streams that are over. A browser sends some
ten at the start; Go's server holds up to 10,000 answers to such frames."""

IDLE_FRAMES_PER_S = 100.0
"""How many more for each second that passes."""

BYTES_PER_IDLE_FRAME = 1024
"""And one more for so many bytes of content that we send: a client that reads tells us so, by WINDOW_UPDATE and PING."""

RESETS = 200
"""How many streams may end in a reset before they were answered, at once, whoever resets them: a browser that leaves a page
resets all of its up to 100. CVE-2023-44487 was used with thousands a second; Twisted allows 1,000."""

RESETS_PER_S = 20.0
"""And for each second that passes; Twisted allows 33."""


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

    def spend(self, now: float, earned: float = 0.0) -> bool:
        """Take one token; False when there is none.

        :param earned: how many came back since the last time beside those that time brings.
        """
        tokens = self._tokens + (now - self._at) * self._rate + earned
        self._at = now
        if tokens > self._burst:
            tokens = self._burst
        if tokens < 1.0:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1.0
        return True
