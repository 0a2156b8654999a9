"""A slot at the acceptor, from its registration to its end.

The acceptor keeps the transport on which the service dialled in, and lends copies of its socket. For a slot that came over TLS
that is the outer end of its bridge's socket pair (see ``tls_slots``): nothing here knows of the difference.
"""

from __future__ import annotations

import os
import socket
from enum import Enum
from typing import TYPE_CHECKING, Any, Optional

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from ..net.descriptors import unread

if TYPE_CHECKING:
    from .holding import Holding


class SlotState(Enum):
    """Where a slot is. The book of its pool knows the same; this one is for the shell, which has to touch the socket."""

    IDLE = "idle"
    LEASED = "leased"
    SHARED = "shared"
    CLOSED = "closed"


_DONE = Failure(ConnectionDone("the slot is over"))


class ParkedSlot:
    """One registered slot.

    It owns the transport. ``watch`` and ``rest`` switch the reading on and off: the acceptor reads only from an idle slot.

    :param number: the slot's name in the books, never used twice.
    :param pool: the name of its pool.
    :param service: who registered it, for status and logs.
    :param transport: the Twisted transport it came on.
    :param lent: the socket whose copies go to the proxies.
    """

    __slots__ = ("number", "pool", "service", "state", "holding", "lease", "_transport", "_lent")

    def __init__(self, number: int, pool: str, service: str, transport: Any, lent: socket.socket) -> None:
        self.number = number
        self.pool = pool
        self.service = service
        self.state = SlotState.IDLE
        self.holding: Optional[Holding] = None
        """Who leases it, while it is leased."""
        self.lease = -1
        """The number of that lease."""
        self._transport = transport
        self._lent = lent

    def watch(self) -> None:
        """Read: end of file and bytes are noticed, those that wait already too.

        Whether reading blocks is a property of the open socket, not of a descriptor: whoever had a copy may have changed it
        (Python itself does on PyPy, when it makes a socket of a descriptor).
        """
        self._lent.setblocking(False)
        self._transport.resumeProducing()

    def rest(self) -> None:
        """Read nothing: what comes is meant for whoever has the slot."""
        self._transport.pauseProducing()

    def copy(self) -> int:
        """A new descriptor of the lent socket, which is the caller's. Raises OSError when the process has too many."""
        return self._lent.dup().detach()

    def spoke(self) -> bool:
        """Whether anything waits to be read, the end of file included: nothing may, on a slot that is clean."""
        return unread(self._lent) is not None

    def ended(self) -> bool:
        """Whether the connection is over. Bytes may wait: on a shared slot they are an answer that somebody will read."""
        return unread(self._lent) == b""

    def close(self) -> None:
        """Shut the connection down, which every copy of the descriptor sees, and close ours.

        Not by ``loseConnection``: that waits until the socket is writable, which it never is again when the proxy has filled it
        and the service reads no more. There is nothing of ours to flush.
        """
        if self.state is not SlotState.CLOSED:
            self.state = SlotState.CLOSED
            self._transport.connectionLost(_DONE)

    def let_go(self) -> None:
        """Close our copy only: whoever has another one goes on using the connection."""
        if self.state is not SlotState.CLOSED:
            self.state = SlotState.CLOSED
            self._transport.pauseProducing()
            # The transport shuts its socket down when it is lost; so it is left with a socket object that has none.
            os.close(self._lent.detach())
            self._transport.connectionLost(_DONE)
