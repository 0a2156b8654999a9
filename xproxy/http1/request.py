"""The head of a request (RFC 9112 section 3): from the bytes of a client to what the proxy decides by."""

from __future__ import annotations

import re
from typing import Optional, Union

from xproxy.http1 import grammar, names
from xproxy.http1.body import BodyReader, ChunkedBody, LengthBody
from xproxy.http1.errors import BadMessage
from xproxy.http1.fields import Fields, parse_fields
from xproxy.http1.limits import MEMO_BYTES, MEMO_ENTRIES, HeadLimits
from xproxy.http1.target import split_target

MAX_METHOD_BYTES = 32
"""The longest registered method has 18 (IANA: BASELINE-CONTROL 16, UPDATEREDIRECTREF 17, VERSION-CONTROL 15)."""

_line = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) ([!-\"$-~]+) HTTP/1\.([01])").fullmatch
_any_version = re.compile(rb"[^ ]+ [^ ]+ HTTP/[0-9]\.[0-9]").fullmatch


class RequestHead:
    """One checked request head.

    :ivar target: as received.
    :ivar minor: 0 or 1, the version being HTTP/1.x.
    :ivar host: the effective authority: that of the target, else Host; empty only in HTTP/1.0.
    :ivar path: path and query, for forwarding and (through ``target.match_path``) matching; ``*``; empty for CONNECT.
    """

    __slots__ = ("method", "target", "minor", "fields", "host", "path")

    def __init__(self, method: bytes, target: bytes, minor: int, fields: Fields, host: bytes, path: bytes) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.fields = fields
        self.host = host
        self.path = path

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants its connection to go on (RFC 9112 section 9.3)."""
        fields = self.fields
        return not fields.close and (self.minor == 1 or fields.keep_alive)


def head_end(buffer: Union[bytes, bytearray], limits: HeadLimits, start: int = 0, searched: int = 0) -> int:
    """Where the head that begins at ``start`` ends: the index just past its empty line, 0 while more is needed.

    :param searched: how much of the buffer an earlier call has looked at, which then is not looked at again.
    :raises BadMessage: as soon as no more bytes could make it a head: 400, 414, 431.
    """
    end = buffer.find(b"\r\n\r\n", max(start, searched - 3))
    if end >= 0:
        return end + 4
    broken = grammar.broken_text.search(buffer, max(start, searched - 2))
    if broken is not None and not (broken[0] == b"\r" and broken.end() == len(buffer)):
        raise BadMessage(400, {b"\r": "bare-cr", b"\n": "bare-lf", b"\0": "nul"}.get(bytes(broken[0]), "control-character"))
    if buffer.startswith(b"\r\n", start):
        start += 2
    size = len(buffer) - start
    if size > limits.request_line and buffer.find(b"\r\n", start, start + limits.request_line) < 0:
        raise BadMessage(414, "request-line-too-long")
    if size > limits.request_line + limits.head:
        raise BadMessage(431, "head-too-large")
    return 0


def parse_request_head(head: bytes, limits: HeadLimits, previous: Optional[Fields] = None) -> RequestHead:
    """Parse and check a head.

    :param head: all of it, the empty line included; one empty line before it is ignored (RFC 9112 section 2.2).
    :param previous: the fields of the request before on this connection: when the block is the same, they are used again.
    :raises BadMessage: 400, 414, 417, 431, 501 or 505.
    """
    if head[:2] == b"\r\n":
        head = head[2:]
    end = head.find(b"\r\n")
    line = head[:end]
    block = head[end + 2 : -2]
    match = _line(line)
    if match is None or len(line) + 2 > limits.request_line:
        raise _bad_line(line, limits)
    if previous is not None and previous.block == block:
        fields = previous
    else:
        known = limits.request_memo.get(block)
        fields = _new_fields(block, limits) if known is None else known
    method, target, digit = match.groups()
    minor = 1 if digit == b"1" else 0
    host, path = split_target(method, target, fields.host)
    if minor:
        if not fields.host:
            raise BadMessage(400, "no-host")
    elif fields.chunked:
        raise BadMessage(400, "te-in-http-1.0")
    return RequestHead(method, target, minor, fields, host, path)


def _new_fields(block: bytes, limits: HeadLimits) -> Fields:
    fields = parse_fields(block, limits, names.REQUEST)
    if len(block) <= MEMO_BYTES and not fields.secret:
        if len(limits.request_memo) >= MEMO_ENTRIES:
            limits.request_memo.clear()
        limits.request_memo[block] = fields
    return fields


def _bad_line(line: bytes, limits: HeadLimits) -> BadMessage:
    """Why a request line is refused (RFC 9112 section 3)."""
    if len(line) + 2 > limits.request_line:
        return BadMessage(414, "request-line-too-long")
    method = line.partition(b" ")[0]
    if len(method) > MAX_METHOD_BYTES and grammar.token(method):
        return BadMessage(501, "method-too-long")
    if _any_version(line) and line[-3:] not in (b"1.0", b"1.1"):
        return BadMessage(505, "version")
    return BadMessage(400, "request-line")


def request_body(head: RequestHead, limits: HeadLimits) -> Optional[BodyReader]:
    """The reader of a request's body (RFC 9112 section 6.3), None when there is none."""
    if head.fields.chunked:
        return ChunkedBody(limits)
    return LengthBody(head.fields.content_length) if head.fields.content_length > 0 else None
