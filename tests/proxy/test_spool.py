"""The spool: memory first, then an unlinked file; read again after ``rewind``, gone after ``clear``."""

from __future__ import annotations

import errno
import os
from typing import Any, Callable, List
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xproxy.proxy import spool as spool_module
from xproxy.proxy.spool import READ_BYTES, Spool


def unlinked_files() -> int:
    """How many open files of this process have no name."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # The descriptor that the listing itself used.
            continue
    return sum(name.endswith(" (deleted)") for name in found)


def drain(spool: Spool) -> List[bytes]:
    """Everything that is left, as it comes."""
    pieces = []
    while True:
        piece = spool.take()
        if not piece:
            return pieces
        pieces.append(piece)


class SpoolTests(SynchronousTestCase):
    """Call by call."""

    def setUp(self) -> None:
        before = unlinked_files()
        self.files: Callable[[], int] = lambda: unlinked_files() - before

    def test_memory(self) -> None:
        """What fits stays in memory, piece by piece."""
        spool = Spool(10)
        for piece in (b"one", b"two", b"four"):
            spool.put(piece)
        self.assertFalse(spool.in_file)
        self.assertEqual((spool.size, spool.unread), (10, 10))
        self.assertEqual(drain(spool), [b"one", b"two", b"four"])
        self.assertEqual((spool.size, spool.unread), (10, 0))

    def test_file(self) -> None:
        """The piece that is too much goes to the file with everything after it, in order."""
        spool = Spool(5)
        for piece in (b"one", b"two", b"four"):
            spool.put(piece)
        self.assertTrue(spool.in_file)
        self.assertEqual(self.files(), 1)
        self.assertEqual(drain(spool), [b"one", b"twofour"])
        spool.put(b"five")
        self.assertEqual((spool.size, spool.unread), (14, 4))
        self.assertEqual(drain(spool), [b"five"])
        spool.clear()
        self.assertEqual(self.files(), 0)

    def test_nothing_is_no_end(self) -> None:
        """What is put after nothing is found."""
        spool = Spool(5)
        for piece in (b"", b"one", b"", b"two", b"", b"four"):
            spool.put(piece)
        self.assertEqual(b"".join(drain(spool)), b"onetwofour")
        spool.clear()

    def test_large_file_in_pieces(self) -> None:
        """No more than READ_BYTES at a time are read back."""
        spool = Spool(0)
        spool.put(b"x" * (2 * READ_BYTES + 1))
        self.assertEqual([len(piece) for piece in drain(spool)], [READ_BYTES, READ_BYTES, 1])
        spool.clear()

    def test_rewind(self) -> None:
        """A second reading finds the same, also when the first one stopped half-way."""
        spool = Spool(3)
        spool.put(b"one")
        spool.put(b"two")
        self.assertEqual(spool.take(), b"one")
        spool.rewind()
        self.assertEqual(spool.unread, 6)
        self.assertEqual(drain(spool), [b"one", b"two"])
        spool.rewind()
        self.assertEqual(drain(spool), [b"one", b"two"])
        spool.clear()

    def test_clear_begins_anew(self) -> None:
        """After ``clear`` there is memory again, and nothing of before."""
        spool = Spool(3)
        spool.put(b"long")
        self.assertTrue(spool.in_file)
        spool.clear()
        self.assertFalse(spool.in_file)
        self.assertEqual((spool.size, spool.taken, spool.unread), (0, 0, 0))
        self.assertEqual(spool.take(), b"")
        spool.put(b"new")
        self.assertFalse(spool.in_file)
        self.assertEqual(drain(spool), [b"new"])

    def test_disk_full(self) -> None:
        """The error of the disk goes to whoever puts, and the descriptor is released."""
        spool = Spool(0)
        spool.put(b"fits")
        with mock.patch("xproxy.proxy.spool.os.pwrite", side_effect=OSError(errno.ENOSPC, "no space")):
            self.assertRaises(OSError, spool.put, b"too much")
        spool.clear()
        self.assertEqual(self.files(), 0)

    def test_short_writes(self) -> None:
        """An unbuffered file may take less than it was given."""
        spool = Spool(0)
        spool.put(b"begin ")
        real = os.pwrite
        short = mock.patch("xproxy.proxy.spool.os.pwrite", lambda descriptor, view, at: real(descriptor, view[:3], at))
        short.start()
        self.addCleanup(short.stop)
        spool.put(b"and the rest")
        self.assertEqual(drain(spool), [b"begin and the rest"])
        spool.clear()

    def test_no_file_to_be_had(self) -> None:
        """No space for a file at all: nothing of the piece is kept."""
        spool = Spool(2)
        spool.put(b"ok")
        with mock.patch.object(spool_module.tempfile, "TemporaryFile", side_effect=OSError(errno.EMFILE, "too many")):
            self.assertRaises(OSError, spool.put, b"more")
        self.assertEqual(drain(spool), [b"ok"])

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(
        memory=st.integers(min_value=0, max_value=12),
        steps=st.lists(
            st.one_of(st.binary(min_size=1, max_size=6), st.just("take"), st.just("rewind"), st.just("clear")), max_size=40
        ),
    )
    def test_first_in_first_out(self, memory: int, steps: List[Any]) -> None:
        """Whatever the order of calls, what is taken is what was put."""
        spool, content, taken = Spool(memory), b"", 0
        for step in steps:
            if step == "take":
                piece = spool.take()
                self.assertEqual(piece, content[taken : taken + len(piece)])
                self.assertEqual(bool(piece), taken < len(content))
                taken += len(piece)
            elif step == "rewind":
                spool.rewind()
                taken = 0
            elif step == "clear":
                spool.clear()
                content, taken = b"", 0
            else:
                spool.put(step)
                content += step
            self.assertEqual((spool.size, spool.taken, spool.unread), (len(content), taken, len(content) - taken))
        spool.clear()
