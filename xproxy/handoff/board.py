"""The board of a proxy: one byte for each of its leases, 1 while an exchange is on it.

The proxy makes it, maps it and passes its descriptor with Hello; so what it wrote last can be read after it was killed. The
acceptor never maps it: a hostile proxy could shorten the file, and touching what is missing of a mapping kills the reader. It
reads with ``pread``, and what can't be read counts as busy.
"""

from __future__ import annotations

import mmap
import os
import stat
import tempfile
from typing import Collection, Set, Tuple

from ..interfaces import BOARD_BYTES


def make_board() -> Tuple[int, mmap.mmap]:
    """A new board of zeros: a descriptor, which is the caller's to close, and the mapping, which is freed when nobody uses it.

    :raises OSError: no memory, no descriptors, no temporary directory.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("xproxy-board", os.MFD_CLOEXEC)
    else:
        descriptor, path = tempfile.mkstemp(prefix="xproxy-board-")
        os.unlink(path)
    try:
        os.ftruncate(descriptor, BOARD_BYTES)
        return descriptor, mmap.mmap(descriptor, BOARD_BYTES)
    except BaseException:
        os.close(descriptor)
        raise


class ReceivedBoard:
    """A proxy's board at the acceptor. Owns the descriptor.

    :raises ValueError: it is no file of the right size. The descriptor is closed then.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != BOARD_BYTES:
            self.close()
            raise ValueError(f"a board is a file of {BOARD_BYTES} bytes")

    def busy(self, leases: Collection[int]) -> Set[int]:
        """Which of these leases are in an exchange. One read, whatever their number."""
        if not leases or self._descriptor < 0:
            return set(leases)
        try:
            content = os.pread(self._descriptor, max(leases) + 1, 0)
        except OSError:
            content = b""
        known = len(content)
        return {lease for lease in leases if lease >= known or content[lease]}

    def close(self) -> None:
        """Close the descriptor; everything is busy from here on."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
