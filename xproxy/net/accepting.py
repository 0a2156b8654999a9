"""Clients on their way in and out: Twisted's Port and Server, without what nobody here reads.

Between the listening socket and ``front`` (or whoever else is the port's factory). Twisted makes each connection a socket of
Python's, asks it for its family and type, words a log prefix, and shuts the socket down before it closes it: a fifth of what a
request on a connection of its own costs on CPython. What stays is what ``tcp.Port`` and ``tcp.Server`` promise: the same
interfaces, the same calls of the protocol in the same order.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Any, Optional, Tuple, Type, Union

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Port, Server
from twisted.logger import Logger
from twisted.python.failure import Failure

MOST_AT_ONCE = 64
"""Connections accepted in one turn of the reactor; then those that are there already have their turn. Twisted's Port begins
with 100."""

PeerAddress = Union[IPv4Address, IPv6Address]

_log = Logger()


class ClientTransport(Server):
    """The transport of a client.

    Twisted shuts a socket down before it closes it, for the sake of other processes that have it. No other process has this
    one: ``close`` alone ends the connection (tcp(7)).
    """

    server: Any = None
    sessionno = 0
    logstr = "client"
    _shouldShutdown = False

    def __init__(
        self, sock: socket.SocketType, protocol: Any, client: Tuple[Any, ...], address: PeerAddress, reactor: Any
    ) -> None:
        # What Server.__init__ and those above it set, without the texts for logs.
        self.reactor = reactor
        self.socket: Any = sock
        self.fileno = sock.fileno
        self.protocol = protocol
        self.client = client
        self.hostname = client[0]
        self._addressType: Type[Any] = address.__class__
        self._tempDataBuffer = []
        self._tempDataLen = 0
        reactor.addReader(self)
        self.connected = 1

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.client}>"

    def connectionLost(self, reason: Failure) -> None:
        """See Server: an orderly end, which is the common one, has nothing to ask of the reason."""
        if self.disconnected:
            return
        aborted = reason is not connectionDone and reason.check(ConnectionAborted)
        if aborted or self.producer is not None:
            super().connectionLost(reason)
            return
        self.disconnected = 1
        self.connected = 0
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        self.socket.close()
        protocol = self.protocol
        del self.protocol, self.socket, self.fileno
        protocol.connectionLost(reason)


def accept_plainly(port: IListeningPort) -> None:
    """Let a TCP port of Twisted's accept its clients by ``_accept``; others (UNIX, other reactors) are left as they are.

    TCP_NODELAY is set on the listening socket, from which accepted ones have it (tcp(7)), a system call less for each: a
    response may be sent in pieces, and none is to wait for the client's acknowledgement of the one before (RFC 896).
    """
    if type(port) is Port and port.addressFamily in (socket.AF_INET, socket.AF_INET6):
        port.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        vars(port)["doRead"] = partial(_accept, port)


def _accept(port: Any) -> Optional[object]:
    """In place of ``Port.doRead``: take whoever waits."""
    listening: Any = port.socket
    family, kind = port.addressFamily, port.socketType
    for _ in range(MOST_AT_ONCE):
        try:
            descriptor, client = listening._accept()  # accept4(2), as socket.accept calls it.
        except BlockingIOError:
            return None
        except OSError:
            # No descriptors, a client that has left, a firewall: Twisted knows which of them to outlast, and how.
            result: Optional[object] = Port.doRead(port)
            return result
        sock = socket.SocketType(family, kind, 0, descriptor)
        sock.setblocking(False)
        try:
            _begin(port, sock, client)
        except Exception:  # noqa: BLE001 - the last resort, as Port's: logged, and the other clients are served
            _log.failure("a client could not be served")
            sock.close()
        if port.disconnecting or port.disconnected:
            return None
    return None


def _begin(port: Any, sock: socket.SocketType, client: Tuple[Any, ...]) -> None:
    address: PeerAddress
    if len(client) == 2:
        address = IPv4Address("TCP", *client)
    else:
        if client[3]:  # Of a link-local address: say the scope as Twisted does.
            host, _ = socket.getnameinfo(client, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
            client = (host, *client[1:])
        address = IPv6Address("TCP", *client)
    protocol = port.factory.buildProtocol(address)
    if protocol is None:
        sock.close()
        return
    protocol.makeConnection(ClientTransport(sock, protocol, client, address, port.reactor))
