"""Where HTTPS clients arrive: the handshake, then one of two protocols over it.

States of a connection, and who has it::

    handshake ──done, ALPN h2──▶ http2.HTTP2Connection
        │  └────done, else──▶ front.ClientConnection
        │ failed, deadline, plain HTTP
        ▼
      closed: counted by reason, told in the log now and then

A connection counts against ``limits.connections`` from its first moment. What the client asks for by SNI and ALPN is
``certificate_store``'s business; what is in its certificate goes to the service in one field (see ``subject_of``).
"""

from __future__ import annotations

from typing import Any, Optional

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IHandshakeListener, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from ..acceptor.refusals import RefusalLog
from .certificate_store import CertificateStore
from .front import ClientConnection, HTTPFront
from .gateway import peer_host
from .http2 import HTTP2Connection
from .secure_transport import SecureOutlet, SecureTransport
from .tls_contexts import HTTP2, openssl_reason, verify_reason

HANDSHAKE_RECORD = 0x16
"""The first byte of every TLS connection (RFC 8446 section 5.1)."""

NOT_TLS = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
)
NOT_TLS_TEXT = b"400 Bad Request: a plain HTTP request was sent to an HTTPS port\n"

OUTCOMES = (
    ("application protocol", "no-common-protocol"),
    ("alert", "refused-by-client"),
    ("peer did not return", "no-client-certificate"),
    ("verify failed", "bad-client-certificate"),
    ("no shared cipher", "no-common-cipher"),
    ("no suitable key share", "no-common-group"),
    ("unsupported protocol", "no-common-version"),
    ("version too low", "no-common-version"),
)
"""From the words of OpenSSL's reason to the outcome that is counted; the first that fits."""


def outcome_of(reason: str) -> str:
    """The label under which a failed handshake is counted."""
    return next((outcome for words, outcome in OUTCOMES if words in reason), "malformed")


def subject_of(connection: Any) -> bytes:
    """The subject of a client's certificate (RFC 4514), in visible ASCII; empty when it has shown none."""
    certificate = connection.get_peer_certificate()
    if certificate is None:
        return b""
    text: str = certificate.to_cryptography().subject.rfc4514_string()
    octets = text.encode("utf-8")
    return b"".join(b"%c" % octet if 32 <= octet < 127 else b"\\%02X" % octet for octet in octets)


class SecureConnection(ClientConnection):
    """An HTTP/1.1 client that came with TLS."""

    scheme = b"https"
    outlet_class = SecureOutlet


class FrontTransport(SecureTransport):
    """A SecureTransport that tells a client that speaks plain HTTP so."""

    _first = True

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._first:
            self._first = False
            if data[0] != HANDSHAKE_RECORD and isinstance(self.wrappedProtocol, Handshake) and data[:1].isupper():
                self.wrappedProtocol.plain_http()
                return
        super().dataReceived(data)


@implementer(IHandshakeListener)
class Handshake(Protocol):
    """A client until its handshake is over, one way or the other."""

    def __init__(self, secure: HTTPSFront, address: Optional[IAddress]) -> None:
        self._secure = secure
        self._front = secure.front
        self._gateway = gateway = secure.front.gateway
        self.peer = peer_host(address) if address is not None else ""
        self.deadline = gateway.monotonic() + gateway.timeouts.handshake
        self._outcome = ""

    def connectionMade(self) -> None:
        """A client is here."""
        self.transport: Any = self.transport
        if ITCPTransport.providedBy(self.transport.transport):
            self.transport.setTcpNoDelay(True)
        self._front.clients.add(self)
        self._gateway.sweep.add(self)
        self._gateway.counts.opened("handshake")

    def handshakeCompleted(self) -> None:
        """The client is what it says, and speaks what was agreed on: hand the transport on."""
        tls = self.transport
        kind = HTTP2Connection if tls.negotiatedProtocol == HTTP2 else SecureConnection
        successor = kind(self._front, self.peer)
        successor.subject = subject_of(tls.getHandle())
        tls.wrappedProtocol = successor
        successor.makeConnection(tls)
        self._end("done")
        if self._gateway.draining:
            successor.drain()

    def plain_http(self) -> None:
        """The client has sent an HTTP request without TLS."""
        self._outcome = "plain-http"
        tcp = self.transport.transport
        tcp.write(NOT_TLS % (len(NOT_TLS_TEXT), NOT_TLS_TEXT))
        tcp.loseConnection()

    def deadline_passed(self, now: float) -> None:
        """The handshake takes too long."""
        if not self._outcome:
            self._outcome = "timeout"
            self._gateway.counts.timed_out("handshake")
        self.transport.abortConnection()

    def drain(self) -> None:
        """A handshake is ended first: a client that is closed in the middle takes it for an error."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """There will be no connection."""
        said = self._outcome
        if not said and isinstance(reason.value, SSL.Error):
            said = openssl_reason(reason.value)
            self._outcome = outcome_of(said)
            if self._outcome == "bad-client-certificate":
                said = f"{said}: {verify_reason(self.transport.getHandle())}"
        outcome = self._outcome or "closed"
        self._end(outcome)
        self._secure.refusals.say("TLS handshake with {peer} failed: {reason}", peer=self.peer, reason=said or outcome)

    def _end(self, outcome: str) -> None:
        counts = self._gateway.counts
        counts.closed("handshake")
        counts.handshook(outcome)
        self._gateway.sweep.discard(self)
        self._front.client_gone(self)


class HTTPSFront(TLSMemoryBIOFactory):
    """Makes the TLS of each client.

    :param front: counts the clients of all endpoints.
    :param certificates: makes the OpenSSL connections.
    """

    noisy = False

    def __init__(self, front: HTTPFront, certificates: CertificateStore) -> None:
        super().__init__(certificates, False, front, clock=front.gateway.reactor)
        self.front = front
        self.refusals = RefusalLog(Logger(), front.gateway.monotonic)

    def buildProtocol(self, addr: Optional[IAddress]) -> Optional[SecureTransport]:  # type: ignore[override]
        """A client; None, which closes it, when there are too many."""
        if not self.front.admits():
            return None
        return FrontTransport(self, Handshake(self, addr))
