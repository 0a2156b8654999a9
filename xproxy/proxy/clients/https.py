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

from functools import partial
from typing import Any, Optional

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...net.peers import client_host
from ...net.transports import read_by, read_itself, write_by, write_itself
from ...refusals import RefusalLog
from ...tls.certificate_store import CertificateStore
from ...tls.contexts import HTTP2, agreed_protocol, openssl_reason, verify_reason
from ...tls.secure_socket import SecureInlet, SecureOutlet, SecureSocket, write_now
from .client import Spare
from .connection import ClientConnection
from .front import HTTPFront
from .http2_connection import HTTP2Connection
from .intake import HEAD_READ_BYTES

HTTP_REASONS = ("http request", "https proxy request")
"""What OpenSSL says of a first record that is the beginning of a request, of which it knows some methods. What it says of the
others depends on its version; the rest of their first line, which it has not read, does not."""

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
    inlet_class = SecureInlet
    outlet_class = SecureOutlet
    half_closes = False


class Handshake(Protocol):
    """A client until its handshake is over, one way or the other."""

    def __init__(self, secure: HTTPSFront, address: Optional[IAddress]) -> None:
        self._secure = secure
        self._front = secure.front
        self._gateway = gateway = secure.front.gateway
        self.peer = client_host(address)
        self.deadline = gateway.monotonic() + gateway.policy.timeouts.handshake
        self._socket: Optional[SecureSocket] = None
        self._outcome = ""
        self._said = ""

    def connectionMade(self) -> None:
        """A client is here: put TLS in the place of its socket."""
        self.transport: Any = self.transport
        self._front.clients[self] = None
        self._gateway.sweep.add(self)
        self._gateway.counts.opened("handshake")
        transport = self.transport
        if not isinstance(transport, Connection):
            self._outcome, self._said = "closed", "TLS needs a socket, which this kind of endpoint has not"
            transport.loseConnection()
            return
        context = self._secure.certificates.front
        self._socket = transport.socket = SecureSocket(context, transport.socket)  # type: ignore[assignment]
        read_by(transport, self._shake)

    def _shake(self) -> Any:
        """What the reactor calls when the client has said or taken something."""
        transport = self.transport
        assert self._socket is not None
        try:
            done = self._socket.shake()
        except SSL.Error as error:
            return self._failed(error)
        if done is None:
            write_by(transport, self._shake)
            return None
        write_itself(transport)
        if done:
            self._completed(self._socket)
        return None

    def _completed(self, connection: SecureSocket) -> None:
        """The client is what it says, and speaks what was agreed on: hand the transport on."""
        transport = self.transport
        read_itself(transport)
        successor: Any
        if agreed_protocol(connection.tls) == HTTP2:
            successor = HTTP2Connection(self._front, self.peer)
            SecureInlet(transport, successor.dataReceived, HEAD_READ_BYTES)
            transport.write_now = partial(write_now, transport)
        else:
            successor = SecureConnection(self._front, self.peer)
        if self._secure.certificates.asks_clients:
            successor.provenance = successor.provenance.of_subject(subject_of(connection.tls))
        transport.protocol = successor
        successor.makeConnection(transport)
        self._end("done")
        if self._gateway.draining:
            successor.drain()

    def _failed(self, error: SSL.Error) -> Optional[Exception]:
        """There will be no TLS. OpenSSL has told the client why, which reads it only if nothing of its own is left unread."""
        assert self._socket is not None
        if isinstance(error, SSL.SysCallError):
            self._outcome = "closed"
            return CONNECTION_LOST
        try:
            rest = self._socket.plain.recv(HEAD_READ_BYTES)
        except OSError:
            rest = b""
        said = self._said = openssl_reason(error)
        self._outcome = outcome_of(said)
        if self._outcome == "bad-client-certificate":
            self._said += f": {verify_reason(self._socket.tls)}"
        elif said in HTTP_REASONS or b" HTTP/1." in rest.partition(b"\n")[0]:
            self._outcome = self._said = "plain-http"
            self._answer_http()
            return None
        return CONNECTION_LOST

    def _answer_http(self) -> None:
        transport = self.transport
        assert self._socket is not None
        self._socket.release()
        transport.socket = self._socket.plain
        transport.write(NOT_TLS % (len(NOT_TLS_TEXT), NOT_TLS_TEXT))
        transport.loseConnection()

    def deadline_passed(self, now: float) -> None:
        """The handshake takes too long."""
        if not self._outcome:
            self._outcome = self._said = "timeout"
            self._gateway.counts.timed_out("handshake")
        self.transport.abortConnection()

    @property
    def spare(self) -> Spare:
        """See Client."""
        return Spare.BUSY if self._outcome else Spare.SILENT

    def make_room(self) -> None:
        """See Client."""
        self._outcome = self._said = "room-made"
        self.transport.abortConnection()

    def drain(self) -> None:
        """A handshake is ended first: a client that is closed in the middle takes it for an error."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """There will be no connection."""
        for name in ("doRead", "doWrite"):
            self.transport.__dict__.pop(name, None)
        outcome = self._outcome or "closed"
        self._end(outcome)
        said = self._said or outcome
        self._secure.refusals.say("TLS handshake with {peer} failed: {reason}", peer=self.peer, reason=said)

    def _end(self, outcome: str) -> None:
        counts = self._gateway.counts
        counts.closed("handshake")
        counts.handshook(outcome)
        self._gateway.sweep.discard(self)
        self._front.client_gone(self)


class HTTPSFront(Factory):
    """Makes the Handshake of each client.

    :param front: counts the clients of all endpoints.
    :param certificates: makes the OpenSSL contexts.
    """

    noisy = False

    def __init__(self, front: HTTPFront, certificates: CertificateStore) -> None:
        self.front = front
        self.certificates = certificates
        self.refusals = RefusalLog(Logger(), front.gateway.monotonic)

    def buildProtocol(self, addr: Optional[IAddress]) -> Optional[Handshake]:
        """A client; None, which closes it, when there are too many."""
        return Handshake(self, addr) if self.front.admits() else None
