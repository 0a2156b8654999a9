"""The socket pair of a bridged slot: the inner end, which the bridge keeps, and how it ends.

A Bridge (``bridge``) makes a PairEnd with ``make_pair`` and gives the outer end to a slot's protocol. What comes from the outer
end goes to the bridge, what the bridge writes goes there; how each kind of end is passed on: docs/architecture/tls-slots.md.
"""

from __future__ import annotations

import socket
from typing import Any, Callable, Optional

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IPullProducer, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ...net.descriptors import Adoption
from ...net.transports import has_unwritten

DISCARD_BYTES = 64 * 1024
"""What is read at a time of bytes that are dropped."""


def make_pair(reactor: Any, inner: PairEnd, outer: Protocol) -> None:
    """Connect two protocols by a socket pair, the inner one first. Each owns its end.

    :param reactor: an IReactorSocket.
    :raises OSError: the process has too many descriptors; none is left open then.
    """
    ends = socket.socketpair()
    try:
        for end in ends:
            end.setblocking(False)
        reactor.adoptStreamConnection(ends[0].fileno(), socket.AF_UNIX, Adoption(inner))
        try:
            reactor.adoptStreamConnection(ends[1].fileno(), socket.AF_UNIX, Adoption(outer))
        except OSError:
            inner.reset()
            raise
    finally:
        for end in ends:
            end.close()  # The transports have copies of their own.
    inner.other = outer.transport.getHandle()  # type: ignore[union-attr]


@implementer(IPullProducer)
class _Flush:
    """Tells when a transport has written everything: a pull producer is asked for more then, and once when it is registered."""

    def __init__(self, transport: Any, written: Callable[[], object]) -> None:
        self._transport = transport
        self._written = written

    def resumeProducing(self) -> None:
        """See IPullProducer."""
        if not has_unwritten(self._transport):
            self._transport.unregisterProducer()
            self._written()

    def stopProducing(self) -> None:
        """See IProducer. The transport's protocol is told too."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class PairEnd(Protocol):
    """The inner end.

    :param clock: an IReactorTime.
    :param linger_s: how long bytes that nobody wants are read after ``end``, in seconds.
    :param received: called with the bytes that come from the outer end.
    :param ended: called once, when nothing more will come from there and ``end`` and ``reset`` were not called.
    :param closed: called once, when this end is closed.
    :ivar other: the socket of the outer end, which belongs to that end's transport.
    :ivar over: ``end`` or ``reset`` was called.
    :ivar gone: this end is closed.
    """

    def __init__(
        self,
        clock: Any,
        linger_s: float,
        received: Callable[[bytes], object],
        ended: Callable[[], object],
        closed: Callable[[], object],
    ) -> None:
        self.other: Optional[socket.socket] = None
        self.over = False
        self.gone = False
        self._clock = clock
        self._linger_s = linger_s
        self._received = received
        self._ended = ended
        self._closed = closed
        self._end_of_file = False
        self._cut_off = False
        self._timer: Optional[IDelayedCall] = None

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
        self._end_of_file = True
        if not self.over:
            self._ended()
        elif self._timer is not None:
            self._close()

    def writeConnectionLost(self) -> None:
        """Twisted never closes our side alone; we do that ourselves."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """This end is closed, or the outer end was while we wrote to it."""
        self.gone = True
        self._stop_timer()
        if not (self.over or self._end_of_file):
            self._ended()
        self._closed()

    # -- from the bridge

    def write(self, data: bytes) -> None:
        """Send to whoever has the outer end, at once where nothing waits; dropped where nobody is there any more."""
        if self.over or self.gone:
            return
        if not has_unwritten(self.transport):
            try:
                data = data[self.transport.getHandle().send(data) :]
            except OSError:
                pass  # Full; or closed, which the transport finds out when it tries again.
        if data:
            self.transport.write(data)

    def end(self) -> None:
        """End in order: whoever has the outer end still reads what was written, then the end of file.

        What they write is read for a while yet and dropped: an error at once would keep them from reading our last words
        (RFC 9112 section 9.6).
        """
        if self._flush():
            self.transport.resumeProducing()

    def reset(self) -> None:
        """End as a broken connection does: whoever has the outer end still reads what was written, then gets ECONNRESET.

        The kernel says that when an end is closed with bytes unread. So there must be one, from the outer end, which the
        acceptor has as long as it has the slot.
        """
        self._cut_off = True
        if self._flush():
            self.transport.pauseProducing()

    def abort(self) -> None:
        """Close this end, whatever waits to be written."""
        self.over = True
        if not self.gone:
            self.transport.abortConnection()

    def _flush(self) -> bool:
        """Nothing more is passed on, and what was is written. False when there is nothing to do any more."""
        if self.over or self.gone:
            return False
        self.over = True
        self.transport.unregisterProducer()
        self.transport.registerProducer(_Flush(self.transport, self._written), False)
        return not self.gone

    def _written(self) -> None:
        if self._cut_off:
            self._close_unread()
        elif self._end_of_file:
            self._close()
        else:
            try:
                self.transport.getHandle().shutdown(socket.SHUT_WR)
            except OSError:
                pass  # The outer end is closed, which is read next.
            self._timer = self._clock.callLater(self._linger_s, self._close)

    def _close_unread(self) -> None:
        if self.other is not None:
            try:
                self.other.send(b"\0", socket.MSG_DONTWAIT)
            except OSError:
                pass  # Full of bytes that nobody has read, which will do; or closed, and nobody is there to be told.
        self.transport.abortConnection()

    def _close(self) -> None:
        """Close with nothing unread, which would look like a reset."""
        self._stop_timer()
        end: socket.socket = self.transport.getHandle()
        try:
            end.shutdown(socket.SHUT_RDWR)  # From here on no byte can come.
            while end.recv(DISCARD_BYTES):
                pass
        except OSError:
            pass  # The outer end is closed: nobody is there to be told anything.
        self.transport.loseConnection()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def deserted(self) -> bool:
        """Whether nobody has the outer end any more: then even no byte can be sent."""
        if self.over or self.gone:
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
        if not (self.over or self._end_of_file):
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """See IPushProducer. At the end of file there is nothing more to read, and reading would tell of it again."""
        if not (self.over or self._end_of_file):
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """See IPushProducer. The other side is gone, which the bridge hears for itself."""
