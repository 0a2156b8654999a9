"""Request heads: what is accepted and what is made of it; where a head ends."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.http1.messages import Reading, bytewise, read, splits
from xproxy.http1.errors import BadMessage
from xproxy.http1.limits import MEMO_BYTES, MEMO_ENTRIES, HeadLimits
from xproxy.http1.request import RequestHead, head_end, parse_request_head


def parse(head: bytes) -> RequestHead:
    return parse_request_head(head, HeadLimits())


GOOD = (
    # (head, method, host, path, keep_alive, passed_on)
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET", b"a", b"/", True, b""),
    (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET", b"a", b"/", True, b""),
    (b"GET / HTTP/1.0\r\n\r\n", b"GET", b"", b"/", False, b""),
    (b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", b"GET", b"a", b"/", True, b""),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Close\r\n\r\n", b"GET", b"a", b"/", False, b""),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: x\r\nX: 1\r\nY: 2\r\n\r\n", b"GET", b"a", b"/", False,
    b"Y: 2\r\n"),
    (b"get /a?b=/?c HTTP/1.1\r\nhost:[::1]:8080\r\n\r\n", b"get", b"[::1]:8080", b"/a?b=/?c", True, b""),
    (b"PURGE //a/%zz/{}|^\"<>` HTTP/1.1\r\nHost: a_b.c-d.\r\n\r\n", b"PURGE", b"a_b.c-d.", b"//a/%zz/{}|^\"<>`", True, b""),
    (b"GET /?a\\b HTTP/1.1\r\nHost: 127.0.0.1:65535\r\n\r\n", b"GET", b"127.0.0.1:65535", b"/?a\\b", True, b""),
    (b"GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", b"GET", b"b", b"/", True, b""),
    (b"GET HTTPS://b:1/c?d HTTP/1.1\r\nHost: a\r\n\r\n", b"GET", b"b:1", b"/c?d", True, b""),
    (b"GET http://b?d HTTP/1.1\r\nHost: a\r\n\r\n", b"GET", b"b", b"/?d", True, b""),
    (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"OPTIONS", b"a", b"*", True, b""),
    (b"OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n", b"OPTIONS", b"b", b"*", True, b""),
    (b"OPTIONS http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", b"OPTIONS", b"b", b"/", True, b""),
    (b"CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", b"CONNECT", b"b:443", b"", True, b""),
    (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", b"TRACE", b"a", b"/", True, b""),
    (b"GET / HTTP/1.1\r\nHost: \t a \t\r\nA:\r\nB: \xff\t\x80 \r\nC:d\r\n\r\n", b"GET", b"a", b"/", True,
    b"A:\r\nB: \xff\t\x80 \r\nC:d\r\n"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~0Z: x\r\n\r\n", b"GET", b"a", b"/", True, b"!#$%&'*+-.^_`|~0Z: x\r\n"),
)  # fmt: skip


class GoodRequestTests(TestCase):
    def test_whole(self) -> None:
        """What is made of good heads."""
        for head, *expected in GOOD:
            self.assertEqual(head_end(head, HeadLimits()), len(head), head)
            parsed = parse(head)
            got = [parsed.method, parsed.host, parsed.path, parsed.keep_alive, parsed.fields.passed_on]
            self.assertEqual(got, expected, head)

    def test_any_pieces(self) -> None:
        """Byte by byte, at every split, with another request behind: the same head, and nothing of the rest is touched."""
        for head, method, *_ in GOOD:
            message = head + GOOD[0][0]
            for pieces in [bytewise(message), *map(list, splits(message))]:
                reading = read(pieces)
                assert isinstance(reading.head, RequestHead)
                self.assertEqual((reading.head.method, reading.content, reading.rest), (method, b"", GOOD[0][0]))

    def test_every_prefix_is_incomplete(self) -> None:
        """No part of a good head is refused or taken for a head."""
        limits = HeadLimits()
        for head, *_ in GOOD:
            for size in range(len(head)):
                self.assertEqual(head_end(head[:size], limits), 0, head[:size])

    def test_bytearray(self) -> None:
        """A buffer may be a bytearray."""
        buffer = bytearray(b"xxGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(head_end(buffer, HeadLimits(), 2), len(buffer))
        self.assertEqual(head_end(buffer[:-1], HeadLimits(), 2), 0)

    def test_start_in_the_middle(self) -> None:
        """What stands before the start is not looked at, nor is what was searched before."""
        limits = HeadLimits()
        self.assertEqual(head_end(b"a\n\n\0\r\n\r\nGET / HTTP/1.1\r\n", limits, 8), 0)
        self.assertEqual(head_end(b"\rGET / HTTP/1.1\r", limits, 1, 8), 0)
        refusal = self.assertRaises(BadMessage, head_end, b"\r\nGET /", limits, 1)
        self.assertEqual(refusal.reason, "bare-lf")

    def test_truncated(self) -> None:
        """A head without its empty line is refused, not guessed at."""
        for head in (b"", b"\r\n", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"):
            self.assertRaises(BadMessage, parse, head)


class VersionRuleTests(TestCase):
    """What HTTP/1.0 cannot ask for."""

    def test_expect(self) -> None:
        """RFC 9110 section 10.1.1: 100-continue means nothing in HTTP/1.0."""
        for minor in (0, 1):
            parsed = parse(b"PUT / HTTP/1.%d\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n" % minor)
            self.assertEqual(parsed.expect_continue, bool(minor))
            self.assertEqual(parsed.fields.passed_on, b"")

    def test_upgrade(self) -> None:
        """RFC 9110 section 7.8: Upgrade means nothing in HTTP/1.0, nor where Connection does not name it."""
        lines = b"Host: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n"
        self.assertEqual(parse(b"GET / HTTP/1.1\r\n" + lines).upgrade, b"websocket")
        self.assertEqual(parse(b"GET / HTTP/1.0\r\n" + lines).upgrade, b"")
        self.assertEqual(parse(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n").upgrade, b"")


class LimitTests(TestCase):
    limits = HeadLimits(request_line=30, header=30, head=60, header_count=3)

    def status(self, head: bytes) -> int:
        """200 when it passes."""
        try:
            parse_request_head(head, self.limits)
        except BadMessage as refusal:
            return refusal.status
        return 200

    def test_at_and_past(self) -> None:
        """Each limit: just kept, and one byte or line more."""
        host = b"Host: a\r\n"
        for line, more in (
            (b"GET /" + b"a" * 14, b"a"),
            (b"GET http://b/" + b"a" * 6, b"a"),
        ):
            self.assertEqual(self.status(line + b" HTTP/1.1\r\n" + host + b"\r\n"), 200)
            self.assertEqual(self.status(line + more + b" HTTP/1.1\r\n" + host + b"\r\n"), 414)
        start = b"GET / HTTP/1.1\r\n" + host
        self.assertEqual(self.status(start + b"X: " + b"x" * 25 + b"\r\n\r\n"), 200)
        self.assertEqual(self.status(start + b"X: " + b"x" * 26 + b"\r\n\r\n"), 431)
        self.assertEqual(self.status(start + b"X: a\r\nX: a\r\n\r\n"), 200)
        self.assertEqual(self.status(start + b"X: a\r\nX: a\r\nX: a\r\n\r\n"), 431)
        filled = start + b"X: " + b"x" * 20 + b"\r\n" + b"Y: " + b"y" * 21
        self.assertEqual(self.status(filled + b"\r\n\r\n"), 200)
        self.assertEqual(self.status(filled + b"y\r\n\r\n"), 431)

    def test_while_incomplete(self) -> None:
        """The caller never has to hold much more than the limits allow."""
        for head, status in (
            (b"GET /" + b"a" * 26, 414),
            (b"\r\nGET /" + b"a" * 26, 414),
            (b"GET / HTTP/1.1\r\nX: " + b"a" * 28, 431),
            (b"GET / HTTP/1.1\r\n" + b"X: aaaaaaaaaa\r\n" * 4 + b"X", 431),
        ):
            self.assertEqual(head_end(head[:-1], self.limits), 0)
            refusal = self.assertRaises(BadMessage, head_end, head, self.limits)
            self.assertEqual(refusal.status, status)

    def test_refused_at_the_first_bad_byte(self) -> None:
        """A client that waits for an answer to a broken head gets it, though the head never ends."""
        for head, reason in (
            (b"GET / HTTP/1.1\n", "bare-lf"),
            (b"GET / HTTP/1.1\rX", "bare-cr"),
            (b"GET / HTTP/1.1\r\nX: \0", "nul"),
            (b"\x16", "control-character"),
            (b"\n", "bare-lf"),
        ):
            reading = Reading(HeadLimits())
            for piece in bytewise(head[:-1]):
                reading.feed(piece)
            refusal = self.assertRaises(BadMessage, reading.feed, head[-1:])
            self.assertEqual((refusal.status, refusal.reason), (400, reason))
            self.assertEqual(str(refusal), "400 " + reason)


class MemoTests(TestCase):
    def test_shared(self) -> None:
        """The same head is parsed once; the same block on one connection too."""
        limits = HeadLimits()
        head = b"GET /1 HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
        first = parse_request_head(head, limits)
        self.assertIs(parse_request_head(bytes(bytearray(head)), limits), first)
        second = parse_request_head(head.replace(b"/1", b"/2", 1), limits, first.fields)
        self.assertEqual(second.path, b"/2")
        self.assertIs(second.fields, first.fields)

    def test_other_limits_other_memo(self) -> None:
        """What passed under wider limits does not pass under narrow ones."""
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
        parse_request_head(head, HeadLimits())
        self.assertRaises(BadMessage, parse_request_head, head, HeadLimits(header_count=1))

    def test_no_credential_is_kept(self) -> None:
        """A head with a credential is held by nobody but its connection."""
        for name in (
            b"Authorization", b"Cookie", b"Proxy-Authorization", b"X-Api-Key", b"X-Auth-Token", b"X-Csrf-Token",
            b"x-amz-signature",
        ):  # fmt: skip
            limits = HeadLimits()
            parsed = parse_request_head(b"GET / HTTP/1.1\r\nHost: a\r\n" + name + b": s3cret\r\n\r\n", limits)
            self.assertTrue(parsed.fields.secret, name)
            self.assertEqual(limits.request_memo, {})

    def test_bounded(self) -> None:
        """Neither many heads nor large ones fill the memory."""
        limits = HeadLimits()
        parse_request_head(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * MEMO_BYTES + b"\r\n\r\n", limits)
        self.assertEqual(len(limits.request_memo), 0)
        for number in range(MEMO_ENTRIES + 1):
            parse_request_head(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number, limits)
        self.assertEqual(len(limits.request_memo), 1)

    def test_previous_fields_keep_the_version_rules(self) -> None:
        """The block of an HTTP/1.0 request without Host does not pass for HTTP/1.1, nor a chunked one the other way."""
        limits = HeadLimits()
        old = parse_request_head(b"GET / HTTP/1.0\r\nX: y\r\n\r\n", limits)
        self.assertRaises(BadMessage, parse_request_head, b"GET / HTTP/1.1\r\nX: y\r\n\r\n", limits, old.fields)
        new = parse_request_head(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", limits)
        head = b"PUT / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.assertRaises(BadMessage, parse_request_head, head, limits, new.fields)
