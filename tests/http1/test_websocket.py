"""Tests for ``xproxy.http1.websocket``: where frames end, whole, byte by byte and at every split."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xproxy.http1.websocket import GOING_AWAY, Frames

LENGTHS = (0, 1, 125, 126, 127, 65_535, 65_536)


def frame(length: int, opcode: int = 2, masked: bool = False) -> bytes:
    """One frame, in the shortest form of its length (RFC 6455 section 5.2)."""
    if length < 126:
        header = bytes((length,))
    elif length < 65_536:
        header = b"\x7e" + length.to_bytes(2, "big")
    else:
        header = b"\x7f" + length.to_bytes(8, "big")
    if masked:
        header = bytes((header[0] | 0x80,)) + header[1:] + b"mask"
    return bytes((0x80 | opcode,)) + header + b"\x81" * length


class FramesTests(SynchronousTestCase):
    """The ends."""

    def test_every_length(self) -> None:
        """An end is where the frame ends, and nowhere before."""
        for masked in (False, True):
            for length in LENGTHS:
                whole, data = Frames(), frame(length, masked=masked)
                whole.passed(data)
                self.assertTrue(whole.between)
                almost = Frames()
                almost.passed(data[:-1])
                self.assertFalse(almost.between)
                almost.passed(data[-1:])
                self.assertTrue(almost.between)

    def test_byte_by_byte(self) -> None:
        for length in (0, 5, 126, 300):
            frames, data = Frames(), frame(length, masked=length == 5)
            for number, byte in enumerate(data, 1):
                frames.passed(bytes((byte,)))
                self.assertEqual(frames.between, number == len(data))

    def test_close(self) -> None:
        """One that was begun is enough, wherever it was split; content that looks like one is none."""
        frames = Frames()
        frames.passed(frame(3) + b"\x82\x02\x88\x02")
        self.assertFalse(frames.closing)
        frames.passed(b"\x88")
        self.assertFalse(frames.closing)
        frames.passed(b"\x02")
        self.assertTrue(frames.closing)
        ours = Frames()
        ours.passed(GOING_AWAY)
        self.assertEqual((ours.closing, ours.between), (True, True))

    def test_first_end(self) -> None:
        """What follows it was not looked at."""
        data = frame(3) + frame(4)
        frames = Frames()
        frames.passed(data[:2])
        self.assertEqual(frames.first_end(data[2:]), 3)
        self.assertEqual(frames.first_end(frame(0) + data), 2)
        self.assertEqual(frames.first_end(data[:4]), -1)
        self.assertEqual(frames.first_end(b""), -1)

    def test_no_frames(self) -> None:
        """Bytes of something else, which announce more than ever comes."""
        frames = Frames()
        frames.passed(b"\xff" * 1000)
        self.assertFalse(frames.between)
        self.assertEqual(frames.first_end(b"\xff" * 1000), -1)

    def test_every_split(self) -> None:
        """In one place, and in two: the ends that are seen piece by piece are those of the whole."""
        data, ends = b"", {0}
        for length, masked in ((0, False), (1, True), (126, True), (0, True), (3, False)):
            data += frame(length, masked=masked)
            ends.add(len(data))
        for first in range(len(data) + 1):
            for second in range(first, len(data) + 1):
                frames = Frames()
                for start, end in ((0, first), (first, second), (second, len(data))):
                    frames.passed(data[start:end])
                    self.assertEqual(frames.between, end in ends, (first, second))
