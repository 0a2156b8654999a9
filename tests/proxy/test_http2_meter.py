"""Tests for ``xproxy.proxy.http2_meter``: frames are counted right however they are cut, and allowances are what they say."""

from __future__ import annotations

from typing import List, Optional, Tuple

from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xproxy.proxy import http2_meter
from xproxy.proxy.http2_meter import (
    BYTES_PER_IDLE_FRAME,
    IDLE_FRAMES,
    IDLE_FRAMES_PER_S,
    RESETS,
    RESETS_PER_S,
    Allowance,
    Flood,
    FrameMeter,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BLOCK_BYTES = 1000
PING = PingFrame(0, opaque_data=b"12345678").serialize()

FREE = [
    DataFrame(1, data=b"x" * 9),
    DataFrame(1, data=b"", flags=["END_STREAM"]),
    HeadersFrame(1, data=b"x" * 500, flags=["END_HEADERS"]),
]
COSTLY = [
    PingFrame(0, opaque_data=b"12345678"),
    SettingsFrame(0),
    RstStreamFrame(1),
    WindowUpdateFrame(1, window_increment=1),
    DataFrame(1, data=b""),
    DataFrame(1, data=b"x" * 8),
    ExtensionFrame(type=0x99, stream_id=1, body=b""),
]


def cost(meter: FrameMeter, now: float = 0.0) -> int:
    """How many idle frames are left, which this uses up."""
    left = 0
    while True:
        try:
            meter.feed(PING, now)
        except Flood:
            return left
        left += 1


class AllowanceTests(SynchronousTestCase):
    """The bucket."""

    def test_it_empties_and_fills(self) -> None:
        allowance = Allowance(2, 4.0, 10.0)
        self.assertEqual([allowance.spend(10.0) for _ in range(3)], [True, True, False])
        self.assertFalse(allowance.spend(10.2))
        self.assertTrue(allowance.spend(10.25))
        self.assertEqual([allowance.spend(100.0) for _ in range(3)], [True, True, False])

    def test_what_is_earned(self) -> None:
        allowance = Allowance(2, 0.0, 0.0)
        allowance.spend(0.0), allowance.spend(0.0)
        allowance.earn(0.5)
        self.assertFalse(allowance.spend(0.0))
        allowance.earn(0.5)
        self.assertTrue(allowance.spend(0.0))
        allowance.earn(100.0)
        self.assertEqual([allowance.spend(0.0) for _ in range(3)], [True, True, False])


class MeterTests(SynchronousTestCase):
    """The frames."""

    def meter(self, *frames: Frame) -> FrameMeter:
        meter = FrameMeter(0.0, BLOCK_BYTES)
        meter.feed(PREFACE + b"".join(frame.serialize() for frame in frames), 0.0)
        return meter

    def flood(self, meter: FrameMeter, data: bytes, now: float = 0.0) -> str:
        return self.assertRaises(Flood, meter.feed, data, now).reason

    def test_what_costs_nothing(self) -> None:
        self.assertEqual(cost(self.meter(*FREE)), IDLE_FRAMES)

    def test_what_costs(self) -> None:
        for frame in COSTLY:
            self.assertEqual(cost(self.meter(frame, frame, *FREE)), IDLE_FRAMES - 2, frame)

    def test_time_and_content_pay(self) -> None:
        meter = self.meter()
        self.assertEqual(cost(meter), IDLE_FRAMES)
        self.assertEqual(cost(meter, 2.0), 2 * IDLE_FRAMES_PER_S)
        meter.sent(10 * BYTES_PER_IDLE_FRAME)
        self.assertEqual(cost(meter, 2.0), 10)

    def test_resets(self) -> None:
        meter = self.meter()
        for _ in range(RESETS):
            meter.reset(0.0)
        self.assertEqual(self.assertRaises(Flood, meter.reset, 0.0).reason, "rapid-reset")
        for _ in range(int(RESETS_PER_S)):
            meter.reset(1.0)
        self.assertRaises(Flood, meter.reset, 1.0)
        self.assertEqual(cost(meter), IDLE_FRAMES)

    def test_header_blocks(self) -> None:
        begun = HeadersFrame(1, data=b"x" * 600).serialize()
        more = ContinuationFrame(1, data=b"x" * 400).serialize()
        last = ContinuationFrame(1, data=b"", flags=["END_HEADERS"]).serialize()
        meter = self.meter()
        meter.feed(begun, 0.0)
        self.assertTrue(meter.in_block)
        meter.feed(more + last, 0.0)
        self.assertFalse(meter.in_block)
        meter.feed(begun + more, 0.0)
        self.assertEqual(self.flood(meter, ContinuationFrame(1, data=b"x").serialize()), "header-block")
        self.assertEqual(self.flood(self.meter(), HeadersFrame(1, data=b"x" * 1001).serialize()[:9]), "header-block")

    def test_empty_continuations(self) -> None:
        meter = self.meter(HeadersFrame(1, data=b""))
        self.assertEqual(self.flood(meter, ContinuationFrame(1, data=b"").serialize() * (IDLE_FRAMES + 1)), "idle-frames")

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(
        st.lists(st.sampled_from([*FREE, *COSTLY]), max_size=12),
        st.lists(st.integers(0, 700), max_size=12),
    )
    def test_however_it_is_cut(self, frames: List[Frame], cuts: List[int]) -> None:
        self.patch(http2_meter, "IDLE_FRAMES", 15)
        data = PREFACE + b"".join(frame.serialize() for frame in frames)
        whole = self.meter(*frames)
        pieces = FrameMeter(0.0, BLOCK_BYTES)
        places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        for start, end in zip(places, places[1:]):
            pieces.feed(data[start:end], 0.0)
        self.assertEqual(pieces.in_block, whole.in_block)
        costly = sum(frame in COSTLY for frame in frames)
        self.assertEqual((cost(pieces), cost(whole)), (15 - costly, 15 - costly))

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.binary(max_size=400), st.integers(1, 40))
    def test_any_bytes(self, data: bytes, step: int) -> None:
        """Whole or in pieces: the same."""

        def outcome(size: int) -> Tuple[Optional[str], Optional[bool]]:
            meter = self.meter()
            try:
                for start in range(0, len(data), size):
                    meter.feed(data[start : start + size], 0.0)
            except Flood as flood:
                return flood.reason, None
            return None, meter.in_block

        self.assertEqual(outcome(step), outcome(400))
