"""Heads on their way out."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from xproxy.http1 import names
from xproxy.http1.fields import Fields, parse_fields
from xproxy.http1.forward import Marks, client_head, forwarding_block, received_request_id, request_head
from xproxy.http1.limits import HeadLimits
from xproxy.http1.response import ResponseHead, parse_response_head

CLAIMS = (
    b"Host: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: o\r\n"
    b"X-Forwarded-Port: 443\r\nForwarded: for=1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\nX-Request-ID: theirs\r\nVia: 1.0 p\r\nA: b\r\n"
)


def fields(block: bytes) -> Fields:
    return parse_fields(block, HeadLimits(), names.REQUEST)


def lines(block: bytes, marks: Marks, trusted: bool, peer: bytes = b"9.9.9.9", host: bytes = b"a") -> list[bytes]:
    written = forwarding_block(fields(block), peer, b"http", host, 1, trusted, marks)
    assert written.endswith(b"\r\n")
    return written.split(b"\r\n")[:-1]


class ForwardingBlockTests(TestCase):
    def test_untrusted(self) -> None:
        """What an unknown client claims about where it came from is replaced."""
        self.assertEqual(
            lines(CLAIMS, Marks(), False),
            [
                b"Host: a",
                b"X-Forwarded-For: 9.9.9.9",
                b"X-Forwarded-Proto: http",
                b"X-Forwarded-Host: a",
                b"Via: 1.0 p",
                b"A: b",
                b"Via: 1.1 xproxy",
            ],
        )

    def test_trusted(self) -> None:
        """What a trusted proxy says is continued."""
        self.assertEqual(
            lines(CLAIMS, Marks(), True),
            [
                b"Host: a", b"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 9.9.9.9", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: o",
                b"X-Forwarded-Port: 443", b"Forwarded: for=1.1.1.1", b"X-Real-Ip: 1.1.1.1", b"Via: 1.0 p", b"A: b",
                b"Via: 1.1 xproxy",
            ],
        )  # fmt: skip

    def test_forwarded(self) -> None:
        """RFC 7239 section 4: IPv6 and hosts with a port need quotes; a trusted value is continued."""
        marks = Marks(style="forwarded", via=b"")
        self.assertEqual(
            lines(CLAIMS, marks, False), [b"Host: a", b"Forwarded: for=9.9.9.9;proto=http;host=a", b"Via: 1.0 p", b"A: b"]
        )
        self.assertIn(b"Forwarded: for=1.1.1.1, for=9.9.9.9;proto=http;host=a", lines(CLAIMS, marks, True))
        element = lines(b"Host: a:8080\r\n", marks, False, b"fe80::1%eth0", b"a:8080")[1]
        self.assertEqual(element, b'Forwarded: for="[fe80::1]";proto=http;host="a:8080"')
        self.assertEqual(lines(b"", marks, False, b"", b"")[1], b"Forwarded: for=unknown;proto=http")

    def test_both_and_none(self) -> None:
        """With ``none`` nothing is added; what an unknown client claims is removed all the same."""
        both = lines(b"Host: a\r\n", Marks(style="both"), False)
        self.assertEqual(
            [line.partition(b":")[0] for line in both],
            [b"Host", b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"Forwarded", b"Via"],
        )
        self.assertEqual(lines(CLAIMS, Marks(style="none", via=b""), False), [b"Host: a", b"Via: 1.0 p", b"A: b"])
        self.assertIn(b"X-Forwarded-For: 1.1.1.1, 2.2.2.2", lines(CLAIMS, Marks(style="none"), True))

    def test_te(self) -> None:
        """RFC 9110 section 10.1.4: ``trailers`` goes on, named in Connection; not in HTTP/1.0, not beside an offer."""
        offer, te = b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"TE: gzip, trailers\r\nConnection: te\r\n"
        for received, minor, expected in (
            (te, 1, [b"Connection: TE", b"TE: trailers"]),
            (te, 0, []),
            (offer + te, 1, []),
            (b"TE: gzip\r\nConnection: te\r\nUpgrade: websocket\r\n", 1, []),
        ):
            block = forwarding_block(fields(received), b"9.9.9.9", b"http", b"a", minor, False, Marks(style="none", via=b""))
            self.assertEqual(block.split(b"\r\n")[1:-1], expected)

    def test_unix_client(self) -> None:
        """A client without an address is unknown, and a request without a host says none."""
        self.assertEqual(
            lines(b"", Marks(via=b""), False, b"", b""), [b"Host: ", b"X-Forwarded-For: unknown", b"X-Forwarded-Proto: http"]
        )

    def test_via_names_the_version_received(self) -> None:
        """RFC 9110 section 7.6.3."""
        block = forwarding_block(fields(b""), b"1.1.1.1", b"http", b"", 0, False, Marks(via=b"edge"))
        self.assertTrue(block.endswith(b"Via: 1.0 edge\r\n"))

    def test_request_id(self) -> None:
        """X-Request-ID is kept when the client sent a sound one, or when it is not ours to write."""
        self.assertEqual(received_request_id(fields(CLAIMS)), b"theirs")
        self.assertEqual(received_request_id(fields(b"A: b\r\n")), b"")
        for value in (b"", b"a b", b"a, b", b"a" * 129, b'a"', b"\xe9"):
            self.assertEqual(received_request_id(fields(b"X-Request-ID: " + value + b"\r\n")), b"", value)
        self.assertNotIn(b"X-Request-ID: theirs", lines(CLAIMS, Marks(), True))
        self.assertIn(b"X-Request-ID: theirs", lines(CLAIMS, Marks(request_id=False), False))


class RequestHeadTests(TestCase):
    def test_framings(self) -> None:
        """None, a length (zero too) and chunked; never two of them."""
        start = b"PUT /a?b HTTP/1.1\r\nHost: a\r\n"
        self.assertEqual(request_head(b"PUT", b"/a?b", b"Host: a\r\n"), start + b"\r\n")
        self.assertEqual(request_head(b"PUT", b"/a?b", b"Host: a\r\n", 0), start + b"Content-Length: 0\r\n\r\n")
        self.assertEqual(request_head(b"PUT", b"/a?b", b"Host: a\r\n", 7, True), start + b"Transfer-Encoding: chunked\r\n\r\n")

    def test_additions(self) -> None:
        """The request's own id, and a switch of protocols."""
        self.assertEqual(
            request_head(b"GET", b"/", b"Host: a\r\n", request_id=b"7", upgrade=b"websocket"),
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: 7\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )


def response(lines_: bytes = b"Date: D\r\nA: b\r\n", status: int = 200, minor: int = 1) -> ResponseHead:
    return parse_response_head(b"HTTP/1.%d %d X\r\n%b\r\n" % (minor, status, lines_), HeadLimits())


class ClientHeadTests(TestCase):
    def test_persistence(self) -> None:
        """RFC 9112 section 9.3: only what is not the default of the client's version is said."""
        for minor, keep_alive, said in (
            (1, True, b""),
            (1, False, b"Connection: close\r\n"),
            (0, True, b"Connection: keep-alive\r\n"),
        ):
            self.assertEqual(
                client_head(response(), minor, keep_alive, 5),
                b"HTTP/1.1 200 X\r\nDate: D\r\nA: b\r\nVia: 1.1 xproxy\r\nContent-Length: 5\r\n" + said + b"\r\n",
            )
        self.assertIn(b"Connection: close\r\n", client_head(response(), 0, False, 5))

    def test_framings(self) -> None:
        """Chunked, ended by close, and none where none may be (RFC 9110 section 8.6)."""
        self.assertIn(b"\r\nTransfer-Encoding: chunked\r\n", client_head(response(), 1, True, 5, chunked=True))
        self.assertNotIn(b"Length", client_head(response(), 1, False))
        for status in (103, 204):
            self.assertNotIn(b"Length", client_head(response(status=status), 1, True, 0))
        self.assertIn(b"Content-Length: 9", client_head(response(status=304), 1, True, 9))

    def test_date(self) -> None:
        """RFC 9110 section 6.6.1: added when the service sent none, but not to an interim response."""
        self.assertEqual(
            client_head(response(b""), 1, True, 0, date=b"N", via=b""),
            b"HTTP/1.1 200 X\r\nContent-Length: 0\r\nDate: N\r\n\r\n",
        )
        self.assertNotIn(b"Date: N", client_head(response(), 1, True, 0, date=b"N"))
        self.assertEqual(client_head(response(b"", 103), 1, False, date=b"N", via=b""), b"HTTP/1.1 103 X\r\n\r\n")

    def test_upgrade(self) -> None:
        """The switch itself, and a 426 that names what would be spoken (RFC 9110 sections 7.8 and 15.5.22)."""
        offered = b"Connection: upgrade\r\nUpgrade: websocket\r\n"
        self.assertEqual(
            client_head(response(offered, 101), 1, False, via=b""),
            b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        self.assertIn(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", client_head(response(offered, 426), 1, True, 0))
        self.assertIn(b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n", client_head(response(offered, 426), 1, False, 0))
        self.assertNotIn(b"pgrade", client_head(response(offered, 200), 1, True, 0))

    def test_old_service(self) -> None:
        """Via names the version received; the client always gets HTTP/1.1 (RFC 9110 section 2.5)."""
        self.assertTrue(
            client_head(response(minor=0), 1, True, 5).startswith(b"HTTP/1.1 200 X\r\nDate: D\r\nA: b\r\nVia: 1.0 xproxy\r\n")
        )

    def test_last_variant(self) -> None:
        """What was made last is not made again, and nothing else is taken for it."""
        head, via = response(), b"edge"
        first = client_head(head, 1, True, 5, via=via)
        assert head.last_variant is not None
        made = head.last_variant[1]
        self.assertEqual(client_head(head, 1, True, 5, via=via), first)
        self.assertIs(head.last_variant[1], made)
        for minor, keep_alive, length, chunked, other_via in (
            (0, True, 5, False, via), (1, False, 5, False, via), (1, True, 6, False, via), (1, True, -1, True, via),
            (1, True, 5, False, b"x"),
        ):  # fmt: skip
            fresh = client_head(response(), minor, keep_alive, length, chunked, via=other_via)
            self.assertEqual(client_head(head, minor, keep_alive, length, chunked, via=other_via), fresh)
            self.assertNotEqual(fresh, first)
