"""One slot at the service: a connection that we dialled, handed to a server protocol as if it had been accepted.

The protocol is given this object as its transport. What it calls goes to the real transport unchanged (producers, half-close,
abort, addresses); what it writes and what it is given to read is shown to the tracker on the way.

A slot is closed politely: ``CLOSING_RESPONSE`` is written, our side of the connection is shut, what arrives from then on is
ignored, and when the other end has closed, or after ``LINGER_S``, so do we. A request that crossed the response on its way was
certainly not served, and the proxy tries it elsewhere. Closing at once would not do: where bytes are unread, close() sends a
reset, which overtakes the response (RFC 9112 section 9.6).
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Iterable, Optional

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocol,
    IPushProducer,
    ISSLTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, alsoProvides, directlyProvides

from xproxy.net.keepalive import watch_peer
from xproxy.net.plain import closes_by_halves, write_at_once
from xproxy.service.handshake import Handshake, why_lost
from xproxy.service.linger import Linger
from xproxy.slots.serving.goodbye import CLOSING_RESPONSE
from xproxy.slots.serving.service_end import ServiceEnd
from xproxy.slots.serving.unasked import SlotRefused

if TYPE_CHECKING:
    from xproxy.service.port import ServedSlotFactory


class ITracksExchanges(Interface):
    """A protocol that follows the exchanges of its slot itself, and so spares the slot from doing it a second time."""

    tracker = Attribute("An ExchangeTracker.")


class ServedSlot(ProtocolWrapper):
    """The wrapper between the real transport and the protocol that serves.

    :param needs_ports: the protocol has to be shown addresses with a host and a port, as WSGI wants them (PEP 3333: SERVER_PORT
        must be there). A UNIX socket has neither; its two ends are on this host.
    :ivar end: what runs on this slot, and whether it may be closed.
    :ivar draining: it is to be closed as soon as nothing runs on it.
    :ivar parked_at: when the connection was made, over TLS when its handshake was done, by the reactor's clock; None before.
    """

    wrappedProtocol: Any
    """None once the protocol has been told that the connection is lost."""

    _log = Logger()

    def __init__(self, factory: ServedSlotFactory, wrapped: IProtocol, needs_ports: bool = False) -> None:
        super().__init__(factory, wrapped)  # type: ignore[arg-type]  # WrappingFactory is generic in newer Twisted only.
        self.end = ServiceEnd(wrapped.tracker if ITracksExchanges.providedBy(wrapped) else None)
        self.parked_at: Optional[float] = None
        self._port = factory.port
        self._needs_ports = needs_ports
        self.draining = False
        self._producing = False
        self._heard = False
        self._early_producer: Any = None
        self._linger: Optional[Linger] = None
        self._handshake: Optional[Handshake] = None
        self._secure = False
        # Whoever connects us asks once, here, whether we want to hear of half-closed connections.
        if IHalfCloseableProtocol.providedBy(wrapped):
            directlyProvides(self, IHalfCloseableProtocol)

    # -- the connection

    def makeConnection(self, transport: Any) -> None:
        """Connected: say who we are, then let the protocol have it."""
        self.transport: Any = transport
        self._secure = ISSLTransport.providedBy(transport)
        if getattr(transport, "wrappedProtocol", None) is self and self._secure:
            # Twisted's TLS tells us when the handshake is done. Where others stand between, as for "ssl:", nobody does.
            self._handshake = Handshake(self._port.reactor, transport.abortConnection)
        else:
            self.parked_at = self._port.reactor.seconds()
        self._port.slot_parked(self)
        try:
            connection = getattr(transport, "socket", None)
            if isinstance(connection, socket.socket):
                watch_peer(connection)
            introduction = self._port.introduction(transport)
            if introduction:
                write_at_once(transport, introduction)  # In this very moment: whoever is silent at first may be taken for raw.
            super().makeConnection(transport)
            if IHalfCloseableProtocol.providedBy(self.wrappedProtocol):
                alsoProvides(self, IHalfCloseableProtocol)
            if self._handshake is not None:
                # Not before: Twisted's endpoints take over one interface of a protocol, and it has to be the other one.
                alsoProvides(self, IHandshakeListener)
        except Exception:  # noqa: BLE001 - logged; whatever a foreign protocol raises, the slot is closed and dialled again.
            self._log.failure("a slot could not be set up")
            transport.abortConnection()
        self._port.slot_made()

    def handshakeCompleted(self) -> None:
        """See IHandshakeListener. Twisted calls it before it ends a connection whose certificate is for another name."""
        assert self._handshake is not None
        self.parked_at = self._port.reactor.seconds()
        self._handshake.over()
        if IHandshakeListener.providedBy(self.wrappedProtocol):
            self.wrappedProtocol.handshakeCompleted()

    def when_ready(self) -> Any:
        """None; while a handshake goes on a Deferred that fires when that is done, or the connection lost."""
        return None if self._handshake is None or self.parked_at is not None else self._handshake.wait()

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the proxy."""
        data = self.end.received(data)
        if not data:
            if self.end.refused and not self.end.closing:
                self._close(b"")  # The acceptor will not have this slot, or is none.
            return
        if not self._heard:
            self._heard = True
            if self._early_producer is not None:
                self.registerProducer(self._early_producer, True)
        self.wrappedProtocol.dataReceived(data)
        if self.draining:
            self._close_soon()

    def readConnectionLost(self) -> None:
        """The other end closed its side; only heard where the protocol wants to hear it."""
        if self.end.closing:
            self.transport.loseConnection()
        else:
            IHalfCloseableProtocol(self.wrappedProtocol).readConnectionLost()

    def writeConnectionLost(self) -> None:
        """Our side is closed."""
        if not self.end.closing:
            IHalfCloseableProtocol(self.wrappedProtocol).writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self.end.closing = True
        if self._linger is not None:
            self._linger.stop()
        try:
            self._take_protocol_off(reason)
        finally:
            if self.end.refused:
                reason = Failure(SlotRefused(self.end.refusal))
            elif self._secure:
                late = self._handshake is not None and self._handshake.late
                reason = why_lost(reason, self.parked_at is not None, late)
            self._port.slot_lost(self, reason)
            if self._handshake is not None:
                self._handshake.over()

    def _take_protocol_off(self, reason: Failure) -> None:
        wrapped, self.wrappedProtocol = self.wrappedProtocol, None
        if wrapped is not None:
            wrapped.connectionLost(reason)

    # -- what the protocol does with its transport

    def getHost(self) -> IAddress:
        """See ITransport."""
        return _shown(self.transport.getHost(), self._needs_ports)

    def getPeer(self) -> IAddress:
        """See ITransport: the acceptor."""
        return _shown(self.transport.getPeer(), self._needs_ports)

    def write(self, data: bytes) -> None:
        """See ITransport. Dropped when the slot is closing."""
        if self.end.sent(data):
            self.transport.write(data)
            if self.draining:
                self._close_soon()

    def write_at_once(self, data: bytes) -> None:
        """As ``write``, without waiting for the next turn of the reactor."""
        if self.end.sent(data):
            write_at_once(self.transport, data)
            if self.draining:
                self._close_soon()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See ITransport."""
        self.write(b"".join(data))

    def loseWriteConnection(self) -> None:
        """See IHalfCloseableDescriptor. TLS has no half-closed connections here: it is closed as a whole."""
        if closes_by_halves(self.transport):
            self.transport.loseWriteConnection()
        else:
            self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See IConsumer."""
        if self.end.closing:
            producer.stopProducing()
        elif streaming and not self._heard and self._secure:
            # Our registration waits for the end of the handshake, and TLS would tell the producer to pause for that.
            # twisted.web then stops reading too, and the handshake would wait for its bytes for ever.
            self._early_producer = producer
        else:
            self._producing = True
            self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """See IConsumer."""
        self._early_producer = None
        if self._producing:
            self._producing = False
            self.transport.unregisterProducer()

    def loseConnection(self) -> None:
        """See ITransport. A slot that is closing ends by itself."""
        if not self.end.closing:
            super().loseConnection()

    # -- closing politely

    def drain(self) -> None:
        """Close when no request is running: now, or when the one that runs is answered."""
        self.draining = True
        self._close_if_quiet()

    def keep(self) -> None:
        """Go on after the request that runs: it is not to be closed after all. Of no meaning once it is closing."""
        self.draining = False

    def refuse(self) -> None:
        """The request that runs was not read by the service and will not be: say so, and close.

        For protocols that stand in front of a service, before they have written a byte of a response.
        """
        if not self.end.closing:
            self._close(CLOSING_RESPONSE)

    def finish(self) -> None:
        """Close when what was written has left.

        What still arrives is read and thrown away: unread, it would make the close a reset, which overtakes what was written.
        """
        if not self.end.closing:
            self._close(b"")

    def _close_soon(self) -> None:
        # The protocol that has just written the end of its response first finishes what it does, in this turn of the reactor.
        # What it wrote leaves after that, so no further request can have come when we look again.
        if self.end.last_words() is not None:
            self._port.reactor.callLater(0, self._close_if_quiet)

    def _close_if_quiet(self) -> None:
        last_words = self.end.last_words()
        if last_words is not None and self.draining and not self.disconnecting:
            self._close(last_words)

    def _close(self, last_words: bytes) -> None:
        self.end.closing = True
        transport = self.transport
        if self._producing:
            transport.unregisterProducer()
        if IPushProducer.providedBy(transport):
            transport.resumeProducing()  # To see the other end close, whatever the protocol thought of reading.
        if last_words:
            transport.write(last_words)
        if closes_by_halves(self.transport):
            transport.loseWriteConnection()
        self._linger = Linger(self._port.reactor, transport)
        self._take_protocol_off(Failure(ConnectionDone("the slot was closed by its endpoint")))


def _shown(address: IAddress, needs_ports: bool) -> IAddress:
    return IPv4Address("TCP", "127.0.0.1", 0) if needs_ports and isinstance(address, UNIXAddress) else address
