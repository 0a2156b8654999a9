"""Which trailer fields may be forwarded (RFC 9110 section 6.5.1)."""

from __future__ import annotations

from xproxy.http1.fields import split_block
from xproxy.http1.limits import HeadLimits
from xproxy.http1.names import FOLD, REQUEST, RESPONSE

_FORBIDDEN = frozenset((
    # message framing and routing are among the names taken by either side, and so are the words of trusted proxies
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


def may_be_trailer(spelling: bytes) -> bool:
    """Whether a trailer field with this name goes on. Others are dropped, since a recipient could merge them into the head."""
    name = spelling.lower().translate(FOLD)
    return name not in _FORBIDDEN and not REQUEST.look_up(name) and not RESPONSE.look_up(name)


def passed_on(block: bytes, limits: HeadLimits) -> bytes:
    """The lines of a trailer section that go on, each ended by CRLF.

    :param block: all of them, each ended by CRLF.
    :raises BadMessage: 400 or 431.
    """
    return b"".join([line for line, name in split_block(block, limits, limits.trailers)[1] if may_be_trailer(name)])
