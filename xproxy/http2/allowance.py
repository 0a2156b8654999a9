"""How many frames an HTTP/2 client may send that bring no request forward, and how many streams may end in a reset.

Each such frame costs us some microseconds, and some cost an answer, so there is an allowance: it grows with time and with the
content that we send, and a client that has used its allowance up is told to calm down (RFC 9113 section 10.5). ``control``
spends the allowances.
"""

from __future__ import annotations

IDLE_FRAMES = 1000
"""How many frames that bring nothing a client may send at once: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM,
CONTINUATION, unknown ones, DATA shorter than its own header, and frames on streams that are over. A browser sends some
ten at the start; Go's server holds up to 10,000 answers to such frames."""

IDLE_FRAMES_PER_S = 100.0
"""How many more for each second that passes."""

BYTES_PER_IDLE_FRAME = 1024
"""And one more for so many bytes of content that we send: a client that reads tells us so, by WINDOW_UPDATE and PING."""

RAPID_S = 1.0
"""A client's reset counts when its stream is younger. CVE-2023-44487 resets streams at once, which gets around the bound on how
many are open; a stream that was open for a second has used a place of MAX_STREAMS for it, as any request does. Envoy draws the
line there too (premature_reset_min_stream_lifetime_seconds)."""

RESETS = 500
"""How many streams may end in a reset at once: those younger than RAPID_S that the client resets, and all that we are made to
reset. As Envoy's premature_reset_total_stream_count; a browser that leaves a page, or a map that is dragged, cancels 100."""

RESETS_PER_S = 50.0
"""And for each second that passes. A page that searches while somebody types, or a map, cancels some 30 requests a second for
as long as the fingers hold; CVE-2023-44487 was used with thousands a second on each connection."""

RESETS_PER_ANSWER = 1.0
"""And for each answer that we have sent whole: a client that takes half of the answers it asks for is no attacker, as Envoy and
h2o see it too."""


class Allowance:
    """A bucket of tokens that fills with time.

    :param burst: how many tokens the bucket holds, and has at first.
    :param rate: how many tokens come back in a second.
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_at")

    def __init__(self, burst: int, rate: float, now: float) -> None:
        self._burst = float(burst)
        self._rate = rate
        self._tokens = self._burst
        self._at = now

    def spend(self, now: float, earned: float = 0.0) -> bool:
        """Take one token; False when there is none.

        :param earned: how many tokens came back since the last call, beside those that time brings.
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
