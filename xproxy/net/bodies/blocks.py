"""Memory for long request bodies: blocks that all of them share, so that together they hold no more than was allowed.

A body is received straight into a block and sent straight out of it; a block that was used is used again, so that its pages
are there already. Making pages for bytes that are thrown away at once, in memory or in a file, costs as much as moving them.
"""

from __future__ import annotations

from mmap import mmap
from typing import List, Optional

BLOCK_BYTES = 256 * 1024
"""What is received at a time at most, and what a body that is just too long for its own memory takes up."""

SHARE = 4
"""One body gets this part of the blocks: several of them have to find some."""


def _new_block() -> memoryview:
    return memoryview(mmap(-1, BLOCK_BYTES))  # Not a bytearray, whose bytes PyPy copies one by one.


class Blocks:
    """The blocks of a process. They are made when they are needed first, and kept.

    :param limit_bytes: of all together.
    :ivar scratch: one block more, to receive into what may not stay in it; it holds nothing from one call to the next.
    :ivar most_bytes: what one body may hold.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.scratch = _new_block()
        self.most_bytes = 0
        self._free: List[memoryview] = []
        self._limit = self._unmade = 0
        self.resize(limit_bytes)

    def resize(self, limit_bytes: int) -> None:
        """Another limit. Where more blocks than it has are in use, none is given out until so many have come back."""
        self.most_bytes = limit_bytes // SHARE
        before, self._limit = self._limit, limit_bytes // BLOCK_BYTES
        self._unmade += self._limit - before
        self._drop_extra()

    def _drop_extra(self) -> None:
        while self._unmade < 0 and self._free:
            self._free.pop()
            self._unmade += 1

    @property
    def free(self) -> int:
        """How many may be claimed."""
        return len(self._free) + max(0, self._unmade)

    def claim(self) -> Optional[memoryview]:
        """The scratch block with what was received into it, for keeps: another one takes its place. None: all are in use."""
        if self._free:
            spare = self._free.pop()
        elif self._unmade > 0:
            self._unmade -= 1
            spare = _new_block()
        else:
            return None
        claimed, self.scratch = self.scratch, spare
        return claimed

    def give_back(self, blocks: List[memoryview]) -> None:
        """What was claimed is free again."""
        self._free.extend(blocks)
        self._drop_extra()
