"""Listening sockets that processes have together: opened and kept here, and accepted from elsewhere.

An endpoint's description says what is opened, as Twisted reads it: the endpoint is made with something in place of a reactor
that opens the socket and does no more. Each process that accepts has a copy (``adopted``). The kernel takes connections
as long as one is open: so none is lost with a process.
"""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import Any, Callable, Iterable, List, Optional, Tuple, Union

import attr
from twisted.internet import unix
from twisted.internet.abstract import isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from ...config.checks import Place, place_of
from ...startup import StartupError, failure_reason, os_reason
from ..accepting import BACKLOG
from ..listening import server_endpoint
from .adopted import unblocked

Address = Union[IPv4Address, IPv6Address, UNIXAddress]


class SharedSocket:
    """What is open for one endpoint.

    :param sockets: one for each process or, where there can be only one, that.
    :param more: opens another one, where each process has its own. Raises OSError.
    :param end: removes what belongs to them, when they are closed.
    """

    def __init__(
        self,
        description: str,
        sockets: List[socket.socket],
        more: Optional[Callable[[], socket.socket]] = None,
        end: Callable[[], None] = lambda: None,
    ) -> None:
        self.description = description
        self._sockets = sockets
        self._more = more
        self._end = end
        self.address = _address(sockets[0])

    def copy(self, number: int) -> int:
        """A descriptor, the caller's, of what the process with this number, from 1, accepts from. Raises OSError."""
        return os.dup(self._sockets[(number - 1) % len(self._sockets)].fileno())

    def more(self, count: int) -> List[socket.socket]:
        """Those that are missing where so many processes are to have their own; the caller's. Raises StartupError."""
        found: List[socket.socket] = []
        try:
            for _ in range(len(self._sockets), count if self._more is not None else 0):
                assert self._more is not None
                found.append(self._more())
        except OSError as error:
            for sock in found:
                sock.close()
            raise StartupError(f"cannot listen on {self.description}: {os_reason(error)}") from error
        return found

    def resize(self, count: int, more: List[socket.socket]) -> None:
        """Have so many, with what ``more`` gave; what is too much is closed, as by ``close``."""
        if self._more is not None:
            sockets = [*self._sockets, *more]
            self._sockets = sockets[:count]
            for sock in sockets[count:]:
                sock.close()

    def is_in_the_way_of(self, place: Optional[Place]) -> bool:
        """Whether nobody else can listen there meanwhile, but for those with SO_REUSEPORT."""
        own, address = place_of(self.description), self.address
        if own is None or place is None or isinstance(address, UNIXAddress):
            return False
        return attr.evolve(own, port=address.port).clashes_with(place)

    @property
    def sockets(self) -> List[socket.socket]:
        """Those that are open, which stay this object's."""
        return list(self._sockets)

    def hand_on(self) -> None:
        """Another program has copies, and what belongs to them: close ours."""
        self._end = _nothing
        self.close()

    def close(self) -> None:
        """Close what is open here. Where others have copies these stay, and so does what the kernel has accepted for them."""
        sockets, self._sockets = self._sockets, []
        for sock in sockets:
            sock.close()
        if sockets:
            self._end()


def open_shared(reactor: Any, description: str, count: int, beside: Iterable[SharedSocket] = ()) -> SharedSocket:
    """Open an endpoint for so many processes.

    :param beside: what is open already, and may be in the way: it will be closed.
    :raises StartupError: it can't be, or is of a kind that is no socket.
    """
    opening = _Opening(reactor, count, not any(other.is_in_the_way_of(place_of(description)) for other in beside))
    endpoint = server_endpoint(opening, description)
    failed: List[Failure] = []
    maybeDeferred(endpoint.listen, Factory()).addErrback(failed.append)
    if failed and failed[0].check(AttributeError):
        raise StartupError(f"cannot listen on {description}: workers can't share an endpoint of this kind")
    if failed or opening.opened is None:
        reason = failure_reason(failed[0]) if failed else "it takes its time, and workers can't wait for it"
        raise StartupError(f"cannot listen on {description}: {reason}")
    return SharedSocket(description, opening.opened, opening.more, opening.end)


def shared_from(description: str, descriptors: List[int]) -> SharedSocket:
    """What another program has opened for an endpoint, and hands on.

    :param descriptors: this object's. Raises OSError for those of no socket.
    """
    with unblocked():
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    name: Any = sockets[0].getsockname()
    if description.startswith("systemd:"):
        return SharedSocket(description, sockets)
    if sockets[0].family == socket.AF_UNIX:
        path = os.path.abspath(os.fsdecode(name))
        return SharedSocket(description, sockets, end=partial(_remove, path, _file_at(path)))
    for sock in sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return SharedSocket(description, sockets, partial(_listening, name[1], name[0], BACKLOG))


def _remove(path: str, file: Optional[Tuple[int, int, int]]) -> None:
    """Remove what is at a path, unless it is another file than this one by now."""
    if file is not None and _file_at(path) == file:
        os.unlink(path)


def _file_at(path: str) -> Optional[Tuple[int, int, int]]:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


class _Opening:
    """What an endpoint takes for a reactor: it opens sockets, and reads nothing."""

    def __init__(self, reactor: Any, count: int, alone: bool) -> None:
        self._reactor = reactor
        self._alone = alone
        self._count = count
        self.opened: Optional[List[socket.socket]] = None
        self.more: Optional[Callable[[], socket.socket]] = None
        self.end: Callable[[], None] = _nothing

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> None:
        """See IReactorTCP.

        With SO_REUSEPORT each has a queue of its own, but then another program of the same user could listen there too, and
        nobody would be told: so one is opened without it first, which finds out whether the place is free.
        """
        try:
            if self._alone:
                _bound(port, interface, alone=True).close()
            first = _listening(port, interface, backlog)
            self.more = partial(_listening, first.getsockname()[1], interface, backlog)
            self.opened = [first]
            for _ in range(self._count - 1):
                self.opened.append(self.more())
        except OSError as error:
            for sock in self.opened or []:
                sock.close()
            raise CannotListenError(interface, port, error) from error

    def listenUNIX(self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: bool = False) -> None:
        """See IReactorUNIX. Twisted's port is made, with its lock and mode, which nobody reads from."""
        port = unix.Port(os.fsencode(address), factory, backlog, mode, self._reactor, wantPID)
        port.startListening()
        port.stopReading()

        def end() -> None:
            port._shouldShutdown = False  # The workers have copies.
            port.connectionLost(connectionDone)

        self.opened = [_copied(port.fileno())]
        self.end = end

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> None:
        """See IReactorSocket: what systemd has passed."""
        self.opened = [_copied(fileDescriptor)]


def _copied(descriptor: int) -> socket.socket:
    with unblocked():
        return socket.socket(fileno=os.dup(descriptor))


def _nothing() -> None:
    """Nothing belongs to them."""


def _listening(port: int, interface: str, backlog: int) -> socket.socket:
    """One that shares its place. Raises OSError."""
    sock = _bound(port, interface)
    try:
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _bound(port: int, interface: str, alone: bool = False) -> socket.socket:
    """A TCP socket as Twisted's Port would have it, bound; ``alone``: nobody else may be. Raises OSError."""
    family = socket.AF_INET6 if isIPv6Address(interface) else socket.AF_INET
    address = socket.getaddrinfo(interface or None, port, family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)[0][4]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not alone:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _address(sock: socket.socket) -> Address:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return UNIXAddress(os.fsencode(name))
    return (IPv6Address if sock.family == socket.AF_INET6 else IPv4Address)("TCP", *name)
