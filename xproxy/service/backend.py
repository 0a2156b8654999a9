"""A relay's connections to its backend: used for one exchange at a time, kept between exchanges for whichever slot is next.

The connection that was used last is used again first, so the few that the load needs stay warm, and the others end by the
backend's own timeout. There are never more than there are slots: a new one is made only when none is kept.

No request is put on a connection that is not provably alive and quiet. A kept one is passed over when the backend has announced
that it would be closed by now, or when its end, or bytes that nobody asked for, wait unread at this moment. What crosses the
request on the wire is told afterwards, see ``BackendConnection.unread``.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Dict, Optional

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from xproxy.net.keepalive import watch_peer
from xproxy.net.plain import hear_last_words, is_quiet, plain_below, unreceived_bytes, write_at_once

if TYPE_CHECKING:
    from xproxy.service.relay import Relay

NEVER = float("inf")

FULL_BACKLOG_S = 5.0
"""How long, in seconds, a backend on a UNIX socket may leave its backlog full and still counts as there. Over TCP the kernel
tries again by itself, after one, three and seven seconds (tcp(7), tcp_syn_retries)."""
FULL_BACKLOG_RETRY_S = 0.01
"""Between two attempts, in seconds: the time of a quick answer."""


@implementer(IHalfCloseableProtocol)
class BackendConnection(Protocol):
    """One connection to the backend.

    :ivar relay: whose exchange it carries; None while it is kept.
    :ivar used: it has carried an exchange before the one that runs.
    :ivar good_until: up to when it may be used again, by the reactor's clock.
    :ivar unread: it is certain that the backend has read nothing of the exchange that runs, although the connection has ended.
    """

    transport: Any

    def __init__(self, connections: BackendConnections) -> None:
        self.relay: Optional[Relay] = None
        self.used = False
        self.good_until = NEVER
        self.unread = False
        self._connections = connections
        self._given = 0
        """Bytes of the exchange that runs."""

    def connectionMade(self) -> None:
        """Connected."""
        plain = plain_below(self.transport)
        if plain is not None:
            connection: socket.socket = plain.getHandle()
            watch_peer(connection)
        hear_last_words(self.transport)

    def begin(self, relay: Relay) -> None:
        """An exchange of ``relay`` begins."""
        self.relay = relay
        self._given = 0
        self.unread = False

    def send(self, data: bytes) -> None:
        """Bytes of its request."""
        self._given += len(data)
        write_at_once(self.transport, data)

    def nothing_received(self) -> bool:
        """Whether nothing of the request had reached the backend's host when it sent what we have just read.

        Every segment of TCP acknowledges what its sender's host has received by then. So while all that was given is
        unacknowledged, what was read was sent before the request arrived: the end of a connection that had lasted long enough,
        or bytes that are not the answer to this request.
        """
        return 0 < self._given == unreceived_bytes(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Bytes of an answer; or bytes that nobody asked for, of which a connection must be free."""
        if self.relay is not None:
            self.relay.backend_answered(self, data)
        else:
            self._connections.drop(self)

    def readConnectionLost(self) -> None:
        """The backend will send no more.

        When nothing of the request had arrived there by then, it never acts on it (RFC 9112 section 9.6).
        """
        if self.relay is not None:
            self.unread = self.nothing_received()
            self.relay.backend_ended(self)
        else:
            self._connections.drop(self)

    def writeConnectionLost(self) -> None:
        """Our half-close is done."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._connections.gone(self)
        if self.relay is not None:
            self.relay.backend_lost(self, clean=bool(reason.check(ConnectionDone)))


class BackendConnections:
    """The connections of one backend.

    :param clock: IReactorTime.
    :param endpoint: the backend.
    """

    def __init__(self, clock: Any, endpoint: IStreamClientEndpoint) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self._kept: Dict[BackendConnection, None] = {}
        """In the order in which they were kept, the last one last."""

    def take(self) -> Optional[BackendConnection]:
        """A kept connection that is alive and quiet at this moment; None when there is none."""
        while self._kept:
            connection, _ = self._kept.popitem()
            if self._clock.seconds() < connection.good_until and is_quiet(connection.transport):
                return connection
            self.drop(connection)
        return None

    def connect(self) -> Deferred[Any]:
        """Make a new connection. Fires with a BackendConnection, or with why there is none; may be cancelled."""
        return Deferred.fromCoroutine(self._connect())

    async def _connect(self) -> Any:
        until = self._clock.seconds() + FULL_BACKLOG_S
        while True:
            try:
                return await self._endpoint.connect(_Once(BackendConnection(self)))
            except ConnectError as error:
                if not _is_full_backlog(error) or self._clock.seconds() >= until:
                    raise
            await deferLater(self._clock, FULL_BACKLOG_RETRY_S)

    def keep(self, connection: BackendConnection, keep_s: Optional[float]) -> None:
        """Keep a connection whose exchange is over and that may be used again.

        :param keep_s: for how long at most, in seconds; None: for as long as the backend likes.
        """
        connection.relay = None
        connection.used = True
        connection.good_until = NEVER if keep_s is None else self._clock.seconds() + keep_s
        self._kept[connection] = None

    def drop(self, connection: BackendConnection) -> None:
        """Close a connection once what was given to it has left."""
        self._kept.pop(connection, None)
        connection.relay = None
        if connection.transport is not None:
            connection.transport.loseConnection()

    def gone(self, connection: BackendConnection) -> None:
        """A connection has ended."""
        self._kept.pop(connection, None)

    def close(self) -> None:
        """Close all that are kept."""
        for connection in list(self._kept):
            self.drop(connection)


def _is_full_backlog(error: ConnectError) -> bool:
    """Whether connect(2) said EAGAIN, which means on a UNIX socket that the backlog is full (unix(7)).

    Twisted waits then as for a TCP connection that is being made, epoll tells it of a hang-up, and it reports that.
    """
    reason = error.args[0] if error.osError is None and error.args else None
    return isinstance(reason, Failure) and reason.check(ConnectionDone) is not None


class _Once(Factory):
    """A factory of one connection; without two lines in the log for each, as ``connectProtocol`` has them."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: Optional[IAddress]) -> Protocol:
        """The protocol."""
        return self._protocol
