"""The head of a response (RFC 9112 section 4): from the bytes of a service to the values by which the proxy decides."""

from __future__ import annotations

import re
from typing import Optional, Tuple

from xproxy.http1 import names
from xproxy.http1.body import BodyReader, ChunkedBody, CloseBody, LengthBody
from xproxy.http1.errors import BadMessage
from xproxy.http1.fields import Fields, parse_fields
from xproxy.http1.limits import DEFAULT_LIMITS, HeadLimits, remember

_line = re.compile(rb"HTTP/(?:1\.([0-9])|2\.0) +([1-9][0-9][0-9])(?: ([\t -~\x80-\xff]*))?\r\n").match
"""More spaces than one are ignored (RFC 9112 section 4), a later version means 1.1 (RFC 9110 section 2.5), and statuses past
599, which mean nothing, are the client's to judge (section 15)."""


class ResponseHead:
    """One checked response head; immutable, so responses share it.

    :ivar minor: 0 or 1, the version being HTTP/1.x.
    :ivar slot_closing: ``Xproxy-Slot: closing``: the service did not and will not serve the request that this crossed.
    :ivar unbuffered: ``X-Accel-Buffering: no``, or ``text/event-stream``: the client wants each piece at once.
        ``X-Accel-Buffering: yes`` overrules the type.
    :ivar keep_alive: the slot may be used again, as far as the head says (RFC 9112 section 9.3). A body that ends with the
        connection says otherwise: see ``response_body``.
    """

    __slots__ = ("status", "minor", "reason", "fields", "slot_closing", "unbuffered", "keep_alive", "last_variant", "http2")

    def __init__(self, status: int, minor: int, reason: bytes, fields: Fields) -> None:
        special = fields.special
        self.status = status
        self.minor = minor
        self.reason = reason
        self.fields = fields
        self.slot_closing = b"xproxy-slot" in special and special[b"xproxy-slot"].lower() == b"closing"
        if b"x-accel-buffering" in special:
            self.unbuffered = special[b"x-accel-buffering"].lower() == b"no"
        else:
            kind = special.get(b"content-type", b"")
            self.unbuffered = len(kind) >= 17 and kind[:17].lower() == b"text/event-stream"
        self.keep_alive = not fields.close and (minor == 1 or fields.keep_alive) and not fields.framing_fault
        if status == 204 and (fields.chunked or fields.content_length > 0):
            self.keep_alive = False  # Content may come that is none.
        self.last_variant: Optional[Tuple[Tuple[int, int, bool, bool, bytes], bytes]] = None
        """The head that a client got last for this one, and the conditions under which; kept by ``forward.client_head``."""
        self.http2: Optional[Tuple[int, bytes, bytes, bytes]] = None
        """The same for HTTP/2: length, Via, Strict-Transport-Security and header block; kept by ``http2.heads``."""


def parse_response_head(head: bytes, limits: HeadLimits) -> ResponseHead:
    """Parse and check a head.

    :param head: the whole head, with the empty line at its end.
    :raises BadMessage: the status means nothing here, the caller answers 502.
    """
    known = limits.response_memo.get(head)
    if known is not None:
        return known
    match = _line(head)
    if match is None or match.end() > limits.request_line or not head.endswith(b"\r\n\r\n"):
        raise BadMessage(400, "status-line")
    fields = parse_fields(head[match.end() : -2], limits, names.RESPONSE)
    digit, code, reason = match.groups()
    minor, status = 0 if digit == b"0" else 1, int(code)
    if fields.chunked and not minor:
        fields.framing_fault = "te-in-http-1.0"  # nginx reads chunks there, HAProxy to the end of the connection.
    parsed = ResponseHead(status, minor, reason or b"", fields)
    if not fields.secret:
        remember(limits.response_memo, head, parsed)
    return parsed


def response_body(head: ResponseHead, method: bytes, limits: HeadLimits = DEFAULT_LIMITS) -> Optional[BodyReader]:
    """The reader of a response's body (RFC 9112 section 6.3), None when there is none.

    A CloseBody means that the slot ends with this response.

    :param method: of the request that the response answers.
    :raises BadMessage: the framing is faulty, of a response that has a body. Where there can be none, Content-Length and
        Transfer-Encoding mean nothing, whatever they say.
    """
    status, fields = head.status, head.fields
    if status < 200 or status in (204, 304) or method == b"HEAD" or (method == b"CONNECT" and status < 300):
        return None
    if fields.framing_fault:
        raise BadMessage(400, fields.framing_fault)
    if fields.chunked:
        return ChunkedBody(limits)
    if fields.content_length < 0:
        return CloseBody()
    return LengthBody(fields.content_length) if fields.content_length else None
