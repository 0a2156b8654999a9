"""Tests for ``xproxy.http2.heads``: what becomes of HTTP/2 fields, and what is refused instead of passed on."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import hpack
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xproxy.http1.body import ChunkedBody, LengthBody
from xproxy.http1.errors import BadMessage
from xproxy.http1.limits import HeadLimits
from xproxy.http1.response import ResponseHead, parse_response_head
from xproxy.http2 import heads
from xproxy.http2.heads import (
    answer_block,
    hint_block,
    read_request,
    read_trailers,
    response_block,
    same_for_path,
    trailer_block,
)

LIMITS = HeadLimits()


def decoded(block: bytes) -> List[Tuple[bytes, bytes]]:
    """The fields of a header block."""
    return [(name, value) for name, value in hpack.Decoder().decode(block, raw=True)]


Fields = List[Tuple[bytes, bytes]]


def fields(*more: Tuple[bytes, bytes], **pseudo: Optional[bytes]) -> Fields:
    """Those of a request."""
    head: Dict[str, Optional[bytes]] = {"method": b"GET", "scheme": b"https", "authority": b"example.com", "path": b"/"}
    head.update(pseudo)
    return [(b":" + name.encode(), value) for name, value in head.items() if value is not None] + list(more)


class RequestTests(SynchronousTestCase):
    """Requests."""

    def refused(self, asked: Fields, limits: HeadLimits = LIMITS) -> Tuple[int, str]:
        error = self.assertRaises(BadMessage, read_request, asked, limits)
        return error.status, error.reason

    def test_a_request(self) -> None:
        read = read_request(fields((b"accept", b"*/*"), (b"x", b"a"), (b"x", b"b"), path=b"/a?b"), LIMITS)
        self.assertEqual((read.head.method, read.head.path, read.head.host), (b"GET", b"/a?b", b"example.com"))
        self.assertEqual(read.head.fields.pairs(), ((b"host", b"example.com"), (b"accept", b"*/*"), (b"x", b"a"), (b"x", b"b")))
        self.assertEqual((read.content_length, read.expect_continue), (-1, False))

    def test_the_fields_of_the_request_before(self) -> None:
        given = fields((b"cookie", b"a"), (b"content-length", b"5"), (b"expect", b"100-continue"), method=b"PUT")
        first = read_request(given, LIMITS)
        other = same_for_path(first, b"/other?x", LIMITS)
        self.assertIs(other.head.fields, first.head.fields)
        self.assertEqual((other.head.path, other.head.method, other.content_length), (b"/other?x", b"PUT", 5))
        self.assertTrue(other.expect_continue)
        for path in (b"", b"http://other.example/", b"/a b", b"/ HTTP/1.1\r\nX: y", b"/a\nb", b"/a\rb", b"/\0", b"*"):
            with_path = fields(method=b"PUT", path=path)
            one = self.assertRaises(BadMessage, same_for_path, first, path, LIMITS)
            two = self.assertRaises(BadMessage, read_request, with_path, LIMITS)
            self.assertEqual((one.status, one.reason), (two.status, two.reason), path)

    def test_framing_stays_here(self) -> None:
        read = read_request(
            fields(
                (b"content-length", b"5"),
                (b"te", b"trailers"),
                (b"expect", b"100-continue"),
                (b"transfer-encoding", b"chunked"),
            ),
            LIMITS,
        )
        self.assertEqual(read.head.fields.pairs(), ((b"host", b"example.com"), (b"te", b"trailers")))
        self.assertEqual((read.content_length, read.expect_continue), (5, True))
        self.assertFalse(read.head.fields.chunked)
        self.assertEqual((read.head.fields.takes_trailers, read.head.fields.passed_on), (True, b""))

    def test_cookie_crumbs(self) -> None:
        read = read_request(fields((b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")), LIMITS)
        self.assertEqual(read.head.fields.get(b"cookie"), b"a=1; b=2")

    def test_host_where_there_is_no_authority(self) -> None:
        self.assertEqual(read_request(fields((b"host", b"a.example"), authority=b""), LIMITS).head.host, b"a.example")
        self.assertEqual(read_request(fields((b"host", b"example.com")), LIMITS).head.host, b"example.com")
        self.assertEqual(self.refused(fields(authority=b"")), (400, "host"))

    def test_asterisk(self) -> None:
        self.assertEqual(read_request(fields(method=b"OPTIONS", path=b"*"), LIMITS).head.path, b"*")
        self.assertEqual(self.refused(fields(path=b"*"))[0], 400)

    def test_refused(self) -> None:
        for asked, reason in (
            (fields(method=b"CONNECT"), (405, "method-not-allowed")),
            (fields(scheme=b"ftp"), (400, "scheme")),
            (fields(path=b""), (400, "target")),
            (fields(path=b"http://other.example/"), (400, "target")),
            (fields(path=b"/a b"), (400, "request-line")),
            (fields(path=b"/ HTTP/1.1\r\nX: y"), (400, "line-end")),
            (fields(method=b"GET / HTTP/1.1\r\nX: y\r\n\r\nGET"), (400, "line-end")),
            (fields(authority=b"a\r\nX: y"), (400, "line-end")),
            (fields((b":protocol", b"websocket")), (400, "pseudo-field")),
            (fields((b"x", b"a\r\ncontent-length: 5")), (400, "line-end")),
            (fields((b"x", b"a\nb")), (400, "line-end")),
            (fields((b"x\r\ny", b"a")), (400, "line-end")),
            (fields((b"x: y", b"a")), (400, "header-name")),
            (fields((b"x", b"a\0b")), (400, "nul")),
            (fields((b"", b"a")), (400, "header-name")),
            (fields((b"content-length", b"+5")), (400, "content-length")),
            (fields((b"content-length", b"")), (400, "content-length")),
            (fields((b"content-length", b"1" * 19)), (400, "content-length")),
            (fields((b"transfer_encoding", b"chunked")), (400, "confusable-transfer-encoding")),
            (fields(authority=b"user@example.com"), (400, "host")),
        ):
            self.assertEqual(self.refused(asked), reason, asked)

    def test_limits(self) -> None:
        limits = HeadLimits(request_line=100, header=50, head=120, header_count=5)
        self.assertEqual(self.refused(fields(path=b"/" + b"x" * 90), limits)[0], 414)
        self.assertEqual(self.refused(fields((b"x", b"y" * 60)), limits)[0], 431)
        self.assertEqual(self.refused(fields(*[(b"x%d" % number, b"y" * 20) for number in range(5)]), limits)[0], 431)
        self.assertEqual(self.refused(fields(*[(b"x%d" % number, b"") for number in range(9)]), limits)[0], 431)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(
        st.lists(
            st.tuples(
                st.one_of(
                    st.sampled_from([b":path", b":method", b"host", b"cookie", b"te", b"connection"]), st.binary(max_size=8)
                ),
                st.one_of(st.sampled_from([b"a\r\nb: c", b"/", b"x"]), st.binary(max_size=8)),
            ),
            max_size=5,
        )
    )
    def test_nothing_gets_in_by_the_side_door(self, more: Fields) -> None:
        """Either it is refused, or the head has exactly the fields that were given."""
        try:
            read = read_request(fields(*more), LIMITS)
        except BadMessage:
            return
        names = [name for name, _ in read.head.fields.pairs()]
        ends_here = {
            b"content-length",
            b"transfer-encoding",
            b"connection",
            b"keep-alive",
            b"proxy-connection",
            b"te",
            b"upgrade",
        }
        given = [
            name.lower() for name, _ in more if name[:1] != b":" and name not in (b"host", b"cookie", b"expect", *ends_here)
        ]
        expected = [b"host", *given, *([b"cookie"] if any(name == b"cookie" for name, _ in more) else [])]
        self.assertEqual(names, expected)


class TrailerTests(SynchronousTestCase):
    """Trailers, both ways."""

    def test_those_that_may(self) -> None:
        given: Any = [
            (b"grpc-status", b"0"),
            (b"x-sum", b"1"),
            (b"content-length", b"5"),
            (b"host", b"a"),
            (b"authorization", b"b"),
        ]
        self.assertEqual(read_trailers(given, LIMITS), b"grpc-status: 0\r\nx-sum: 1\r\n")

    def test_refused(self) -> None:
        for named in ([(b"x", b"a\r\nb: c")], [(b"x:", b"a")], [(b"x y", b"a")], [(b"x", b"a\0")]):
            self.assertEqual(self.assertRaises(BadMessage, read_trailers, named, LIMITS).status, 400)
        many = [(b"x", b"y" * 5000), (b"x", b"y" * 5000)]
        self.assertEqual(self.assertRaises(BadMessage, read_trailers, many, LIMITS).status, 431)

    def test_of_a_response(self) -> None:
        body = ChunkedBody(LIMITS)
        body.feed(b"0\r\nGrpc-Status: 0\r\nX-Sum:  1 \r\n\r\n")
        self.assertEqual(decoded(trailer_block(body)), [(b"grpc-status", b"0"), (b"x-sum", b"1")])
        for other in (ChunkedBody(LIMITS), LengthBody(5), None):
            self.assertEqual(trailer_block(other), b"")


class ResponseTests(SynchronousTestCase):
    """Responses."""

    def parsed(self, head: bytes) -> ResponseHead:
        return parse_response_head(head, HeadLimits())

    def test_fields(self) -> None:
        head = b"HTTP/1.1 426 Upgrade Required\r\nServer: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
        head += b"Connection: Upgrade\r\nUpgrade: websocket\r\nX-Empty:\r\n\r\n"
        self.assertEqual(
            decoded(response_block(self.parsed(head), 5, b"now", b"me")),
            [
                (b":status", b"426"),
                (b"server", b"x"),
                (b"set-cookie", b"a"),
                (b"set-cookie", b"b"),
                (b"x-empty", b""),
                (b"via", b"1.1 me"),
                (b"content-length", b"5"),
                (b"date", b"now"),
            ],
        )

    def test_what_varies(self) -> None:
        """The block is remembered with the head, but not for another length, name or route."""
        head = self.parsed(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n")
        first = [(b":status", b"200"), (b"x", b"y")]
        for length in (5, 5, -1, 0, 5):
            for via in (b"me", b""):
                for hsts in (b"max-age=1", b"", b"max-age=2"):
                    for date in (b"a", b"b", b""):
                        expected = list(first)
                        expected += [(b"via", b"1.1 me")] * bool(via)
                        expected += [(b"content-length", b"%d" % length)] * (length >= 0)
                        expected += [(b"strict-transport-security", hsts)] * bool(hsts)
                        expected += [(b"date", date)] * bool(date)
                        self.assertEqual(decoded(response_block(head, length, date, via, hsts)), expected)

    def test_a_service_that_has_its_own(self) -> None:
        head = self.parsed(b"HTTP/1.1 200 OK\r\nDate: then\r\nStrict-Transport-Security: own\r\n\r\n")
        self.assertEqual(
            decoded(response_block(head, -1, b"now", b"", b"max-age=1")),
            [(b":status", b"200"), (b"date", b"then"), (b"strict-transport-security", b"own")],
        )

    def test_no_fields(self) -> None:
        self.assertEqual(decoded(response_block(self.parsed(b"HTTP/1.1 204\r\n\r\n"), -1, b"", b"")), [(b":status", b"204")])

    def test_answers_of_our_own(self) -> None:
        block = answer_block(404, [(b"Content-Type", b"text/plain"), (b"content-length", b"3")], b"now")
        expected = [(b":status", b"404"), (b"date", b"now"), (b"content-type", b"text/plain"), (b"content-length", b"3")]
        self.assertEqual(decoded(block), expected)

    def test_hints(self) -> None:
        head = self.parsed(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        self.assertEqual(decoded(hint_block(head)), [(b":status", b"103"), (b"link", b"</a>")])

    def test_what_is_remembered_of_lines(self) -> None:
        """A bounded number of them; none that is a credential, different each time, or long."""
        self.patch(heads, "_known", {})
        head = b"HTTP/1.1 200 OK\r\nX: y\r\nSet-Cookie: secret\r\nETag: 1\r\nX-Long: %b\r\n\r\n" % (b"l" * 300)
        self.assertEqual(len(decoded(response_block(self.parsed(head), 5, b"now", b""))), 7)
        self.assertEqual(list(heads._known), [b"X: y"])
        for number in range(heads.KNOWN_LINES + 10):
            response_block(self.parsed(b"HTTP/1.1 200 OK\r\nX: %d\r\n\r\n" % number), 5, b"now", b"")
        self.assertLessEqual(len(heads._known), heads.KNOWN_LINES)
