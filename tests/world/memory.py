"""A kernel in memory: sockets, a reactor with virtual time, and the far ends of connections in the hands of a test.

The transports are Twisted's own ``tcp.Connection``, so half-close, producers and the order of callbacks are what they are in
production; only the socket below and the reactor around them are ours. The same reactor drives real socket pairs (``KERNEL``),
which transfer at once too, so that every test can run over both.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from typing import Any, Dict, List, Tuple

from twisted.internet import tcp
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IHalfCloseableDescriptor, IProtocol, IProtocolFactory, IReactorSocket
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

CAPACITY = 212_992
"""What a direction holds that nobody reads: net.core.wmem_default of Linux."""

MEMORY, KERNEL = "memory", "kernel"
"""The two kinds of sockets."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Direction:
    """Bytes on their way."""

    def __init__(self, capacity: int) -> None:
        self.data = bytearray()
        self.capacity = capacity
        self.ended = False
        self.unread = False
        """The reader is gone: whoever writes gets EPIPE."""
        self.reset = False


class _End:
    """What all descriptors of one end of a connection share."""

    def __init__(self, incoming: _Direction, outgoing: _Direction) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        self.descriptors = 1
        self.reset_on_close = False


class MemorySocket:
    """One descriptor of one end: as much of ``socket.socket`` as a transport and a slot use. Close it like any descriptor."""

    _numbers = 1_000_000  # No descriptor of this process: a splice with it fails.
    open = 0
    """How many were not closed, in all tests so far."""

    def __init__(self, end: _End) -> None:
        self._end = end
        self._closed = False
        MemorySocket._numbers += 1
        MemorySocket.open += 1
        self._number = MemorySocket._numbers
        self.fail_sends: int = 0
        """An errno that every ``send`` fails with."""

    def dup(self) -> MemorySocket:
        """Another descriptor of this end."""
        self._end.descriptors += 1
        return MemorySocket(self._end)

    def send(self, data: Any) -> int:
        """As ``socket.send``, non-blocking."""
        way = self._live().outgoing
        if self.fail_sends:
            raise OSError(self.fail_sends, os.strerror(self.fail_sends))
        if self._end.incoming.reset:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        if way.ended or way.unread:
            raise BrokenPipeError(errno.EPIPE, "broken pipe")
        room = way.capacity - len(way.data)
        if room <= 0:
            raise BlockingIOError(errno.EAGAIN, "full")
        piece = bytes(data[:room])
        way.data += piece
        return len(piece)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As ``socket.recv``, non-blocking; knows MSG_PEEK."""
        way = self._live().incoming
        if way.reset:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        data = bytes(way.data[:size])
        if not data and not way.ended:
            raise BlockingIOError(errno.EAGAIN, "empty")
        if not flags & socket.MSG_PEEK:
            del way.data[:size]
        return data

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        """As ``socket.recv_into``, non-blocking."""
        data = self.recv(size or len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def shutdown(self, how: int) -> None:
        """As ``socket.shutdown``: for all descriptors of this end."""
        end = self._live()
        if end.incoming.reset:
            raise OSError(errno.ENOTCONN, "not connected")
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            end.outgoing.ended = True
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            end.incoming.ended = end.incoming.unread = True

    def close(self) -> None:
        """As ``socket.close``: the last descriptor ends the connection, with a reset when something was not read."""
        if self._closed:
            return
        self._closed = True
        MemorySocket.open -= 1
        end = self._end
        end.descriptors -= 1
        if end.descriptors:
            return
        if end.incoming.data or end.reset_on_close:
            end.outgoing.reset = True
            end.outgoing.data.clear()
        end.outgoing.ended = True
        end.incoming.unread = True

    def _live(self) -> _End:
        if self._closed:
            raise OSError(errno.EBADF, "closed")
        return self._end

    def fileno(self) -> int:
        """A number that names no descriptor."""
        return -1 if self._closed else self._number

    def setblocking(self, flag: bool) -> None:
        """Never blocks."""

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Knows the SO_LINGER that Twisted aborts a connection with."""
        if (level, option, value) == (socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE):
            self._live().reset_on_close = True

    @property
    def readable(self) -> bool:
        """Whether ``recv`` would not block."""
        way = self._end.incoming
        return bool(way.data) or way.ended or way.reset

    @property
    def writable(self) -> bool:
        """Whether ``send`` would not block."""
        way = self._end.outgoing
        return len(way.data) < way.capacity or way.ended or way.unread or self._end.incoming.reset


def memory_pair(capacity: int = CAPACITY) -> Tuple[MemorySocket, MemorySocket]:
    """Two connected sockets. ``capacity``: of what the first sends; the second may send CAPACITY."""
    there, back = _Direction(capacity), _Direction(CAPACITY)
    return MemorySocket(_End(back, there)), MemorySocket(_End(there, back))


def kernel_pair(capacity: int = CAPACITY) -> Tuple[socket.socket, socket.socket]:
    """The same of the real kind."""
    near, far = socket.socketpair()
    for end in (near, far):
        end.setblocking(False)
    if capacity != CAPACITY:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, capacity)
    return near, far


def make_pair(kind: str, capacity: int = CAPACITY) -> Tuple[Any, Any]:
    """Two connected sockets of one of the two kinds."""
    return memory_pair(capacity) if kind == MEMORY else kernel_pair(capacity)


class LoopTransport(tcp.Connection):
    """Twisted's transport over a socket of either kind."""

    def __init__(self, skt: Any, protocol: IProtocol, reactor: Any, peer: IAddress) -> None:
        super().__init__(skt, protocol, reactor)
        self.connected = 1
        self._peer = peer
        self.startReading()

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Neither kind of sockets is TCP."""

    def getPeer(self) -> IAddress:
        """The address it was given."""
        return self._peer

    def getHost(self) -> IAddress:
        """An address."""
        return IPv4Address("TCP", "127.0.0.1", 8080)


class Peer:
    """The far end of a connection: a client, or a service on its slot. It reads all the time unless ``reading`` is False."""

    def __init__(self, skt: Any) -> None:
        self.socket = skt
        self.received = b""
        self.reading = True
        self.ended = False
        """The other side has ended its direction."""
        self.was_reset = False
        self._unsent = b""
        self._ending = False
        self._closed = False

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.ended or self.was_reset

    def take(self) -> bytes:
        """What was received since the last call."""
        data, self.received = self.received, b""
        return data

    def send(self, data: bytes) -> None:
        """Send, as the other side takes it."""
        self._unsent += data
        self.pump()

    def end(self) -> None:
        """End our direction once everything is sent; still read."""
        self._ending = True
        self.pump()

    def close(self) -> None:
        """Close: with a reset when something was not read."""
        if not self._closed:
            self._closed = True
            self.socket.close()

    def reset(self) -> None:
        """Close with a reset."""
        if isinstance(self.socket, MemorySocket):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.close()

    def pump(self) -> bool:
        """Move what can be moved; whether anything was."""
        return not self._closed and (self._write() | self._read())

    def _write(self) -> bool:
        moved = False
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                return moved
            except OSError:
                self._unsent, self._ending = b"", False
                return True
            self._unsent = self._unsent[sent:]
            moved = True
        if self._ending:
            self._ending = False
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # ENOTCONN: the other side was faster.
            moved = True
        return moved

    def _read(self) -> bool:
        if not self.reading or self.over:
            return False
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            self.was_reset = True
            return True
        self.received += data
        self.ended = not data
        return True


@implementer(IReactorSocket)
class LoopReactor(Clock):
    """A Clock that also reads and writes. Nothing happens outside of ``settle`` and ``pass_time``; what a protocol raises
    comes out of them."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: Dict[Any, None] = {}
        self.writers: Dict[Any, None] = {}
        self.peers: List[Peer] = []
        self.parcels: Dict[int, MemorySocket] = {}
        """What the next adoption of a descriptor finds in its place."""
        self.most_turns = 20_000
        self.addReader = self.readers.setdefault
        self.addWriter = self.writers.setdefault

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
        skt: Any = self.parcels.pop(fileDescriptor, None)
        if skt is None:
            skt = socket.fromfd(fileDescriptor, addressFamily, socket.SOCK_STREAM)
        address = IPv4Address("TCP", "127.0.0.1", 0)
        protocol = factory.buildProtocol(address)
        assert protocol is not None
        self.connect(skt, protocol, address)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory) -> Any:
        """See IReactorSocket."""
        raise NotImplementedError("nothing listens here")

    def adoptDatagramPort(
        self, fileDescriptor: int, addressFamily: socket.AddressFamily, protocol: Any, maxPacketSize: int = 8192
    ) -> Any:
        """See IReactorSocket."""
        raise NotImplementedError("no datagrams here")

    # -- the loop

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
        for transport in [transport for transport in list(self.readers) if self._ready(transport, True)]:
            if transport in self.readers:
                moved = True
                self._react(transport, transport.doRead(), True)
        for transport in [transport for transport in list(self.writers) if self._ready(transport, False)]:
            if transport in self.writers:
                moved = True
                self._react(transport, transport.doWrite(), False)
        return moved

    @staticmethod
    def _ready(transport: Any, reading: bool) -> bool:
        skt = transport.socket
        if isinstance(skt, MemorySocket):
            return skt.readable if reading else skt.writable
        poll = select.poll()
        poll.register(skt, select.POLLIN if reading else select.POLLOUT)
        return bool(poll.poll(0))

    def _react(self, transport: Any, why: Any, reading: bool) -> None:
        """What ``posixbase`` does with the result of a doRead or doWrite."""
        if why is None:
            return
        self.removeReader(transport)
        if reading and isinstance(why, ConnectionDone) and IHalfCloseableDescriptor.providedBy(transport):
            transport.readConnectionLost(Failure(why))
        else:
            self.removeWriter(transport)
            transport.connectionLost(Failure(why))
