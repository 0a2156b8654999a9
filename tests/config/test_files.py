"""Tests for ``xproxy.config.files``: no more is read than asked for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xproxy.config.files import PIECE_BYTES, read_most


class ReadTests(SynchronousTestCase):
    """Files around the bound."""

    def test_bound(self) -> None:
        """A byte more than allowed says that there is more."""
        path = self.mktemp()
        for size in (0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES):
            with open(path, "wb") as file:
                file.write(b"x" * size)
            for most in (0, 1, PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES + 7):
                self.assertEqual(len(read_most(path, most)), min(size, most + 1), (size, most))

    def test_errors(self) -> None:
        self.assertRaises(OSError, read_most, self.mktemp(), 1)
        self.assertRaises(ValueError, read_most, "a\0b", 1)
