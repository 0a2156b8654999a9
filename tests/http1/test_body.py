"""Bodies: where they end, however they arrive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.http1.messages import bytewise, splits
from tests.http1.strategies import MODEST, chunked, pieces
from xproxy.http1.body import MAX_OVERHEAD, BodyReader, ChunkedBody, CloseBody, LengthBody, encode_chunk, last_chunk
from xproxy.http1.errors import BadMessage
from xproxy.http1.limits import HeadLimits


def drain(body: BodyReader, parts: list[bytes]) -> tuple[bytes, bytes | None]:
    """Feed all parts, the ones behind the end to nobody."""
    content, rest = b"", None
    for part in parts:
        if rest is not None:
            rest += part
        else:
            piece, rest = body.feed(part)
            content += piece
    return content, rest


class LengthBodyTests(TestCase):
    def test_pieces(self) -> None:
        """Whole, byte by byte and at every split, with and without something behind."""
        for rest in (b"", b"GET"):
            message = b"abcde" + rest
            for parts in [[message], bytewise(message), *map(list, splits(message))]:
                self.assertEqual(drain(LengthBody(5), parts), (b"abcde", rest))

    def test_bound(self) -> None:
        """413 for what was announced."""
        LengthBody(5).bound(5)
        refusal = self.assertRaises(BadMessage, LengthBody(6).bound, 5)
        self.assertEqual(refusal.status, 413)

    def test_remaining(self) -> None:
        """What is still to come is counted down."""
        body = LengthBody(5)
        self.assertEqual(body.feed(b"ab"), (b"ab", None))
        self.assertEqual(body.remaining, 3)
        self.assertEqual(body.feed(b""), (b"", None))
        self.assertEqual(body.feed(b"cdeX"), (b"cde", b"X"))
        self.assertEqual(body.remaining, 0)


class CloseBodyTests(TestCase):
    def test_never_ends(self) -> None:
        """Only the connection ends it."""
        self.assertEqual(drain(CloseBody(), [b"a", b"0\r\n\r\n", b""]), (b"a0\r\n\r\n", None))


class ChunkedBodyTests(TestCase):
    def test_table(self) -> None:
        """Whole, byte by byte and at every split."""
        for message, content, trailers in (
            (b"0\r\n\r\n", b"", b""),
            (b"000\r\n\r\n", b"", b""),
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b""),
            (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2, b""),
            (b"00000000000003\r\n\r\n\r\r\n0\r\n\r\n", b"\r\n\r", b""),
            (b'3;a;b=c;d="e\\"\t;\xff"\r\nabc\r\n0;x\r\n\r\n', b"abc", b""),
            (b"1\r\n0\r\n0\r\nX: y\r\nZ:\r\n\r\n", b"0", b"X: y\r\nZ:\r\n"),
        ):
            for rest in (b"", b"\r\nGET / HTTP/1.1\r\n"):
                stream = message + rest
                for parts in [[stream], bytewise(stream), *map(list, splits(stream))]:
                    body = ChunkedBody(HeadLimits())
                    self.assertEqual(drain(body, parts), (content, rest), message)
                    self.assertEqual(body.trailers, trailers)

    def test_forbidden_trailers_are_dropped(self) -> None:
        """RFC 9110 section 6.5.1: framing, routing, authentication, request and response control, content; and our own."""
        for name in (
            b"Content-Length", b"Transfer-Encoding", b"Host", b"Connection", b"TE", b"Upgrade", b"Trailer",
            b"Authorization", b"Cookie",
            b"Set-Cookie", b"WWW-Authenticate", b"Proxy-Authorization", b"Cache-Control", b"Expect", b"Max-Forwards", b"Range",
            b"Content-Type", b"Content-Encoding", b"Content-Range", b"Location", b"Date", b"Vary", b"X-Forwarded-For",
            b"Forwarded",
            b"X-Request-ID", b"Via", b"Xproxy-Slot", b"X-Accel-Buffering", b"X_Forwarded_For", b"content_type",
            b"Content_Length",
            b"set.cookie", b"X-Api-Key",
        ):  # fmt: skip
            body = ChunkedBody(HeadLimits())
            self.assertEqual(body.feed(b"0\r\nA: b\r\n" + name + b": 1\r\nGrpc-Status: 0\r\n\r\n"), (b"", b""), name)
            self.assertEqual(body.trailers, b"A: b\r\nGrpc-Status: 0\r\n", name)

    def test_trailer_limits(self) -> None:
        """In bytes together, in bytes for one and in number; just kept, and past it."""
        limits = HeadLimits(trailers=30, header=20, header_count=3)
        for trailers, passes in (
            (b"X: " + b"x" * 15 + b"\r\n", True),
            (b"X: " + b"x" * 16 + b"\r\n", False),
            (b"X: y\r\n" * 3, True),
            (b"X: y\r\n" * 4, False),
            (b"X: " + b"x" * 10 + b"\r\n" + b"Y: " + b"x" * 10 + b"\r\n", True),
            (b"X: " + b"x" * 10 + b"\r\n" + b"Y: " + b"x" * 11 + b"\r\n", False),
        ):
            for parts in ([b"0\r\n" + trailers + b"\r\n"], bytewise(b"0\r\n" + trailers + b"\r\n")):
                if passes:
                    self.assertEqual(drain(ChunkedBody(limits), parts), (b"", b""))
                else:
                    self.assertRaises(BadMessage, drain, ChunkedBody(limits), parts)

    def test_chunk_line_limit(self) -> None:
        """The size with its extensions and CRLF: just kept, and one byte more."""
        limits = HeadLimits(chunk_line=16)
        for line, passes in ((b"3;" + b"a" * 12, True), (b"3;" + b"a" * 13, False)):
            for parts in ([line + b"\r\nabc\r\n0\r\n\r\n"], bytewise(line + b"\r\nabc\r\n0\r\n\r\n")):
                if passes:
                    self.assertEqual(drain(ChunkedBody(limits), parts), (b"abc", b""))
                else:
                    self.assertRaises(BadMessage, drain, ChunkedBody(limits), parts)

    def test_bound(self) -> None:
        """413 as soon as a chunk announces too much, before it comes; the last byte that is allowed passes."""
        body = ChunkedBody(HeadLimits())
        body.bound(10)
        self.assertEqual(drain(body, [b"4\r\nabcd\r\n", b"6\r\nefghij\r\n0\r\n\r\n"]), (b"abcdefghij", b""))
        for message in (b"b", b"b;a=b", b"ffffffffffffff", b"4\r\nabcd\r\n7", b"a\r\n0123456789\r\n1"):
            body = ChunkedBody(HeadLimits())
            body.bound(10)
            refusal = self.assertRaises(BadMessage, drain, body, bytewise(message + b"\r\n"))
            self.assertEqual((refusal.status, refusal.reason), (413, "body-too-large"))

    def test_overhead(self) -> None:
        """Small chunks are fine for ever, small chunks with long extensions are not."""
        body = ChunkedBody(HeadLimits())
        self.assertEqual(body.feed(b"1\r\na\r\n" * 100_000), (b"a" * 100_000, None))
        padded = b"1;" + b"a" * 100 + b"\r\na\r\n"
        refusal = self.assertRaises(BadMessage, ChunkedBody(HeadLimits()).feed, padded * (MAX_OVERHEAD // 80))
        self.assertEqual(refusal.reason, "chunk-overhead")

    def test_refused_at_the_first_bad_byte(self) -> None:
        """A sender that waits for our answer to a broken chunk gets it."""
        for message in (
            b"3\n",
            b"3\rX",
            b"g",
            b"3;\n",
            b"\r",
            b"3\r\nabcX",
            b"3\r\nabc\rX",
            b"0\r\n\n",
            b"0\r\nX: \0",
            b"0\r\nX: y\n",
        ):
            body = ChunkedBody(HeadLimits())
            drain(body, bytewise(message[:-1]))
            self.assertRaises(BadMessage, body.feed, message[-1:])

    def test_holds_no_content(self) -> None:
        """Content is handed on at once, never kept until its chunk is complete."""
        body = ChunkedBody(HeadLimits())
        self.assertEqual(body.feed(b"fffffff\r\nabc"), (b"abc", None))
        self.assertEqual(body.feed(b"d" * 70_000), (b"d" * 70_000, None))

    @MODEST
    @given(st.data())
    def test_any_chunking(self, data: st.DataObject) -> None:
        """However content is chunked and cut, it comes out as it was."""
        content, message = data.draw(chunked())
        rest = data.draw(st.binary(max_size=5))
        self.assertEqual(drain(ChunkedBody(HeadLimits()), data.draw(pieces(message + rest))), (content, rest))

    @MODEST
    @given(st.lists(st.binary(max_size=50)))
    def test_encoding_is_read_back(self, parts: list[bytes]) -> None:
        """What we encode, we decode; an empty piece does not end the body."""
        message = b"".join(map(encode_chunk, parts)) + last_chunk(b"X: y\r\n")
        body = ChunkedBody(HeadLimits())
        self.assertEqual(body.feed(message), (b"".join(parts), b""))
        self.assertEqual(body.trailers, b"X: y\r\n")

    @MODEST
    @given(st.lists(st.sampled_from([b"0", b"3", b"\r\n", b"\n", b"\r", b";", b"=", b'"', b"a", b"X: y\r\n", b"\0", b"\xff"])))
    def test_garbage(self, parts: list[bytes]) -> None:
        """Garbage raises BadMessage and nothing else."""
        try:
            drain(ChunkedBody(HeadLimits()), parts)
        except BadMessage as refusal:
            self.assertIn(refusal.status, (400, 431))
