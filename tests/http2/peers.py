"""Both ends of a connection in memory: the owner that a Connection tells, and frames as a client would write them."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional, Sequence, Tuple, Union

import hpack
from hyperframe.frame import Frame

from xproxy.http2.connection import Connection
from xproxy.http2.errors import ConnectionFault, ErrorCode
from xproxy.http2.fields import FieldLines
from xproxy.http2.frames import CONTINUATION, DATA, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, header
from xproxy.http2.streams import OpenStream

MAX_HEAD_BYTES = 4000

GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"a.example")]
POST = [(b":method", b"POST"), *GET[1:]]

Fields = Sequence[Tuple[bytes, bytes]]


def frame(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> bytes:
    """One frame, however wrong."""
    return header(len(payload) << 8 | kind, flags, stream_id) + payload


def block(fields: Fields) -> bytes:
    """A header block that changes no table."""
    return b"".join(
        b"\0" + b"".join(bytes((len(part),)) + part for part in field)
        if max(map(len, field)) < 127
        else hpack.Encoder().encode([field], huffman=False)
        for field in fields
    )


def head(stream_id: int, fields: Fields = GET, ended: bool = True, flags: int = 4) -> bytes:
    """A HEADERS frame."""
    return frame(HEADERS, flags | ended, stream_id, block(fields))


def content(stream_id: int, data: bytes, ended: bool = False) -> bytes:
    """A DATA frame."""
    return frame(DATA, int(ended), stream_id, data)


class Sent(NamedTuple):
    """A frame that came from the server."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes


def split(data: bytes) -> List[Sent]:
    """The frames in what a server sent. Raises when hyperframe finds fault with one."""
    found = []
    while data:
        parsed, length = Frame.parse_frame_header(memoryview(data[:9]))
        parsed.parse_body(memoryview(data[9 : 9 + length]))
        found.append(Sent(data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + length]))
        data = data[9 + length :]
    return found


class Recorder:
    """The owner of a Connection: notes what it is told. It acknowledges bodies at once."""

    def __init__(self) -> None:
        self.connection: Connection[OpenStream, Any] = Connection(self, MAX_HEAD_BYTES, 0.0)
        self.connection.begin()
        self.connection.take_output()
        self.said: List[Tuple[Any, ...]] = []
        self.fault: Optional[ConnectionFault] = None
        self.malformed: List[Tuple[Any, str]] = []
        self.reads = 0

    def feed(self, data: bytes, now: float = 0.0) -> List[Sent]:
        """Bytes from the client; returns the answer."""
        try:
            self.connection.feed(data, now)
        except ConnectionFault as fault:
            self.fault = fault
        return self.take()

    def take(self) -> List[Sent]:
        """What was sent since the last time."""
        return split(self.connection.take_output())

    def read_request(self, fields: FieldLines, before: Any, path: bytes) -> Any:
        """See Owner: what ``before`` and ``path`` say must be what the fields say."""
        self.reads += 1
        if before is not None:
            assert [(name, path if name == b":path" else value) for name, value in before] == fields
        return tuple(fields)

    def open_stream(self, *arguments: Any) -> OpenStream:
        """See Owner."""
        return OpenStream(*arguments)

    def request_began(self, stream: OpenStream, request: Any, whole: bool) -> None:
        """See Owner."""
        self.said.append(("began", stream.stream_id, request, whole))

    def request_malformed(self, fields: FieldLines, reason: str) -> None:
        """See Owner."""
        self.malformed.append((tuple(fields), reason))

    def body_received(self, stream: OpenStream, data: bytes, flow_bytes: int) -> None:
        """See Owner."""
        self.said.append(("body", stream.stream_id, data))
        self.connection.acknowledge(stream, flow_bytes)

    def request_ended(self, stream: OpenStream, trailers: FieldLines) -> None:
        """See Owner."""
        self.said.append(("ended", stream.stream_id, tuple(trailers)))

    def stream_lost(self, stream: OpenStream) -> None:
        """See Owner."""
        self.said.append(("lost", stream.stream_id))

    def window_opened(self, stream: Optional[OpenStream]) -> None:
        """See Owner."""
        self.said.append(("window", None if stream is None else stream.stream_id))

    def client_leaves(self, code: int) -> None:
        """See Owner."""
        self.said.append(("leaves", code))


START = PREFACE + frame(SETTINGS)
"""What an ordinary client begins with."""


def begun() -> Recorder:
    """A connection whose client has begun."""
    recorder = Recorder()
    recorder.feed(START)
    return recorder


def errors(sent: Sequence[Sent]) -> List[Union[Tuple[str, ErrorCode], Tuple[str, int, ErrorCode]]]:
    """The RST_STREAM and GOAWAY frames of an answer."""
    found: List[Any] = []
    for one in sent:
        if one.kind == RST_STREAM:
            found.append(("reset", one.stream_id, ErrorCode(int.from_bytes(one.payload, "big"))))
        elif one.kind == GOAWAY:
            found.append(("goaway", ErrorCode(int.from_bytes(one.payload[4:8], "big"))))
    return found


def joined(sent: Sequence[Sent]) -> bytes:
    """The header block in HEADERS and CONTINUATION frames."""
    return b"".join(one.payload for one in sent if one.kind in (HEADERS, CONTINUATION))
