"""Whether a request is running, from the bytes alone."""

from __future__ import annotations

from typing import List, Tuple

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from xproxy.slots.serving.tracker import TRACKER_LIMITS, ExchangeTracker, Phase

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED_POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n10;x=y\r\n0123456789abcdef\r\n0\r\nT: 1\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

EXCHANGES: List[Tuple[str, bytes, bytes, Phase]] = [
    ("length", GET, OK, Phase.IDLE),
    ("no body", GET, EMPTY, Phase.IDLE),
    ("not modified", GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", Phase.IDLE),
    ("chunked", GET, CHUNKED, Phase.IDLE),
    ("head", HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", Phase.IDLE),
    ("post", POST, OK, Phase.IDLE),
    ("chunked post", CHUNKED_POST, CHUNKED, Phase.IDLE),
    ("interim", POST, CONTINUE + CONTINUE + OK, Phase.IDLE),
    ("service closes", GET, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", Phase.SPENT),
    ("proxy closes", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", OK, Phase.SPENT),
    ("old proxy", b"GET / HTTP/1.0\r\n\r\n", OK, Phase.SPENT),
    ("old service", GET, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", Phase.SPENT),
    ("until close", GET, b"HTTP/1.1 200 OK\r\n\r\nsome", Phase.RUNNING),
    ("upgrade", GET, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\x81\x00", Phase.TUNNEL),
    ("connect", b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nx", Phase.TUNNEL),
    ("connect refused", b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", EMPTY.replace(b"204", b"403"), Phase.RUNNING),
    ("length not reached", GET, OK[:-1], Phase.RUNNING),
    ("chunks not ended", GET, CHUNKED[:-2], Phase.RUNNING),
    ("two responses", GET, OK + OK, Phase.UNCLEAR),
    ("broken response", GET, b"HTTP/1.1 2000 OK\r\n\r\n", Phase.UNCLEAR),
    ("not a response", GET, b"<html>", Phase.UNCLEAR),
    ("broken chunk", GET, CHUNKED.replace(b"hi\r\n", b"hi!!"), Phase.UNCLEAR),
]


def pieces(data: bytes, size: int) -> List[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


class ExchangeTests(TestCase):
    """Each exchange in each splitting."""

    def play(self, tracker: ExchangeTracker, request: List[bytes], response: List[bytes]) -> None:
        for piece in request:
            tracker.received(piece)
            self.assertIs(tracker.phase, Phase.RUNNING)
        for piece in response:
            tracker.sent(piece)

    def test_whole(self) -> None:
        for name, request, response, phase in EXCHANGES:
            tracker = ExchangeTracker()
            self.play(tracker, [request], [response])
            self.assertIs(tracker.phase, phase, name)
            self.assertEqual(tracker.requests, 1, name)

    def test_byte_by_byte(self) -> None:
        for name, request, response, phase in EXCHANGES:
            tracker = ExchangeTracker()
            self.play(tracker, pieces(request, 1), pieces(response, 1))
            self.assertIs(tracker.phase, phase, name)

    def test_every_split(self) -> None:
        for name, request, response, phase in EXCHANGES:
            for at in range(1, len(response)):
                tracker = ExchangeTracker()
                self.play(tracker, [request], [response[:at], response[at:]])
                self.assertIs(tracker.phase, phase, (name, at))
            for at in range(1, len(request)):
                tracker = ExchangeTracker()
                self.play(tracker, [request[:at], request[at:]], [response])
                self.assertIs(tracker.phase, phase, (name, at))

    def test_one_after_the_other(self) -> None:
        """Whatever came before, the next exchange on a kept slot is followed."""
        tracker = ExchangeTracker()
        kept = [exchange for exchange in EXCHANGES if exchange[3] is Phase.IDLE]
        for name, request, response, _ in kept * 3:
            self.play(tracker, [request], pieces(response, 7))
            self.assertIs(tracker.phase, Phase.IDLE, name)
        self.assertEqual(tracker.requests, 3 * len(kept))

    def test_running_until_the_last_byte(self) -> None:
        for name, request, response, phase in EXCHANGES:
            if phase is not Phase.IDLE:
                continue
            tracker = ExchangeTracker()
            self.play(tracker, [request], pieces(response[:-1], 1))
            self.assertIs(tracker.phase, Phase.RUNNING, name)
            tracker.sent(response[-1:])
            self.assertIs(tracker.phase, Phase.IDLE, name)


class EarlyResponseTests(TestCase):
    """A response that does not wait for the end of the request."""

    def test_the_rest_is_no_new_request(self) -> None:
        tracker = ExchangeTracker()
        tracker.received(POST[:-3])
        tracker.sent(OK)
        self.assertIs(tracker.phase, Phase.ANSWERED)
        tracker.received(POST[-3:-1])
        self.assertIs(tracker.phase, Phase.ANSWERED)
        tracker.received(POST[-1:])
        self.assertIs(tracker.phase, Phase.IDLE)
        self.assertEqual(tracker.requests, 1)

    def test_the_next_request_right_behind_the_rest(self) -> None:
        """For the proxy the exchange is over with its response; it does not wait until the service has read the rest."""
        tracker = ExchangeTracker()
        tracker.received(POST[:-3])
        tracker.sent(OK)
        tracker.received(POST[-3:] + GET)
        self.assertIs(tracker.phase, Phase.RUNNING)
        tracker.sent(OK)
        self.assertIs(tracker.phase, Phase.IDLE)
        self.assertEqual(tracker.requests, 2)

    def test_before_the_head_is_complete(self) -> None:
        tracker = ExchangeTracker()
        tracker.received(GET[:-2])
        tracker.sent(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.assertIs(tracker.phase, Phase.SPENT)
        tracker.received(GET[-2:])
        self.assertIs(tracker.phase, Phase.SPENT)

    def test_more_than_the_response(self) -> None:
        tracker = ExchangeTracker()
        tracker.received(POST[:-3])
        tracker.sent(OK)
        tracker.sent(b"x")
        self.assertIs(tracker.phase, Phase.UNCLEAR)

    def test_pipelining_is_not_followed(self) -> None:
        """Against the rules of a slot: never called idle again."""
        for split in ([GET + GET], [GET, GET]):
            tracker = ExchangeTracker()
            for piece in split:
                tracker.received(piece)
            self.assertIs(tracker.phase, Phase.UNCLEAR)
            tracker.sent(OK)
            tracker.received(GET)
            self.assertIs(tracker.phase, Phase.UNCLEAR)

    def test_nothing_sent_is_nothing(self) -> None:
        tracker = ExchangeTracker()
        tracker.sent(b"")
        self.assertIs(tracker.phase, Phase.IDLE)


class RawTests(TestCase):
    """Protocols that are not HTTP."""

    def test_lines(self) -> None:
        tracker = ExchangeTracker()
        tracker.received(b"PING\n")
        self.assertIs(tracker.phase, Phase.RAW_OWED)
        tracker.sent(b"PONG\n")
        self.assertIs(tracker.phase, Phase.RAW_QUIET)
        tracker.received(b"PING\n")
        self.assertIs(tracker.phase, Phase.RAW_OWED)
        self.assertEqual(tracker.requests, 0)

    def test_told_by_the_answer(self) -> None:
        tracker = ExchangeTracker()
        tracker.received(b"ping")
        self.assertIs(tracker.phase, Phase.RUNNING)
        tracker.sent(b"pong")
        self.assertIs(tracker.phase, Phase.RAW_QUIET)

    def test_a_greeting(self) -> None:
        tracker = ExchangeTracker()
        tracker.sent(b"220 hello\r\n")
        self.assertIs(tracker.phase, Phase.RAW_QUIET)

    def test_an_http_server_instead_of_an_acceptor(self) -> None:
        """Dialled by mistake, it answers our registration: that is no request."""
        tracker = ExchangeTracker()
        tracker.received(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(tracker.requests, 0)
        self.assertIs(tracker.phase, Phase.RAW_OWED)

    def test_strange_bytes_after_http(self) -> None:
        tracker = ExchangeTracker()
        tracker.received(GET)
        tracker.sent(OK)
        tracker.received(b"\x00\x01\n")
        self.assertIs(tracker.phase, Phase.UNCLEAR)

    def test_a_head_without_end(self) -> None:
        tracker = ExchangeTracker()
        limit = TRACKER_LIMITS.request_line + TRACKER_LIMITS.head
        tracker.received(b"GET / HTTP/1.1\r\n")
        for _ in range(limit // 1000 + 1):
            tracker.received(b"X-Long: " + b"x" * 990 + b"\r\n")
        self.assertIs(tracker.phase, Phase.RAW_OWED)


class AnythingTests(TestCase):
    """What Hypothesis finds."""

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(
        st.lists(
            st.tuples(st.booleans(), st.one_of(st.binary(min_size=1, max_size=40), st.sampled_from([GET, POST, OK, CHUNKED])))
        )
    )
    def test_nothing_raises(self, events: List[Tuple[bool, bytes]]) -> None:
        tracker = ExchangeTracker()
        for incoming, data in events:
            (tracker.received if incoming else tracker.sent)(data)
            self.assertIsInstance(tracker.phase, Phase)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.data())
    def test_bodies_of_any_size_in_any_pieces(self, data: st.DataObject) -> None:
        body = data.draw(st.binary(max_size=300))
        if data.draw(st.booleans()):
            cuts = data.draw(st.lists(st.integers(1, 50), max_size=10))
            chunks, at = [], 0
            for size in [*cuts, len(body)]:
                if body[at : at + size]:
                    chunks.append(b"%x\r\n%b\r\n" % (len(body[at : at + size]), body[at : at + size]))
                at += size
            response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"
        else:
            response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        tracker = ExchangeTracker()
        tracker.received(GET)
        while response:
            self.assertIs(tracker.phase, Phase.RUNNING)
            size = data.draw(st.integers(1, len(response)))
            tracker.sent(response[:size])
            response = response[size:]
        self.assertIs(tracker.phase, Phase.IDLE)
