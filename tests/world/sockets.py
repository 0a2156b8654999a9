"""Sockets in memory: as much of a kernel's as transports and slots use.

A connection is two directions between two ends; a descriptor of an end is a ``MemorySocket``, or its number in the table of a
process (``descriptors``). What is sent arrives at once, unless the directions were made with a way that takes its time.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import deque
from functools import partial
from typing import Any, Callable, Deque, List, Optional, Protocol, Sequence, Tuple

from xproxy.net.peers import SO_PEERCRED

CAPACITY = 212_992
"""What a direction holds that nobody reads: net.core.wmem_default of Linux."""

MEMORY, KERNEL = "memory", "kernel"
"""The two kinds of sockets."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Carry = Callable[[Callable[[], None]], object]
"""Makes calls, in order: those that let something arrive at the other end."""


class Description(Protocol):
    """What a descriptor is of: an open file, in the kernel's words."""

    def hold(self) -> None:
        """There is one descriptor more."""

    def release(self) -> None:
        """There is one descriptor less."""


def at_once(call: Callable[[], None]) -> None:
    """How things arrive in the same process."""
    call()


class Direction:
    """Bytes on their way, and the descriptors that go with some of them.

    :param capacity: how many bytes may be under way or unread.
    """

    back: Optional[Direction] = None
    """Where a reset goes that answers what comes for nobody; None: the sender is told before it sends."""

    def __init__(self, capacity: int, carry: Carry) -> None:
        self.data = bytearray()
        self.capacity = capacity
        self.ended = False
        self.unread = False
        """The reader is gone: whoever writes gets EPIPE."""
        self.reset = False
        self.held = 0
        """Bytes that are under way or unread."""
        self._carry = carry
        self._rights: Deque[Tuple[int, List[Description]]] = deque()
        """Descriptors, each with the end of the piece they came with, counted from the first byte of all."""
        self._taken = 0

    def put(self, piece: bytes, rights: Sequence[Description] = ()) -> None:
        """Send bytes, and descriptors that are held by whoever gave them here."""
        self.held += len(piece)
        for description in rights:
            description.hold()
        self._carry(partial(self._arrive, piece, list(rights)))

    def _arrive(self, piece: bytes, rights: List[Description]) -> None:
        if self.unread or self.reset:
            self._drop(rights)
            if self.back is not None:
                self.back.cut()
            return
        self.data += piece
        if rights:
            self._rights.append((self._taken + len(self.data), rights))

    def end(self) -> None:
        """Nothing more will be sent."""
        self._carry(partial(setattr, self, "ended", True))

    def cut(self) -> None:
        """A reset: what was not read is lost."""
        self._carry(self._cut)

    def _cut(self) -> None:
        self.reset = True
        self.forget()

    def take(self, size: int, with_rights: bool = False) -> Tuple[bytes, List[Description]]:
        """Read; up to the end of the first piece with descriptors, where those are wanted, else they are dropped."""
        rights: List[Description] = []
        if with_rights and self._rights and self._rights[0][0] - self._taken <= size:
            size = self._rights[0][0] - self._taken
        data = bytes(self.data[:size])
        del self.data[:size]
        self.held -= len(data)
        self._taken += len(data)
        while self._rights and self._rights[0][0] <= self._taken:
            found = self._rights.popleft()[1]
            if with_rights:
                rights += found
            else:
                self._drop(found)
        return data, rights

    def forget(self) -> None:
        """Nobody will read what is there."""
        self.data.clear()
        while self._rights:
            self._drop(self._rights.popleft()[1])

    @staticmethod
    def _drop(rights: List[Description]) -> None:
        for description in rights:
            description.release()


class End:
    """One end of a connection: what all its descriptors share."""

    def __init__(self, incoming: Direction, outgoing: Direction, family: socket.AddressFamily) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        self.family = family
        self.descriptors = 0
        self.reset_on_close = False

    def hold(self) -> None:
        """See Description."""
        self.descriptors += 1

    def release(self) -> None:
        """See Description: the last descriptor ends the connection, with a reset when something was not read."""
        self.descriptors -= 1
        if self.descriptors:
            return
        unread = bool(self.incoming.data)
        self.incoming.unread = True
        self.incoming.forget()
        if unread or self.reset_on_close:
            self.outgoing.cut()
        self.outgoing.end()

    @property
    def readable(self) -> bool:
        """Whether ``recv`` would not block."""
        way = self.incoming
        return bool(way.data) or way.ended or way.reset

    @property
    def writable(self) -> bool:
        """Whether ``send`` would not block."""
        way = self.outgoing
        return way.held < way.capacity or way.ended or way.unread or self.incoming.reset


def connected_ends(
    capacity: int = CAPACITY,
    there: Carry = at_once,
    family: socket.AddressFamily = socket.AF_UNIX,
    back: Carry = at_once,
) -> Tuple[End, End]:
    """The two ends of a connection.

    :param capacity: of what the first sends; the second may send CAPACITY.
    :param there: how what the first sends arrives.
    :param back: the same of the second.
    """
    to_second, to_first = Direction(capacity, there), Direction(CAPACITY, back)
    if family != socket.AF_UNIX:
        to_second.back, to_first.back = to_first, to_second
    return End(to_first, to_second, family), End(to_second, to_first, family)


class Table(Protocol):
    """Whose descriptors these are."""

    def open(self, description: Description) -> int:
        """A new descriptor."""

    def close(self, descriptor: int) -> None:
        """Close it."""

    def description(self, descriptor: int) -> Description:
        """What it is of."""


class MemorySocket:
    """One descriptor of one end: as much of ``socket.socket`` as a transport and a slot use. Close it like any descriptor."""

    def __init__(self, table: Table, end: End) -> None:
        self._table = table
        self._end = end
        self._number = table.open(end)
        self.family = end.family
        self.fail_sends: int = 0
        """An errno that every ``send`` fails with."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """``isinstance`` takes it for a socket, as it takes a mock for what it stands for."""
        return socket.socket

    def dup(self) -> MemorySocket:
        """Another descriptor of this end."""
        return MemorySocket(self._table, self._live())

    def send(self, data: Any, flags: int = 0) -> int:
        """As ``socket.send``, non-blocking."""
        return self._send(data, ())

    def _send(self, data: Any, rights: Sequence[Description]) -> int:
        way = self._live().outgoing
        if self.fail_sends:
            raise OSError(self.fail_sends, os.strerror(self.fail_sends))
        if self._end.incoming.reset:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        if way.ended or (way.unread and way.back is None):
            raise BrokenPipeError(errno.EPIPE, "broken pipe")
        room = way.capacity - way.held
        if room <= 0:
            raise BlockingIOError(errno.EAGAIN, "full")
        piece = bytes(data[:room])
        way.put(piece, rights)
        return len(piece)

    def sendmsg(self, buffers: Sequence[Any], ancillary: Sequence[Tuple[int, int, Any]] = (), flags: int = 0) -> int:
        """As ``socket.sendmsg``; knows SCM_RIGHTS."""
        rights: List[Description] = []
        for level, kind, content in ancillary:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            rights += [self._table.description(number) for number in struct.unpack(f"{len(content) // 4}i", content)]
        return self._send(b"".join(buffers), rights)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As ``socket.recv``, non-blocking; knows MSG_PEEK."""
        way = self._ready()
        return bytes(way.data[:size]) if flags & socket.MSG_PEEK else way.take(size)[0]

    def _ready(self) -> Direction:
        way = self._live().incoming
        if way.reset:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        if not way.data and not way.ended:
            raise BlockingIOError(errno.EAGAIN, "empty")
        return way

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        """As ``socket.recv_into``, non-blocking."""
        data = self.recv(size or len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def recvmsg(self, size: int, space: int = 0, flags: int = 0) -> Tuple[bytes, List[Tuple[int, int, bytes]], int, None]:
        """As ``socket.recvmsg``; knows SCM_RIGHTS. Descriptors for which the table has no room are lost, as on Linux."""
        data, rights = self._ready().take(size, True)
        numbers: List[int] = []
        for description in rights:
            try:
                numbers.append(self._table.open(description))
            except OSError:
                flags |= socket.MSG_CTRUNC
            description.release()
        found = [(int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS), struct.pack(f"{len(numbers)}i", *numbers))] if numbers else []
        return data, found, flags & socket.MSG_CTRUNC, None

    def shutdown(self, how: int) -> None:
        """As ``socket.shutdown``: for all descriptors of this end."""
        end = self._live()
        if end.incoming.reset:
            raise OSError(errno.ENOTCONN, "not connected")
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            end.outgoing.end()
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            end.incoming.ended = end.incoming.unread = True

    def shut(self) -> None:
        """Shut the connection down, however far it is, and close this descriptor."""
        try:
            self.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # It was reset.
        self.close()

    def close(self) -> None:
        """As ``socket.close``."""
        if self._number >= 0:
            number, self._number = self._number, -1
            self._table.close(number)

    def detach(self) -> int:
        """As ``socket.detach``: the number is the caller's."""
        number, self._number = self._number, -1
        return number

    def _live(self) -> End:
        if self._number < 0:
            raise OSError(errno.EBADF, "closed")
        return self._end

    def fileno(self) -> int:
        """The number of the descriptor; none of this very process."""
        return self._number

    def setblocking(self, flag: bool) -> None:
        """Never blocks."""

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Knows the SO_LINGER that Twisted aborts a connection with."""
        if (level, option, value) == (socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE):
            self._live().reset_on_close = True

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        """Knows SO_ERROR, and SO_PEERCRED: everybody is the user that we are."""
        if option == SO_PEERCRED:
            return struct.pack("3i", 0, os.geteuid(), os.getegid())
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR)
        return errno.EPIPE if self._live().incoming.reset else 0

    def getsockname(self) -> str:
        """No name."""
        return ""

    getpeername = getsockname

    @property
    def readable(self) -> bool:
        """Whether ``recv`` would not block."""
        return self._end.readable

    @property
    def writable(self) -> bool:
        """Whether ``send`` would not block."""
        return self._end.writable


def kernel_pair(capacity: int = CAPACITY) -> Tuple[socket.socket, socket.socket]:
    """Two connected sockets of the real kind."""
    near, far = socket.socketpair()
    for end in (near, far):
        end.setblocking(False)
    if capacity != CAPACITY:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, capacity)
    return near, far
