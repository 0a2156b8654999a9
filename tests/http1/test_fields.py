"""Header blocks: what goes on, what ends here, what is looked at."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from xproxy.http1 import names
from xproxy.http1.errors import BadMessage
from xproxy.http1.fields import Fields, parse_fields
from xproxy.http1.limits import HeadLimits


def request(block: bytes) -> Fields:
    return parse_fields(block, HeadLimits(), names.REQUEST)


def response(block: bytes) -> Fields:
    return parse_fields(block, HeadLimits(), names.RESPONSE)


class PassedOnTests(TestCase):
    def test_hop_by_hop(self) -> None:
        """RFC 9110 section 7.6.1: what is for this hop goes no further, in either direction."""
        block = (
            b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: x\r\nA: 1\r\n"
            b"HTTP2-Settings: x\r\n"
            b"Proxy-Authorization: x\r\nProxy-Authenticate: x\r\nConnection: b, keep-alive\r\nB: 2\r\nb: 3\r\nBB: 4\r\n"
        )
        self.assertEqual(request(block).passed_on, b"A: 1\r\nBB: 4\r\n")
        self.assertEqual(response(block).passed_on, b"A: 1\r\nBB: 4\r\n")

    def test_written_by_the_proxy(self) -> None:
        """What the proxy writes itself, or lets only trusted clients say, is taken out."""
        block = (
            b"Host: a\r\nContent-Length: 3\r\nX-Forwarded-For: 1\r\nx-forwarded-ssl: on\r\nForwarded: for=1\r\nX-Real-IP: 1\r\n"
            b"X-Request-ID: 7\r\nExpect: 100-continue\r\nVia: 1.1 b\r\n"
        )
        self.assertEqual(request(block).passed_on, b"Via: 1.1 b\r\n")

    def test_httpoxy(self) -> None:
        """CVE-2016-5385: a Proxy header becomes HTTP_PROXY in the environment of a CGI program."""
        self.assertEqual(request(b"Proxy: http://evil\r\nA: b\r\n").passed_on, b"A: b\r\n")

    def test_confusable(self) -> None:
        """CGI and WSGI know X_Forwarded_For by the same name: it ends here, and is not believed even of a trusted client."""
        for name in (
            b"X_Forwarded_For",
            b"x_forwarded-proto",
            b"X.Forwarded.Host",
            b"X_Request_ID",
            b"Keep_Alive",
            b"x~real~ip",
        ):
            fields = request(name + b": 1\r\nX_Own: 2\r\n")
            self.assertEqual(fields.passed_on, b"X_Own: 2\r\n", name)
            self.assertEqual(fields.special, {names.CONFUSABLE: b"1"})

    def test_connection_cannot_touch_what_we_write(self) -> None:
        """Hop-by-hop abuse (N. Davison, Abusing HTTP hop-by-hop request headers, 2019): framing and origin are not removed."""
        fields = request(
            b"Connection: Host, Content-Length, X-Forwarded-For\r\nHost: a\r\nContent-Length: 3\r\nX-Forwarded-For: 1\r\n"
        )
        self.assertEqual((fields.host, fields.content_length, fields.special[b"x-forwarded-for"]), (b"a", 3, b"1"))

    def test_response(self) -> None:
        """Our own words to the proxy go no further; a service's Host is just a field."""
        ours = b"Xproxy-Slot: closing\r\nX-Accel-Buffering: no\r\nContent-Length: 0\r\n"
        fields = response(ours + b"Host: a\r\nDate: now\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n")
        self.assertEqual(fields.passed_on, b"Host: a\r\nDate: now\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n")
        self.assertTrue(fields.secret)

    def test_nothing_else_changes(self) -> None:
        """Spelling, order, repetition and the whitespace of other fields stay."""
        block = b"b:1\r\nA:  2 \r\nB: \r\nb:3\r\nExpires: 0\r\nTrailer: X\r\nMax-Forwards: 3\r\nAuthorization: x\r\n"
        self.assertEqual(request(block).passed_on, block)


class LookedAtTests(TestCase):
    def test_get_and_pairs(self) -> None:
        """Any field can be asked for, by lower-case name."""
        fields = request(b"Accept: a\r\nHost: h\r\naccept:\tb \r\nX-Forwarded-For: 1\r\nX-Forwarded-For: 2\r\n")
        self.assertEqual(fields.get(b"accept"), b"a, b")
        self.assertEqual(fields.get(b"host"), b"h")
        self.assertIsNone(fields.get(b"cookie"))
        self.assertEqual(fields.special[b"x-forwarded-for"], b"1, 2")
        self.assertEqual(
            [name for name, _ in fields.pairs()], [b"accept", b"host", b"accept", b"x-forwarded-for", b"x-forwarded-for"]
        )
        self.assertIs(fields.pairs(), fields.pairs())

    def test_connection(self) -> None:
        """RFC 9112 section 9.3: the options of Connection, in any case, on any number of lines."""
        for value, close, keep_alive in (
            (b"", False, False), (b"close", True, False), (b"CLOSE", True, False), (b"Keep-Alive", False, True),
            (b"keep-alive, close", True, True), (b",,close,", True, False), (b"x\r\nConnection: close", True, False),
            (b"closed", False, False),
        ):  # fmt: skip
            fields = request(b"Connection: " + value + b"\r\n")
            self.assertEqual((fields.close, fields.keep_alive), (close, keep_alive), value)

    def test_framing(self) -> None:
        """RFC 9112 section 6."""
        self.assertEqual((request(b"").content_length, request(b"").chunked), (-1, False))
        self.assertEqual(request(b"content-LENGTH:0\r\n").content_length, 0)
        self.assertEqual(request(b"Content-Length: 999999999999999999\r\n").content_length, 10**18 - 1)
        self.assertTrue(request(b"transfer-encoding:CHUNKED\r\n").chunked)

    def test_upgrade(self) -> None:
        """RFC 9110 section 7.8: only when Connection names it; h2c Smuggling (Bishop Fox, 2020): no tunnel past the routes."""
        for lines, expected in (
            (b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"websocket"),
            (b"Upgrade: websocket\r\n", b""),
            (b"Connection: upgrade\r\n", b""),
            (b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n", b""),
            (b"Upgrade: websocket, h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n", b"websocket"),
        ):
            fields = request(lines)
            self.assertEqual((fields.upgrade, fields.passed_on), (expected, b""), lines)

    def test_te(self) -> None:
        """RFC 9110 section 10.1.4: a list, in any case, on any number of lines; nothing but ``trailers`` is of interest."""
        for value, takes in (
            (b"trailers", True), (b"Trailers", True), (b"gzip;q=0.5, trailers", True), (b"gzip\r\nTE: trailers", True),
            (b"", False), (b"gzip", False), (b"trailers;q=0.5", False), (b"xtrailers", False),
        ):  # fmt: skip
            fields = request(b"TE: " + value + b"\r\nConnection: TE\r\n")
            self.assertEqual((fields.takes_trailers, fields.passed_on), (takes, b""), value)

    def test_expect(self) -> None:
        """RFC 9110 section 10.1.1: a list, in any case; what nobody knows is passed over."""
        for value, waits in (
            (b"100-continue", True), (b"100-Continue", True), (b"x, 100-continue", True), (b"100-continue,", True),
            (b"100-continue\r\nExpect: 100-continue", True), (b"", False), (b"100-continue;a=b", False), (b"200-maybe", False),
        ):  # fmt: skip
            fields = request(b"Expect: " + value + b"\r\n")
            self.assertEqual((fields.expect_continue, fields.passed_on), (waits, b""), value)

    def test_blanks_before_a_colon(self) -> None:
        """RFC 9112 section 5.1: 400 in a request, removed from a response, but for fields that we act on."""
        block = b"X : y\r\nSet-Cookie\t \t: a : b\r\n"
        self.assertRaises(BadMessage, request, block)
        fields = response(block)
        self.assertEqual(fields.passed_on, b"X: y\r\nSet-Cookie: a : b\r\n")
        self.assertTrue(fields.secret)
        for wrong in (b" : y\r\n", b"X y : z\r\n", b" X : y\r\n", b"X\x01: y\r\n", b"Connection : close\r\n", b"TE\t: a\r\n"):
            self.assertRaises(BadMessage, response, wrong)

    def test_max_forwards(self) -> None:
        """RFC 9110 section 7.6.2."""
        fields = request(b"A: b\r\nMax-Forwards: 3\r\nC: d\r\n")
        self.assertEqual(fields.max_forwards, 3)
        self.assertEqual(fields.with_max_forwards(2).passed_on, b"A: b\r\nC: d\r\nMax-Forwards: 2\r\n")
        self.assertEqual(fields.passed_on, b"A: b\r\nMax-Forwards: 3\r\nC: d\r\n")
        for block in (
            b"",
            b"Max-Forwards: x\r\n",
            b"Max-Forwards: -1\r\n",
            b"Max-Forwards: 1\r\nMax-Forwards: 1\r\n",
            b"Max-Forwards: \xb2\r\n",
        ):
            self.assertEqual(request(block).max_forwards, -1, block)

    def test_a_block_is_whole_lines(self) -> None:
        """A block without the end of its last line is not taken for an empty one."""
        for block in (b"a", b"A: b", b"A: b\r", b"A: b\r\nC", b"\r\n", b"A: b\r\n\r\n"):
            self.assertRaises(BadMessage, request, block)


class NamesTests(TestCase):
    def test_spellings_are_bounded(self) -> None:
        """A client that sends new names for ever does not fill the memory, and is still understood."""
        side = names.Names(taken=(b"x-ours",), kept=(), single=(), prefix=b"")
        for number in range(5000):
            side.look_up(b"X-%d" % number)
        side.look_up(b"Y" * 65)
        self.assertLessEqual(len(side.known), 4096)
        self.assertNotIn(b"Y" * 65, side.known)
        self.assertEqual(side.look_up(b"x-OURS"), b"x-ours")
        self.assertEqual(side.look_up(b"X_Ours"), names.CONFUSABLE)
        self.assertEqual(side.look_up(b"X-Session"), names.SECRET)
