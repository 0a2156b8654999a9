"""In-memory providers of the acceptor's neighbours, and what the tests of both sides of the handoff socket have in common."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Callable, Dict, List, Optional, Tuple

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from xproxy.interfaces import ILeaseHolder, ISlotSource


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


@implementer(ILeaseHolder)
class RecordingHolder:
    """A proxy that remembers what it is told. Its sockets, by lease, are closed by ``close``.

    :ivar on_grant: called with the lease and the pool after each grant.
    :ivar on_recall: called with the number that others wait for.
    """

    def __init__(self) -> None:
        self.source: Optional[ISlotSource] = None
        self.sockets: Dict[int, socket.socket] = {}
        self.grants: List[Tuple[str, int, str]] = []
        self.refused: List[Tuple[str, int]] = []
        self.recalls: List[Tuple[str, int]] = []
        self.answers: List[Tuple[str, int]] = []
        self.registered: Dict[str, bool] = {}
        self.events: List[str] = []
        self.seen: Dict[str, int] = {}
        self.asked_back: List[Tuple[str, int]] = []
        self.on_grant: Callable[[str, int], Any] = lambda pool, lease: None
        self.on_recall: Callable[[int], Any] = lambda number: None
        self._waiting: List[Tuple[Callable[[], object], Deferred[None]]] = []

    def lease_granted(self, pool: str, lease: int, descriptor: int, service: str) -> None:
        assert lease not in self.sockets
        self.sockets[lease] = socket.socket(fileno=descriptor)
        self.grants.append((pool, lease, service))
        self.seen[pool] = self.seen.get(pool, 0) + 1
        self.on_grant(pool, lease)
        self._tell()

    def offer_refused(self, pool: str, lease: int) -> None:
        self.refused.append((pool, lease))
        self._tell()

    def leases_recalled(self, pool: str, waiting: int, at_once: bool = False) -> None:
        self.recalls.append((pool, waiting))
        self.on_recall(waiting)
        self._tell()

    def lease_asked_back(self, pool: str, lease: int) -> None:
        self.asked_back.append((pool, lease))
        self._tell()

    def ask_answered(self, pool: str, question: int) -> None:
        self.answers.append((pool, question))
        self._tell()

    def service_registered(self, pool: str, registered: bool) -> None:
        self.registered[pool] = registered
        self._tell()

    def acceptor_lost(self) -> None:
        self.events.append("lost")
        self.seen.clear()
        self._tell()

    def acceptor_found(self) -> None:
        self.events.append("found")
        self._tell()

    # -- for tests

    def until(self, holds: Callable[[], object]) -> Deferred[None]:
        """Fires as soon as ``holds()`` after one of the calls above."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append((holds, waiting))
        self._tell()
        return waiting

    def _tell(self) -> None:
        for entry in list(self._waiting):
            if entry[0]():
                self._waiting.remove(entry)
                entry[1].callback(None)

    def ask(self, *arrivals: float, pool: str = "default") -> None:
        """Requests that came at these times wait."""
        assert self.source is not None
        self.source.tide(pool).say(min(arrivals, default=None), max(arrivals, default=0.0), len(arrivals))
        self.source.ask(pool, len(arrivals), self.seen.get(pool, 0))

    def give_back(self, lease: int) -> None:
        assert self.source is not None
        self.sockets.pop(lease).close()
        self.source.give_back(lease)

    def close_lease(self, lease: int) -> None:
        assert self.source is not None
        self.sockets.pop(lease).close()
        self.source.lease_closed(lease)

    def close(self) -> None:
        while self.sockets:
            self.sockets.popitem()[1].close()


class SlotTransport:
    """A transport over one end of a socket pair, read only when the test says so."""

    def __init__(self) -> None:
        self.near, self.service = socket.socketpair()
        self.near.setblocking(False)
        self.service.setblocking(False)
        self.reading = True
        self.lost = False
        self.protocol: Optional[Protocol] = None

    def getHandle(self) -> socket.socket:
        return self.near

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def write(self, data: bytes) -> None:
        self.near.sendall(data)

    def loseWriteConnection(self) -> None:
        self.near.shutdown(socket.SHUT_WR)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        raise AssertionError("what is written here is taken at once")

    def loseConnection(self) -> None:
        self.connectionLost(Failure(ConnectionDone()))

    abortConnection = loseConnection

    def connectionLost(self, reason: Failure) -> None:
        """As Twisted's TCP transports do it."""
        if self.lost:
            return
        self.lost = True
        self.reading = False
        try:
            self.near.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            assert error.errno in (errno.ENOTCONN, errno.EBADF), error
        self.near.close()
        if self.protocol is not None:
            self.protocol.connectionLost(reason)

    # -- for tests

    def connect(self, protocol: Protocol) -> SlotTransport:
        self.protocol = protocol
        protocol.makeConnection(self)
        return self

    def pump(self) -> None:
        """One turn of the loop: read, if reading."""
        assert self.protocol is not None
        if not self.reading or self.lost:
            return
        try:
            data = self.near.recv(65536)
        except BlockingIOError:
            return
        if data:
            self.protocol.dataReceived(data)
        else:
            self.connectionLost(Failure(ConnectionDone()))

    def service_sees_end(self) -> bool:
        """Whether the service's end was shut down."""
        try:
            return self.service.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True  # What a UNIX socket says when bytes of its own were left unread.


class RecordingBorrower:
    """A one-byte client that remembers what it is lent. Its sockets are closed by ``close``."""

    def __init__(self) -> None:
        self.sockets: List[socket.socket] = []
        self.unavailable = 0

    def slot_lent(self, descriptor: int) -> None:
        self.sockets.append(socket.socket(fileno=descriptor))

    def slot_unavailable(self) -> None:
        self.unavailable += 1

    def close(self) -> None:
        while self.sockets:
            self.sockets.pop().close()
