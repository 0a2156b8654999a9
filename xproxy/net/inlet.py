"""The read side of a plain TCP or UNIX connection: everything is read into one buffer of the process.

A transport's own ``doRead`` makes a buffer for each read, as large as the longest read may be, and cuts it down to what came.
Most reads are a few hundred bytes; the buffer was most of the garbage of a request. What is read here is copied out at its own
length, so the buffer can be as long as a body deserves.
"""

from __future__ import annotations

from mmap import mmap
from typing import Any, Callable, Optional

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Connection

MAX_READ_BYTES = 256 * 1024
"""What is read at a time at most."""

_view = memoryview(mmap(-1, MAX_READ_BYTES))  # Not a bytearray, whose bytes PyPy copies one by one.


class Inlet:
    """Reads for one transport, in place of its ``doRead``. TLS and in-memory transports go on reading for themselves.

    :param received: the protocol's ``dataReceived``.
    :param size: how much is read at a time, up to MAX_READ_BYTES; may be changed.
    """

    __slots__ = ("size", "_transport", "_receive_into", "_received")

    def __init__(self, transport: Any, received: Callable[[bytes], None], size: int) -> None:
        self.size = size
        self._transport: Optional[Any] = None
        if isinstance(transport, Connection):
            self._transport = transport
            self._receive_into = transport.getHandle().recv_into
            self._received = received
            self.open()

    def _read(self) -> Any:
        """What the reactor calls when there is something to read; returns why the connection is over, None when it is not."""
        try:
            size = self._receive_into(_view, self.size)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not size:
            return CONNECTION_DONE
        self._received(_view[:size].tobytes())
        return None

    def open(self) -> None:
        """Read, from here on."""
        if self._transport is not None:
            self._transport.doRead = self._read

    def lend(self, read: Callable[[], Any]) -> bool:
        """Let somebody else read, until ``open``; False where it is the transport that reads."""
        if self._transport is None:
            return False
        self._transport.doRead = read
        return True

    def close(self) -> None:
        """The connection is gone: let go of both its ends, so that they need no garbage collector."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.__dict__.pop("doRead", None)
            del self._receive_into, self._received
