"""The board of a proxy: one byte for each of its leases, 1 while an exchange is on it.

The proxy makes it, maps it and passes its descriptor with Hello; so what it wrote last can be read after it was killed. The
acceptor never maps it: a hostile proxy could shorten the file, and touching what is missing of a mapping kills the reader. It
reads with ``pread``, and what can't be read counts as busy.
"""

from __future__ import annotations

from typing import Any, Collection, Set, Tuple

from ..interfaces import BOARD_BYTES
from ..net.descriptors import SYSTEM, IDescriptors


def make_board(descriptors: IDescriptors = SYSTEM) -> Tuple[int, Any]:
    """A new board of zeros: a descriptor, which is the caller's to close, and its bytes, which are freed when nobody uses them.

    :raises OSError: no memory, no descriptors, no temporary directory.
    """
    return descriptors.memory(BOARD_BYTES)


class ReceivedBoard:
    """A proxy's board at the acceptor. Owns the descriptor.

    :raises ValueError: it is no file of the right size. The descriptor is closed then.
    """

    def __init__(self, descriptor: int, descriptors: IDescriptors = SYSTEM) -> None:
        self._descriptor = descriptor
        self._descriptors = descriptors
        if descriptors.size(descriptor) != BOARD_BYTES:
            self.close()
            raise ValueError(f"a board is a file of {BOARD_BYTES} bytes")

    def busy(self, leases: Collection[int]) -> Set[int]:
        """Which of these leases are in an exchange. One read, whatever their number."""
        if not leases or self._descriptor < 0:
            return set(leases)
        try:
            content = self._descriptors.read(self._descriptor, max(leases) + 1)
        except OSError:
            content = b""
        known = len(content)
        return {lease for lease in leases if lease >= known or content[lease]}

    def close(self) -> None:
        """Close the descriptor; everything is busy from here on."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._descriptors.close(descriptor)
