"""Sockets in memory: as much of a kernel's as transports and slots use."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Any, Tuple

CAPACITY = 212_992
"""What a direction holds that nobody reads: net.core.wmem_default of Linux."""

MEMORY, KERNEL = "memory", "kernel"
"""The two kinds of sockets."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Direction:
    """Bytes on their way."""

    def __init__(self, capacity: int) -> None:
        self.data = bytearray()
        self.capacity = capacity
        self.ended = False
        self.unread = False
        """The reader is gone: whoever writes gets EPIPE."""
        self.reset = False


class _End:
    """What all descriptors of one end of a connection share."""

    def __init__(self, incoming: _Direction, outgoing: _Direction) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        self.descriptors = 1
        self.reset_on_close = False


class MemorySocket:
    """One descriptor of one end: as much of ``socket.socket`` as a transport and a slot use. Close it like any descriptor."""

    _numbers = 1_000_000  # No descriptor of this process: a splice with it fails.
    open = 0
    """How many were not closed, in all tests so far."""

    def __init__(self, end: _End) -> None:
        self._end = end
        self._closed = False
        MemorySocket._numbers += 1
        MemorySocket.open += 1
        self._number = MemorySocket._numbers
        self.fail_sends: int = 0
        """An errno that every ``send`` fails with."""

    def dup(self) -> MemorySocket:
        """Another descriptor of this end."""
        self._end.descriptors += 1
        return MemorySocket(self._end)

    def send(self, data: Any) -> int:
        """As ``socket.send``, non-blocking."""
        way = self._live().outgoing
        if self.fail_sends:
            raise OSError(self.fail_sends, os.strerror(self.fail_sends))
        if self._end.incoming.reset:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        if way.ended or way.unread:
            raise BrokenPipeError(errno.EPIPE, "broken pipe")
        room = way.capacity - len(way.data)
        if room <= 0:
            raise BlockingIOError(errno.EAGAIN, "full")
        piece = bytes(data[:room])
        way.data += piece
        return len(piece)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As ``socket.recv``, non-blocking; knows MSG_PEEK."""
        way = self._live().incoming
        if way.reset:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        data = bytes(way.data[:size])
        if not data and not way.ended:
            raise BlockingIOError(errno.EAGAIN, "empty")
        if not flags & socket.MSG_PEEK:
            del way.data[:size]
        return data

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        """As ``socket.recv_into``, non-blocking."""
        data = self.recv(size or len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def shutdown(self, how: int) -> None:
        """As ``socket.shutdown``: for all descriptors of this end."""
        end = self._live()
        if end.incoming.reset:
            raise OSError(errno.ENOTCONN, "not connected")
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            end.outgoing.ended = True
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            end.incoming.ended = end.incoming.unread = True

    def close(self) -> None:
        """As ``socket.close``: the last descriptor ends the connection, with a reset when something was not read."""
        if self._closed:
            return
        self._closed = True
        MemorySocket.open -= 1
        end = self._end
        end.descriptors -= 1
        if end.descriptors:
            return
        if end.incoming.data or end.reset_on_close:
            end.outgoing.reset = True
            end.outgoing.data.clear()
        end.outgoing.ended = True
        end.incoming.unread = True

    def _live(self) -> _End:
        if self._closed:
            raise OSError(errno.EBADF, "closed")
        return self._end

    def fileno(self) -> int:
        """A number that names no descriptor."""
        return -1 if self._closed else self._number

    def setblocking(self, flag: bool) -> None:
        """Never blocks."""

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Knows the SO_LINGER that Twisted aborts a connection with."""
        if (level, option, value) == (socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE):
            self._live().reset_on_close = True

    def getsockopt(self, level: int, option: int) -> int:
        """Knows SO_ERROR."""
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR)
        return errno.EPIPE if self._live().incoming.reset else 0

    @property
    def readable(self) -> bool:
        """Whether ``recv`` would not block."""
        way = self._end.incoming
        return bool(way.data) or way.ended or way.reset

    @property
    def writable(self) -> bool:
        """Whether ``send`` would not block."""
        way = self._end.outgoing
        return len(way.data) < way.capacity or way.ended or way.unread or self._end.incoming.reset


def memory_pair(capacity: int = CAPACITY) -> Tuple[MemorySocket, MemorySocket]:
    """Two connected sockets. ``capacity``: of what the first sends; the second may send CAPACITY."""
    there, back = _Direction(capacity), _Direction(CAPACITY)
    return MemorySocket(_End(back, there)), MemorySocket(_End(there, back))


def kernel_pair(capacity: int = CAPACITY) -> Tuple[socket.socket, socket.socket]:
    """The same of the real kind."""
    near, far = socket.socketpair()
    for end in (near, far):
        end.setblocking(False)
    if capacity != CAPACITY:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, capacity)
    return near, far


def make_pair(kind: str, capacity: int = CAPACITY) -> Tuple[Any, Any]:
    """Two connected sockets of one of the two kinds."""
    return memory_pair(capacity) if kind == MEMORY else kernel_pair(capacity)
