"""The service's end of a slot: what its server is given, when it may be closed, and what is said then."""

from __future__ import annotations

from typing import List, Optional, Tuple

from twisted.trial.unittest import SynchronousTestCase

from xproxy.slots.serving.goodbye import CLOSING_RESPONSE
from xproxy.slots.serving.service_end import ServiceEnd
from xproxy.slots.serving.unasked import MAX_REFUSAL_BYTES

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"

Step = Tuple[bytes, bytes, Optional[bytes]]
"""What is received, what is sent after that, the last words then."""

LIVES: List[List[Step]] = [
    [(b"", b"", CLOSING_RESPONSE), (GET, b"", None), (b"", OK[:-1], None), (b"", OK[-1:], CLOSING_RESPONSE)],
    [(GET, OK, CLOSING_RESPONSE), (GET, b"", None)],
    [(GET[:9], b"", None), (GET[9:], OK, CLOSING_RESPONSE)],
    [(LAST, OK, b"")],
    [(POST, OK, b""), (b"llo", b"", CLOSING_RESPONSE)],
    [(GET, UPGRADE, None), (b"x", b"y", None)],
    [(b"\x00ping", b"", None), (b"", b"pong", b"")],
]


class LifeTests(SynchronousTestCase):
    """From the introduction to the last words."""

    def test_lives(self) -> None:
        for life in LIVES:
            end = ServiceEnd()
            for number, (received, sent, last_words) in enumerate(life):
                self.assertEqual(end.received(received), received, (life, number))
                self.assertTrue(end.sent(sent) if sent else True)
                self.assertEqual(end.last_words(), last_words, (life, number))
            self.assertEqual((end.refused, end.refusal), (False, ""))

    def test_closing(self) -> None:
        """Nothing goes to the server, or comes from it; and once is enough."""
        end = ServiceEnd()
        end.closing = True
        self.assertEqual((end.received(GET), end.sent(OK), end.last_words(), end.tracker.requests), (b"", False, None, 0))

    def test_refused_at_every_split(self) -> None:
        for at in range(1, len(REFUSAL)):
            end = ServiceEnd()
            self.assertEqual(end.received(REFUSAL[:at]), b"")
            if end.refused:
                end.closing = True
            self.assertEqual((end.received(REFUSAL[at:]), end.refusal), (b"", "refused by the acceptor: no"))

    def test_what_is_kept_of_a_refusal_is_bounded(self) -> None:
        end = ServiceEnd()
        end.received(REFUSAL)
        end.closing = True
        for _ in range(1000):
            end.received(b"x" * 100)
        self.assertEqual(len(end._response.said), MAX_REFUSAL_BYTES)

    def test_a_request_that_begins_like_a_response(self) -> None:
        end = ServiceEnd()
        self.assertEqual(end.received(b"HTT"), b"")
        self.assertEqual(end.received(b"X / HTTP/1.1\r\nHost: a\r\n\r\n"), b"HTTX / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIsNone(end.last_words())
