"""The polite end of an idle slot: what a service says that will serve nothing more on it."""

from __future__ import annotations

from xproxy.http1.errors import BadMessage
from xproxy.http1.limits import HeadLimits
from xproxy.http1.request import head_end
from xproxy.http1.response import parse_response_head

CLOSING_RESPONSE = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\nXproxy-Slot: closing\r\n\r\n"

MAX_GOODBYE_BYTES = 4096
"""How much of what an idle slot sends is looked at."""

_LIMITS = HeadLimits(head=MAX_GOODBYE_BYTES, header=MAX_GOODBYE_BYTES)


def is_goodbye(data: bytes) -> bool:
    """Whether these are the bytes of a service that closes an idle slot politely: a whole 503 with ``Xproxy-Slot: closing``."""
    data = data[:MAX_GOODBYE_BYTES]
    try:
        end = head_end(data, _LIMITS)
        head = parse_response_head(data[:end], _LIMITS) if end else None
    except BadMessage:
        return False
    return head is not None and head.status == 503 and head.slot_closing
