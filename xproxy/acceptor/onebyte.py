"""The paper's protocol on the handoff socket: one byte asks for a slot, one byte with one descriptor is the answer.

That client (a patched nginx) gives nothing back and blocks its whole worker while it waits. A slot it was given is shared: it
has left the ring, and may be handed to others of its kind. See docs/architecture/slots.md.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from ..handoff.outbox import Outbox
from .acceptor import Acceptor

WANTED = 0x80
"""What the client sends for each slot."""

HANDED = b"*"
"""What comes with each descriptor."""

MAX_PIPELINED = 64
"""Requests that may wait behind the first; the paper's client has one. As ``ASK_WINDOW``."""


class OneByteClient(Protocol):
    """One such client. Its requests are answered one at a time, in order.

    :param wait_s: how long one of them waits for a slot, in seconds, before the connection is closed: the pool's queue timeout.
    :param refused: told why, when the connection is cut for what the client did.
    """

    def __init__(self, acceptor: Acceptor, pool: str, wait_s: float, clock: Any, refused: Callable[[str], object]) -> None:
        self._acceptor = acceptor
        self._pool = pool
        self._wait_s = wait_s
        self._clock = clock
        self._refused = refused
        self._wanted = 0
        self._timeout: Optional[IDelayedCall] = None
        self._asking = False
        self._outbox: Optional[Outbox] = None

    def connectionMade(self) -> None:
        """Connected."""
        self._outbox = Outbox(self.transport, lambda: self._drop("it does not read what it is sent"))

    def dataReceived(self, data: bytes) -> None:
        """Requests."""
        if self._outbox is None:
            return
        if data.strip(bytes((WANTED,))):
            self._drop("it sent other bytes than 0x80")
            return
        self._wanted += len(data)
        if self._wanted > MAX_PIPELINED:
            self._drop("it asks for too many slots at once")
            return
        self._ask_on()

    def _ask_on(self) -> None:
        """Ask for slots as long as they come at once."""
        if self._asking:
            return  # slot_shared was called by share, below; the loop goes on there.
        self._asking = True
        try:
            while self._wanted and self._timeout is None and self._outbox is not None:
                self._timeout = self._clock.callLater(self._wait_s, self._waited_too_long)
                self._acceptor.share(self._pool, self)
        finally:
            self._asking = False

    def slot_shared(self, descriptor: int) -> None:
        """See Sharer."""
        self._stop_timeout()
        self._wanted -= 1
        assert self._outbox is not None
        self._outbox.send(HANDED, descriptor)
        self._ask_on()

    def slot_unavailable(self) -> None:
        """See Sharer."""
        self._close()

    def _waited_too_long(self) -> None:
        self._timeout = None
        self._acceptor.unshare(self)
        self._close()

    def _drop(self, reason: str) -> None:
        self._refused(reason)
        self._close()

    def _close(self) -> None:
        transport: Any = self.transport
        self._over()
        transport.abortConnection()

    def _over(self) -> None:
        self._stop_timeout()
        self._acceptor.unshare(self)
        self._wanted = 0

    def _stop_timeout(self) -> None:
        timeout, self._timeout = self._timeout, None
        if timeout is not None:
            timeout.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone; what it was given stays shared."""
        self._over()
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None
