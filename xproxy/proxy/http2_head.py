"""HTTP/2 fields to an HTTP/1.1 head and back (RFC 9113 section 8): every request meets the same strict parser.

A request's fields come from hyper-h2, which has checked their order, their case and the pseudo-fields. They become the bytes of
a head, which ``http1.request`` takes apart with every check of its own. A response's head from ``http1.forward`` becomes
fields.
"""

from __future__ import annotations

from typing import Iterable, List, Tuple

import attr

from ..http1.body import ChunkedBody
from ..http1.errors import BadMessage
from ..http1.fields import split_block
from ..http1.limits import HeadLimits
from ..http1.request import RequestHead, parse_request_head
from ..http1.trailers import may_be_trailer

FieldLines = Iterable[Tuple[bytes, bytes]]

VERSION = b"HTTP/2.0"
"""As access logs write it."""

FRAMING = frozenset(
    (b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade")
)
"""Of one connection, or of the framing that the stream has taken the place of."""

SCHEMES = frozenset((b"http", b"https"))


@attr.frozen
class Request:
    """What an HTTP/2 client asks for.

    :ivar content_length: as announced, -1 when it was not.
    """

    head: RequestHead
    content_length: int
    expect_continue: bool


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
            expect = value.lower() == b"100-continue"
        elif name == b"host":
            pseudo[b":authority"] = pseudo[b":authority"] or value
        elif name not in FRAMING:
            lines.append(_line(name, value))
    if cookies:  # RFC 9113 section 8.2.3: crumbs that are one field in HTTP/1.1.
        lines.append(_line(b"cookie", b"; ".join(cookies)))
    method, path = pseudo[b":method"], pseudo[b":path"]
    if method == b"CONNECT":
        raise BadMessage(405, "method-not-allowed")
    if pseudo[b":scheme"] not in SCHEMES:
        raise BadMessage(400, "scheme")
    if path[:1] != b"/" and path != b"*":  # An absolute form would overrule :authority.
        raise BadMessage(400, "target")
    start = [b"%b %b HTTP/1.1\r\n" % (method, path), _line(b"Host", pseudo[b":authority"])]
    block = b"".join([*start, *lines, b"\r\n"])
    if block.count(b"\n") != len(lines) + 3 or block.count(b"\r") != len(lines) + 3:
        raise BadMessage(400, "line-end")
    return Request(parse_request_head(block, limits), length, expect)


def read_trailers(fields: FieldLines, limits: HeadLimits) -> bytes:
    """The trailer lines that go on, as ``ChunkedBody.trailers``. Raises BadMessage."""
    lines = [_line(name, value) for name, value in fields if name not in FRAMING]
    block = b"".join(lines)
    if block.count(b"\n") != len(lines) or block.count(b"\r") != len(lines):
        raise BadMessage(400, "line-end")
    return b"".join(line for line, name in split_block(block, limits, limits.trailers) if may_be_trailer(name))


def response_fields(head: bytes) -> List[Tuple[bytes, bytes]]:
    """The fields of a response from its finished HTTP/1.1 head."""
    lines = head.split(b"\r\n")
    return [(b":status", lines[0][9:12]), *_fields(lines[1:-2])]


def trailer_fields(body: object) -> List[Tuple[bytes, bytes]]:
    """The trailers that a response's body ended with."""
    return _fields(body.trailers.split(b"\r\n")[:-1]) if isinstance(body, ChunkedBody) else []


def _fields(lines: Iterable[bytes]) -> List[Tuple[bytes, bytes]]:
    split = (line.partition(b":") for line in lines)
    named = ((name.lower(), value.strip(b" \t")) for name, _, value in split)
    return [(name, value) for name, value in named if name == b"content-length" or name not in FRAMING]


def _line(name: bytes, value: bytes) -> bytes:
    """One line; a name with a colon in it would be another name with another value."""
    if b":" in name:
        raise BadMessage(400, "header-name")
    return b"%b: %b\r\n" % (name, value)


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise BadMessage(400, "content-length")
    return int(value)
