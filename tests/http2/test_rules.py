"""The rules of RFC 9113 and RFC 7541 as data: what a client sends, what it is told. The cases are those of h2spec, and more.

Each goes through whole and byte by byte. ``OK`` means that the connection goes on and the request on ``NEXT`` is taken. A
fourth item says that there is no START before it (in section 3.4), or that ``NEXT`` is not taken all the same.
"""

from __future__ import annotations

from typing import Any, List, Tuple

from twisted.trial.unittest import SynchronousTestCase

from tests.http2.peers import GET, POST, START, Recorder, Sent, block, content, errors, frame, head
from xproxy.http2.errors import ErrorCode as E
from xproxy.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    rst_stream,
    settings,
    window_update,
)
from xproxy.http2.windows import MAX_STREAMS

OK: List[Any] = []
MOST = 2**31 - 1
NEXT = 1001


def fatal(code: E) -> List[Any]:
    """A connection error."""
    return [("goaway", code)]


def reset(code: E, stream_id: int = 1) -> List[Any]:
    """A stream error."""
    return [("reset", stream_id, code)]


def priority(on: int) -> bytes:
    """The fields of a priority."""
    return on.to_bytes(4, "big") + b"\x10"


def request(*more: Tuple[bytes, bytes], of: Any = GET, without: bytes = b"") -> bytes:
    """A request on stream 1."""
    return head(1, [field for field in of if field[0] != without] + list(more))


OPENED = head(1, POST, ended=False)
ENDED = head(1)
CUT = block(GET)[:10]
BEGUN_HEAD = frame(HEADERS, 1, 1, CUT)
REST = block(GET)[10:]

FRAMING = [
    ("3.4 no preface", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", fatal(E.PROTOCOL_ERROR), False),
    ("3.4 half of one, then something else", PREFACE[:10] + b"x" * 14, fatal(E.PROTOCOL_ERROR), False),
    ("3.4 no SETTINGS after it", PREFACE + frame(PING, 0, 0, b"12345678"), fatal(E.PROTOCOL_ERROR), False),
    ("3.4 an acknowledgement after it", PREFACE + frame(SETTINGS, ACK), fatal(E.PROTOCOL_ERROR), False),
    ("4.1 a type that nobody knows", frame(0x16, 0, 0, b"x" * 8), OK),
    ("4.1 flags that nobody knows", frame(PING, 0xFE, 0, b"12345678"), OK),
    ("4.1 the reserved bit", head(2**31 + 1), OK),
    ("4.2 the largest frame", OPENED + content(1, b"x" * 16384), OK),
    ("4.2 DATA that is larger", OPENED + content(1, b"x" * 16385), fatal(E.FRAME_SIZE_ERROR)),
    ("4.2 HEADERS that is larger", frame(HEADERS, 5, 1, b"x" * 16385), fatal(E.FRAME_SIZE_ERROR)),
    ("4.3 no HPACK", frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff"), fatal(E.COMPRESSION_ERROR)),
    ("4.3 PRIORITY in a header block", BEGUN_HEAD + frame(PRIORITY, 0, 1, priority(0)), fatal(E.PROTOCOL_ERROR)),
    ("4.3 HEADERS of another stream in a header block", BEGUN_HEAD + head(3), fatal(E.PROTOCOL_ERROR)),
    ("5.5 an unknown frame in a header block", BEGUN_HEAD + frame(0x16, 0, 1), fatal(E.PROTOCOL_ERROR)),
    ("6.10 CONTINUATION of another stream", BEGUN_HEAD + frame(CONTINUATION, 4, 3, REST), fatal(E.PROTOCOL_ERROR)),
    ("6.10 CONTINUATION of the connection", BEGUN_HEAD + frame(CONTINUATION, 4, 0, REST), fatal(E.PROTOCOL_ERROR)),
    ("6.10 CONTINUATION", BEGUN_HEAD + frame(CONTINUATION, 4, 1, REST), OK),
    ("6.10 several", BEGUN_HEAD + frame(CONTINUATION, 0, 1) * 3 + frame(CONTINUATION, 4, 1, REST), OK),
    ("6.10 CONTINUATION after the end", ENDED + frame(CONTINUATION, 4, 1, REST), fatal(E.PROTOCOL_ERROR)),
    (
        "6.10 CONTINUATION after the last one",
        BEGUN_HEAD + frame(CONTINUATION, 4, 1, REST) + frame(CONTINUATION, 4, 1),
        fatal(E.PROTOCOL_ERROR),
    ),
    ("6.10 DATA in between", BEGUN_HEAD + content(1, b"x"), fatal(E.PROTOCOL_ERROR)),
    ("6.10 CONTINUATION after DATA", OPENED + content(1, b"x" * 9) + frame(CONTINUATION, 4, 1), fatal(E.PROTOCOL_ERROR)),
]

STATES = [
    ("5.1 idle: DATA", content(1, b"x"), fatal(E.PROTOCOL_ERROR)),
    ("5.1 idle: RST_STREAM", rst_stream(1, E.CANCEL), fatal(E.PROTOCOL_ERROR)),
    ("5.1 idle: WINDOW_UPDATE", window_update(1, 100), fatal(E.PROTOCOL_ERROR)),
    ("5.1 idle: CONTINUATION", frame(CONTINUATION, 4, 1, block(GET)), fatal(E.PROTOCOL_ERROR)),
    ("5.1 idle: PRIORITY", frame(PRIORITY, 0, 1, priority(0)), OK),
    ("5.1 never to be opened: DATA", content(2, b"x"), fatal(E.PROTOCOL_ERROR)),
    ("5.1 half-closed: DATA", ENDED + content(1, b"x" * 9), reset(E.STREAM_CLOSED)),
    ("5.1 half-closed: HEADERS", ENDED + ENDED, reset(E.STREAM_CLOSED)),
    ("5.1 half-closed: CONTINUATION", ENDED + frame(CONTINUATION, 4, 1), fatal(E.PROTOCOL_ERROR)),
    ("5.1 half-closed: WINDOW_UPDATE, PRIORITY", ENDED + window_update(1, 1) + frame(PRIORITY, 0, 1, priority(3)), OK),
    ("5.1 half-closed: RST_STREAM", ENDED + rst_stream(1, E.CANCEL), OK),
    ("5.1 closed: DATA after RST_STREAM", OPENED + rst_stream(1, E.CANCEL) + content(1, b"x" * 9), fatal(E.STREAM_CLOSED)),
    ("5.1 closed: HEADERS after RST_STREAM", OPENED + rst_stream(1, E.CANCEL) + ENDED, fatal(E.STREAM_CLOSED)),
    ("5.1 closed: the rest", ENDED + rst_stream(1, E.CANCEL) + window_update(1, 1) + rst_stream(1, E.CANCEL), OK),
    (
        "5.1 we reset it: what was under way",
        ENDED + content(1, b"x" * 9) * 3 + ENDED + window_update(1, 1),
        reset(E.STREAM_CLOSED),
    ),
    (
        "5.1 we reset it, and so does the client: over",
        ENDED + content(1, b"x" * 9) + rst_stream(1, E.CANCEL) + content(1, b"x" * 9),
        reset(E.STREAM_CLOSED) + fatal(E.STREAM_CLOSED),
    ),
    ("5.1.1 an even number", head(2), fatal(E.PROTOCOL_ERROR)),
    ("5.1.1 a lower number", head(5) + head(3), fatal(E.PROTOCOL_ERROR)),
    ("5.1.1 the same number again, later", head(1) + rst_stream(1, E.CANCEL) + head(3) + head(1), fatal(E.STREAM_CLOSED)),
    (
        "5.1.2 one more than there may be",
        b"".join(head(2 * number + 1) for number in range(MAX_STREAMS + 1)),
        reset(E.REFUSED_STREAM, 2 * MAX_STREAMS + 1) + reset(E.REFUSED_STREAM, NEXT),
        None,
    ),
]

FRAMES = [
    ("6.1 DATA of the connection", content(0, b"x"), fatal(E.PROTOCOL_ERROR)),
    ("6.1 padding", OPENED + frame(DATA, 9, 1, b"\3abcpad"), OK),
    ("6.1 padding alone", OPENED + frame(DATA, 9, 1, b"\3pad"), OK),
    ("6.1 more padding than frame", OPENED + frame(DATA, 9, 1, b"\4abc"), fatal(E.PROTOCOL_ERROR)),
    ("6.1 no room for the length of the padding", OPENED + frame(DATA, 9, 1), fatal(E.FRAME_SIZE_ERROR)),
    ("6.2 HEADERS of the connection", head(0), fatal(E.PROTOCOL_ERROR)),
    ("6.2 padding and priority", frame(HEADERS, 0x2D, 1, b"\3" + priority(0) + block(GET) + b"pad"), OK),
    ("6.2 more padding than frame", frame(HEADERS, 0xD, 1, b"\xff" + block(GET)), fatal(E.PROTOCOL_ERROR)),
    ("6.2 no room for the priority", frame(HEADERS, 0x25, 1, b"123"), fatal(E.FRAME_SIZE_ERROR)),
    ("5.3.1 HEADERS depend on themselves", frame(HEADERS, 0x25, 1, priority(1) + block(GET)), reset(E.PROTOCOL_ERROR)),
    (
        "5.3.1 trailers depend on themselves",
        OPENED + frame(HEADERS, 0x25, 1, priority(1) + block([(b"x", b"y")])),
        reset(E.PROTOCOL_ERROR),
    ),
    ("6.3 PRIORITY of the connection", frame(PRIORITY, 0, 0, priority(1)), fatal(E.PROTOCOL_ERROR)),
    ("6.3 PRIORITY of four bytes", ENDED + frame(PRIORITY, 0, 1, b"1234"), reset(E.FRAME_SIZE_ERROR)),
    ("6.3 the same on what is idle", frame(PRIORITY, 0, 1, b"1234"), fatal(E.FRAME_SIZE_ERROR)),
    ("5.3.1 PRIORITY depends on itself", ENDED + frame(PRIORITY, 0, 1, priority(1)), reset(E.PROTOCOL_ERROR)),
    ("6.4 RST_STREAM of the connection", rst_stream(0, E.CANCEL), fatal(E.PROTOCOL_ERROR)),
    ("6.4 RST_STREAM of three bytes", ENDED + frame(RST_STREAM, 0, 1, b"123"), fatal(E.FRAME_SIZE_ERROR)),
    ("6.5 an acknowledgement with settings", frame(SETTINGS, ACK, 0, bytes(6)), fatal(E.FRAME_SIZE_ERROR)),
    ("6.5 SETTINGS of a stream", frame(SETTINGS, 0, 1), fatal(E.PROTOCOL_ERROR)),
    ("6.5 SETTINGS of five bytes", frame(SETTINGS, 0, 0, b"12345"), fatal(E.FRAME_SIZE_ERROR)),
    ("6.5.2 ENABLE_PUSH 2", settings([(2, 2)]), fatal(E.PROTOCOL_ERROR)),
    ("6.5.2 INITIAL_WINDOW_SIZE 2^31", settings([(4, 2**31)]), fatal(E.FLOW_CONTROL_ERROR)),
    ("6.5.2 MAX_FRAME_SIZE 2^14 - 1", settings([(5, 16383)]), fatal(E.PROTOCOL_ERROR)),
    ("6.5.2 MAX_FRAME_SIZE 2^24", settings([(5, 2**24)]), fatal(E.PROTOCOL_ERROR)),
    ("6.5.2 all that may be", settings([(1, 0), (2, 1), (3, 0), (4, MOST), (5, 2**24 - 1), (6, 0), (0xFF, 1)]), OK),
    ("6.6 PUSH_PROMISE", ENDED + frame(PUSH_PROMISE, 4, 1, bytes(4) + block(GET)), fatal(E.PROTOCOL_ERROR)),
    ("6.7 PING of a stream", frame(PING, 0, 1, b"12345678"), fatal(E.PROTOCOL_ERROR)),
    ("6.7 PING of six bytes", frame(PING, 0, 0, b"123456"), fatal(E.FRAME_SIZE_ERROR)),
    ("6.8 GOAWAY of a stream", frame(GOAWAY, 0, 1, bytes(8)), fatal(E.PROTOCOL_ERROR)),
    ("6.8 GOAWAY of four bytes", frame(GOAWAY, 0, 0, bytes(4)), fatal(E.FRAME_SIZE_ERROR)),
    ("7 GOAWAY with a code that nobody knows", frame(GOAWAY, 0, 0, bytes(6) + b"\0\xff"), OK),
    ("7 RST_STREAM with a code that nobody knows", ENDED + frame(RST_STREAM, 0, 1, b"\0\0\0\xff"), OK),
    ("6.9 nothing, for the connection", window_update(0, 0), fatal(E.PROTOCOL_ERROR)),
    ("6.9 nothing, for a stream", ENDED + window_update(1, 0), reset(E.PROTOCOL_ERROR)),
    ("6.9 WINDOW_UPDATE of three bytes", frame(WINDOW_UPDATE, 0, 0, b"123"), fatal(E.FRAME_SIZE_ERROR)),
    ("6.9.1 too much, for the connection", window_update(0, MOST), fatal(E.FLOW_CONTROL_ERROR)),
    ("6.9.1 too much, for a stream", ENDED + window_update(1, MOST), reset(E.FLOW_CONTROL_ERROR)),
    ("6.9.2 too much, by SETTINGS", ENDED + window_update(1, 1) + settings([(4, MOST)]), fatal(E.FLOW_CONTROL_ERROR)),
]

MESSAGES = [
    ("8.1 a head after the head", OPENED + head(1, [(b"x", b"y")], ended=False), reset(E.PROTOCOL_ERROR)),
    ("8.1 trailers", OPENED + head(1, [(b"x", b"y")]), OK),
    ("8.1 a pseudo-field in trailers", OPENED + head(1, [(b":method", b"GET")]), reset(E.PROTOCOL_ERROR)),
    ("8.1 a connection-specific field in trailers", OPENED + head(1, [(b"upgrade", b"x")]), reset(E.PROTOCOL_ERROR)),
    ("8.1 a line in trailers", OPENED + head(1, [(b"x", b"y\r\nz: 1")]), reset(E.PROTOCOL_ERROR)),
    ("8.2.1 upper case", request((b"X-Test", b"x")), reset(E.PROTOCOL_ERROR)),
    ("8.2.1 no name", request((b"", b"x")), reset(E.PROTOCOL_ERROR)),
    ("8.2.1 a space in a name", request((b"a b", b"x")), reset(E.PROTOCOL_ERROR)),
    ("8.2.1 a colon in a name", request((b"a:b", b"x")), reset(E.PROTOCOL_ERROR)),
    ("8.2.1 a byte of no ASCII in a name", request((b"a\x80", b"x")), reset(E.PROTOCOL_ERROR)),
    ("8.2.1 a LF in a value", request((b"x", b"a\nb")), reset(E.PROTOCOL_ERROR)),
    ("8.2.1 a CR in a value", request((b"x", b"a\rb")), reset(E.PROTOCOL_ERROR)),
    ("8.2.1 a NUL in a value", request((b"x", b"a\0b")), reset(E.PROTOCOL_ERROR)),
    ("8.2.1 a space before a value", request((b"x", b" a")), reset(E.PROTOCOL_ERROR)),
    ("8.2.1 a tab after a value", request((b"x", b"a\t")), reset(E.PROTOCOL_ERROR)),
    ("8.2.1 an empty value, whitespace inside", request((b"x", b""), (b"y", b"a \tb")), OK),
    *[
        (f"8.2.2 {name.decode()}", request((name, value)), reset(E.PROTOCOL_ERROR))
        for name, value in (
            (b"connection", b"keep-alive"),
            (b"keep-alive", b"5"),
            (b"proxy-connection", b"close"),
            (b"transfer-encoding", b"chunked"),
            (b"upgrade", b"websocket"),
            (b"te", b"trailers, deflate"),
        )
    ],
    ("8.2.2 te: trailers", request((b"te", b"trailers")), OK),
    ("8.3 a pseudo-field that nobody knows", request((b":test", b"x"), of=[]), reset(E.PROTOCOL_ERROR)),
    ("8.3 one of responses", head(1, [(b":status", b"200"), *GET]), reset(E.PROTOCOL_ERROR)),
    ("8.3 one after a field", head(1, [*GET[:3], (b"x", b"y"), GET[3]]), reset(E.PROTOCOL_ERROR)),
    ("8.3 one twice", head(1, [GET[0], *GET]), reset(E.PROTOCOL_ERROR)),
    ("8.3 :protocol", head(1, [*GET, (b":protocol", b"websocket")]), reset(E.PROTOCOL_ERROR)),
    ("8.3.1 an empty :path", head(1, [*GET[:2], (b":path", b""), GET[3]]), reset(E.PROTOCOL_ERROR)),
    ("8.3.1 no :method", request(without=b":method"), reset(E.PROTOCOL_ERROR)),
    ("8.3.1 no :scheme", request(without=b":scheme"), reset(E.PROTOCOL_ERROR)),
    ("8.3.1 no :path", request(without=b":path"), reset(E.PROTOCOL_ERROR)),
    ("8.3.1 no :authority", request((b"host", b"a.example"), without=b":authority"), OK),
    ("8.3.1 another host", request((b"host", b"b.example")), reset(E.PROTOCOL_ERROR)),
    ("8.3.1 another case", request((b"host", b"A.Example")), OK),
    ("8.3.1 the port of the scheme", request((b"host", b"a.example:443")), OK),
    ("8.3.1 an empty port", request((b"host", b"a.example:")), OK),
    ("8.3.1 the port of another scheme", request((b"host", b"a.example:80")), reset(E.PROTOCOL_ERROR)),
    ("8.3.1 another port", request((b"host", b"a.example:8443")), reset(E.PROTOCOL_ERROR)),
    ("8.3.1 an empty host", request((b"host", b"")), reset(E.PROTOCOL_ERROR)),
    ("8.3.1 two hosts", request((b"host", b"a.example"), (b"host", b"a.example")), reset(E.PROTOCOL_ERROR)),
    ("8.5 CONNECT", head(1, [(b":method", b"CONNECT"), (b":authority", b"a:443")]), OK),
    ("8.5 CONNECT with a path", head(1, [(b":method", b"CONNECT"), *GET[1:]]), reset(E.PROTOCOL_ERROR)),
    ("8.1.1 a length without content", request((b"content-length", b"1"), of=POST), reset(E.PROTOCOL_ERROR)),
    ("8.1.1 a length of nothing", request((b"content-length", b"0"), of=POST), OK),
    ("8.1.1 lengths", request((b"content-length", b"0"), (b"content-length", b"0")), reset(E.PROTOCOL_ERROR)),
    ("8.1.1 no number", request((b"content-length", b"-1")), reset(E.PROTOCOL_ERROR)),
    *[
        (f"8.1.1 {' and '.join(map(str, sizes))} of 5", _sized(sizes), expected)
        for _sized in [
            lambda sizes: (
                head(1, [*POST, (b"content-length", b"5")], ended=False)
                + b"".join(content(1, b"x" * size, at == len(sizes) - 1) for at, size in enumerate(sizes))
            )
        ]
        for sizes, expected in (
            ((5,), OK),
            ((2, 3), OK),
            ((5, 0), OK),
            ((4,), reset(E.PROTOCOL_ERROR)),
            ((2, 2), reset(E.PROTOCOL_ERROR)),
            ((6, 9), reset(E.PROTOCOL_ERROR)),
        )
    ],
    (
        "8.1.1 trailers before the content is whole",
        head(1, [*POST, (b"content-length", b"5")], ended=False) + content(1, b"four") + head(1, [(b"x", b"y")]),
        reset(E.PROTOCOL_ERROR),
    ),
]


def _of(data: bytes) -> bytes:
    return frame(HEADERS, 5, 1, data)


COMPRESSION = [
    ("2.3.3 an index that there is not", _of(b"\xc0"), fatal(E.COMPRESSION_ERROR)),
    ("2.3.3 the same, of a name", _of(b"\x7f\x01\x01a"), fatal(E.COMPRESSION_ERROR)),
    ("4.2 a change of size that comes late", _of(b"\x82\x20"), fatal(E.COMPRESSION_ERROR)),
    ("4.2 changes of size that come in time", _of(b"\x20\x3f\xe1\x1f" + block(GET)), OK),
    ("5.1 an integer that does not end", _of(b"\xff" + b"\x80" * 20), fatal(E.COMPRESSION_ERROR)),
    ("5.2 a string that is cut off", _of(b"\x00\x05ab"), fatal(E.COMPRESSION_ERROR)),
    (
        "5.2 more than seven bits of padding",
        _of(b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"),
        fatal(E.COMPRESSION_ERROR),
    ),
    ("5.2 padding of zeros", _of(b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"), fatal(E.COMPRESSION_ERROR)),
    ("5.2 EOS in a string", _of(b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f"), fatal(E.COMPRESSION_ERROR)),
    ("6.1 index 0", _of(b"\x80"), fatal(E.COMPRESSION_ERROR)),
    ("6.3 a larger table than we allow", _of(b"\x3f\xe2\x1f"), fatal(E.COMPRESSION_ERROR)),
    ("4.3 tables go on where streams are refused", head(2**31 - 3) + frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff"), None),
]


class RuleTests(SynchronousTestCase):
    """Each case of the tables."""

    def play(self, data: bytes, step: int, begins: bool) -> Tuple[List[Any], Recorder]:
        recorder = Recorder()
        sent: List[Sent] = []
        data = (START if begins else b"") + data
        for start in range(0, len(data), step):
            sent += recorder.feed(data[start : start + step])
        if recorder.fault is None:
            sent += recorder.feed(head(NEXT))
        return errors(sent), recorder

    def check(self, cases: Any) -> None:
        for name, data, expected, *more in cases:
            begins = not more or not name.startswith("3.4")
            for step in (len(data) + 100, 1 if len(data) < 2000 else 700):
                found, recorder = self.play(data, step, begins)
                if expected is None:
                    self.assertEqual(found[-1][0], "goaway", name)
                    continue
                self.assertEqual(found, expected, name)
                if recorder.fault is None and not more:
                    self.assertEqual(recorder.said[-1][:2], ("began", NEXT), name)
                lost = {said[1] for said in recorder.said if said[0] == "lost"}
                self.assertEqual(lost & set(recorder.connection.streams), set(), name)

    def test_framing(self) -> None:
        self.check(FRAMING)

    def test_states(self) -> None:
        self.check(STATES)

    def test_frames(self) -> None:
        self.check(FRAMES)

    def test_messages(self) -> None:
        self.check(MESSAGES)

    def test_compression(self) -> None:
        self.check(COMPRESSION)
