"""The connection of a leased slot: the adopted transport, read by an inlet, written by an outlet, looked at, ended or let go.

Bytes go from here to the ``LeasedSlot``, whose business they are; what ends the connection is told there.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ...net.descriptors import unread
from ...net.inlet import Inlet
from ...net.outlet import Outlet
from ...net.transports import let_go
from .slot_states import SlotInput

if TYPE_CHECKING:
    from .leased_slot import LeasedSlot

READ_BYTES = 64 * 1024
"""What is read at a time. One such piece may be in memory beyond ``response_memory`` for each slow client."""

UNTAKEN_BYTES = 1024 * 1024
"""What may wait in memory for a slow service: more than is ever given to it at once, so that it takes no file."""


_QUICKACK = getattr(socket, "TCP_QUICKACK", 12)
"""linux/tcp.h; some builds of PyPy do not name it."""


@implementer(IHalfCloseableProtocol)
class SlotConnection(Protocol):
    """The connection of one slot. Owns the adopted transport and our copy of the descriptor.

    :param request_memory: how many bytes of a request may wait in memory for a slow service.
    """

    def __init__(self, slot: LeasedSlot, request_memory: int) -> None:
        self._slot = slot
        self._request_memory = request_memory
        self._open = True

    def connectionMade(self) -> None:
        """Adopted."""
        self.transport: Any = self.transport
        self.inlet = Inlet(self.transport, self._slot.received, READ_BYTES)
        self.outlet = Outlet(self.transport, self._slot, max(self._request_memory, UNTAKEN_BYTES))
        self._slot.adopted(self)

    # -- is anything there?

    def holds_something(self) -> bool:
        """Look (one system call) whether an end, an error or bytes wait to be read."""
        return unread(self.transport.getHandle()) is not None

    def waits(self) -> bytes:
        """The first of what waits to be read, which stays there; empty: nothing, or the end."""
        return unread(self.transport.getHandle()) or b""

    def acknowledge(self) -> None:
        """Acknowledge now what was read.

        A service that writes a little behind a little that was not acknowledged yet has it kept back by its kernel (Nagle's
        algorithm, RFC 9293 section 3.7.4), until we acknowledge: after 40 ms, or with the next request, whose answer it would
        then seem to be. So ask for it where it may be there; on the same host it has come when this returns.
        """
        try:
            self.transport.getHandle().setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        except OSError:
            pass  # No TCP: nothing is kept back.

    # -- from the transport

    def dataReceived(self, data: bytes) -> None:
        """From a transport that reads for itself."""
        self._slot.received(data)

    def readConnectionLost(self) -> None:
        """End of file."""
        self._slot.connection_over(SlotInput.END, clean=True)

    def writeConnectionLost(self) -> None:
        """Our own half-close is done."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, by the service or by us."""
        self._open = False
        self.inlet.close()
        self._slot.connection_over(SlotInput.LOST, clean=bool(reason.check(ConnectionDone)))
        self.outlet.close()

    # -- to the transport

    def pause(self) -> None:
        """Read nothing."""
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        self.transport.resumeProducing()

    def shut(self) -> None:
        """End the connection, for all copies of its descriptor."""
        if self._open:
            try:
                self.transport.getHandle().shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # ENOTCONN: the service was faster.
            self.transport.abortConnection()

    def let_go(self) -> None:
        """Close our descriptor, but not the connection, which the acceptor keeps."""
        let_go(self.transport)
