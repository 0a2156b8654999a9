"""Which trailer fields may be forwarded (RFC 9110 section 6.5.1)."""

from __future__ import annotations

from xproxy.http1.names import PLAIN, REQUEST, RESPONSE

_FORBIDDEN = frozenset((
    # message framing and routing are among the names taken by either side, and so is what only a trusted proxy may say
    # request modifiers
    b"cache-control", b"max-forwards", b"pragma", b"range",
    b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range",
    # authentication
    b"authorization", b"cookie", b"set-cookie", b"www-authenticate", b"authentication-info",
    # how a response is controlled
    b"age", b"date", b"expires", b"location", b"retry-after", b"vary", b"warning",
    # how the content is processed
    b"content-encoding", b"content-type", b"content-range", b"trailer",
    # written by us
    b"via",
))  # fmt: skip


def may_be_forwarded(block: bytes) -> bytes:
    """The lines of a checked trailer section without those that a recipient could merge into the head to our cost."""
    lines = [line for line in block.split(b"\r\n")[:-1] if not _forbidden(line.partition(b":")[0])]
    return b"\r\n".join([*lines, b""])


def _forbidden(raw: bytes) -> bool:
    name = raw.lower().replace(b"_", b"-")
    return name in _FORBIDDEN or REQUEST.look_up(name) is not PLAIN or RESPONSE.look_up(name) is not PLAIN
