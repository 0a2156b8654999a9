"""TLS over a TCP transport: Twisted's TLSMemoryBIOProtocol, which sends at once and says truly when everything is sent.

Twisted's own class gives each piece of ciphertext to ``transport.write``, which sends it in the next turn of the reactor, and
asks a pull producer for more while up to 64 kB still wait in the TCP transport. Here ciphertext is sent at once while nothing
waits below, and a pull producer is that of the TCP transport itself: asked when the last byte is gone, as without TLS. That is
safe because nothing is written before the handshake is over, after which TLS never has to read before it can write
(renegotiation is switched off, and a key update waits for nobody).
"""

from __future__ import annotations

from typing import Any, Optional

from OpenSSL import SSL
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.tcp import Connection
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from .outlet import Outlet

CIPHERTEXT_BYTES = 32 * 1024
"""How much is taken from OpenSSL at a time: one record has at most 16 kB and a little."""


@implementer(ISSLTransport)
class SecureTransport(TLSMemoryBIOProtocol):
    """The TLS of one connection: the protocol of a TCP transport, and the transport of another protocol.

    :ivar first_context: the context that the connection began with, kept for as long as OpenSSL may call it back.
    """

    first_context: Optional[SSL.Context] = None
    transport: Any
    _tcp: Optional[Connection] = None
    _pulled = False

    def makeConnection(self, transport: Any) -> None:
        """See IProtocol."""
        if isinstance(transport, Connection):
            self._tcp = transport
        super().makeConnection(transport)

    # -- writing

    def write_now(self, data: bytes) -> bool:
        """Encrypt and send; False when some of it waits below: a pull producer is asked when it is gone."""
        self.write(data)
        tcp = self._tcp
        return tcp is not None and not (tcp.dataBuffer or tcp._tempDataBuffer)

    def _flushSendBIO(self) -> None:
        """Send what OpenSSL has to say."""
        while True:
            try:
                data = self._tlsConnection.bio_read(CIPHERTEXT_BYTES)
            except SSL.WantReadError:
                return
            self._send(data)
            if len(data) < CIPHERTEXT_BYTES:
                return

    def _send(self, data: bytes) -> None:
        tcp = self._tcp
        # A pull producer is asked for more only after something was queued.
        if tcp is None or self._pulled or tcp.dataBuffer or tcp._tempDataBuffer or not tcp.connected:
            self.transport.write(data)
            return
        try:
            sent = tcp.getHandle().send(data)
        except OSError:  # Full; or broken, which the transport finds out when it tries again, and reports.
            sent = 0
        if sent < len(data):
            tcp.write(data[sent:] if sent else data)

    # -- producers

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See IConsumer."""
        if streaming or self._lostTLSConnection:
            super().registerProducer(producer, streaming)
            return
        self._producer = producer
        self._pulled = True
        self.transport.registerProducer(producer, False)

    def unregisterProducer(self) -> None:
        """See IConsumer."""
        if not self._pulled:
            super().unregisterProducer()
            return
        self._pulled = False
        self._producer = None
        self.transport.unregisterProducer()
        if self.disconnecting:
            self._shutdownTLS()


class SecureOutlet(Outlet):
    """The outlet of a SecureTransport: what is given to it is encrypted at once, and waits below as ciphertext."""

    __slots__ = ()

    def send(self, data: bytes) -> None:
        """See Outlet."""
        if self.draining:
            self._backlog.put(data)
        elif not self._transport.write_now(data):
            self._wait(b"")
