"""Listening on a socket that another process has opened and keeps.

Twisted can adopt one too, but takes it for its own: at the end it removes the file of a UNIX socket, and at the beginning it
sets the file's mode and the length of the queue anew.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import Any, Iterator

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer


@contextmanager
def unblocked() -> Iterator[None]:
    """Sockets that are made of descriptors in here are not made blocking meanwhile, as PyPy does.

    The mode belongs to the open socket, and so to all processes: one of them would stand still in accept(2).
    """
    usual = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.0)
    try:
        yield
    finally:
        socket.setdefaulttimeout(usual)


@implementer(IStreamServerEndpoint)
class AdoptedEndpoint:
    """Listens once.

    :param descriptor: of a stream socket that listens already, and does not block; owned by this object.
    """

    def __init__(self, reactor: Any, descriptor: int) -> None:
        self._reactor = reactor
        with unblocked():
            self._socket = socket.socket(fileno=descriptor)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See IStreamServerEndpoint."""
        sock = self._socket
        try:
            with unblocked():
                if sock.family == socket.AF_UNIX:
                    port: Any = _AdoptedUNIXPort(os.fsencode(sock.getsockname()), protocolFactory, reactor=self._reactor)
                    port.listen_on(sock.dup())
                else:
                    port = self._reactor.adoptStreamPort(sock.fileno(), sock.family, protocolFactory)
        except OSError:
            return fail()
        finally:
            sock.close()
        return succeed(port)

    def close(self) -> None:
        """Nobody will listen."""
        self._socket.close()


class _AdoptedUNIXPort(unix.Port):
    """A port whose file is another process'."""

    def listen_on(self, sock: Any) -> None:
        """In place of ``startListening``."""
        factory: Any = self.factory
        factory.doStart()
        self._shouldShutdown = False
        self.connected = True
        self.socket = sock
        vars(self)["fileno"] = sock.fileno
        self.startReading()

    def connectionLost(self, reason: Failure) -> None:
        """Closed: not as ``unix.Port`` does it, which removes the file."""
        tcp.Port.connectionLost(self, reason)
