"""TLS over a TCP transport: Twisted's TLSMemoryBIOProtocol, which sends at once and says truly when everything is sent.

Twisted's own class gives each piece of ciphertext to ``transport.write``, which sends it in the next turn of the reactor, and
asks a pull producer for more while up to 64 kB still wait in the TCP transport. Here ciphertext is sent at once while nothing
waits below, and a pull producer is that of the TCP transport itself: asked when the last byte is gone, as without TLS. That is
safe because nothing is written before the handshake is over, after which TLS never has to read before it can write
(renegotiation is switched off, and a key update waits for nobody).

Reading, Twisted's class asks OpenSSL until it says that there is nothing more, and then whether it wants to send something: two
exceptions for each piece that came. Here the headers of the records say whether there is more.
"""

from __future__ import annotations

from typing import Any, Optional

from OpenSSL import SSL
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.tcp import Connection
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from .inlet import Inlet
from .outlet import Outlet

CIPHERTEXT_BYTES = 32 * 1024
"""How much is taken from OpenSSL at a time: one record has at most 16 kB and a little."""

RECORD_BYTES = 16 * 1024
"""The plaintext of one record at most (RFC 8446 section 5.1)."""

RECORD_OVERHEAD_BYTES = 64
"""More than any suite of ours adds to a record: a header of 5 bytes, an explicit nonce of 8, a tag of 16, a type."""

READ_BYTES = 32 * 1024
"""What is read at a time of the ciphertext."""


class Records:
    """Where the records of a stream of ciphertext begin and end (RFC 8446 section 5.1: type, version, length)."""

    __slots__ = ("_header", "_left")

    def __init__(self) -> None:
        self._header = b""
        """What has come of a header that is not complete."""
        self._left = 0
        """How much is to come of the record."""

    def is_one(self, data: bytes) -> bool:
        """Whether ``data``, which comes next, is exactly one record. Such data need not be followed."""
        return not self._left and not self._header and len(data) > 5 and int.from_bytes(data[3:5], "big") + 5 == len(data)

    def follow(self, data: bytes) -> None:
        """``data`` came."""
        position = min(self._left, len(data))
        self._left -= position
        while position < len(data):
            missing = 5 - len(self._header)
            self._header += data[position : position + missing]
            if len(self._header) < 5:
                return
            end = position + missing + int.from_bytes(self._header[3:5], "big")
            position, self._left, self._header = min(end, len(data)), max(0, end - len(data)), b""


@implementer(ISSLTransport)
class SecureTransport(TLSMemoryBIOProtocol):
    """The TLS of one connection: the protocol of a TCP transport, and the transport of another protocol.

    :ivar first_context: the context that the connection began with, kept for as long as OpenSSL may call it back.
    """

    first_context: Optional[SSL.Context] = None
    transport: Any
    _tcp: Optional[Connection] = None
    _pulled = False
    _inlet: Optional[Inlet] = None

    def makeConnection(self, transport: Any) -> None:
        """See IProtocol."""
        if isinstance(transport, Connection):
            self._tcp = transport
            self._inlet = Inlet(transport, self._received, READ_BYTES)
        self._records = Records()
        super().makeConnection(transport)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """See IProtocol."""
        if self._inlet is not None:
            self._inlet.close()
        super().connectionLost(reason)

    # -- reading

    def _received(self, data: bytes) -> None:
        self.dataReceived(data)

    def dataReceived(self, data: bytes) -> None:
        """Ciphertext. The common piece is one record, of one request."""
        if not self._records.is_one(data) or not self._handshakeDone or self._appSendBuffer or self._lostTLSConnection:
            self._records.follow(data)
            super().dataReceived(data)
            return
        connection = self._tlsConnection
        connection.bio_write(data)
        try:
            plaintext = connection.recv(RECORD_BYTES)
        except SSL.Error:  # The end, an alert, a key update or a ticket: all that Twisted's way is for.
            self._flushReceiveBIO()
            return
        if not self._aborted:
            self.wrappedProtocol.dataReceived(plaintext)

    # -- writing

    def write_now(self, data: bytes) -> bool:
        """Encrypt and send; False when some of it waits below: a pull producer is asked when it is gone."""
        if len(data) > RECORD_BYTES or self._appSendBuffer or self.disconnecting or self._lostTLSConnection:
            self.write(data)
        elif data:
            self._write_record(data)
        tcp = self._tcp
        return tcp is not None and not (tcp.dataBuffer or tcp._tempDataBuffer)

    def _write_record(self, data: bytes) -> None:
        """The common write: what fits into one record."""
        connection, size = self._tlsConnection, len(data) + RECORD_OVERHEAD_BYTES
        try:
            connection.send(data)
            ciphertext = connection.bio_read(size)
        except SSL.Error:
            self._tlsShutdownFinished(Failure())
            return
        self._send(ciphertext)
        if len(ciphertext) == size:
            self._flushSendBIO()

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
