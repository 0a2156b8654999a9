"""Tests for ``upgrade``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xproxy.http1.errors import BadMessage
from xproxy.http1.upgrade import check_switch, offer_with, passable


class OfferTests(SynchronousTestCase):
    """What a client offers, and what of it goes on."""

    def test_passable(self) -> None:
        for value, expected in (
            (b"websocket", b"websocket"),
            (b"WebSocket, foo/2", b"WebSocket, foo/2"),
            (b"tcp", b"tcp"),
            (b",websocket ,, foo,", b"websocket, foo"),
            (b"", b""),
            (b",", b""),
            (b"a b", b""),
            (b"a/", b""),
            (b"/1", b""),
            (b'"a"', b""),
        ):
            self.assertEqual(passable(value), expected, value)

    def test_what_carries_requests(self) -> None:
        """Is left out, with whatever else it was offered."""
        for carrier in (b"h2c", b"H2C", b"h2c/1", b"h2", b"HTTP/2.0", b"http/1.1", b"TLS/1.0"):
            self.assertEqual(passable(carrier), b"")
            self.assertEqual(passable(b"websocket, " + carrier), b"websocket")
            self.assertEqual(passable(carrier + b",websocket"), b"websocket")

    def test_beside_a_body(self) -> None:
        """Only when a reader that takes the body for what follows the request can't take it for another request."""
        for start in (b'{"Tty":true}', b"[]", b'"a"', b"<a/>", b"\0", b"\xe9", b"("):
            self.assertEqual(offer_with(b"tcp", start), b"tcp", start)
        for start in (
            b"GET /smuggled HTTP/1.1",
            b"\r\nGET / HTTP/1.1",
            b"\nGET",
            b" GET",
            b"\tGET",
            b"null",
            b"1",
            b"!",
            b"~",
            b"",
        ):
            self.assertEqual(offer_with(b"tcp", start), b"", start)


class SwitchTests(SynchronousTestCase):
    """What a 101 may switch to."""

    def test_what_was_offered(self) -> None:
        for upgrade, offered in (
            (b"websocket", b"websocket"),
            (b"WebSocket", b"websocket"),
            (b"foo/2", b"websocket, foo/2"),
            (b"a, b", b"b, c, a"),
        ):
            check_switch(upgrade, offered)

    def test_what_was_not(self) -> None:
        for upgrade, offered, reason in (
            (b"websocket", b"", "upgrade-not-asked-for"),
            (b"", b"websocket", "upgrade-to-nothing"),
            (b"foo", b"websocket", "upgrade-not-offered"),
            (b"foo/1", b"foo/2", "upgrade-not-offered"),
            (b"websocket, foo", b"websocket", "upgrade-not-offered"),
        ):
            refusal = self.assertRaises(BadMessage, check_switch, upgrade, offered)
            self.assertEqual(refusal.reason, reason)
