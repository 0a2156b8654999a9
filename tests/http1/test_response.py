"""Response heads, and how their bodies end."""

from __future__ import annotations

from typing import Optional, Type

from twisted.trial.unittest import TestCase

from tests.http1.messages import bytewise, read, splits
from xproxy.http1.body import ChunkedBody, CloseBody, LengthBody
from xproxy.http1.errors import BadMessage
from xproxy.http1.limits import MEMO_BYTES, MEMO_ENTRIES, HeadLimits
from xproxy.http1.response import ResponseHead, parse_response_head, response_body


def parse(head: bytes) -> ResponseHead:
    return parse_response_head(head, HeadLimits())


class ResponseHeadTests(TestCase):
    def test_status_line(self) -> None:
        """RFC 9112 section 4; the space before a missing reason may be missing too, as it is with many services."""
        for line, minor, status, reason in (
            (b"HTTP/1.1 200 OK", 1, 200, b"OK"),
            (b"HTTP/1.0 404 Not  Found ", 0, 404, b"Not  Found "),
            (b"HTTP/1.1 200 ", 1, 200, b""),
            (b"HTTP/1.1 200", 1, 200, b""),
            (b"HTTP/1.1 599 caf\xe9\t!", 1, 599, b"caf\xe9\t!"),
            (b"HTTP/1.1 100 Continue", 1, 100, b"Continue"),
        ):
            head = parse(line + b"\r\n\r\n")
            self.assertEqual((head.minor, head.status, head.reason), (minor, status, reason))

    def test_keep_alive(self) -> None:
        """RFC 9112 section 9.3."""
        for minor, lines, expected in (
            (1, b"", True), (1, b"Connection: close\r\n", False), (0, b"", False), (0, b"Connection: keep-alive\r\n", True),
            (0, b"Connection: keep-alive, close\r\n", False), (1, b"Connection: x\r\n", True),
        ):  # fmt: skip
            self.assertIs(parse(b"HTTP/1.%d 200 OK\r\n%b\r\n" % (minor, lines)).keep_alive, expected)

    def test_words_to_the_proxy(self) -> None:
        """Xproxy-Slot and X-Accel-Buffering, and the type that must not wait."""
        for lines, closing, unbuffered in (
            (b"", False, False),
            (b"Xproxy-Slot: Closing\r\n", True, False),
            (b"Xproxy-Slot: open\r\n", False, False),
            (b"X-Accel-Buffering: No\r\n", False, True),
            (b"X-Accel-Buffering: yes\r\nContent-Type: text/event-stream\r\n", False, False),
            (b"Content-Type: Text/Event-Stream;charset=utf-8\r\n", False, True),
            (b"Content-Type: text/html\r\n", False, False),
        ):
            head = parse(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")
            self.assertEqual((head.slot_closing, head.unbuffered), (closing, unbuffered), lines)

    def test_memo(self) -> None:
        """The same head is parsed once, within bounds, and never one that sets a cookie."""
        limits = HeadLimits()
        head = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
        self.assertIs(parse_response_head(head, limits), parse_response_head(bytes(bytearray(head)), limits))
        for lines in (b"Set-Cookie: a=b\r\n", b"X: " + b"x" * MEMO_BYTES + b"\r\n"):
            parse_response_head(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n", limits)
        self.assertEqual(list(limits.response_memo), [head])
        for number in range(MEMO_ENTRIES):
            parse_response_head(b"HTTP/1.1 200 %d\r\n\r\n" % number, limits)
        self.assertEqual(len(limits.response_memo), 1)

    def test_limits(self) -> None:
        """The limits of heads hold for responses too."""
        limits = HeadLimits(request_line=20, header=30, head=60, header_count=2)
        for head in (
            b"HTTP/1.1 200 " + b"x" * 10 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 30 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 3 + b"\r\n",
        ):
            self.assertRaises(BadMessage, parse_response_head, head, limits)

    def test_truncated(self) -> None:
        """A head without its empty line is refused."""
        for head in (b"", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n"):
            self.assertRaises(BadMessage, parse, head)


class ResponseBodyTests(TestCase):
    def test_table(self) -> None:
        """RFC 9112 section 6.3, in its order."""
        length, chunked = b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"
        cases: tuple[tuple[int, bytes, bytes, Optional[Type[object]]], ...] = (
            (200, length, b"HEAD", None),
            (200, chunked, b"HEAD", None),
            (304, length, b"GET", None),
            (304, chunked, b"GET", None),
            (204, b"", b"GET", None),
            (204, b"Content-Length: 0\r\n", b"GET", None),
            (103, b"", b"GET", None),
            (101, b"", b"GET", None),
            (200, length, b"CONNECT", None),
            (400, length, b"CONNECT", LengthBody),
            (200, length, b"GET", LengthBody),
            (200, b"Content-Length: 0\r\n", b"GET", None),
            (200, chunked, b"GET", ChunkedBody),
            (200, b"", b"GET", CloseBody),
            (500, b"", b"POST", CloseBody),
        )
        for status, lines, method, kind in cases:
            body = response_body(parse(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, lines)), method)
            self.assertEqual(None if body is None else type(body), kind, (status, lines, method))

    def test_second_response_is_not_part_of_the_first(self) -> None:
        """What a service sends too much is handed back as it is, for the slot to be closed."""
        extra = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nsmuggle"
        for message, method, content in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"GET", b"abc"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"GET", b"abc"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"HEAD", b""),
            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", b"GET", b""),
            (b"HTTP/1.1 204 No Content\r\n\r\n", b"GET", b""),
            (b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", b"GET", b""),
        ):
            for pieces in [bytewise(message + extra), *map(list, splits(message + extra))]:
                reading = read(pieces, HeadLimits(), method)
                self.assertEqual((reading.content, reading.rest), (content, extra), message)
