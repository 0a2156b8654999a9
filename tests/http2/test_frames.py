"""Tests for ``frames``, ``settings`` and ``fields``: what is written is what hyperframe reads."""

from __future__ import annotations

from typing import Any

from hyperframe.frame import DataFrame, GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from twisted.trial.unittest import SynchronousTestCase

from tests.http2.peers import joined, split
from xproxy.http2 import frames
from xproxy.http2.errors import ConnectionFault, ErrorCode
from xproxy.http2.settings import ClientSettings


class WriteTests(SynchronousTestCase):
    """Frames that go out."""

    def test_against_hyperframe(self) -> None:
        written: Any = [
            (frames.settings([(3, 128), (4, 2**31 - 1)]), SettingsFrame(0, settings={3: 128, 4: 2**31 - 1})),
            (frames.SETTINGS_ACK, SettingsFrame(0, flags=["ACK"])),
            (frames.ping_ack(b"12345678"), PingFrame(0, opaque_data=b"12345678", flags=["ACK"])),
            (frames.rst_stream(2**31 - 1, ErrorCode.CANCEL), RstStreamFrame(2**31 - 1, error_code=8)),
            (frames.window_update(5, 2**31 - 1), WindowUpdateFrame(5, window_increment=2**31 - 1)),
            (frames.goaway(7, ErrorCode.NO_ERROR), GoAwayFrame(0, last_stream_id=7)),
            (
                frames.goaway(7, ErrorCode.ENHANCE_YOUR_CALM, b"why"),
                GoAwayFrame(0, last_stream_id=7, error_code=11, additional_data=b"why"),
            ),
            (frames.data(3, b"content", False), DataFrame(3, data=b"content")),
            (frames.data(3, b"", True), DataFrame(3, data=b"", flags=["END_STREAM"])),
        ]
        for ours, theirs in written:
            self.assertEqual(ours, theirs.serialize())

    def test_headers_and_continuations(self) -> None:
        for size in (0, 1, 16384, 16385, 32768, 40_000):
            for ended in (False, True):
                block = bytes(range(256)) * (size // 256 + 1)
                sent = split(frames.head(9, block[:size], ended))
                self.assertEqual(joined(sent), block[:size])
                self.assertEqual([one.kind for one in sent], [frames.HEADERS] + [frames.CONTINUATION] * (len(sent) - 1))
                self.assertTrue(all(one.stream_id == 9 and len(one.payload) <= 16384 for one in sent))
                self.assertEqual([one.flags & 4 for one in sent], [0] * (len(sent) - 1) + [4])
                self.assertEqual(sent[0].flags & 1, ended)


class SettingsTests(SynchronousTestCase):
    """Settings that come in; what is refused is among the rules."""

    def test_changes(self) -> None:
        settings = ClientSettings()
        self.assertEqual(settings.update(frames.settings([(4, 10), (4, 65536)])[9:]), 1)
        self.assertEqual(settings.update(b""), 0)
        self.assertEqual(settings.update(frames.settings([(4, 0), (1, 4096)])[9:]), -65536)
        self.assertEqual((settings.initial_window, settings.small_table), (0, False))
        settings.update(frames.settings([(1, 4095)])[9:])
        settings.update(frames.settings([(1, 2**32 - 1)])[9:])
        self.assertTrue(settings.small_table)

    def test_size(self) -> None:
        fault = self.assertRaises(ConnectionFault, ClientSettings().update, b"x" * 7)
        self.assertEqual(fault.code, ErrorCode.FRAME_SIZE_ERROR)
