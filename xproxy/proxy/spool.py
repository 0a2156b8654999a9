"""Bytes that wait: in memory up to a limit, then in an unlinked file.

A request's body waits here for a slot (and is read again for a second attempt), a response waits here for a slow client.
"""

from __future__ import annotations

import os
import tempfile
from typing import IO, List, Optional

READ_BYTES = 128 * 1024
"""How much is taken from a file at a time: Twisted's FileDescriptor.SEND_LIMIT."""

SEGMENT_BYTES = 16 * 1024 * 1024
"""After how much a backlog begins a new file, so that what was read can be freed: what it keeps is what waits and this."""


class Spool:
    """First in, first out, for one reader who may rewind. Nothing is freed before ``clear``, so the two places do not mix.

    :param memory_bytes: what may be held in memory; from the piece that exceeds it on, everything goes to the file.
    """

    __slots__ = ("size", "taken", "_memory_bytes", "_memory", "_held", "_index", "_file")

    def __init__(self, memory_bytes: int) -> None:
        self.size = 0
        """Bytes put in since the beginning or ``clear``."""
        self.taken = 0
        """Bytes taken since the beginning, ``clear`` or ``rewind``."""
        self._memory_bytes = memory_bytes
        self._memory: List[bytes] = []
        self._held = 0
        self._index = 0
        self._file: Optional[IO[bytes]] = None

    @property
    def unread(self) -> int:
        """Bytes put in and not yet taken."""
        return self.size - self.taken

    @property
    def in_file(self) -> bool:
        """Whether the memory was not enough."""
        return self._file is not None

    def put(self, data: bytes) -> None:
        """Append. Raises OSError when the disk is full."""
        if not data:  # An empty piece would look like the end to whoever takes it.
            return
        if self._file is None:
            if self._held + len(data) <= self._memory_bytes:
                self._memory.append(data)
                self._held += len(data)
                self.size += len(data)
                return
            self._file = tempfile.TemporaryFile(prefix="xproxy-", buffering=0)  # noqa: SIM115  # Closed by clear.
        descriptor, end = self._file.fileno(), self.size - self._held
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, end)
            end += written
            self.size += written
            view = view[written:]

    def take(self) -> bytes:
        """The next bytes: one piece as it was put, or at most READ_BYTES of the file; empty when there are none."""
        if self._index < len(self._memory):
            data = self._memory[self._index]
            self._index += 1
        elif self._file is not None:
            data = os.pread(self._file.fileno(), READ_BYTES, self.taken - self._held)
        else:
            return b""
        self.taken += len(data)
        return data

    def rewind(self) -> None:
        """Read from the beginning again."""
        self._index = self.taken = 0

    def clear(self) -> None:
        """Drop everything and begin again, with memory."""
        self._memory = []
        self._held = self._index = self.size = self.taken = 0
        if self._file is not None:
            self._file.close()
            self._file = None


class Backlog:
    """Spools in a row, for a reader that never rewinds and may be a little behind for ever: what was read is freed.

    :param memory_bytes: what may be held in memory.
    """

    __slots__ = ("_memory_bytes", "_spools")

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._spools: List[Spool] = []

    @property
    def unread(self) -> int:
        """Bytes put in and not yet taken."""
        return sum([spool.unread for spool in self._spools])

    @property
    def kept(self) -> int:
        """Bytes that take up space."""
        return sum([spool.size for spool in self._spools])

    def put(self, data: bytes) -> None:
        """Append. Raises OSError when the disk is full."""
        spools = self._spools
        if len(spools) == 1 and not spools[0].unread:
            spools[0].clear()
        elif not spools:
            spools.append(Spool(self._memory_bytes))
        elif spools[-1].size >= SEGMENT_BYTES:
            spools.append(Spool(0))
        spools[-1].put(data)

    def take(self) -> bytes:
        """The next bytes; empty when there are none."""
        while self._spools:
            data = self._spools[0].take()
            if data:
                return data
            self._spools.pop(0).clear()
        return b""

    def clear(self) -> None:
        """Drop everything."""
        for spool in self._spools:
            spool.clear()
        self._spools.clear()
