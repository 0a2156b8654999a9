"""How large the parts of a head, a trailer section and a chunk line may be, and the heads that were parsed under these
limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, TypeVar

import attr

if TYPE_CHECKING:
    from xproxy.http1.request import RequestHead
    from xproxy.http1.response import ResponseHead

MEMO_ENTRIES = 512
"""A memo that has so many entries is emptied. With ``MEMO_BYTES`` a memo takes 3 MB at most."""
MEMO_BYTES = 2048
"""A longer head is not remembered: long heads are rare, and parsing one costs little beside moving it."""


@attr.frozen
class HeadLimits:
    """Sizes are in bytes, the line ends included. Past ``request_line``: 414; past the others: 431 (in a response: 502).

    The two memos belong to the limits because their heads were checked under these: other limits, other memos. The memos hold
    immutable values only and no head that carries a credential (see ``docs/architecture/http1.md``).
    """

    request_line: int = 8192
    """RFC 9112 section 3 recommends at least 8,000 octets; nginx large_client_header_buffers 8k."""
    header: int = 8192
    """One header line, as nginx's large_client_header_buffers."""
    head: int = 32768
    """All header lines together, as nginx's 4 buffers of 8k."""
    header_count: int = 100
    """As HAProxy's tune.http.maxhdr (101)."""
    trailers: int = 8192
    """All trailer lines together; a single one is bounded by ``header``, their number by ``header_count``."""
    chunk_line: int = 256
    """A chunk size with its extensions, which nobody uses; llhttp and Go allow 16k for all extensions of a body."""

    request_memo: Dict[bytes, RequestHead] = attr.field(init=False, factory=dict, eq=False, repr=False)
    """Heads of requests."""
    response_memo: Dict[bytes, ResponseHead] = attr.field(init=False, factory=dict, eq=False, repr=False)
    """Heads of responses."""


DEFAULT_LIMITS = HeadLimits()

_Head = TypeVar("_Head")


def remember(memo: Dict[bytes, _Head], head: bytes, parsed: _Head) -> None:
    """Keep a parsed head, in bounds: a full memo starts anew, which costs one parse for each head that is still in use."""
    if len(head) <= MEMO_BYTES:
        if len(memo) >= MEMO_ENTRIES:
            memo.clear()
        memo[head] = parsed
