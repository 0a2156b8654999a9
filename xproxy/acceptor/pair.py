"""The socket pair of a bridged slot: the inner end, which the bridge keeps, and how it ends.

A Bridge (``bridge``) makes a PairEnd with ``make_pair`` and gives the outer end to a slot's protocol. What comes from the outer
end goes to the bridge, what the bridge writes goes there; how each kind of end is passed on: docs/architecture/tls-slots.md.
"""

from __future__ import annotations

import socket
from typing import Any, Callable, Optional

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

DISCARD_BYTES = 64 * 1024
"""What is read at a time of bytes that are dropped."""


class _Adoption(Factory):
    """Gives ``adoptStreamConnection`` the one protocol it is for."""

    noisy = False

    def __init__(self, protocol: IProtocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: Optional[IAddress]) -> IProtocol:  # type: ignore[override]
        """The one protocol."""
        return self._protocol


def make_pair(reactor: Any, inner: PairEnd, outer: Protocol) -> None:
    """Connect two protocols by a socket pair, the inner one first. Each owns its end.

    :param reactor: an IReactorSocket.
    :raises OSError: the process has too many descriptors; none is left open then.
    """
    ends = socket.socketpair()
    try:
        for end in ends:
            end.setblocking(False)
        reactor.adoptStreamConnection(ends[0].fileno(), socket.AF_UNIX, _Adoption(inner))
        try:
            reactor.adoptStreamConnection(ends[1].fileno(), socket.AF_UNIX, _Adoption(outer))
        except OSError:
            inner.reset()
            raise
    finally:
        for end in ends:
            end.close()  # The transports have copies of their own.
    inner.other = outer.transport.getHandle()  # type: ignore[union-attr]


@implementer(IHalfCloseableProtocol, IPushProducer)
class PairEnd(Protocol):
    """The inner end.

    :param received: called with the bytes that come from the outer end.
    :param ended: called once, when nothing more will come from there and ``end`` and ``reset`` were not called.
    :ivar over: this end is closed, or about to be.
    """

    def __init__(self, received: Callable[[bytes], object], ended: Callable[[], object]) -> None:
        self._received = received
        self._ended = ended
        self._told = False
        self._gone = False
        self.other: Optional[socket.socket] = None
        """The socket of the outer end, which belongs to that end's transport."""
        self.over = False

    def connectionMade(self) -> None:
        """Adopted."""
        self.transport: Any = self.transport

    # -- from the outer end

    def dataReceived(self, data: bytes) -> None:
        """Bytes of whoever has the outer end."""
        if not self.over:
            self._received(data)

    def readConnectionLost(self) -> None:
        """The outer end was shut down for writing, or closed."""
        self._tell()

    def writeConnectionLost(self) -> None:
        """Everything is written. Closing with bytes unread would look like a reset, so they are read."""
        end: socket.socket = self.transport.getHandle()
        try:
            end.shutdown(socket.SHUT_RDWR)  # From here on, nothing can be added to them.
            while end.recv(DISCARD_BYTES):
                pass
        except OSError:
            pass  # The outer end is gone: nobody is there to be told anything.
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """This end is closed, or the outer end was while we wrote to it."""
        self._gone = True
        self._tell()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._ended()

    # -- from the bridge

    def write(self, data: bytes) -> None:
        """Send to whoever has the outer end; dropped where nobody is there any more."""
        if not self.over:
            self.transport.write(data)

    def end(self) -> None:
        """End in order: what was written is still read by whoever has the outer end, then the end of file."""
        if self._stop():
            self.transport.loseWriteConnection()

    def reset(self) -> None:
        """End as a broken connection does: whoever has the outer end may still read what came, then gets ECONNRESET.

        The kernel says that when an end is closed with bytes unread. So there must be one, from the outer end, which the
        acceptor has as long as it has the slot.
        """
        if self._stop():
            if self.other is not None:
                try:
                    self.other.send(b"\0", socket.MSG_DONTWAIT)
                except OSError:
                    pass  # Full of bytes that nobody has read, which will do; or closed, and nobody is there to be told.
            self.transport.abortConnection()

    def _stop(self) -> bool:
        """Nothing is passed on from here on; False when nothing was before."""
        if self.over:
            return False
        self.over = self._told = True
        if self._gone:
            return False
        self.transport.unregisterProducer()
        self.transport.pauseProducing()
        return True

    def deserted(self) -> bool:
        """Whether nobody has the outer end any more: then even no byte can be sent."""
        if self.over or self._gone:
            return True
        try:
            self.transport.getHandle().send(b"", socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return False

    # -- as the producer of the bridge's other side

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        if not (self.over or self._told):
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """See IPushProducer. At the end of file there is nothing more to read, and reading would tell of it again."""
        if not (self.over or self._told):
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """See IPushProducer. The other side is gone, which the bridge hears for itself."""
