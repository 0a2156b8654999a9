"""The board, and boards that are none."""

from __future__ import annotations

import gc
import os
import socket
import tempfile
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.holders import descriptors
from xproxy.handoff.board import ReceivedBoard, make_board
from xproxy.interfaces import BOARD_BYTES


class BoardTests(SynchronousTestCase):
    """make_board and ReceivedBoard."""

    def setUp(self) -> None:
        gc.collect()
        before = descriptors()

        def check() -> None:
            gc.collect()
            self.assertEqual(descriptors(), before)

        self.addCleanup(check)

    def test_what_the_proxy_writes_is_read(self) -> None:
        descriptor, board = make_board()
        self.addCleanup(board.close)
        self.assertFalse(os.get_inheritable(descriptor))
        self.assertEqual(len(board), BOARD_BYTES)
        received = ReceivedBoard(descriptor)
        self.assertEqual(received.busy({0, 7, BOARD_BYTES - 1}), set())
        board[7] = board[BOARD_BYTES - 1] = 1
        self.assertEqual(received.busy({0, 7, BOARD_BYTES - 1}), {7, BOARD_BYTES - 1})
        board[7] = 0
        self.assertEqual(received.busy({0, 7}), set())
        self.assertEqual(received.busy(()), set())
        received.close()
        received.close()

    def test_nobody_can_shorten_it(self) -> None:
        """Where the kernel can see to that: to touch what is missing of a mapping kills."""
        if not hasattr(os, "memfd_create"):
            raise SkipTest("this Python makes no sealed memory")
        descriptor, board = make_board()
        for size in (0, BOARD_BYTES - 1, BOARD_BYTES + 1):
            self.assertRaises(PermissionError, os.ftruncate, descriptor, size)
        board.close()
        os.close(descriptor)

    def test_without_memfd(self) -> None:
        if hasattr(os, "memfd_create"):
            self.patch(os, "memfd_create", None)
            del os.memfd_create
        descriptor, board = make_board()
        self.addCleanup(board.close)
        self.assertEqual(os.fstat(descriptor).st_nlink, 0)
        received = ReceivedBoard(descriptor)
        board[3] = 1
        self.assertEqual(received.busy({2, 3}), {3})
        received.close()

    def test_a_board_that_was_shortened_is_busy_where_it_is_missing(self) -> None:
        with tempfile.TemporaryFile() as file:
            os.ftruncate(file.fileno(), BOARD_BYTES)
            descriptor = os.dup(file.fileno())
        received = ReceivedBoard(descriptor)
        os.ftruncate(descriptor, 2)
        self.assertEqual(received.busy({0, 1, 2, 300}), {2, 300})
        os.ftruncate(descriptor, 0)
        self.assertEqual(received.busy({0}), {0})
        received.close()

    def test_a_closed_board_is_busy(self) -> None:
        descriptor, board = make_board()
        board.close()
        received = ReceivedBoard(descriptor)
        received.close()
        self.assertEqual(received.busy({0, 1}), {0, 1})

    def test_a_board_that_can_not_be_read_is_busy(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            os.ftruncate(file.fileno(), BOARD_BYTES)
            received = ReceivedBoard(os.open(file.name, os.O_WRONLY))
        self.assertEqual(received.busy({5}), {5})
        received.close()

    def test_what_is_no_board(self) -> None:
        """Refused, and closed."""
        near, far = socket.socketpair()
        far.close()
        reading, writing = os.pipe()
        os.close(writing)
        with tempfile.TemporaryFile() as file:
            os.ftruncate(file.fileno(), BOARD_BYTES - 1)
            small = os.dup(file.fileno())
        for descriptor in (near.detach(), reading, small, os.open("/dev/zero", os.O_RDONLY), os.open("/", os.O_RDONLY)):
            self.assertRaises(ValueError, ReceivedBoard, descriptor)
            self.assertRaises(OSError, os.fstat, descriptor)
