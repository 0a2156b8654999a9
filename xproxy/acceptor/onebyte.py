"""The paper's protocol on the handoff socket: one byte asks for a slot, one byte with one descriptor is the answer.

That client (a patched nginx) gives nothing back and blocks its whole worker while it waits. So it gets one end of a socket pair
(``acceptor.loan``), whose closing is the give-back; and where no slot is there soon, its connection is closed. See
docs/architecture/handoff.md, "The paper's protocol".
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Optional

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from ..handoff.outbox import Outbox
from ..net.descriptors import descriptors_of
from .acceptor import UnknownPool
from .lending import Lending

WANTED = 0x80
"""What the client sends for each slot."""

HANDED = b"*"
"""What comes with each descriptor."""

MAX_PIPELINED = 64
"""Requests that may wait behind the first; the paper's client has one."""

RESTING_S = 300.0
"""How long a client may ask for nothing. The paper's client connects anew when it has a request."""


class OneByteClient(Protocol):
    """One such client. Its requests are answered one at a time, in order.

    :param pool: says the pool that it is for.
    :param wait_s: says how long one of its requests waits for a slot, in seconds, before the connection is closed.
    :param refused: told why, when the connection is cut for what the client did.
    """

    def __init__(
        self,
        lending: Lending,
        pool: Callable[[], str],
        wait_s: Callable[[], float],
        clock: Any,
        refused: Callable[[str], object],
    ) -> None:
        self.resting_since: Optional[float] = None
        """Since when it waits for nothing; None while it does."""
        self._lending = lending
        self._pool = pool
        self._wait_s = wait_s
        self._clock = clock
        self._refused = refused
        self._wanted = 0
        self._waiting = False
        self._timeout: Optional[IDelayedCall] = None
        self._asking = False
        self._outbox: Optional[Outbox] = None

    def connectionMade(self) -> None:
        """Connected."""
        self._lending.clients += 1
        overflowed = partial(self._drop, "it does not read what it is sent")
        self._outbox = Outbox(self.transport, overflowed, descriptors_of(self._clock))

    def dataReceived(self, data: bytes) -> None:
        """A byte for each slot that is wanted."""
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
            return  # slot_lent was called by borrow, below; the loop goes on there.
        self._asking = True
        try:
            while self._wanted and not self._waiting and self._outbox is not None:
                self._waiting = True
                self._lending.borrow(self._pool(), self)
        except UnknownPool:
            self.slot_unavailable()
        finally:
            self._asking = False
        if self._waiting and self._timeout is None:
            self._timeout = self._clock.callLater(self._wait_s(), self._waited_too_long)
        self.resting_since = None if self._waiting else self._clock.seconds()

    def slot_lent(self, descriptor: int) -> None:
        """See Borrower."""
        self._waiting = False
        self._stop_timeout()
        self._wanted -= 1
        assert self._outbox is not None
        self._outbox.send(HANDED, descriptor)
        self._ask_on()

    def slot_unavailable(self) -> None:
        """See Borrower."""
        self._waiting = False
        self._close()

    def _waited_too_long(self) -> None:
        self._timeout = None
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
        self._wanted = 0
        if self._waiting:
            self._waiting = False
            self._lending.borrow_no_more(self)

    def _stop_timeout(self) -> None:
        timeout, self._timeout = self._timeout, None
        if timeout is not None:
            timeout.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone; what it was lent is its own until it closes it."""
        self._over()
        if self._outbox is not None:
            self._lending.clients -= 1
            self._outbox.close()
            self._outbox = None
