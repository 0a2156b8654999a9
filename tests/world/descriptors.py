"""The descriptors of a process in memory: numbers that name no descriptor of this very process, lowest free number first."""

from __future__ import annotations

import errno
import os
import socket
from heapq import heappop, heappush
from typing import Any, Dict, List, Tuple, Type

from zope.interface import implementer

from tests.world.sockets import CAPACITY, MEMORY, Description, End, MemorySocket, connected_ends, kernel_pair
from xproxy.net.descriptors import SYSTEM, Identity, IDescriptors

NUMBERS = 1_000_000
"""A table's numbers are as many; the first table's begin there, so that the operating system knows none of them."""


class MemoryFile:
    """A file without a name: bytes that are freed with the last descriptor and the last mapping."""

    def __init__(self, size: int) -> None:
        self.content = bytearray(size)

    def hold(self) -> None:
        """See Description."""

    def release(self) -> None:
        """See Description."""


@implementer(IDescriptors)
class Descriptors:
    """See the module.

    :param place: which table it is, counted from 1.
    :ivar most: how many may be open at once (RLIMIT_NOFILE).
    """

    def __init__(self, place: int) -> None:
        self.most = NUMBERS
        self._first = place * NUMBERS
        self._open: Dict[int, Description] = {}
        self._free: List[int] = []
        self._next = self._first

    def __len__(self) -> int:
        return len(self._open)

    def open(self, description: Description) -> int:
        """A new descriptor. Raises OSError when there are too many."""
        if len(self._open) >= self.most:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        if self._free:
            number = heappop(self._free)
        else:
            number = self._next
            self._next += 1
        self._open[number] = description
        description.hold()
        return number

    def description(self, descriptor: int) -> Description:
        """What a descriptor is of. Raises OSError: there is no such descriptor."""
        try:
            return self._open[descriptor]
        except KeyError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None

    def take_up(self, descriptor: int) -> MemorySocket:
        """A socket on a copy of a descriptor, as ``socket.fromfd`` makes one."""
        return MemorySocket(self, self._kind(descriptor, End, errno.ENOTSOCK))

    def _kind(self, descriptor: int, kind: Type[Any], error: int) -> Any:
        description = self.description(descriptor)
        if not isinstance(description, kind):
            raise OSError(error, os.strerror(error))
        return description

    def close_all(self) -> None:
        """What the kernel does when a process is dead."""
        for number in list(self._open):
            self.close(number)

    # -- IDescriptors

    def close(self, descriptor: int) -> None:
        """See IDescriptors."""
        description = self.description(descriptor)
        del self._open[descriptor]
        heappush(self._free, descriptor)
        description.release()

    def keep(self, descriptor: int) -> None:
        """See IDescriptors."""
        self.description(descriptor)

    def dup(self, connection: socket.socket) -> int:
        """See IDescriptors."""
        listening = getattr(connection, "description", None)  # A listening socket has no number in the table.
        return self.open(self.description(connection.fileno()) if listening is None else listening)

    def pair(self) -> Tuple[Any, Any]:
        """See IDescriptors."""
        near, far = connected_ends()
        made = MemorySocket(self, near)
        try:
            return made, MemorySocket(self, far)
        except OSError:
            made.close()
            raise

    def identity(self, descriptor: int) -> Identity:
        """See IDescriptors."""
        return 0, id(self.description(descriptor))

    def shut(self, descriptor: int) -> None:
        """See IDescriptors."""
        self.take_up(descriptor).shut()
        self.close(descriptor)

    def connected(self, descriptor: int) -> socket.AddressFamily:
        """See IDescriptors."""
        end: End = self._kind(descriptor, End, errno.ENOTSOCK)
        if end.incoming.reset:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return end.family

    def listening(self, descriptor: int) -> socket.AddressFamily:
        """See IDescriptors."""
        return socket.AF_INET if isinstance(getattr(self.description(descriptor), "place", ""), int) else socket.AF_UNIX

    def spare(self) -> int:
        """See IDescriptors."""
        return self.open(MemoryFile(0))

    def memory(self, size: int) -> Tuple[int, Any]:
        """See IDescriptors."""
        file = MemoryFile(size)
        return self.open(file), file.content

    def mapped(self, descriptor: int, size: int) -> Any:
        """See IDescriptors."""
        file: MemoryFile = self._kind(descriptor, MemoryFile, errno.EINVAL)
        return file.content

    def another(self, descriptor: int) -> int:
        """See IDescriptors."""
        return self.open(self.description(descriptor))

    def size(self, descriptor: int) -> int:
        """See IDescriptors."""
        description = self.description(descriptor)
        return len(description.content) if isinstance(description, MemoryFile) else -1

    def read(self, descriptor: int, count: int) -> bytes:
        """See IDescriptors."""
        file: MemoryFile = self._kind(descriptor, MemoryFile, errno.EINVAL)
        return bytes(file.content[:count])


class OwnDescriptors(Descriptors):
    """Those of a test's own process, real ones among them."""

    def close(self, descriptor: int) -> None:
        """See IDescriptors."""
        if descriptor < self._first:
            SYSTEM.close(descriptor)
        else:
            super().close(descriptor)

    def identity(self, descriptor: int) -> Identity:
        """See IDescriptors."""
        return SYSTEM.identity(descriptor) if descriptor < self._first else super().identity(descriptor)

    def shut(self, descriptor: int) -> None:
        """See IDescriptors."""
        if descriptor < self._first:
            SYSTEM.shut(descriptor)
        else:
            super().shut(descriptor)

    def connected(self, descriptor: int) -> socket.AddressFamily:
        """See IDescriptors."""
        return SYSTEM.connected(descriptor) if descriptor < self._first else super().connected(descriptor)

    def take_up(self, descriptor: int) -> Any:
        """See Descriptors."""
        if descriptor < self._first:
            return socket.fromfd(descriptor, socket.AF_UNIX, socket.SOCK_STREAM)
        return super().take_up(descriptor)


OWN = OwnDescriptors(1)


def memory_pair(capacity: int = CAPACITY) -> Tuple[MemorySocket, MemorySocket]:
    """Two connected sockets of the test's own process."""
    near, far = connected_ends(capacity)
    return MemorySocket(OWN, near), MemorySocket(OWN, far)


def make_pair(kind: str, capacity: int = CAPACITY) -> Tuple[Any, Any]:
    """Two connected sockets of one of the two kinds."""
    return memory_pair(capacity) if kind == MEMORY else kernel_pair(capacity)
