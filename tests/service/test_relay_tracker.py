"""What a slot is given of a backend's answers: whole, byte by byte, at every split, with more behind."""

from __future__ import annotations

from typing import List, Optional, Tuple

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xproxy.service.relay_tracker import RelayTracker
from xproxy.slots.serving.tracker import Phase

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
OLD_KEPT = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
UNSIZED = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nsome"


def closing(answer: bytes, value: bytes = b"close") -> bytes:
    return answer.replace(b"\r\n", b"\r\nConnection: " + value + b"\r\n", 1)


def chunked(answer: bytes) -> bytes:
    """As UNSIZED in one piece, and its end."""
    return answer.replace(b"X: y\r\n", b"X: y\r\nTransfer-Encoding: chunked\r\n").replace(b"some", b"4\r\nsome\r\n0\r\n\r\n")


Row = Tuple[str, bytes, bytes, Optional[bytes], Phase, bool]
"""Name, request, answer, what the slot gets (None: the same), the phase after that, may the backend's connection be kept."""

KEPT: List[Row] = [
    ("length", GET, OK, None, Phase.IDLE, True),
    ("no body", GET, EMPTY, None, Phase.IDLE, True),
    ("chunked", GET, CHUNKED, None, Phase.IDLE, True),
    ("head", HEAD, OK[:-2], None, Phase.IDLE, True),
    ("interim", GET, CONTINUE + CONTINUE + OK, None, Phase.IDLE, True),
    ("old and kept", GET, closing(OK, b"keep-alive").replace(b"1.1", b"1.0"), None, Phase.IDLE, True),
    ("old proxy that keeps", OLD_KEPT, OK, None, Phase.IDLE, True),
]
CLOSED: List[Row] = [
    ("close", GET, closing(OK), OK, Phase.IDLE, False),
    (
        "close in other words",
        GET,
        closing(OK, b" Close ,\tkeep-alive").replace(b"Connection", b"CONNECTION"),
        OK,
        Phase.IDLE,
        False,
    ),
    ("close and more", GET, closing(OK, b"close, X-A"), OK[:-4] + b"Connection: X-A\r\n\r\nhi", Phase.IDLE, False),
    ("close, chunked", GET, closing(CHUNKED), CHUNKED, Phase.IDLE, False),
    ("close, no body", GET, closing(EMPTY), EMPTY, Phase.IDLE, False),
    ("close, head", HEAD, closing(OK[:-2]), OK[:-2], Phase.IDLE, False),
    ("close, interim", GET, CONTINUE + closing(OK), CONTINUE + OK, Phase.IDLE, False),
    ("old", GET, OK.replace(b"1.1", b"1.0"), OK, Phase.IDLE, False),
    ("old, head without length", HEAD, UNSIZED[:-4].replace(b"1.1", b"1.0"), UNSIZED[:-4], Phase.IDLE, False),
    ("no reason", GET, closing(OK).replace(b" OK", b""), OK.replace(b"OK", b""), Phase.IDLE, False),
    ("the proxy closes", LAST, OK, None, Phase.SPENT, False),
    ("both close", LAST, closing(OK), None, Phase.SPENT, False),
    ("old proxy", OLD, OK, None, Phase.SPENT, False),
    ("old proxy that keeps, close", OLD_KEPT, closing(OK), None, Phase.SPENT, False),
    ("upgrade", GET, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x81\x00", None, Phase.TUNNEL, False),
    ("connect", b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nx", None, Phase.TUNNEL, False),
    ("broken", GET, b"HTTP/1.1 2000 OK\r\n\r\nx", None, Phase.UNCLEAR, False),
    ("broken chunk", GET, CHUNKED.replace(b"hi\r\n", b"hi!!"), None, Phase.UNCLEAR, False),
    ("not a response", GET, b"<html>", None, Phase.UNCLEAR, False),
]
ENDED: List[Row] = [
    ("unsized", GET, UNSIZED, chunked(UNSIZED), Phase.IDLE, False),
    ("unsized and close", GET, closing(UNSIZED), chunked(UNSIZED), Phase.IDLE, False),
    ("unsized, but keep", GET, closing(UNSIZED, b"keep-alive"), chunked(UNSIZED), Phase.IDLE, False),
    ("unsized and old", GET, UNSIZED.replace(b"1.1", b"1.0"), chunked(UNSIZED), Phase.IDLE, False),
    ("unsized and empty", GET, UNSIZED[:-4], chunked(UNSIZED[:-4]) + b"0\r\n\r\n", Phase.IDLE, False),
    ("unsized for an old proxy", OLD, UNSIZED, None, Phase.SPENT, False),
    ("unsized for an old proxy that keeps", OLD_KEPT, UNSIZED, None, Phase.SPENT, False),
    ("unsized for a proxy that closes", LAST, closing(UNSIZED), None, Phase.SPENT, False),
]


def pieces(data: bytes, size: int) -> List[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


class AnswerTests(SynchronousTestCase):
    """Each answer in each splitting."""

    def play(self, row: Row, tracker: RelayTracker, answer: List[bytes], ended: bool) -> bytes:
        name, request, _, _, phase, good = row
        self.assertEqual(tracker.follow_request(request), b"", name)
        got = b""
        for piece in answer:
            self.assertIs(
                tracker.phase, Phase.RUNNING, name
            ) if phase is not Phase.UNCLEAR and phase is not Phase.TUNNEL else None
            got += tracker.answer(piece)
        if ended:
            self.assertIs(tracker.phase, Phase.RUNNING, name)
            got += tracker.answer_ended()
        self.assertEqual((tracker.phase, tracker.backend_good), (phase, good), name)
        return got

    def test_whole(self) -> None:
        for ended, rows in ((False, KEPT + CLOSED), (True, ENDED)):
            for row in rows:
                got = self.play(row, RelayTracker(), [row[2]], ended)
                self.assertEqual(got, row[2] if row[3] is None else row[3], row[0])

    def test_every_split(self) -> None:
        for row in KEPT + CLOSED:
            for at in range(1, len(row[2])):
                got = self.play(row, RelayTracker(), [row[2][:at], row[2][at:]], False)
                self.assertEqual(got, row[2] if row[3] is None else row[3], (row[0], at))

    def test_byte_by_byte(self) -> None:
        for row in KEPT + CLOSED:
            got = self.play(row, RelayTracker(), pieces(row[2], 1), False)
            self.assertEqual(got, row[2] if row[3] is None else row[3], row[0])

    def test_pieces_of_an_unsized_body_are_chunks(self) -> None:
        for row in ENDED:
            got = self.play(row, RelayTracker(), pieces(row[2], 1), True)
            if row[3] is None:
                self.assertEqual(got, row[2], row[0])
            else:
                self.assertEqual(got.replace(b"1\r\ns\r\n1\r\no\r\n1\r\nm\r\n1\r\ne\r\n", b"4\r\nsome\r\n"), row[3], row[0])

    def test_with_more_behind(self) -> None:
        """What nobody asked for is not passed on, and the end of that connection."""
        for row in KEPT + CLOSED:
            if row[4] in (Phase.IDLE, Phase.SPENT):
                tracker = RelayTracker()
                tracker.follow_request(row[1])
                got = tracker.answer(row[2] + OK)
                self.assertEqual(got, row[2] if row[3] is None else row[3], row[0])
                self.assertEqual((tracker.phase, tracker.backend_good), (row[4], False), row[0])
                self.assertEqual(tracker.answer(OK), b"", row[0])

    def test_one_after_the_other(self) -> None:
        tracker = RelayTracker()
        rows = [row for row in KEPT + CLOSED if row[4] is Phase.IDLE]
        for row in rows * 2:
            got = self.play(row, tracker, pieces(row[2], 7), False)
            self.assertEqual(got, row[2] if row[3] is None else row[3], row[0])
        self.assertEqual(tracker.requests, 2 * len(rows))

    def test_an_end_that_does_not_complete(self) -> None:
        """EOF in the middle of what has a length is no end of it."""
        for answer in (OK[:-1], OK[:20], CHUNKED[:-1], closing(CHUNKED)[:-3]):
            tracker = RelayTracker()
            tracker.follow_request(GET)
            tracker.answer(answer)
            self.assertFalse(tracker.end_completes)
            self.assertEqual((tracker.answer_ended(), tracker.phase), (b"", Phase.RUNNING))

    def test_what_an_end_would_complete(self) -> None:
        for request, answer, completes in (
            (OLD, UNSIZED, True),
            (GET, UNSIZED, False),
            (GET, b"<html>", True),
            (OLD, OK[:-1], False),
        ):
            tracker = RelayTracker()
            tracker.follow_request(request)
            tracker.answer(answer)
            self.assertEqual(tracker.end_completes, completes)

    def test_early(self) -> None:
        """Before the request is whole; before its head is."""
        tracker = RelayTracker()
        tracker.follow_request(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
        self.assertEqual((tracker.answer(OK), tracker.phase, tracker.backend_good), (OK, Phase.ANSWERED, True))
        self.assertEqual((tracker.follow_request(b"cdeGET"), tracker.phase), (b"GET", Phase.IDLE))
        tracker.follow_request(GET[:10])
        self.assertEqual(tracker.method, b"")
        self.assertEqual((tracker.answer(OK), tracker.phase, tracker.backend_good), (OK, Phase.ANSWERED, True))
        self.assertEqual((tracker.follow_request(GET[10:]), tracker.phase), (b"", Phase.IDLE))

    def test_the_method(self) -> None:
        tracker = RelayTracker()
        self.assertEqual(tracker.method, b"")
        tracker.follow_request(GET)
        self.assertEqual(tracker.method, b"GET")
        tracker.answer(OK)
        self.assertEqual(tracker.method, b"")

    def test_announced_times(self) -> None:
        for value, seconds in (
            (b"timeout=5", 4.0),
            (b"timeout=1", 0.5),
            (b"timeout=0", 0.0),
            (b"Timeout=60, max=100", 59.0),
            (b"max=100,timeout=9", 8.0),
            (b"max=100", None),
            (b"xtimeout=5", None),
            (b"timeout=9999999999", None),
            (b"timeout=-1", None),
        ):
            tracker = RelayTracker()
            tracker.follow_request(GET)
            tracker.answer(OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: %b\r\n\r\n" % value))
            self.assertEqual(tracker.keep_s, seconds, value)

    def test_raw(self) -> None:
        tracker = RelayTracker()
        tracker.follow_request(b"PING\n")
        self.assertIs(tracker.phase, Phase.RAW_OWED)
        self.assertEqual((tracker.answer(b"PONG\n"), tracker.phase, tracker.method), (b"PONG\n", Phase.RAW_QUIET, b""))
        self.assertTrue(tracker.end_completes)

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(
        st.lists(
            st.tuples(st.booleans(), st.one_of(st.binary(min_size=1, max_size=40), st.sampled_from([GET, OLD, OK, CHUNKED])))
        )
    )
    def test_nothing_raises(self, events: List[Tuple[bool, bytes]]) -> None:
        tracker = RelayTracker()
        for incoming, data in events:
            if incoming:
                rest = tracker.follow_request(data)
                self.assertTrue(data.endswith(rest))
            else:
                tracker.answer(data)
            self.assertIsInstance(tracker.phase, Phase)
