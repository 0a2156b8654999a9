"""HTTP/2 fields to an HTTP/1.1 head and back (RFC 9113 section 8): every request meets the same strict parser.

A request's fields have passed ``fields.check_request``. They become the bytes of a head, which ``http1.request`` takes apart
with every check there is. A response's head becomes a header block, and so do answers of our own, trailers and hints.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Dict, Iterable, List, Tuple

import attr

from ..http1.body import ChunkedBody
from ..http1.errors import BadMessage
from ..http1.fields import list_members
from ..http1.forward import client_head
from ..http1.limits import HeadLimits
from ..http1.names import RESPONSE, SECRET
from ..http1.request import RequestHead, parse_request_head
from ..http1.response import ResponseHead
from ..http1.trailers import passed_on
from .hpack_encoder import encode_field

FieldLines = Iterable[Tuple[bytes, bytes]]

VERSION = b"HTTP/2.0"
"""The version in access logs."""

FRAMING = frozenset(
    (b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade")
)
"""Of one connection, or of the framing that the stream has taken the place of."""

SCHEMES = frozenset((b"http", b"https"))


@attr.frozen
class Request:
    """A request of an HTTP/2 client.

    :ivar content_length: as announced, -1: none was.
    """

    head: RequestHead
    content_length: int
    expect_continue: bool


@attr.frozen
class Unreadable:
    """What was read of a request that is refused for its head.

    :ivar line: the first line that it would have had.
    """

    error: BadMessage
    line: bytes


def read_request(fields: FieldLines, limits: HeadLimits) -> Request:
    """Understand the fields of a request. Raises BadMessage."""
    pseudo = {b":method": b"", b":path": b"", b":authority": b"", b":scheme": b""}
    cookies: List[bytes] = []
    lines: List[bytes] = []
    length = -1
    expect = False
    for name, value in fields:
        if name[:1] == b":":
            if name not in pseudo:
                raise BadMessage(400, "pseudo-field")
            pseudo[name] = value
        elif name == b"cookie":
            cookies.append(value)
        elif name == b"content-length":
            length = _length(value)
        elif name == b"expect":
            expect = b"100-continue" in list_members(value.lower())
        elif name == b"host":
            pseudo[b":authority"] = pseudo[b":authority"] or value
        elif name not in FRAMING or (name == b"te" and value.lower() == b"trailers"):
            lines.append(_line(name, value))
    if cookies:  # RFC 9113 section 8.2.3: crumbs that are one field in HTTP/1.1.
        lines.append(_line(b"cookie", b"; ".join(cookies)))
    method, path = pseudo[b":method"], pseudo[b":path"]
    if method == b"CONNECT":
        raise BadMessage(405, "method-not-allowed")
    if pseudo[b":scheme"] not in SCHEMES:
        raise BadMessage(400, "scheme")
    _check_path(path)
    start = [b"%b %b HTTP/1.1\r\n" % (method, path), _line(b"Host", pseudo[b":authority"])]
    block = b"".join([*start, *lines, b"\r\n"])
    if block.count(b"\n") != len(lines) + 3 or block.count(b"\r") != len(lines) + 3:
        raise BadMessage(400, "line-end")
    return Request(parse_request_head(block, limits), length, expect)


def first_line(fields: FieldLines) -> bytes:
    """The first line that HTTP/1.1 would have had for these fields, whatever is wrong with them; empty: nothing is known."""
    said = {name: value for name, value in reversed(list(fields)) if name in (b":method", b":path")}
    return b"%b %b %b" % (said.get(b":method", b"-"), said.get(b":path", b"-"), VERSION) if said else b""


def same_for_path(request: Request, path: bytes, limits: HeadLimits) -> Request:
    """A request that differs from another one on the same connection by the path alone. Raises BadMessage."""
    _check_path(path)
    if b"\r" in path or b"\n" in path:
        raise BadMessage(400, "line-end")
    fields = request.head.fields
    block = b"%b %b HTTP/1.1\r\n%b\r\n" % (request.head.method, path, fields.block)
    return Request(parse_request_head(block, limits, fields), request.content_length, request.expect_continue)


def _check_path(path: bytes) -> None:
    """An absolute form would overrule ``:authority``."""
    if path[:1] != b"/" and path != b"*":
        raise BadMessage(400, "target")


def read_trailers(fields: FieldLines, limits: HeadLimits) -> bytes:
    """The trailer lines that go on, as ``ChunkedBody.trailers``. Raises BadMessage."""
    lines = [_line(name, value) for name, value in fields if name not in FRAMING]
    block = b"".join(lines)
    if block.count(b"\n") != len(lines) or block.count(b"\r") != len(lines):
        raise BadMessage(400, "line-end")
    return passed_on(block, limits)


def response_block(head: ResponseHead, length: int, date: bytes, via: bytes, hsts: bytes = b"") -> bytes:
    """The header block of a response.

    :param length: Content-Length, -1: none.
    :param date: the value of Date, for a response that came without (RFC 9110 section 6.6.1).
    :param via: our pseudonym; empty: no Via.
    :param hsts: Strict-Transport-Security, unless the service sends its own (RFC 6797 section 8.1); empty: none.
    """
    known = head.http2
    if known is not None and known[0] == length and known[1] is via and known[2] is hsts:
        block = known[3]
    else:
        lines = client_head(head, 1, True, length, False, b"", via)[:-4].split(b"\r\n")[1:]
        block = encode_field(b":status", b"%d" % head.status) + b"".join([_line_block(line) for line in lines])
        if hsts and not any(line[:26].lower() == _HSTS for line in lines):
            block += _line_block(b"Strict-Transport-Security: " + hsts)
        head.http2 = (length, via, hsts, block)
    if date and b"date" not in head.fields.special and head.status >= 200:
        return block + _date_field(date)
    return block


def answer_block(status: int, fields: FieldLines, date: bytes) -> bytes:
    """The header block of an answer of our own."""
    lines = [encode_field(b":status", b"%d" % status), _date_field(date)]
    lines += [encode_field(name.lower(), value) for name, value in fields]
    return b"".join(lines)


def hint_block(head: ResponseHead) -> bytes:
    """The header block of an interim response (RFC 9110 section 15.2)."""
    lines = head.fields.passed_on.split(b"\r\n")[:-1]
    return encode_field(b":status", b"%d" % head.status) + b"".join([_line_block(line) for line in lines])


CONTINUE = encode_field(b":status", b"100")
"""The header block that a client with ``Expect: 100-continue`` waits for (RFC 9110 section 10.1.1)."""


def trailer_block(body: object) -> bytes:
    """The header block of the trailers that a response's body ended with; empty when there are none."""
    if not isinstance(body, ChunkedBody) or not body.trailers:
        return b""
    return b"".join([_line_block(line) for line in body.trailers[:-2].split(b"\r\n")])


_known: Dict[bytes, bytes] = {}
"""Lines of heads, as fields of a block: the same few make most responses."""

KNOWN_LINES = 512
"""So many lines are remembered, then all are forgotten. With KNOWN_LINE_BYTES they take 300 kB at most."""

KNOWN_LINE_BYTES = 256

VARYING = frozenset((
    b"age", b"content-length", b"content-range", b"date", b"etag", b"expires", b"last-modified", b"location",
))  # fmt: skip
"""Fields that are different nearly every time."""

_HSTS = b"strict-transport-security:"


def _line_block(line: bytes) -> bytes:
    """One line of a head as a field; nothing for a field that HTTP/2 has no use for. Credentials are not remembered."""
    known = _known.get(line)
    if known is not None:
        return known
    spelling, _, value = line.partition(b":")
    name, value = spelling.lower(), value.strip(b" \t")
    if name in FRAMING and name != b"content-length":
        return b""
    if name in VARYING or len(line) > KNOWN_LINE_BYTES or RESPONSE.look_up(name) == SECRET:
        return encode_field(name, value)
    if len(_known) >= KNOWN_LINES:
        _known.clear()
    block = _known[line] = encode_field(name, value, shortest=True)
    return block


@lru_cache(maxsize=4)
def _date_field(date: bytes) -> bytes:
    return encode_field(b"date", date)


def _line(name: bytes, value: bytes) -> bytes:
    """One line; a name with a colon in it would be another name with another value."""
    if b":" in name:
        raise BadMessage(400, "header-name")
    return b"%b: %b\r\n" % (name, value)


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise BadMessage(400, "content-length")
    return int(value)
