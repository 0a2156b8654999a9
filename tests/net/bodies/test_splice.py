"""The pipe of the process: what is moved arrives, what is not taken comes back, and nothing ever stays in between."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from typing import Any, List, Tuple
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from xproxy.net.bodies import splice as splice_module
from xproxy.net.bodies.splice import Splicer, make_splicer


def pair(buffer_bytes: int = 0) -> Tuple[socket.socket, socket.socket]:
    """Two connected sockets; ``buffer_bytes``: what the first may have on its way."""
    near, far = socket.socketpair()
    for end in (near, far):
        end.setblocking(False)
    if buffer_bytes:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    return near, far


def read_all(skt: socket.socket) -> bytes:
    """Everything that is there."""
    pieces: List[bytes] = []
    while True:
        try:
            piece = skt.recv(65536)
        except BlockingIOError:
            return b"".join(pieces)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


class SplicerTests(SynchronousTestCase):
    """Over real sockets."""

    def setUp(self) -> None:
        made = make_splicer()
        if made is None:
            raise SkipTest("no splice(2) here")
        self.splicer: Splicer = made
        self.addCleanup(made.close)
        self.source, self.service = pair()
        self.target, self.client = pair(4608)
        for skt in (self.source, self.service, self.target, self.client):
            self.addCleanup(skt.close)

    def move(self, count: int) -> Tuple[int, bytes]:
        """Move from the service to the client."""
        return self.splicer.move(self.source.fileno(), self.target.fileno(), count)

    def assert_pipe_is_empty(self) -> None:
        """Nothing is left for whoever comes next."""
        self.assertRaises(BlockingIOError, os.read, self.splicer._read_end, 1)

    def test_moved(self) -> None:
        """What is there, up to the count; what is beyond it stays where it was."""
        self.service.send(b"hello, world")
        self.assertEqual(self.move(5), (5, b""))
        self.assertEqual(self.client.recv(100), b"hello")
        self.assertEqual(self.source.recv(100), b", world")
        self.assert_pipe_is_empty()

    def test_nothing_there(self) -> None:
        """Said as a socket says it."""
        self.assertRaises(BlockingIOError, self.move, 100)

    def test_source_has_ended(self) -> None:
        """Zero bytes."""
        self.service.shutdown(socket.SHUT_WR)
        self.assertEqual(self.move(100), (0, b""))

    def test_source_is_gone(self) -> None:
        """An error of the operating system."""
        closed = self.source.fileno()
        self.source.close()
        self.assertRaises(OSError, self.splicer.move, closed, self.target.fileno(), 100)
        self.assert_pipe_is_empty()

    def test_target_takes_less(self) -> None:
        """What it does not take comes back, in order."""
        content = b"".join(b"%07d\n" % number for number in range(20_000))
        self.service.send(content)
        taken, left = self.move(len(content))
        got = read_all(self.client)
        self.assertGreater(taken, len(got))
        self.assertEqual(got + left, content[:taken])
        self.assertEqual(len(got) + len(left), taken)
        self.assert_pipe_is_empty()

    def test_target_takes_nothing(self) -> None:
        """All of it comes back."""
        while True:
            try:
                self.target.send(b"x" * 1000)
            except BlockingIOError:
                break
        self.service.send(b"hello")
        self.assertEqual(self.move(5), (5, b"hello"))
        self.assert_pipe_is_empty()

    def test_target_is_gone(self) -> None:
        """Told apart from a source that is gone; the pipe is empty for the next."""
        self.service.send(b"hello")
        self.client.close()
        self.assertRaises(ConnectionLost, self.move, 5)
        self.assert_pipe_is_empty()

    def test_close(self) -> None:
        """Both descriptors."""
        before = len(os.listdir("/proc/self/fd"))
        another = make_splicer()
        assert another is not None
        self.assertEqual(len(os.listdir("/proc/self/fd")), before + 2)
        another.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(
        sizes=st.lists(st.integers(min_value=1, max_value=30_000), min_size=1, max_size=6),
        reads=st.lists(st.integers(min_value=0, max_value=40_000), min_size=1, max_size=6),
    )
    def test_nothing_is_lost(self, sizes: List[int], reads: List[int]) -> None:
        """Whatever is sent and taken when."""
        sent = got = b""
        waiting = b""
        for number, size in enumerate(sizes):
            piece = bytes([65 + number]) * size
            sent += piece[: self.service.send(piece)]
            while not waiting:
                try:
                    _, waiting = self.move(1_000_000)
                except BlockingIOError:
                    break
            got += self._read(reads[number % len(reads)])
            while waiting:
                try:
                    waiting = waiting[self.target.send(waiting) :]
                except BlockingIOError:
                    got += self._read(100_000)
        while True:
            try:
                _, waiting = self.move(1_000_000)
            except BlockingIOError:
                break
            got += self._read(1_000_000) + waiting
        got += self._read(1_000_000)
        self.assertEqual(got, sent)

    def _read(self, size: int) -> bytes:
        try:
            return self.client.recv(size) if size else b""
        except BlockingIOError:
            return b""


class MakeTests(SynchronousTestCase):
    """Where there is no pipe to be had."""

    def patched(self, **changes: Any) -> Any:
        """What is made with the module changed so."""
        with mock.patch.multiple(splice_module, **changes):
            return make_splicer()

    def test_no_splice(self) -> None:
        """Bodies go through us then."""
        self.assertIsNone(self.patched(_splice=None))

    def test_no_descriptors(self) -> None:
        """The same."""
        with mock.patch.object(os, "pipe2", side_effect=OSError(errno.EMFILE, "too many open files")):
            self.assertIsNone(self.patched(_splice=lambda source, target, count: count))

    def test_pipe_of_the_default_size(self) -> None:
        """A user who has used up the memory for pipes gets a small one."""
        with mock.patch.object(fcntl, "fcntl", side_effect=OSError(errno.EPERM, "not permitted")):
            made = self.patched(_splice=lambda source, target, count: count)
        self.addCleanup(made.close)
        self.assertEqual(made.move(0, 0, 1_000_000), (65536, b""))
