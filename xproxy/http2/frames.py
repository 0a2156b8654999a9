"""Frames on the wire (RFC 9113 sections 4 and 6): their headers read, whole ones written."""

from __future__ import annotations

import struct
from typing import Iterable, Tuple

from .errors import ConnectionFault, ErrorCode

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes of every client (RFC 9113 section 3.4)."""

HEADER_BYTES = 9

FRAME_BYTES = 16384
"""The largest payload, both ways: SETTINGS_MAX_FRAME_SIZE at its least, which every client accepts too (RFC 9113 section
6.5.2). Streams take turns frame by frame, so longer frames would serve nobody."""

MOST_WINDOW = 2**31 - 1
"""RFC 9113 section 6.9.1."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
"""The identifiers of settings."""

read_header = struct.Struct(">HBBBI").unpack_from
"""The header of a frame: the length's upper 16 bits, the length's lower 8, type, flags, stream with the reserved bit."""

header = struct.Struct(">IBI").pack
"""The header of a frame: length << 8 | type, flags, stream."""

read_number = struct.Struct(">I").unpack_from
read_setting = struct.Struct(">HI").iter_unpack
_with_number = struct.Struct(">IBII").pack
_setting = struct.Struct(">HI").pack

SETTINGS_ACK = header(SETTINGS, ACK, 0)


def settings(values: Iterable[Tuple[int, int]]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join([_setting(identifier, value) for identifier, value in values])
    return header(len(payload) << 8 | SETTINGS, 0, 0) + payload


def ping(payload: bytes) -> bytes:
    """A PING frame; ``payload`` has eight bytes."""
    return header(8 << 8 | PING, 0, 0) + payload


def ping_ack(payload: bytes) -> bytes:
    """The answer to a PING."""
    return header(8 << 8 | PING, ACK, 0) + payload


def rst_stream(stream_id: int, code: ErrorCode) -> bytes:
    """A RST_STREAM frame."""
    return _with_number(4 << 8 | RST_STREAM, 0, stream_id, code)


def window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return _with_number(4 << 8 | WINDOW_UPDATE, 0, stream_id, increment)


def goaway(last_stream_id: int, code: ErrorCode, reason: bytes = b"") -> bytes:
    """A GOAWAY frame."""
    return _with_number((8 + len(reason)) << 8 | GOAWAY, 0, 0, last_stream_id) + struct.pack(">I", code) + reason


def head(stream_id: int, block: bytes, ended: bool) -> bytes:
    """A HEADERS frame, with as many CONTINUATION frames as the header block needs."""
    flags = END_STREAM if ended else 0
    if len(block) <= FRAME_BYTES:
        return header(len(block) << 8 | HEADERS, flags | END_HEADERS, stream_id) + block
    pieces = [header(FRAME_BYTES << 8 | HEADERS, flags, stream_id), block[:FRAME_BYTES]]
    for start in range(FRAME_BYTES, len(block), FRAME_BYTES):
        piece = block[start : start + FRAME_BYTES]
        last = END_HEADERS if start + FRAME_BYTES >= len(block) else 0
        pieces += (header(len(piece) << 8 | CONTINUATION, last, stream_id), piece)
    return b"".join(pieces)


def data(stream_id: int, content: bytes, ended: bool) -> bytes:
    """A DATA frame; ``content`` has FRAME_BYTES at most."""
    return header(len(content) << 8 | DATA, END_STREAM if ended else 0, stream_id) + content


def unpadded(payload: bytes) -> bytes:
    """The payload of a padded frame without the padding and the padding's length (RFC 9113 section 6.1)."""
    if not payload:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "no-padding")
    padding = payload[0]
    if padding >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding")
    return payload[1 : len(payload) - padding]


def depends_on(priority: bytes) -> int:
    """The stream that a priority names (RFC 7540 section 5.3.1)."""
    number: int = read_number(priority)[0]
    return number & MOST_WINDOW
