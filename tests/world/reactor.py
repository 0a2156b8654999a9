"""A reactor with virtual time, over sockets in memory or real ones.

The transports are Twisted's own ``tcp.Connection``, so half-close, producers and the order of callbacks are what they are in
production; only the socket below and the reactor around them are ours. The same reactor drives real socket pairs (``KERNEL``),
which transfer at once too, so that every test can run over both.
"""

from __future__ import annotations

import select
import socket
from typing import Any, Dict, List

from twisted.internet import tcp, unix
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableDescriptor,
    IProtocol,
    IProtocolFactory,
    IReactorSocket,
    IUNIXTransport,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.world.descriptors import OWN, Descriptors
from tests.world.peers import Peer
from xproxy.net.descriptors import IDescriptors
from xproxy.net.polling import Readiness

HERE = IPv4Address("TCP", "127.0.0.1", 8080)


class LoopTransport(tcp.Connection):
    """Twisted's transport over a socket of either kind."""

    def __init__(self, skt: Any, protocol: IProtocol, reactor: Any, peer: IAddress, host: IAddress = HERE) -> None:
        super().__init__(skt, protocol, reactor)
        self.connected = 1
        self._peer = peer
        self._host = host
        self.startReading()

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Neither kind of sockets is TCP."""

    def getPeer(self) -> IAddress:
        """The address it was given."""
        return self._peer

    def getHost(self) -> IAddress:
        """The address it was given."""
        return self._host


@implementer(IUNIXTransport)
class LoopUNIXTransport(unix._SendmsgMixin, LoopTransport):
    """One that carries descriptors."""

    _writeSomeDataBase = tcp.Connection

    def __init__(self, skt: Any, protocol: IProtocol, reactor: Any, peer: IAddress, host: IAddress = HERE) -> None:
        unix._SendmsgMixin.__init__(self)
        LoopTransport.__init__(self, skt, protocol, reactor, peer, host)


@implementer(IReactorSocket)
class Loop(Clock):
    """A Clock that can also read and write.

    :param descriptors: those of the process; their numbers are adopted.
    """

    def __init__(self, descriptors: Descriptors) -> None:
        super().__init__()
        self.descriptors = descriptors
        self.readers: Dict[Any, None] = {}
        self.writers: Dict[Any, None] = {}
        self.addReader = self.readers.setdefault
        self.addWriter = self.writers.setdefault

    def __conform__(self, interface: Any) -> Any:
        return self.descriptors if interface is IDescriptors else None

    def removeReader(self, reader: Any) -> None:
        """See IReactorFDSet."""
        self.readers.pop(reader, None)

    def removeWriter(self, writer: Any) -> None:
        """See IReactorFDSet."""
        self.writers.pop(writer, None)

    def connect(self, skt: Any, protocol: IProtocol, peer: IAddress) -> LoopTransport:
        """A transport for a protocol."""
        transport = LoopTransport(skt, protocol, self, peer)
        protocol.makeConnection(transport)
        return transport

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory) -> None:
        """See IReactorSocket."""
        address = IPv4Address("TCP", "127.0.0.1", 0)
        protocol = factory.buildProtocol(address)
        assert protocol is not None
        self.connect(self.descriptors.take_up(fileDescriptor), protocol, address)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory) -> Any:
        """See IReactorSocket."""
        raise NotImplementedError("nothing listens here")

    def adoptDatagramPort(
        self, fileDescriptor: int, addressFamily: socket.AddressFamily, protocol: Any, maxPacketSize: int = 8192
    ) -> Any:
        """See IReactorSocket."""
        raise NotImplementedError("no datagrams here")

    @staticmethod
    def is_ready(transport: Any, reading: bool) -> bool:
        """Whether there is something to read, or room to write."""
        skt = transport.socket
        if hasattr(skt, "readable"):
            return bool(skt.readable if reading else skt.writable)
        poll = select.poll()
        poll.register(skt, select.POLLIN if reading else select.POLLOUT)
        return bool(poll.poll(0))

    def react(self, transport: Any, reading: bool) -> None:
        """Let a transport read or write: what ``posixbase`` does with what comes of it."""
        why: Any = transport.doRead() if reading else transport.doWrite()
        if why is None:
            return
        self.removeReader(transport)
        if reading and isinstance(why, ConnectionDone) and IHalfCloseableDescriptor.providedBy(transport):
            transport.readConnectionLost(Failure(why))
        else:
            self.removeWriter(transport)
            transport.connectionLost(Failure(why))


class LoopReactor(Loop):
    """The only process there is. Nothing happens outside of ``settle`` and ``pass_time``; what a protocol raises comes out of
    them."""

    def __init__(self) -> None:
        super().__init__(OWN)
        self.peers: List[Peer] = []
        self.most_turns = 20_000
        self.readiness = Readiness()

    def settle(self) -> None:
        """Go on until nothing moves any more."""
        for _ in range(self.most_turns):
            if not self._turn():
                return
        raise AssertionError("the loop does not come to rest")

    def pass_time(self, seconds: float) -> None:
        """Let time pass in the steps of a sweep, settling after each."""
        self.settle()
        end = self.seconds() + seconds
        while self.seconds() < end:
            self.advance(min(0.25, end - self.seconds()))
            self.settle()

    def _turn(self) -> bool:
        moved = False
        if any(call.getTime() <= self.seconds() for call in self.getDelayedCalls()):
            self.advance(0)
            moved = True
        for peer in self.peers:
            moved |= peer.pump()
        readable = [transport for transport in list(self.readers) if self.is_ready(transport, True)]
        self.readiness.polled([(transport.fileno(), select.POLLIN) for transport in readable])
        for transport in readable:
            if transport in self.readers:
                moved = True
                self.react(transport, True)
        for transport in [transport for transport in list(self.writers) if self.is_ready(transport, False)]:
            if transport in self.writers:
                moved = True
                self.react(transport, False)
        return moved
