"""Descriptors as bare numbers: those that come from elsewhere or go there, and how they become connections of this process.

Whatever touches such a number does it through IDescriptors, which is found by the reactor: the tests run several processes'
parts in one (``tests/world``), where each reactor has descriptors of its own.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import socket
import stat
import tempfile
from typing import Any, Optional, Tuple

from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import Factory
from zope.interface import Interface, implementer

Identity = Tuple[int, int]
"""Of an open socket: what tells it from all others."""


class IDescriptors(Interface):
    """The descriptors of one process. Each call may raise OSError."""

    def close(descriptor: int) -> None:  # noqa: N805
        """Close it."""

    def keep(descriptor: int) -> None:  # noqa: N805
        """A received one is not for programs that this process may start."""

    def dup(connection: socket.socket) -> int:  # noqa: N805
        """Another descriptor of a socket, which is the caller's."""

    def pair() -> Tuple[socket.socket, socket.socket]:
        """Two stream sockets, connected to each other and non-blocking."""

    def identity(descriptor: int) -> Identity:  # noqa: N805
        """What it is of: the same for all copies of it, in every process, and for nothing else as long as one is open."""

    def shut(descriptor: int) -> None:  # noqa: N805
        """End the connection that it is of, for all copies, and close it."""

    def connected(descriptor: int) -> socket.AddressFamily:  # noqa: N805
        """The family of a stream socket that is connected, still; it is non-blocking from here on."""

    def listening(descriptor: int) -> socket.AddressFamily:  # noqa: N805
        """The same of one that listens."""

    def spare() -> int:
        """A descriptor of nothing, which is the caller's."""

    def memory(size: int) -> Tuple[int, Any]:  # noqa: N805
        """Memory for other processes too: a descriptor, which is the caller's, and so many zeros to write to.

        Whoever has the descriptor may write, but make it neither shorter nor longer, where the kernel can see to that.
        """

    def mapped(descriptor: int, size: int) -> Any:  # noqa: N805
        """The bytes of such memory of another process, to read and to write. The descriptor stays the caller's."""

    def another(descriptor: int) -> int:  # noqa: N805
        """Another descriptor of the same, which is the caller's."""

    def size(descriptor: int) -> int:  # noqa: N805
        """How long a file is; -1: it is something else."""

    def read(descriptor: int, count: int) -> bytes:  # noqa: N805
        """The beginning of a file."""


_ADD_SEALS = 1033
_SIZE_IS_FINAL = 1 | 2 | 4
"""fcntl(2): F_ADD_SEALS; F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW. PyPy does not name them, nor does Python 3.9 everywhere."""


@implementer(IDescriptors)
class SystemDescriptors:
    """The descriptors of this very process."""

    def close(self, descriptor: int) -> None:
        """See IDescriptors."""
        os.close(descriptor)

    def keep(self, descriptor: int) -> None:
        """See IDescriptors."""
        os.set_inheritable(descriptor, False)

    def dup(self, connection: socket.socket) -> int:
        """See IDescriptors."""
        return os.dup(connection.fileno())

    def pair(self) -> Tuple[socket.socket, socket.socket]:
        """See IDescriptors."""
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    def identity(self, descriptor: int) -> Identity:
        """See IDescriptors: the device and the inode, which are the socket's own (sockfs)."""
        status = os.fstat(descriptor)
        return status.st_dev, status.st_ino

    def shut(self, descriptor: int) -> None:
        """See IDescriptors."""
        connection = socket.socket(fileno=descriptor)
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # ENOTCONN: the other end was faster.
        finally:
            connection.close()

    def connected(self, descriptor: int) -> socket.AddressFamily:
        """See IDescriptors."""
        probe = socket.socket(fileno=descriptor)  # Asks the kernel for the family.
        try:
            family = socket.AddressFamily(probe.family)
            # A connection that is reset by now has no peer. Twisted finds that out after it has made a copy of the descriptor,
            # which it then leaves to the garbage collector.
            probe.getpeername()
        finally:
            probe.detach()
        os.set_blocking(descriptor, False)
        return family

    def listening(self, descriptor: int) -> socket.AddressFamily:
        """See IDescriptors."""
        probe = socket.socket(fileno=descriptor)
        try:
            return socket.AddressFamily(probe.family)
        finally:
            probe.detach()
            os.set_blocking(descriptor, False)

    def spare(self) -> int:
        """See IDescriptors."""
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def memory(self, size: int) -> Tuple[int, Any]:
        """See IDescriptors. The memory is freed when neither the descriptor nor the bytes are used any more."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("xproxy-memory", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        else:
            descriptor, path = tempfile.mkstemp(prefix="xproxy-memory-")
            os.unlink(path)
        try:
            os.ftruncate(descriptor, size)
            if hasattr(os, "memfd_create"):
                fcntl.fcntl(descriptor, _ADD_SEALS, _SIZE_IS_FINAL)
            return descriptor, mmap.mmap(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise

    def mapped(self, descriptor: int, size: int) -> Any:
        """See IDescriptors."""
        return mmap.mmap(descriptor, size)

    def another(self, descriptor: int) -> int:
        """See IDescriptors."""
        return os.dup(descriptor)

    def size(self, descriptor: int) -> int:
        """See IDescriptors."""
        status = os.fstat(descriptor)
        return status.st_size if stat.S_ISREG(status.st_mode) else -1

    def read(self, descriptor: int, count: int) -> bytes:
        """See IDescriptors."""
        return os.pread(descriptor, count, 0)


SYSTEM = SystemDescriptors()


def descriptors_of(reactor: Any) -> IDescriptors:
    """The descriptors of the process that a reactor runs in."""
    return IDescriptors(reactor, SYSTEM)


_LOOK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)


def unread(connection: socket.socket, most: int = 1) -> Optional[bytes]:
    """The first bytes that wait to be read, left there: empty at the end of file or after an error, None when nothing waits."""
    try:
        return connection.recv(most, _LOOK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def has_left(transport: Any) -> bool:
    """Whether a peer that has ended its side is gone altogether, as far as the kernel knows.

    It has reset its TCP connection, or closed its UNIX socket. Reading tells no more than the end of file, once that was read.
    """
    try:
        number, handle = transport.fileno(), transport.getHandle()
    except AttributeError:  # A transport without a socket of its own, or any more.
        return False
    try:
        poll = select.poll()
        poll.register(number, 0)
        if any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0)):
            return True
        return bool(handle.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    except (OSError, ValueError):  # It is closed.
        return False


def is_readable(transport: Any) -> bool:
    """Whether something that was not read yet has come, its end included."""
    try:
        number = transport.fileno()
    except AttributeError:  # As above.
        return False
    try:
        poll = select.poll()
        poll.register(number, select.POLLIN)
        return any(events & select.POLLIN for _, events in poll.poll(0))
    except (OSError, ValueError):
        return False


class Adoption(Factory):
    """Gives ``adoptStreamConnection`` the one protocol it is for."""

    noisy = False

    def __init__(self, protocol: IProtocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: Optional[IAddress]) -> IProtocol:  # type: ignore[override]
        """The one protocol."""
        return self._protocol


def adopt(reactor: Any, descriptor: int, protocol: IProtocol) -> None:
    """Make ``protocol`` that of a received descriptor, which is closed here, whatever happens: the transport has a copy.

    :param reactor: an IReactorSocket.
    :raises OSError: the descriptor is no connected stream socket (any more).
    """
    descriptors = descriptors_of(reactor)
    try:
        reactor.adoptStreamConnection(descriptor, descriptors.connected(descriptor), Adoption(protocol))
    finally:
        descriptors.close(descriptor)
