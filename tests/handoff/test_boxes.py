"""Boxes: whole, byte by byte, at every split, with garbage, and against Twisted's own AMP."""

from __future__ import annotations

from typing import List

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.protocols.amp import Box as AmpBox
from twisted.protocols.amp import parseString
from twisted.trial.unittest import SynchronousTestCase

from xproxy.handoff.boxes import MAX_VALUE_BYTES, BadBox, Box, BoxReader, encode_box

FEW = settings(max_examples=60, deadline=None, derandomize=True)
boxes = st.dictionaries(st.binary(min_size=1, max_size=255), st.binary(max_size=300), max_size=5)


class BoxTests(SynchronousTestCase):
    """encode_box and BoxReader."""

    @FEW
    @given(st.lists(boxes, max_size=4), st.integers(1, 40))
    def test_what_is_written_is_read(self, written: List[Box], step: int) -> None:
        data = b"".join(map(encode_box, written))
        reader = BoxReader(10000)
        read = [box for start in range(0, len(data), step) for box in reader.feed(data[start : start + step])]
        self.assertEqual(read, written)
        self.assertEqual(reader.unfinished, (0, 0))

    def test_every_split(self) -> None:
        written: List[Box] = [{b"a": b"bc", b"d": b""}, {}, {b"e": b"f" * 300}]
        data = b"".join(map(encode_box, written))
        for split in range(len(data) + 1):
            reader = BoxReader(1000)
            self.assertEqual(reader.feed(data[:split]) + reader.feed(data[split:]), written)

    @FEW
    @given(st.lists(boxes.filter(bool), max_size=4))
    def test_twisted_reads_and_writes_the_same(self, written: List[Box]) -> None:
        data = b"".join(map(encode_box, written))
        self.assertEqual(parseString(data), written)
        self.assertEqual(BoxReader(10000).feed(b"".join(AmpBox(box).serialize() for box in written)), written)

    @FEW
    @given(st.binary(max_size=400), st.integers(1, 40))
    def test_garbage_is_refused_or_waits_for_more(self, data: bytes, step: int) -> None:
        """However it comes, the same is read; what is kept stays within the limit."""
        whole, pieces = BoxReader(100), BoxReader(100)
        outcomes: List[object] = []
        for reader, size in ((whole, len(data) + 1), (pieces, step)):
            read: List[Box] = []
            try:
                for start in range(0, len(data), size):
                    read += reader.feed(data[start : start + size])
            except BadBox:
                outcomes.append("refused")
            else:
                outcomes.append(read)
                self.assertLess(reader.unfinished[0], 100 + 258 + step)
        self.assertEqual(outcomes[0], outcomes[1])

    def test_a_key_too_long(self) -> None:
        self.assertRaises(BadBox, BoxReader(1000).feed, b"\x01\x00")

    def test_a_key_twice(self) -> None:
        self.assertRaises(BadBox, BoxReader(1000).feed, encode_box({b"a": b"b"})[:-2] * 2)

    def test_the_limit_is_on_a_box_and_not_on_the_stream(self) -> None:
        box = encode_box({b"a": b"b" * 95})  # 100 bytes and the end.
        self.assertEqual(len(BoxReader(100).feed(box * 50)), 50)
        self.assertRaises(BadBox, BoxReader(99).feed, box)

    def test_a_box_without_end(self) -> None:
        """Neither many keys nor a long value are kept beyond the limit, and the length alone is enough to refuse."""
        reader = BoxReader(1000)
        with self.assertRaises(BadBox):
            for number in range(1000):
                reader.feed(b"\0\x04%04d\0\x01x" % number)
        self.assertLess(reader.unfinished[1], 1000 // 9 + 1)
        self.assertRaises(BadBox, BoxReader(1000).feed, b"\0\x01a\xff\xff")

    def test_what_does_not_fit_is_not_written(self) -> None:
        for box in ({b"": b"x"}, {b"a" * 256: b"x"}, {b"a": bytes(MAX_VALUE_BYTES + 1)}):
            self.assertRaises(ValueError, encode_box, box)
        self.assertEqual(len(encode_box({b"a": bytes(MAX_VALUE_BYTES)})), MAX_VALUE_BYTES + 7)
