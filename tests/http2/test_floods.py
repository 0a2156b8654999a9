"""Tests for ``allowance`` and its like: what a hostile client may cost, by frames, blocks, resets and bytes of any kind."""

from __future__ import annotations

import time
from typing import List

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.http2.peers import GET, MAX_HEAD_BYTES, POST, START, Recorder, begun, block, content, frame, head
from tests.http2.test_connection import played
from xproxy.http2 import connection, control, frames
from xproxy.http2.allowance import BYTES_PER_IDLE_FRAME, IDLE_FRAMES, IDLE_FRAMES_PER_S, RAPID_S, RESETS, RESETS_PER_S
from xproxy.http2.errors import ErrorCode
from xproxy.http2.frames import CONTINUATION, HEADERS, PING, PRIORITY, SETTINGS, rst_stream, window_update


class FloodTests(SynchronousTestCase):
    """What costs an allowance."""

    def left(self, recorder: Recorder, data: bytes, now: float = 0.0) -> int:
        """How often ``data`` may still come."""
        count = 0
        while recorder.fault is None:
            recorder.feed(data, now)
            count += 1
        self.assertEqual(recorder.fault.code, ErrorCode.ENHANCE_YOUR_CALM)
        return count - 1

    def test_frames_that_bring_nothing(self) -> None:
        for data in (
            frame(PING, 0, 0, b"12345678"),
            frame(PING, 1, 0, b"12345678"),
            frames.settings([(4, 65535)]),
            frame(SETTINGS, 1),
            frame(PRIORITY, 0, 9, bytes(5)),
            window_update(0, 1),
            window_update(1, 1),
            content(1, b""),
            content(1, b"x" * 8),
            content(3, b"x"),
            rst_stream(5, ErrorCode.CANCEL),
            frame(0x99, 0, 1, b"x"),
            frame(0xFF, 0, 0),
        ):
            recorder = Recorder()
            recorder.feed(START + head(1, POST, ended=False) + head(3) + head(5))
            recorder.connection.cancel(recorder.connection.streams[3], ErrorCode.CANCEL)
            recorder.connection.send_answer(recorder.connection.streams[5], b"\x88", b"")
            self.assertEqual(self.left(recorder, data), IDLE_FRAMES - 1, data)  # One was the SETTINGS at the start.
            assert recorder.fault is not None
            self.assertEqual(recorder.fault.reason, "idle-frames")

    def test_what_costs_nothing(self) -> None:
        recorder = begun()
        recorder.feed(head(1, POST, ended=False))
        for _ in range(2 * IDLE_FRAMES):
            recorder.feed(content(1, b"x" * 9))
        for number in range(IDLE_FRAMES):
            recorder.feed(head(3 + 2 * number, POST, ended=False) + content(3 + 2 * number, b"", True))
            recorder.connection.send_answer(recorder.connection.streams[3 + 2 * number], b"\x88", b"")
        self.assertEqual(self.left(recorder, frame(PING, 0, 0, b"12345678")), IDLE_FRAMES - 1)

    def test_time_and_content_pay(self) -> None:
        ping = frame(PING, 0, 0, b"12345678")
        recorder = begun()
        for _ in range(IDLE_FRAMES - 1):
            recorder.feed(ping)
        recorder.feed(head(1), 0.0)
        recorder.connection.send_data(recorder.connection.streams[1], bytes(10 * BYTES_PER_IDLE_FRAME), False)
        self.assertEqual(self.left(recorder, ping, 2.0), 2 * IDLE_FRAMES_PER_S + 10)

    def cancels(self, recorder: Recorder, first: int, count: int, asked: float, now: float) -> None:
        """Ask for ``count`` streams, all before the first of them is reset."""
        numbers = range(first, first + 2 * count, 2)
        recorder.feed(b"".join([head(number) for number in numbers]), asked)
        recorder.feed(b"".join([rst_stream(number, ErrorCode.CANCEL) for number in numbers]), now)

    def test_rapid_reset(self) -> None:
        """CVE-2023-44487, and the same by making us reset (CVE-2025-8671)."""
        for reset in (rst_stream, lambda number, code: window_update(number, 0)):
            recorder = begun()
            for number in range(1, 2 * RESETS + 1, 2):
                recorder.feed(head(number) + reset(number, ErrorCode.CANCEL))
            self.assertIsNone(recorder.fault)
            number = 2 * RESETS + 1
            for _ in range(int(RESETS_PER_S)):
                recorder.feed(head(number) + reset(number, ErrorCode.CANCEL), 1.0)
                number += 2
            self.assertIsNone(recorder.fault)
            recorder.feed(head(number) + reset(number, ErrorCode.CANCEL), 1.0)
            self.assertEqual(recorder.fault and recorder.fault.reason, "rapid-reset")

    def test_a_thousand_a_second(self) -> None:
        """Of which only every third is answered: that is no browser, and is sent away within two seconds."""
        recorder = begun()
        for at in range(2000):
            number = 2 * at + 1
            recorder.feed(head(number), at / 1000)
            if at % 3:
                recorder.feed(rst_stream(number, ErrorCode.CANCEL), at / 1000)
            elif not recorder.fault:
                recorder.connection.send_answer(recorder.connection.streams[number], b"\x88", b"x")
        self.assertEqual(recorder.fault and recorder.fault.reason, "rapid-reset")

    def test_a_browser_that_cancels(self) -> None:
        """Thirty a second for as long as one likes: somebody types, and each letter makes the request before useless."""
        recorder = begun()
        for second in range(600):
            self.cancels(recorder, 60 * second + 1, 30, float(second), second + 0.2)
            self.assertIsNone(recorder.fault, second)

    def test_half_of_a_lot(self) -> None:
        """A map that is dragged: as many tiles come as are cancelled."""
        recorder = begun()
        for second in range(100):
            first = 400 * second + 1
            self.cancels(recorder, first, 100, float(second), second + 0.2)
            for number in range(first + 200, first + 400, 2):
                recorder.feed(head(number), second + 0.5)
                recorder.connection.send_answer(recorder.connection.streams[number], b"\x88", b"x")
            self.assertIsNone(recorder.fault, second)

    def test_what_was_open_for_a_while(self) -> None:
        """It had its place among those that may be open, as any other request."""
        recorder = begun()
        for second in range(100):
            self.cancels(recorder, 180 * second + 1, 90, float(second), second + RAPID_S)
            self.assertIsNone(recorder.fault, second)

    def test_requests_that_are_refused_at_once(self) -> None:
        recorder = begun()
        for number in range(1, 2 * RESETS + 3, 2):
            recorder.feed(head(number, [(b"x", b"y")]))
        self.assertEqual(recorder.fault and recorder.fault.reason, "rapid-reset")

    def test_header_blocks(self) -> None:
        recorder = begun()
        recorder.feed(frame(HEADERS, 1, 1, b"x" * 7000))
        self.assertTrue(recorder.connection.in_block)
        recorder.feed(frame(CONTINUATION, 0, 1, b"x" * 1000))
        self.assertIsNone(recorder.fault)
        recorder.feed(frame(CONTINUATION, 0, 1, b"x"))
        self.assertEqual(recorder.fault and recorder.fault.reason, "header-block")
        recorder = begun()
        recorder.feed(frame(HEADERS, 5, 1, b"x" * (2 * MAX_HEAD_BYTES + 1)))
        self.assertEqual(recorder.fault and recorder.fault.reason, "header-block")

    def test_a_bomb(self) -> None:
        recorder = begun()
        recorder.feed(frame(HEADERS, 5, 1, b"\x40\x01x\x7f\xe1\x1d" + b"x" * 3936 + b"\xbe" * 4000))
        self.assertEqual(recorder.fault and recorder.fault.reason, "header-list")

    def test_gaps_in_the_numbers(self) -> None:
        recorder = begun()
        for number in range(1, 50):
            recorder.feed(head(10 * number + 1) + rst_stream(10 * number + 1, ErrorCode.CANCEL))
        self.assertEqual(len(recorder.connection._skipped), connection.SKIPPED_RANGES)


FRAMES = st.builds(
    frame,
    st.integers(0, 11),
    st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 4, 5])),
    st.sampled_from([0, 1, 1, 3, 3, 5, 7, 2, 2**31 - 1]),
    st.one_of(st.binary(max_size=30), st.sampled_from([bytes(4), bytes(5), bytes(6), bytes(8), block(GET), block(POST)])),
)


class GarbageTests(SynchronousTestCase):
    """Whatever comes: our own exception or none, the same at every split, at a cost that grows with it."""

    def check(self, data: bytes, step: int) -> None:
        whole = played([START + data])
        pieces = [START] + [data[at : at + step] for at in range(0, len(data), step)]
        self.assertEqual(played(pieces), whole)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.binary(max_size=300), st.integers(1, 40))
    def test_any_bytes(self, data: bytes, step: int) -> None:
        self.check(data, step)
        played([data])

    @settings(max_examples=500, deadline=None, derandomize=True)
    @given(st.lists(FRAMES, max_size=15), st.integers(1, 60))
    def test_any_frames(self, frames: List[bytes], step: int) -> None:
        self.check(b"".join(frames), step)

    def test_linear(self) -> None:
        """In pieces of a few bytes, which a client can choose."""
        self.patch(control, "IDLE_FRAMES", 10**9)
        for data, step in (
            (content(1, b"x" * 16384), 7),
            (content(1, b"x" * 9), 3),
            (frame(PING, 0, 0, b"12345678"), 1),
            (frame(HEADERS, 5, 3, b"\x82" * 100), 3),
        ):
            self.assertLess(self.spent(data, 128_000, step), 10 * self.spent(data, 32_000, step))

    def spent(self, data: bytes, size: int, step: int) -> float:
        least = float("inf")
        for _ in range(3):
            recorder = begun()
            recorder.feed(head(1, POST, ended=False) + head(3, POST, ended=False))
            recorder.connection.cancel(recorder.connection.streams[3], ErrorCode.CANCEL)
            pieces = data * (size // len(data) + 1)
            began = time.process_time()
            for at in range(0, size, step):
                recorder.connection.feed(pieces[at : at + step], 0.0)
            least = min(least, time.process_time() - began)
        return least
