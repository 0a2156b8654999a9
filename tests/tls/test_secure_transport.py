"""Where the records of TLS end, which decides how they are read."""

from __future__ import annotations

from typing import List

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xproxy.tls.secure_transport import Records


def record(size: int) -> bytes:
    """A record with so much in it."""
    return b"\x17\x03\x03" + size.to_bytes(2, "big") + b"x" * size


class RecordsTests(SynchronousTestCase):
    """Records, however they are cut."""

    def test_one(self) -> None:
        records = Records()
        self.assertTrue(records.is_one(record(100)))
        for data in (record(100)[:-1], record(100) + b"x", record(1) * 2, b"\x17\x03\x03\x00\x00", b""):
            self.assertFalse(records.is_one(data), data)

    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(st.lists(st.integers(0, 300), min_size=1, max_size=6), st.lists(st.integers(1, 400), max_size=12))
    def test_cut(self, sizes: List[int], cuts: List[int]) -> None:
        """After whole records one that comes alone is seen, and never in the middle of another."""
        stream = b"".join(map(record, sizes))
        ends, position = {0}, 0
        for size in sizes:
            position += 5 + size
            ends.add(position)
        records, position = Records(), 0
        for cut in [*cuts, len(stream)]:
            piece = stream[position : position + cut]
            records.follow(piece)
            position += len(piece)
            self.assertEqual(position in ends, records.is_one(record(7)))
