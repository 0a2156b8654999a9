"""Moving a body from one socket to another without looking at it: splice(2) through a pipe.

A body of known length needs no parsing, so its bytes need not come up to us. One pipe serves the whole process, because each
call leaves it empty: what the receiver does not take at once is read back and goes the ordinary way.
"""

from __future__ import annotations

import fcntl
import os
from typing import Callable, Optional, Tuple

from twisted.internet.error import ConnectionLost

PIPE_BYTES = 1024 * 1024
"""What one call moves at most; /proc/sys/fs/pipe-max-size allows everybody this much (pipe(7))."""

MIN_BYTES = 128 * 1024
"""Shorter bodies are through in one or two reads: three system calls would not pay."""

_F_SETPIPE_SZ = 1031
_MOVE_NONBLOCK = 1 | 2

SpliceCall = Callable[[int, int, int], int]


def _find_splice() -> Optional[SpliceCall]:
    """splice(2) as (source, target, count): from ``os`` since CPython 3.10, by cffi on PyPy, else None."""
    native = getattr(os, "splice", None)
    if native is not None:

        def by_os(source: int, target: int, count: int) -> int:
            moved: int = native(source, target, count, flags=_MOVE_NONBLOCK)
            return moved

        return by_os
    try:
        import cffi  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return None
    ffi = cffi.FFI()
    ffi.cdef("ssize_t splice(int, void *, int, void *, size_t, unsigned int);")
    library = ffi.dlopen(None)
    if not hasattr(library, "splice"):
        return None
    null = ffi.NULL

    def by_cffi(source: int, target: int, count: int) -> int:
        moved: int = library.splice(source, null, target, null, count, _MOVE_NONBLOCK)
        if moved < 0:
            number = ffi.errno
            raise OSError(number, os.strerror(number))
        return moved

    return by_cffi


class Splicer:
    """The pipe of a process. The gateway makes one when it is made, and closes it when it stops.

    :raises OSError: from the constructor, when there is no pipe to be had.
    """

    def __init__(self, splice: SpliceCall) -> None:
        self._splice = splice
        self._read_end, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._size = fcntl.fcntl(self._write_end, _F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:  # Over the user's share of pipe memory: the default size works as well, only slower.
            self._size = 65536

    def move(self, source: int, target: int, count: int) -> Tuple[int, bytes]:
        """Move at most ``count`` bytes that are there.

        :returns: how many were taken from ``source`` (0: it has ended), and those of them that ``target`` did not take.
        :raises BlockingIOError: there is nothing to take.
        :raises ConnectionLost: ``target`` is gone; what was taken is lost.
        :raises OSError: ``source`` is gone.
        """
        taken = self._splice(source, self._write_end, min(count, self._size))
        left = taken
        try:
            while left:
                left -= self._splice(self._read_end, target, left)
        except BlockingIOError:
            return taken, self._read_back(left)
        except OSError:
            self._read_back(left)
            raise ConnectionLost() from None
        return taken, b""

    def _read_back(self, count: int) -> bytes:
        pieces = []
        while count:
            piece = os.read(self._read_end, count)
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._read_end)
        os.close(self._write_end)


_splice = _find_splice()


def make_splicer() -> Optional[Splicer]:
    """A Splicer, None where there is no splice(2) or no descriptors are left."""
    if _splice is None:
        return None
    try:
        return Splicer(_splice)
    except OSError:
        return None
