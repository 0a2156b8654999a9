"""TLS of a slot over a TCP transport: Twisted's TLSMemoryBIOProtocol, which sends at once and reads with fewer exceptions.

Twisted's own class gives each piece of ciphertext to ``transport.write``, which sends it in the next turn of the reactor. Here
ciphertext is sent at once while nothing waits below. That is safe because nothing is written before the handshake is over,
after which TLS never has to read before it can write (renegotiation is switched off, and a key update waits for nobody).

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

from ..net.inlet import Inlet

CIPHERTEXT_BYTES = 32 * 1024
"""How much is taken from OpenSSL at a time: one record has at most 16 kB and a little."""

RECORD_BYTES = 16 * 1024
"""The plaintext of one record at most (RFC 8446 section 5.1)."""

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
        if tcp is None or tcp.dataBuffer or tcp._tempDataBuffer or not tcp.connected:
            self.transport.write(data)
            return
        try:
            sent = tcp.getHandle().send(data)
        except OSError:  # Full; or broken, which the transport finds out when it tries again, and reports.
            sent = 0
        if sent < len(data):
            tcp.write(data[sent:] if sent else data)
