"""In-memory ends for the service's tests: a transport to watch, an acceptor to dial, protocols that note what happens."""

from __future__ import annotations

from typing import Any, List, Optional

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionRefusedError, NoProtocol
from twisted.internet.interfaces import IHalfCloseableDescriptor, IHalfCloseableProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from xproxy.service.endpoint import SlotsServerEndpoint
from xproxy.service.port import SlotsPort

HERE = IPv4Address("TCP", "192.0.2.1", 50000)
ACCEPTOR = IPv4Address("TCP", "192.0.2.9", 9999)


@implementer(IHalfCloseableDescriptor)
class Wire(StringTransport):
    """A connection whose other end is the test."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(hostAddress=HERE, peerAddress=ACCEPTOR)
        self.clock = clock
        self.protocol: Any = None
        self.lost = False
        self.half_closed = False
        self.aborted = False

    def unregisterProducer(self) -> None:
        self.producer = None  # Twisted's own transports do not complain either when there was none.

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def loseConnection(self) -> None:
        self.disconnecting = True
        self.clock.callLater(0, self.lose)

    def abortConnection(self) -> None:
        self.aborted = True
        self.clock.callLater(0, self.lose, ConnectionAborted())

    def lose(self, error: Optional[Exception] = None) -> None:
        """The connection is gone."""
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(error or ConnectionDone()))

    def readConnectionLost(self, reason: Failure) -> None:
        """Nothing tells it: see ``end``."""

    def writeConnectionLost(self, reason: Failure) -> None:
        """Nothing tells it."""

    def end(self) -> None:
        """The other end closes its side, as Twisted's transports tell it."""
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self.lose()

    def deliver(self, data: bytes) -> None:
        """The other end sends."""
        self.protocol.dataReceived(data)

    def taken(self) -> bytes:
        """What was written since the last call."""
        data = self.value()
        self.clear()
        return data


@implementer(IStreamClientEndpoint)
class MemoryAcceptor:
    """An acceptor to dial. ``mode``: ``accept``, ``refuse`` (nobody listens), ``pend`` (nobody answers)."""

    def __init__(self, clock: Clock, mode: str = "accept") -> None:
        self.clock = clock
        self.mode = mode
        self.attempts = 0
        self.wires: List[Wire] = []
        self.pending: List[Deferred[Any]] = []
        self.cancelled = 0

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        self.attempts += 1
        if self.mode == "refuse":
            return fail(ConnectionRefusedError())
        if self.mode == "pend":
            pending: Deferred[Any] = Deferred(self._cancel)
            pending.addCallback(lambda _: self.accept(protocolFactory))
            self.pending.append(pending)
            return pending
        return self.accept(protocolFactory)

    def _cancel(self, deferred: Deferred[Any]) -> None:
        self.cancelled += 1

    def accept(self, factory: Any) -> Deferred[Any]:
        """A connection is made, if the factory has a protocol for it."""
        protocol = factory.buildProtocol(ACCEPTOR)
        if protocol is None:
            return fail(NoProtocol())
        wire = Wire(self.clock)
        wire.protocol = protocol
        self.wires.append(wire)
        protocol.makeConnection(wire)
        return succeed(protocol)

    @property
    def open(self) -> List[Wire]:
        """The connections that are there."""
        return [wire for wire in self.wires if not wire.lost]


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"


class Hello(Resource):
    """``/`` answers at once, ``/slow`` when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: List[Request] = []
        self.gone: List[Failure] = []

    def getChild(self, path: bytes, request: Request) -> Resource:
        return self

    def render_GET(self, request: Request) -> Any:
        if request.path != b"/slow":
            request.setHeader(b"content-length", b"5")
            return b"hello"
        self.waiting.append(request)
        request.notifyFinish().addErrback(self.gone.append)
        return NOT_DONE_YET


class Recorder(Protocol):
    """A raw protocol that notes what happens to it."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.lost: Optional[Failure] = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert self.lost is None
        self.lost = reason


@implementer(IHalfCloseableProtocol)
class HalfRecorder(Recorder):
    """One that wants to hear of half-closed connections."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: List[str] = []

    def readConnectionLost(self) -> None:
        self.ends.append("read")

    def writeConnectionLost(self) -> None:
        self.ends.append("write")


class Recorders(Factory):
    """Notes its protocols, and how often it was started and stopped."""

    noisy = False

    def __init__(self, kind: Any = Recorder) -> None:
        self.kind = kind
        self.built: List[Any] = []
        self.calls: List[str] = []

    def startFactory(self) -> None:
        self.calls.append("start")

    def stopFactory(self) -> None:
        self.calls.append("stop")

    def buildProtocol(self, addr: Any) -> Any:
        self.address = addr
        protocol = self.kind()
        self.built.append(protocol)
        return protocol


class PortTestCase(TestCase):
    """A port with slots at a memory acceptor."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.acceptor = MemoryAcceptor(self.clock)

    def listen(self, factory: Any, count: int = 1, **settings: Any) -> SlotsPort:
        endpoint = SlotsServerEndpoint(self.clock, self.acceptor, count, **settings)
        port: Any = self.successResultOf(endpoint.listen(factory))
        return port

    def site(self) -> Site:
        self.resource = Hello()
        return Site(self.resource, reactor=self.clock)

    def fresh(self, count: int = 1, **settings: Any) -> List[Wire]:
        """The wires of a site's slots, their registration taken."""
        self.port = self.listen(self.site(), count, **settings)
        for wire in self.acceptor.wires:
            wire.clear()
        return list(self.acceptor.wires)
