"""Where clients arrive through a layer-4 balancer: the PROXY header is read, then the connection is handed on.

A balancer (HAProxy, Katran, a cloud's) begins each connection with a few bytes that say where it came from (HAProxy's
``proxy-protocol.txt``); what follows is the client's, with TLS or without. The header is believed only from
``trusted_proxies``, who then must send one, as the specification asks ("the receiver may not try to guess"); to anybody else it
means nothing: their connections begin with their requests, as with HAProxy's ``expect-proxy``.

Nothing is read but the header: what comes after it stays in the socket, for whoever reads it next, which may be OpenSSL. The
protocol that comes after takes our place at the transport: nothing is in the way of its bytes.
"""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...net.descriptors import unread
from ...net.peers import client_host, peer_host
from ...net.transports import read_by, read_itself
from ...refusals import RefusalLog
from ...slots.preambles.preamble import PreambleError
from ...slots.preambles.proxy_header import ProxyHeader, ProxyHeaderParser
from .client import Spare
from .front import HTTPFront


def source_of(header: ProxyHeader, own: IAddress) -> IAddress:
    """Where a connection came from: ``own``, the balancer's address, when it speaks for itself (a health check)."""
    if header.local:
        return own
    if header.source is None:
        return UNIXAddress(None)
    host, port = header.source
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)


PEEK_BYTES = 4112
"""As long as a header may be; see ``ProxyHeaderParser``."""


class Balanced(Protocol):
    """A balancer's connection until its header is whole."""

    def __init__(self, factory: BalancedFront, address: IAddress) -> None:
        front = factory.front
        self._factory = factory
        self._front = front
        self._gateway = front.gateway
        self._address = address
        self._parser = ProxyHeaderParser()
        self._over = False
        self.deadline = front.gateway.monotonic() + front.gateway.policy.timeouts.handshake

    def connectionMade(self) -> None:
        """A balancer is here."""
        self.transport: Any = self.transport
        self._front.clients[self] = None
        self._gateway.sweep.add(self)
        self._gateway.counts.opened("handshake")
        if isinstance(self.transport, Connection):
            read_by(self.transport, self._read)
        else:
            self._refuse("proxy-header", "this kind of endpoint has no sockets")

    def _read(self) -> Any:
        """What the reactor calls when something of the header is there: all of it is taken, and nothing more."""
        plain = self.transport.getHandle()
        data = unread(plain, PEEK_BYTES)
        if data is None:
            return None
        if not data:
            return CONNECTION_DONE
        try:
            found = self._parser.feed(data)
        except PreambleError as error:
            self._refuse("proxy-header", str(error))
            return None
        plain.recv(len(data) - len(found[1]) if found is not None else len(data))
        if found is not None:
            self._hand_on(source_of(found[0], self._address))
        return None

    def _hand_on(self, source: IAddress) -> None:
        """The client itself begins."""
        self._front.clients.pop(self, None)  # Its successor takes its place among the clients.
        successor: Any = self._factory.inner.buildProtocol(source)
        if successor is None:
            self._front.clients[self] = None
            self._over = True
            self.transport.loseConnection()
            return
        self._gateway.sweep.discard(self)
        self._gateway.counts.closed("handshake")
        read_itself(self.transport)
        self.transport.protocol = successor
        successor.makeConnection(self.transport)
        if self._gateway.draining:
            successor.drain()

    def _refuse(self, reason: str, said: str) -> None:
        self._over = True
        self._gateway.counts.refuse(reason)
        self._factory.refusals.say("no PROXY header from {peer}: {reason}", peer=peer_host(self._address), reason=said)
        self.transport.abortConnection()

    def deadline_passed(self, now: float) -> None:
        """The header takes too long."""
        if self._over:
            self.transport.abortConnection()
        else:
            self._gateway.counts.timed_out("handshake")
            self._refuse("proxy-header-timeout", "timeout")

    @property
    def spare(self) -> Spare:
        """See Client."""
        return Spare.BUSY if self._over else Spare.SILENT

    def make_room(self) -> None:
        """See Client."""
        self._over = True
        self.transport.abortConnection()

    def drain(self) -> None:
        """Whoever comes through here may still ask, once."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The balancer is gone, or was sent away."""
        self.transport.__dict__.pop("doRead", None)
        self._gateway.sweep.discard(self)
        self._gateway.counts.closed("handshake")
        self._front.client_gone(self)


class BalancedFront(Factory):
    """Puts a Balanced in front of what another factory makes, for those who are trusted.

    :param front: counts the clients of all endpoints.
    :param inner: is given each connection with the address that it came from.
    """

    noisy = False

    def __init__(self, front: HTTPFront, inner: IProtocolFactory) -> None:
        self.front = front
        self.inner = inner
        self.refusals = RefusalLog(Logger(), front.gateway.monotonic)

    def buildProtocol(self, addr: Optional[IAddress]) -> Any:
        """A client; None, which closes it, when there are too many."""
        address = addr or UNIXAddress(None)
        if not self.front.gateway.policy.trusts(client_host(address)):
            return self.inner.buildProtocol(address)
        return Balanced(self, address) if self.front.admits() else None

    def doStart(self) -> None:
        """See IProtocolFactory."""
        super().doStart()
        self.inner.doStart()

    def doStop(self) -> None:
        """See IProtocolFactory."""
        super().doStop()
        self.inner.doStop()
