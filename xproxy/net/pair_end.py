"""Our end of a socket pair whose other end is given to another process.

Made for each request of a one-byte client, so it costs little: no address is asked for, no descriptor copied, nothing shut down
before it is closed. It is read into one buffer of the process, as ``inlet`` does it.
"""

from __future__ import annotations

import socket
from mmap import mmap
from typing import Any, Tuple

from twisted.internet.interfaces import IProtocol
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.tcp import Connection

from .descriptors import descriptors_of

READ_BYTES = 64 * 1024
"""What is read at a time, as Twisted's own bufferSize: the most that is under way beside the transports' buffers."""

_view = memoryview(mmap(-1, READ_BYTES))  # Not a bytearray, whose bytes PyPy copies one by one.


class PairTransport(Connection):
    """The transport of our end. Its protocol is told ``readConnectionLost`` at the end of file, once, and may go on writing."""

    logstr = "pair"
    _shouldShutdown = False

    def __init__(self, end: socket.socket, protocol: IProtocol, reactor: Any) -> None:
        # What Connection.__init__ and those above it set, but for the non-blocking mode, which the end has already.
        self.reactor = reactor
        self.socket: Any = end
        self.fileno = end.fileno
        self.protocol = protocol
        self._tempDataBuffer = []
        self._tempDataLen = 0
        self.connected = 1

    def doRead(self) -> Any:
        """See IReadDescriptor."""
        try:
            size = self.socket.recv_into(_view)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        protocol: Any = self.protocol
        if size:
            protocol.dataReceived(_view[:size].tobytes())
        else:
            self.stopReading()
            protocol.readConnectionLost()
        return None


def make_pair_end(reactor: Any, protocol: IProtocol) -> Tuple[PairTransport, int]:
    """A socket pair: the transport of our end, which is being read, and the other end's descriptor, which is the caller's.

    Both ends are non-blocking: the mode belongs to the open socket, and an event-driven client may take it for granted.

    :param reactor: an IReactorFDSet.
    :raises OSError: the process has too many descriptors; none is left open then.
    """
    ours, theirs = descriptors_of(reactor).pair()
    transport = PairTransport(ours, protocol, reactor)
    protocol.makeConnection(transport)
    transport.startReading()
    return transport, theirs.detach()


def is_deserted(transport: Any) -> bool:
    """Whether nobody has the other end of a socket pair any more: then even no byte can be sent."""
    try:
        transport.getHandle().send(b"", socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False
