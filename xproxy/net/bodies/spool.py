"""Bytes that wait: in memory up to a limit, in blocks that all share while there are some, then in an unlinked file.

A request's body waits here for a slot (and is read again for a second attempt), a response waits here for a slow client.
"""

from __future__ import annotations

import os
import tempfile
from typing import IO, List, Optional, Union

from .blocks import BLOCK_BYTES, Blocks
from .space import Space, SpaceFull

READ_BYTES = 128 * 1024
"""How much is taken from a file at a time: Twisted's FileDescriptor.SEND_LIMIT."""

SEND_BYTES = 1024 * 1024
"""How much is sent in a turn of the reactor at most: others want theirs."""

SEGMENT_BYTES = 16 * 1024 * 1024
"""After how much a backlog begins a new file, so that what was read can be freed: what it keeps is what waits and this."""


class Spool:
    """First in, first out, for one reader who may rewind. Nothing is freed before ``clear``, so the places do not mix: memory
    of its own, then shared blocks, then the file.

    :param memory_bytes: what may be held in memory; from the piece that exceeds it on, everything goes to the file.
    :param blocks: where more of it may stay in memory.
    :param space: which is asked for what goes to the file; None: the file is not counted.
    :param client: for whom that is.
    """

    __slots__ = (
        "size", "taken", "_memory_bytes", "_memory", "_held", "_index", "_offset", "_blocks", "_claimed", "_used", "_file",
        "_space", "_client", "_counted", "_counted_files",
    )  # fmt: skip

    def __init__(
        self, memory_bytes: int, blocks: Optional[Blocks] = None, space: Optional[Space] = None, client: str = ""
    ) -> None:
        self.size = 0
        """Bytes put in since the beginning or ``clear``."""
        self.taken = 0
        """Bytes taken since the beginning, ``clear`` or ``rewind``."""
        self._memory_bytes = memory_bytes
        self._memory: List[Union[bytes, memoryview]] = []
        self._held = 0
        self._index = self._offset = 0
        """What is next: the piece of the memory, and how much of it is taken."""
        self._blocks = blocks
        self._claimed: List[memoryview] = []
        self._used = 0
        """Of the block that was claimed last, which is the last piece of the memory."""
        self._file: Optional[IO[bytes]] = None
        self._space = space
        self._client = client
        self._counted = self._counted_files = 0
        """What the space has counted for us: bytes, and whether it has our file."""

    @property
    def unread(self) -> int:
        """Bytes put in and not yet taken."""
        return self.size - self.taken

    @property
    def in_file(self) -> bool:
        """Whether the memory was not enough."""
        return self._file is not None

    def put(self, data: bytes) -> None:
        """Append. Raises OSError when the disk is full, SpaceFull when our files have what they may."""
        if not data:  # An empty piece would look like the end to whoever takes it.
            return
        if self._file is None and self._held + len(data) <= self._memory_bytes:
            self._keep(data)
            return
        view = memoryview(data)
        while self._blocks is not None and self._file is None and view:
            room = self.room()[: len(view)]
            room[:] = view[: len(room)]
            self.received(len(room))
            view = view[len(room) :]
        if view:
            self._write(view)

    def _keep(self, piece: Union[bytes, memoryview]) -> None:
        self._memory.append(piece)
        self._held += len(piece)
        self.size += len(piece)

    def _write(self, view: memoryview) -> None:
        if self._space is not None:
            files = 1 - self._counted_files
            self._space.take(self._client, len(view), files)
            self._counted += len(view)
            self._counted_files += files
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="xproxy-", buffering=0)  # noqa: SIM115  # Closed by clear.
        descriptor, end = self._file.fileno(), self.size - self._held
        while view:
            written = os.pwrite(descriptor, view, end)
            end += written
            self.size += written
            view = view[written:]

    def room(self) -> memoryview:
        """Where to receive what comes next, which ``received`` is told then: bytes that nobody looks at are not copied for it.

        Only for a spool that has blocks.
        """
        assert self._blocks is not None
        return self._claimed[-1][self._used :] if self._block_goes_on() else self._blocks.scratch

    def _block_goes_on(self) -> bool:
        """Whether there is more room in the block that was claimed last, and nobody has taken all of it yet."""
        return self._file is None and bool(self._claimed) and self._used < BLOCK_BYTES and self._index < len(self._memory)

    def received(self, size: int) -> None:
        """Append the first ``size`` bytes of ``room``, which were received there. Raises as ``put``."""
        blocks = self._blocks
        assert blocks is not None
        if self._file is not None:
            self._write(blocks.scratch[:size])
        elif self._block_goes_on():
            self._used += size
            self._memory[-1] = self._claimed[-1][: self._used]
            self._held += size
            self.size += size
        elif self._held + size <= self._memory_bytes:
            self._keep(blocks.scratch[:size].tobytes())
        else:
            block = blocks.claim() if self._held + BLOCK_BYTES <= blocks.most_bytes else None
            if block is None:
                self._write(blocks.scratch[:size])
            else:
                self._claimed.append(block)
                self._used = size
                self._keep(block[:size])

    def take(self) -> bytes:
        """The next bytes: one piece as it was put, or at most READ_BYTES of the file; empty when there are none."""
        if self._index < len(self._memory):
            data = bytes(self._memory[self._index][self._offset :])
            self._index += 1
            self._offset = 0
        elif self._file is not None:
            data = os.pread(self._file.fileno(), READ_BYTES, self.taken - self._held)
        else:
            return b""
        self.taken += len(data)
        return data

    def send_to(self, descriptor: int) -> None:
        """Take what a socket takes at once: of one piece, or of the file by sendfile(2), SEND_BYTES at most.

        The kernel sends the pages of the file, not a copy: no byte that was put may be changed. There must be something unread.

        :raises BlockingIOError: it takes nothing now.
        :raises OSError: it is gone, or this can't be done here; nothing is taken.
        """
        if self._index < len(self._memory):
            piece = self._memory[self._index]
            sent = os.write(descriptor, piece[self._offset :])
            self._offset += sent
            if self._offset == len(piece):
                self._index += 1
                self._offset = 0
        else:
            assert self._file is not None
            sent = os.sendfile(descriptor, self._file.fileno(), self.taken - self._held, min(self.unread, SEND_BYTES))
        self.taken += sent

    def rewind(self) -> None:
        """Read from the beginning again."""
        self._index = self._offset = self.taken = 0

    def clear(self) -> None:
        """Drop everything and begin again, with memory."""
        self._memory = []
        self._held = self._index = self._offset = self.size = self.taken = 0
        if self._claimed:
            assert self._blocks is not None
            self._blocks.give_back(self._claimed)
            self._claimed = []
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._space is not None and self._counted_files:
            self._space.give_back(self._client, self._counted, self._counted_files)
            self._counted = self._counted_files = 0


class Backlog:
    """Spools in a row, for a reader that never rewinds and may be a little behind for ever: what was read is freed.

    What the space refuses stays in memory, whoever puts it: ``exceeds`` says so, and no more is to be put until it does not.

    :param memory_bytes: what may be held in memory.
    :param space: see Spool, as ``client``.
    """

    __slots__ = ("_memory_bytes", "_spools", "_space", "_client", "_refused")

    def __init__(self, memory_bytes: int, space: Optional[Space] = None, client: str = "") -> None:
        self._memory_bytes = memory_bytes
        self._space = space
        self._client = client
        self._refused = False
        """Something was to go to a file and could not."""
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
        if self._refused and not self.exceeds(0):
            self._refused = False
        if len(spools) == 1 and not spools[0].unread:
            spools.pop().clear()
        if not spools:
            self._begin(self._memory_bytes)
        elif spools[-1].size >= SEGMENT_BYTES:
            self._begin(0)
        try:
            spools[-1].put(data)
        except SpaceFull:
            self._refused = True
            self._begin(len(data))
            spools[-1].put(data)

    def _begin(self, memory_bytes: int) -> None:
        self._spools.append(Spool(memory_bytes, None, self._space, self._client))

    def exceeds(self, most_bytes: int) -> bool:
        """Whether more than so much waits, or, after a file was refused, more than half of what memory may hold."""
        return self.unread > (self._memory_bytes // 2 if self._refused else most_bytes)

    def first(self) -> Optional[Spool]:
        """Where the next bytes are; None when there are none."""
        while self._spools:
            if self._spools[0].unread:
                return self._spools[0]
            self._spools.pop(0).clear()
        return None

    def take(self) -> bytes:
        """The next bytes; empty when there are none."""
        first = self.first()
        return first.take() if first is not None else b""

    def clear(self) -> None:
        """Drop everything."""
        for spool in self._spools:
            spool.clear()
        self._spools.clear()
