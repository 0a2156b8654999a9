"""The spool: memory first, then an unlinked file; read again after ``rewind``, gone after ``clear``."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from typing import Any, Callable, List
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.world.rig import unlinked_files
from xproxy.net.bodies.blocks import BLOCK_BYTES, Blocks
from xproxy.net.bodies.spool import READ_BYTES, Spool


def drain(spool: Spool) -> List[bytes]:
    """Everything that is left, as it comes."""
    pieces: List[bytes] = []
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
        with mock.patch("xproxy.net.bodies.spool.os.pwrite", side_effect=OSError(errno.ENOSPC, "no space")):
            self.assertRaises(OSError, spool.put, b"too much")
        spool.clear()
        self.assertEqual(self.files(), 0)

    def test_short_writes(self) -> None:
        """An unbuffered file may take less than it was given."""
        spool = Spool(0)
        spool.put(b"begin ")
        real = os.pwrite
        short = mock.patch("xproxy.net.bodies.spool.os.pwrite", lambda descriptor, view, at: real(descriptor, view[:3], at))
        short.start()
        self.addCleanup(short.stop)
        spool.put(b"and the rest")
        self.assertEqual(drain(spool), [b"begin and the rest"])
        spool.clear()

    def test_no_file_to_be_had(self) -> None:
        """No space for a file at all: nothing of the piece is kept."""
        spool = Spool(2)
        spool.put(b"ok")
        with mock.patch.object(tempfile, "TemporaryFile", side_effect=OSError(errno.EMFILE, "too many")):
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


class BlocksTests(SynchronousTestCase):
    """The memory that long bodies share."""

    def test_claimed_and_given_back(self) -> None:
        """As many as were allowed; what is claimed is what was received into, and nobody else's."""
        blocks = Blocks(3 * BLOCK_BYTES + 1)
        claimed = []
        for number in range(3):
            blocks.scratch[:1] = b"%d" % number
            self.assertEqual(blocks.free, 3 - number)
            block = blocks.claim()
            assert block is not None
            claimed.append(block)
        self.assertEqual([block[:1].tobytes() for block in claimed], [b"0", b"1", b"2"])
        self.assertIsNone(blocks.claim())
        blocks.scratch[:1] = b"x"
        self.assertEqual([block[:1].tobytes() for block in claimed], [b"0", b"1", b"2"])
        blocks.give_back(claimed)
        self.assertEqual(blocks.free, 3)

    def test_used_again(self) -> None:
        """Memory that is there already."""
        blocks = Blocks(10 * BLOCK_BYTES)
        first = blocks.claim()
        assert first is not None
        blocks.give_back([first])
        blocks.claim()
        self.assertIs(blocks.scratch, first)


class SharedSpoolTests(SynchronousTestCase):
    """A spool with blocks."""

    def setUp(self) -> None:
        before = unlinked_files()
        self.files: Callable[[], int] = lambda: unlinked_files() - before
        self.blocks = Blocks(16 * BLOCK_BYTES)
        self.spool = Spool(1000, self.blocks)
        self.addCleanup(self.spool.clear)
        self.content = b""

    def receive(self, size: int) -> None:
        """What a socket brings, in as many pieces as there is room for."""
        while size:
            room = self.spool.room()
            piece = (b"%06d " % len(self.content) * (min(size, len(room)) // 7 + 1))[: min(size, len(room))]
            room[: len(piece)] = piece
            self.spool.received(len(piece))
            self.content += piece
            size -= len(piece)

    def test_little(self) -> None:
        """It stays in memory of its own."""
        self.receive(400)
        self.receive(600)
        self.assertEqual((self.blocks.free, self.files()), (16, 0))
        self.assertEqual([len(piece) for piece in drain(self.spool)], [400, 600])

    def test_more(self) -> None:
        """What is too much for that takes a block, and fills it before the next one."""
        self.spool.put(b"first")
        self.content = b"first"
        for size in (900, 200, 3000, BLOCK_BYTES):
            self.receive(size)
        self.assertEqual((self.blocks.free, self.files()), (14, 0))
        self.assertEqual([len(piece) for piece in drain(self.spool)], [5, 900, BLOCK_BYTES, 3200])
        self.spool.rewind()
        self.assertEqual(b"".join(drain(self.spool)), self.content)
        self.spool.clear()
        self.assertEqual(self.blocks.free, 16)
        self.spool.clear()
        self.assertEqual(self.blocks.free, 16)

    def test_put(self) -> None:
        """What is there already is copied to the same places."""
        for size in (800, 900, 3 * BLOCK_BYTES, 2 * BLOCK_BYTES, 10):
            piece = b"%08d" % size * (size // 8 + 1)
            self.spool.put(piece)
            self.content += piece
        self.assertEqual((self.blocks.free, self.files()), (13, 1))
        self.assertEqual(b"".join(drain(self.spool)), self.content)

    def test_taken_in_between(self) -> None:
        """Whoever takes what is there meanwhile misses nothing of what follows."""
        got = b""
        for size in (500, 2000, 3000, BLOCK_BYTES, 10, 4 * BLOCK_BYTES, 20):
            self.receive(size)
            got += self.spool.take()
            self.receive(size)
            got += b"".join(drain(self.spool))
        self.assertEqual(got, self.content)

    def test_its_share(self) -> None:
        """A quarter of all blocks, then the file."""
        self.receive(6 * BLOCK_BYTES)
        self.assertEqual((self.blocks.free, self.files()), (12, 1))
        self.spool.put(b"end")
        self.assertEqual(b"".join(drain(self.spool)), self.content + b"end")
        self.spool.clear()
        self.assertEqual((self.blocks.free, self.files()), (16, 0))

    def test_none_left(self) -> None:
        """The file, from there on, although some are free again."""
        others = [self.blocks.claim() for _ in range(16)]
        self.receive(2000)
        self.assertEqual(self.files(), 1)
        self.blocks.give_back([block for block in others if block is not None])
        self.receive(2 * BLOCK_BYTES)
        self.assertEqual(self.blocks.free, 16)
        self.assertEqual(b"".join(drain(self.spool)), self.content)

    def test_disk_full(self) -> None:
        """Told, and nothing is left."""
        self.receive(4 * BLOCK_BYTES)
        with mock.patch("xproxy.net.bodies.spool.os.pwrite", side_effect=OSError(errno.ENOSPC, "no space")):
            self.assertRaises(OSError, self.receive, 1)
        self.spool.clear()
        self.assertEqual((self.blocks.free, self.files()), (16, 0))

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(
        sizes=st.lists(st.integers(min_value=1, max_value=2 * BLOCK_BYTES), min_size=1, max_size=8),
        reads=st.lists(st.integers(min_value=1, max_value=300_000), min_size=1, max_size=8),
    )
    def test_sent(self, sizes: List[int], reads: List[int]) -> None:
        """A socket gets all of it, twice, whatever it takes at a time; a spool can be taken from half-way, too."""
        self.spool.clear()
        self.content = b""
        for size in sizes:
            self.receive(size)
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            far.setblocking(False)
            for _ in range(2):
                got = b""
                for turn in range(1_000_000):
                    try:
                        while self.spool.unread:
                            self.spool.send_to(near.fileno())
                    except BlockingIOError:
                        pass
                    try:
                        got += far.recv(reads[turn % len(reads)])
                    except BlockingIOError:
                        break
                self.assertEqual(got, self.content)
                self.spool.rewind()
            self.spool.send_to(near.fileno())
            got = far.recv(1_000_000)
            rest = b"".join(drain(self.spool))
            self.assertTrue((got + rest).startswith(self.content[: len(got)]))
            self.assertTrue(self.content.endswith(rest))

    def test_socket_is_gone(self) -> None:
        """Nothing is taken: who has it in bytes meets the same error."""
        for size in (500, 3000, 6 * BLOCK_BYTES):
            self.receive(size)
        near, far = socket.socketpair()
        far.close()
        with near:
            while self.spool.unread:
                self.assertRaises(OSError, self.spool.send_to, near.fileno())
                self.assertTrue(self.spool.take())
        self.assertRaises(OSError, self.spool.send_to, 1_000_000)
