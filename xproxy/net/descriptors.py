"""Descriptors that come from elsewhere: looked at, and made connections of this process."""

from __future__ import annotations

import os
import socket
from typing import Any, Optional

from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import Factory

_LOOK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)


def unread(connection: socket.socket, most: int = 1) -> Optional[bytes]:
    """The first bytes that wait to be read, left there: empty at the end of file or after an error, None when nothing waits."""
    try:
        return connection.recv(most, _LOOK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


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
    try:
        probe = socket.socket(fileno=descriptor)  # Asks the kernel for the family.
        try:
            family = probe.family
            # A connection that is reset by now has no peer. Twisted finds that out after it has made a copy of the descriptor,
            # which it then leaves to the garbage collector.
            probe.getpeername()
        finally:
            probe.detach()
        os.set_blocking(descriptor, False)
        reactor.adoptStreamConnection(descriptor, family, Adoption(protocol))
    finally:
        os.close(descriptor)
