"""Clients on their way in and out: Twisted's Port and Server, without what nobody here reads.

Between the listening socket and ``front`` (or whoever else is the port's factory). Twisted makes each connection a socket of
Python's, asks it for its family and type, words a log prefix, and shuts the socket down before it closes it: a fifth of what a
request on a connection of its own costs on CPython. What stays is what ``tcp.Port`` and ``tcp.Server`` promise: the same
interfaces, the same calls of the protocol in the same order.
"""

from __future__ import annotations

import errno
import socket
from typing import Any, Callable, Optional, Tuple, Type, Union

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Port, Server
from twisted.logger import Logger
from twisted.python.failure import Failure

from .keepalive import USER_TIMEOUT_S, watch_peer
from .shortage import Shortage

MOST_AT_ONCE = 64
"""Connections accepted in one turn of the reactor; then those that are there already have their turn. Twisted's Port begins
with 100."""

PAUSE_S = 0.1
"""How long nothing is accepted when there is nothing to accept with."""

BACKLOG = 4096
"""Connections that the kernel keeps for us until we accept them, where a description says nothing else: Linux's own bound
(net.core.somaxconn since 5.4). With Twisted's 50, a thousand slots that dial at once lose their SYNs, which come again after a
second; or, with SYN cookies, are connected for their service and unknown to us."""

SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""What accept(2) fails with for want of descriptors or memory; all else is about the connection."""

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


Begin = Callable[[Any, Any, Tuple[Any, ...]], None]
"""Makes the protocol and the transport of a connection: of the port, the socket, and the address that accept(2) gave."""


class Acceptance:
    """How a port of Twisted's accepts, in place of its ``doRead``.

    accept(2) complains of two things. A connection that has ended meanwhile, or whatever else was wrong with it, is none of our
    business; the next one may be good. When there are no descriptors, or there is no memory, nothing is accepted for PAUSE_S,
    since each attempt would fail: Twisted says so for each of them in the log, thousands of times a second.

    When the port closes, what the kernel has accepted for us is accepted first: to close the port would reset it. As many as
    can have waited are taken: nobody keeps it open by connecting for ever.

    :param begin: called for each connection.
    :param make_socket: the class of its socket: that of the standard library, or the one in C below it, which costs less.
    :param shortage: told when accept fails for want of something.
    """

    def __init__(self, port: Any, begin: Begin, make_socket: Type[socket.SocketType], shortage: Shortage) -> None:
        self._port = port
        self._begin = begin
        self._make_socket = make_socket
        self._shortage = shortage
        self._pause: Optional[IDelayedCall] = None
        vars(port)["doRead"] = self.read
        vars(port)["connectionLost"] = self._lost
        vars(port)["stop_accepting"] = self.stop

    def read(self, most: int = MOST_AT_ONCE) -> None:
        """Take who waits, so many at most: what the reactor calls when there is somebody."""
        port, begin, make_socket = self._port, self._begin, self._make_socket
        listening: Any = port.socket
        family, kind = port.addressFamily, port.socketType
        for _ in range(most):
            try:
                descriptor, client = listening._accept()  # accept4(2), as socket.accept calls it.
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in SHORTAGES and not self._make_room(error):
                    return
                continue
            sock = make_socket(family, kind, 0, descriptor)
            sock.setblocking(False)
            try:
                begin(port, sock, client)
            except Exception:  # noqa: BLE001 - the last resort, as Port's: logged, and the other clients are served
                _log.failure("a client could not be served")
                sock.close()
            if not port.connected:
                return

    def _make_room(self, error: OSError) -> bool:
        """There is nothing to accept with: pause, unless room can be made. Gives whether it was."""
        if self._shortage.met(error):
            return True
        port = self._port
        if self._pause is None and not port.disconnecting:
            port.stopReading()
            self._pause = port.reactor.callLater(PAUSE_S, self._go_on)
        return False

    def _go_on(self) -> None:
        self._pause = None
        if self._port.connected and not self._port.disconnecting:
            self._port.startReading()

    def _lost(self, reason: Failure) -> None:
        """In place of ``Port.connectionLost``, which closes the socket: take who waits, as many as there can be."""
        port = self._port
        self.read(max(port.backlog or 0, BACKLOG) + 1)  # A socket that was passed to us has one that we don't know.
        self.stop()
        port.connectionLost(reason)

    def stop(self) -> None:
        """Take nobody any more: the port is what it was."""
        port = self._port
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        del vars(port)["doRead"], vars(port)["connectionLost"], vars(port)["stop_accepting"]


def stop_accepting(port: Any) -> None:
    """A port accepts nobody any more, and closes without that."""
    stop = vars(port).get("stop_accepting")
    if stop is not None:
        stop()


def accept(port: IListeningPort, shortage: Shortage) -> None:
    """Let a TCP or UNIX port of Twisted's accept as Acceptance does; any other is left as it is."""
    if isinstance(port, Port):
        Acceptance(port, _begin, socket.socket, shortage)


def accept_plainly(port: IListeningPort, shortage: Shortage, user_timeout_s: float = USER_TIMEOUT_S) -> None:
    """The same for clients of a proxy, whose transports are ClientTransports where the port is TCP.

    Their socket options are set on the listening socket, from which accepted ones have them (tcp(7)), so they cost no system
    call for each: see ``watch_peer``. TCP_NODELAY is among them: a response may be sent in pieces, and none is to wait for the
    client's acknowledgement of the one before (RFC 896).

    :param user_timeout_s: how long a client may leave unacknowledged what was sent, or its window shut.
    """
    if time_out_peers(port, user_timeout_s):
        Acceptance(port, _begin_client, socket.SocketType, shortage)
    else:
        accept(port, shortage)


def time_out_peers(port: IListeningPort, user_timeout_s: float) -> bool:
    """Watch the peers of those that come to a TCP port from here on, as ``accept_plainly`` says; False: it is no such port."""
    if type(port) is not Port or port.addressFamily not in (socket.AF_INET, socket.AF_INET6):
        return False
    watch_peer(port.socket, user_timeout_s)
    return True


def _begin(port: Any, sock: socket.socket, client: Any) -> None:
    """What ``Port.doRead`` does with a connection."""
    if port.addressFamily == socket.AF_INET6:
        client = _with_scope(client)
    protocol = port.factory.buildProtocol(port._buildAddr(client))
    if protocol is None:
        sock.close()
        return
    number = port.sessionno
    port.sessionno = number + 1
    protocol.makeConnection(port.transport(sock, protocol, client, port, number, port.reactor))


def _begin_client(port: Any, sock: socket.SocketType, client: Tuple[Any, ...]) -> None:
    address: PeerAddress
    if len(client) == 2:
        address = IPv4Address("TCP", *client)
    else:
        client = _with_scope(client)
        address = IPv6Address("TCP", *client)
    protocol = port.factory.buildProtocol(address)
    if protocol is None:
        sock.close()
        return
    protocol.makeConnection(ClientTransport(sock, protocol, client, address, port.reactor))


def _with_scope(client: Tuple[Any, ...]) -> Tuple[Any, ...]:
    """An IPv6 address; of a link-local one, the scope as Twisted says it."""
    if not client[3]:
        return client
    host, _ = socket.getnameinfo(client, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return (host, *client[1:])
