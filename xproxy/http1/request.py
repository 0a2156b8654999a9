"""The head of a request (RFC 9112 section 3): from the bytes of a client to the values by which the proxy decides."""

from __future__ import annotations

import re
from typing import Optional, Union

from xproxy.http1 import grammar, names
from xproxy.http1.body import ChunkedBody, LengthBody
from xproxy.http1.errors import BadMessage
from xproxy.http1.fields import Fields, parse_fields
from xproxy.http1.limits import HeadLimits, remember
from xproxy.http1.target import split_target

MAX_METHOD_BYTES = 32
"""The longest registered method has 18 (IANA: BASELINE-CONTROL 16, UPDATEREDIRECTREF 17, VERSION-CONTROL 15)."""

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE", b"PROPFIND", b"REPORT", b"SEARCH"))
"""RFC 9110 section 9.2.2, and those safe methods of the IANA registry that clients use."""

_METHOD = rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32})"
_common_line = re.compile(_METHOD + rb" (/[!\"$->@-\[\]-~]*(?:\?[!\"$-~]*)?) HTTP/1\.([01])\r\n").match
"""A request line with the origin-form, in one go. No fragment, as servers do not agree what a ``#`` in a target means
(CVE-2023-45539); no backslash in the path, which some servers take for a slash."""
_line = re.compile(_METHOD + rb" +([!\"$-~]+) +HTTP/1\.([0-9])").fullmatch
_empty_lines = re.compile(rb"(?:\r\n)*").match
_any_version = re.compile(rb"[^ ]+ [^ ]+ HTTP/[0-9]\.[0-9]").fullmatch


class RequestHead:
    """One checked request head.

    :ivar target: as received.
    :ivar minor: 0 or 1, the version being HTTP/1.x.
    :ivar host: the effective authority: that of the target, else Host; empty only in HTTP/1.0.
    :ivar path: path and query, for forwarding and (see ``paths``) matching; ``*``; empty for CONNECT.
    :ivar keep_alive: the client wants its connection to go on (RFC 9112 section 9.3).
    :ivar expect_continue: the client waits for a 100 (RFC 9110 section 10.1.1: never in HTTP/1.0).
    :ivar upgrade: the protocols the client would switch to, empty: none (RFC 9110 section 7.8: never in HTTP/1.0).
    """

    __slots__ = ("method", "target", "minor", "fields", "host", "path", "keep_alive", "expect_continue", "upgrade")

    def __init__(self, method: bytes, target: bytes, minor: int, fields: Fields, host: bytes, path: bytes) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.fields = fields
        self.host = host
        self.path = path
        if minor:
            self.keep_alive = not fields.close
            self.expect_continue = fields.expect_continue
            self.upgrade = fields.upgrade
        else:
            self.keep_alive = fields.keep_alive and not fields.close
            self.expect_continue = False
            self.upgrade = b""

    def with_fields(self, fields: Fields) -> RequestHead:
        """The same request with other fields."""
        return RequestHead(self.method, self.target, self.minor, fields, self.host, self.path)


def head_end(buffer: Union[bytes, bytearray], limits: HeadLimits, start: int = 0, searched: int = 0) -> int:
    """Where the head that begins at ``start`` ends: the index just past its empty line, 0 while more is needed.

    :param searched: how much of the buffer an earlier call has looked at, which then is not looked at again.
    :raises BadMessage: as soon as no further bytes could complete a head: 400, 414, 431.
    """
    end = buffer.find(b"\r\n\r\n", searched - 3 if searched > start + 3 else start)
    if end >= 0:
        return end + 4 if buffer[start] != 13 else _end_behind_empty_lines(buffer, limits, start, searched)
    size = len(buffer)
    fault = grammar.fault(buffer, start, searched)
    if fault:
        raise BadMessage(400, fault)
    if buffer.startswith(b"\r\n", start):
        start += 2
    first_line = buffer.find(b"\n", start) + 1
    if (first_line or size) - start > limits.request_line:
        raise BadMessage(414, "request-line-too-long")
    if first_line and size - first_line > limits.head:
        raise BadMessage(431, "head-too-large")
    if first_line and size - buffer.rfind(b"\n") - 1 > limits.header:
        raise BadMessage(431, "header-too-large")
    return 0


def _end_behind_empty_lines(buffer: Union[bytes, bytearray], limits: HeadLimits, start: int, searched: int) -> int:
    """As ``head_end``, when the head may have empty lines before it: as many are ignored as fit into a request line."""
    match = _empty_lines(buffer, start)
    begin = match.end() if match else start
    if begin == start:
        raise BadMessage(400, "bare-cr")
    if begin - start > limits.request_line:
        raise BadMessage(414, "request-line-too-long")
    return head_end(buffer, limits, begin, searched) if begin < len(buffer) else 0


def parse_request_head(head: bytes, limits: HeadLimits, previous: Optional[Fields] = None) -> RequestHead:
    """Parse and check a head.

    :param head: the whole head, with the empty line at its end; empty lines before it are ignored (RFC 9112 section 2.2).
    :param previous: the fields of the request before on this connection: used again when the block is the same.
    :raises BadMessage: 400, 405, 414, 431, 501 or 505.
    """
    known = limits.request_memo.get(head)
    if known is not None:
        return known
    match = _common_line(head)
    if match is None:
        return _uncommon_head(head, limits)
    method, target, digit = match.groups()
    if match.end() > limits.request_line:
        raise BadMessage(414, "request-line-too-long")
    fields = _checked_fields(head, match.end(), digit == b"1", limits, previous)
    if method == b"CONNECT":
        raise BadMessage(405, "method-not-allowed")  # No such target either, but that is not what its sender needs to know.
    parsed = RequestHead(method, target, 1 if digit == b"1" else 0, fields, fields.host, target)
    if not fields.secret:
        remember(limits.request_memo, head, parsed)
    return parsed


def _checked_fields(head: bytes, start: int, newest: bool, limits: HeadLimits, previous: Optional[Fields]) -> Fields:
    """The fields of a head whose block begins at ``start``, checked for what the version (``newest``: HTTP/1.1) requires."""
    if not head.endswith(b"\r\n\r\n"):
        raise BadMessage(400, "no-empty-line")
    block = head[start:-2]
    if previous is not None and previous.block == block:
        fields = previous
    else:
        fields = parse_fields(block, limits, names.REQUEST)
    if newest:
        if not fields.host:
            raise BadMessage(400, "no-host")
    elif fields.chunked:
        raise BadMessage(400, "te-in-http-1.0")
    return fields


def _uncommon_head(head: bytes, limits: HeadLimits) -> RequestHead:
    """The other forms of a target and of a request line, empty lines before it, and everything that is refused.

    More than one space goes (RFC 9112 section 3), and a later version of HTTP/1 means 1.1 (RFC 9110 section 2.5).
    """
    match = _empty_lines(head)
    start = match.end() if match else 0
    end = head.find(b"\r\n", start)
    line = head[start : max(end, start)]
    match = _line(line)
    if match is None or len(line) + 2 > limits.request_line:
        raise _bad_line(line, limits)
    method, target, digit = match.groups()
    minor = 0 if digit == b"0" else 1
    fields = _checked_fields(head, end + 2, minor == 1, limits, None)
    host, path = split_target(method, target, fields.host)
    return RequestHead(method, target, minor, fields, host, path)


def _bad_line(line: bytes, limits: HeadLimits) -> BadMessage:
    """Why a request line is refused (RFC 9112 section 3)."""
    if len(line) + 2 > limits.request_line:
        return BadMessage(414, "request-line-too-long")
    method = line.partition(b" ")[0]
    if len(method) > MAX_METHOD_BYTES and grammar.is_token(method):
        return BadMessage(501, "method-too-long")
    if _any_version(line) and line[-3:-1] != b"1.":
        return BadMessage(505, "version")
    return BadMessage(400, "request-line")


def request_body(head: RequestHead, limits: HeadLimits) -> Optional[Union[LengthBody, ChunkedBody]]:
    """The reader of a request's body (RFC 9112 section 6.3), None when there is none."""
    if head.fields.chunked:
        return ChunkedBody(limits)
    return LengthBody(head.fields.content_length) if head.fields.content_length > 0 else None
