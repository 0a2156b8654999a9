"""The acceptor's end of the handoff socket: the listening socket, and which protocol a connection speaks.

The first byte decides: 0x80 is the paper's protocol (``onebyte``), 0x00 AMP (``remote_holder``), 0x01 another acceptor
(``succession.giver``), anything else is closed.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Optional

from twisted.application.service import Service
from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IDelayedCall, IFileDescriptorReceiver
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..config import DEFAULT_POOL, AcceptorConfig
from ..handoff.connection import BoxConnection
from ..handoff.passing import watch_descriptors
from ..handoff.path import Identity, group_number, identity, make_way
from ..handoff.takeover import FIRST_BYTE
from ..net.accepting import BACKLOG, accept
from ..net.descriptors import descriptors_of
from ..net.inherited import adopt_port, hand_on
from ..net.listening import ensure_deferred
from ..net.peers import peer_user
from ..net.shortage import Shortage
from ..refusals import RefusalLog
from ..startup import StartupError, os_reason
from .acceptor import Acceptor
from .onebyte import RESTING_S, WANTED, OneByteClient
from .remote_holder import RemoteHolder
from .succession.offers import Offers

AMP_FIRST_BYTE = 0x00
"""The length of a key is below 256, in two bytes."""

FIRST_BYTE_S = 10.0
"""How long a connection may say nothing. Proxies speak at once; the paper's nginx connects when it has a request."""

MAX_CONNECTIONS = 1024
"""Connections at once: several for each core of the largest hosts; one more is closed."""

MAX_ONE_BYTE = 768
"""One-byte clients among them: there is always room for proxies."""

MAX_FOREIGN = 512
"""Connections of users other than ours: where the socket's mode lets others in, they can't shut us out."""

REST_LOOK_S = 30.0
"""How often one-byte clients that ask for nothing are looked for."""

SOCKET_MODE = 0o600
"""Whoever may connect may take every slot: so that is nobody but the same user, unless ``handoff_mode`` says otherwise."""


@implementer(IFileDescriptorReceiver)
class HandoffConnection(Protocol):
    """A connection whose first byte decides what it speaks; then everything is passed to that protocol."""

    def __init__(self, factory: HandoffFactory) -> None:
        self._factory = factory
        self._inner: Optional[Protocol] = None
        self._descriptor = -1
        self._silence: Optional[IDelayedCall] = None
        self._closed = False
        self.user = -1

    @property
    def one_byte_client(self) -> Optional[OneByteClient]:
        """The protocol of this connection, if it is the paper's."""
        return self._inner if isinstance(self._inner, OneByteClient) else None

    def connectionMade(self) -> None:
        """Wait for the first byte."""
        transport: Any = self.transport
        self.user = peer_user(transport.getHandle())
        if not self._factory.has_room_for(self):
            self._factory.refused("there are too many connections of its user")
            self.close()
            return
        watch_descriptors(transport, self._descriptor_lost)
        self._silence = self._factory.clock.callLater(FIRST_BYTE_S, self.close)

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """A descriptor; with the first byte one may come, a proxy's board."""
        if isinstance(self._inner, RemoteHolder):
            self._inner.fileDescriptorReceived(descriptor)
        elif self._inner is None and self._descriptor < 0:
            self._factory.descriptors.keep(descriptor)
            self._descriptor = descriptor
        else:
            self._factory.descriptors.close(descriptor)
            self._factory.refused("it sent a descriptor that nobody asked for")
            self.close()

    def _descriptor_lost(self) -> None:
        if isinstance(self._inner, BoxConnection):
            self._inner.descriptor_lost()
        else:
            self.close()

    def dataReceived(self, data: bytes) -> None:
        """Bytes."""
        if self._closed:
            return
        if self._inner is None:
            self._stop_silence()
            inner = self._factory.speak(data[0], self.user)
            if inner is None or (self._descriptor >= 0 and not isinstance(inner, RemoteHolder)):
                self._factory.refused("it speaks no protocol of this socket")
                self.close()
                return
            self._inner = inner
            inner.makeConnection(self.transport)
            if self._descriptor >= 0:
                descriptor, self._descriptor = self._descriptor, -1
                self.fileDescriptorReceived(descriptor)
        self._inner.dataReceived(data)

    def close(self) -> None:
        """Cut the connection."""
        self._closed = True
        transport: Any = self.transport
        transport.abortConnection()

    def _stop_silence(self) -> None:
        silence, self._silence = self._silence, None
        if silence is not None and silence.active():
            silence.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._closed = True
        self._stop_silence()
        self._factory.connections.pop(self, None)
        if self._descriptor >= 0:
            self._factory.descriptors.close(self._descriptor)
            self._descriptor = -1
        if self._inner is not None:
            self._inner.connectionLost(reason)


class HandoffFactory(Factory):
    """What listens on the handoff socket.

    :param clock: an IReactorTime.
    :ivar offers: what proxies bring from a former acceptor.
    :ivar make_giver: makes the protocol that gives everything to another acceptor; None: not now.
    """

    noisy = False
    _log = Logger()

    def __init__(self, acceptor: Acceptor, clock: Any, monotonic: Callable[[], float]) -> None:
        self.clock = clock
        self.descriptors = descriptors_of(clock)
        self.connections: Dict[HandoffConnection, None] = {}
        self._acceptor = acceptor
        self.offers = Offers(acceptor, clock, monotonic)
        self.make_giver: Callable[[], Optional[Protocol]] = lambda: None
        self._own_user = os.geteuid()
        self._refusals = RefusalLog(self._log, monotonic)

    @property
    def _one_byte_pool(self) -> str:
        """Where one-byte clients get their slots from: the pool named default, else the first."""
        pools = self._acceptor.config.pools
        return DEFAULT_POOL if DEFAULT_POOL in pools else next(iter(pools))

    def buildProtocol(self, addr: Optional[IAddress]) -> Optional[HandoffConnection]:
        """A connection, unless there are too many."""
        if len(self.connections) >= MAX_CONNECTIONS:
            self.refused("there are too many connections")
            return None
        connection = HandoffConnection(self)
        self.connections[connection] = None
        return connection

    def speak(self, first: int, user: int) -> Optional[Protocol]:
        """The protocol that begins with this byte.

        :param user: whose process has connected; -1: nobody knows.
        """
        if first == AMP_FIRST_BYTE:
            return RemoteHolder(self._acceptor, self.clock, self.refused, self.offers)
        if first == WANTED and self._acceptor.lending.clients < MAX_ONE_BYTE:
            return OneByteClient(
                self._acceptor.lending,
                lambda: self._one_byte_pool,
                lambda: self._acceptor.config.acceptor.one_byte_timeout,
                self.clock,
                self.refused,
            )
        if first == FIRST_BYTE and user == self._own_user:
            return self.make_giver()
        return None

    def has_room_for(self, connection: HandoffConnection) -> bool:
        """Whether another connection of this one's user is let in."""
        user = connection.user
        if user in (self._own_user, 0):
            return True
        return sum(other.user == user for other in self.connections) <= MAX_FOREIGN

    def close_resting(self) -> None:
        """Close the one-byte clients that have asked for nothing for too long."""
        latest = self.clock.seconds() - RESTING_S
        for connection in list(self.connections):
            client = connection.one_byte_client
            if client is not None and client.resting_since is not None and client.resting_since < latest:
                connection.close()

    def cut_all(self) -> None:
        """Cut every connection."""
        for connection in list(self.connections):
            connection.close()

    def refused(self, reason: str) -> None:
        """Say, not too often, why a connection was cut."""
        self._refusals.say("handoff socket: a connection was cut: {reason}", reason=reason)


class _HandoffPort(unix.Port):
    """A listening UNIX socket that removes its file only while it is its own: a successor may have put another one there."""

    own_mode = SOCKET_MODE
    own_group: Optional[int] = None
    own_path = ""
    own_identity: Optional[Identity] = None

    def startListening(self) -> None:
        """Listen. Nobody can connect before the file's mode is right: it is made for its owner alone, then opened to others."""
        before = os.umask(0o777 & ~SOCKET_MODE)
        try:
            super().startListening()
        finally:
            os.umask(before)
        self.own_path = os.path.abspath(os.fsdecode(self.getHost().name or b""))
        if self.own_group is not None:
            os.chown(self.own_path, -1, self.own_group)
        if self.own_mode != SOCKET_MODE:
            os.chmod(self.own_path, self.own_mode)
        self.own_identity = identity(self.own_path)

    def connectionLost(self, reason: Failure) -> None:
        """Closed: not as ``unix.Port`` does it, which removes whatever is at the path, and raises when nothing is."""
        if self.own_identity is not None and identity(self.own_path) == self.own_identity:
            os.unlink(self.own_path)
        tcp.Port.connectionLost(self, reason)


class HandoffServer(Service):
    """Listens on the handoff socket.

    :raises StartupError: from ``privilegedStartService``, when it can't.
    """

    def __init__(self, reactor: Any, config: AcceptorConfig, factory: HandoffFactory) -> None:
        self._reactor = reactor
        self._path = config.handoff
        self._mode = int(config.handoff_mode, 8)
        self._group = config.handoff_group
        self.factory = factory
        self.port: Optional[_HandoffPort] = None
        self._inherited = -1
        self._looking = LoopingCall(factory.close_resting)
        self._looking.clock = reactor

    def privilegedStartService(self) -> None:
        """Listen, unless it does already."""
        if self.port is not None:
            return
        super().privilegedStartService()
        if self._inherited >= 0:
            self._adopt()
            return
        make_way(self._path)
        # The mode that Twisted gives the file is the one before it is opened to others.
        port = _HandoffPort(os.fsencode(self._path), self.factory, BACKLOG, SOCKET_MODE, self._reactor)
        port.own_mode = self._mode
        if self._group:
            port.own_group = group_number(self._group)
        try:
            port.startListening()
        except (CannotListenError, OSError) as error:
            if port.connected:
                port.stopListening()
            raise StartupError(f"cannot listen on handoff socket {self._path}: {os_reason(error)}") from error
        accept(port, Shortage(self._reactor))
        self.port = port

    def inherit(self, descriptor: int) -> None:
        """Listen by this descriptor, which another acceptor has made, instead of by a new one. The file is ours then."""
        self._inherited = descriptor

    def _adopt(self) -> None:
        inherited, self._inherited = self._inherited, -1
        try:
            port = adopt_port(self._reactor, inherited, self.factory, _HandoffPort)
        except OSError as error:
            raise StartupError(f"cannot listen on handoff socket {self._path}: {os_reason(error)}") from error
        accept(port, Shortage(self._reactor))
        self.port = port

    def hand_on(self) -> None:
        """Another acceptor listens by a copy of our socket: close ours, and leave the file alone."""
        port, self.port = self.port, None
        if port is not None:
            hand_on(port)

    def startService(self) -> None:
        """Listen, where nobody called ``privilegedStartService`` first."""
        if self.port is None:
            self.privilegedStartService()
        super().startService()
        self._looking.start(REST_LOOK_S, now=False)

    def stop_listening(self) -> Deferred[None]:
        """Let no new proxy in; those connected stay."""
        port, self.port = self.port, None
        return succeed(None) if port is None else ensure_deferred(port.stopListening())

    def stopService(self) -> Deferred[None]:
        """Listen no longer, and cut every connection."""
        super().stopService()
        if self._looking.running:
            self._looking.stop()
        self.factory.cut_all()
        return self.stop_listening()
