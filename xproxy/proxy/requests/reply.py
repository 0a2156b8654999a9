"""What a service's response becomes on its way to the client, as far as it is the same for every protocol. Pure."""

from __future__ import annotations

from typing import Optional

from ... import config as cfg
from ...http1.body import BodyReader, ChunkedBody
from ...http1.response import ResponseHead
from .policy import Destination

STREAM_BYTES = 64 * 1024
"""How much of a streamed response may wait for a slow client."""

CLIENT_LEFT = 499
"""The status, in logs and counts, of a request whose client left without an answer, as nginx's."""


def response_length(head: ResponseHead, method: bytes, content: bytes, body: Optional[BodyReader], complete: bool) -> int:
    """The Content-Length that the client is given, -1: none (RFC 9110 section 8.6).

    :param method: of the request.
    :param content: what there is of it now; ``complete``: all of it.
    :param body: its reader, None when there is none.
    """
    if body is None:
        if method == b"HEAD" or head.status == 304:
            return head.fields.content_length
        return 0 if head.status != 204 else -1
    length = head.fields.content_length
    if length < 0 and complete and not (isinstance(body, ChunkedBody) and body.trailers):
        return len(content)
    return length


def is_streamed(head: ResponseHead, to: Destination) -> bool:
    """Whether the client is given each piece of a response when it comes."""
    return head.unbuffered or not to.buffering


def backlog_bytes(head: ResponseHead, to: Destination, limits: cfg.LimitsConfig) -> int:
    """How much of a response may wait for its client; past it the slot is read no further."""
    if is_streamed(head, to):
        return STREAM_BYTES
    return limits.response_memory + limits.response_file
