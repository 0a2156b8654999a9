"""What Twisted's own TCP and UNIX transports can do beyond their interfaces: send at once, look whether the peer is quiet, know
what the peer has not received, and still read what the peer said when a write to it has failed.

Each function takes any transport. TLS transports and in-memory ones have a plain transport below them, or none.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Any, Optional

from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor, IHalfCloseableProtocol, ISSLTransport
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from xproxy.net.outlet import unacknowledged_bytes

READ_BYTES = 64 * 1024
"""What is read at a time of the last words of a peer, as Twisted's own bufferSize."""

_LOOK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)


def plain_below(transport: Any) -> Optional[Connection]:
    """The TCP or UNIX transport that a transport is, or stands on; None for in-memory ones."""
    while transport is not None and not isinstance(transport, Connection):
        transport = getattr(transport, "transport", None)
    return transport


def write_at_once(transport: Any, data: bytes) -> None:
    """Write without waiting for the next turn of the reactor, where the transport is plain and nothing waits in it.

    ``transport.write`` arms the writer in epoll and sends in the next turn: two system calls and a turn for each write.
    """
    if (
        not isinstance(transport, Connection)
        or transport.dataBuffer
        or transport._tempDataBuffer
        or transport.disconnecting
        or transport._writeDisconnecting
        or transport._writeDisconnected
    ):
        transport.write(data)
        return
    sent = transport.writeSomeData(data)
    if isinstance(sent, Exception):
        transport.write(data)  # The transport meets the same error in its doWrite, and reports the connection as lost.
    elif sent < len(data):
        transport.write(data[sent:])


def closes_by_halves(transport: Any) -> bool:
    """Whether our direction can be ended alone. Twisted's TLS transport claims what the TCP transport below it can do."""
    return IHalfCloseableDescriptor.providedBy(transport) and not ISSLTransport.providedBy(transport)


def is_quiet(transport: Any) -> bool:
    """Whether neither bytes nor the end of the peer's side wait unread; an in-memory transport has nothing unread."""
    plain = plain_below(transport)
    if plain is None:
        return True
    try:
        plain.getHandle().recv(1, _LOOK)
    except BlockingIOError:
        return True
    except (OSError, AttributeError):  # AttributeError: the socket is closed, and Twisted has deleted it.
        return False
    return False


def unreceived_bytes(transport: Any) -> int:
    """How many of the bytes that were written the peer's host has not received as far as we know; 0 over TLS, or in memory.

    TCP: what waits in the transport, and what the kernel has and the other end's has not acknowledged. UNIX: what waits in the
    transport; the kernel's buffer is the peer's.
    """
    if not isinstance(transport, Connection):
        return 0
    if transport.connected and transport.getHandle().family != socket.AF_UNIX:
        return unacknowledged_bytes(transport)
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen


def hear_last_words(transport: Any) -> None:
    """From here on, when a write fails, read first what the peer has sent, then report the connection as lost.

    A peer that answers early and closes (a 413 to a body that still comes) resets the connection when more of the body
    arrives. The answer is in our receive buffer then, but the failed write would make Twisted close the socket unread. The
    protocol gets what is there (as much as the kernel's buffer holds), then ``readConnectionLost`` if it is half-closeable and
    the peer has ended its side in order, then ``connectionLost`` as always.
    """
    plain = plain_below(transport)
    if plain is not None:
        vars(plain)["connectionLost"] = partial(_read_and_lose, plain)


def _read_and_lose(plain: Any, reason: Failure) -> None:
    vars(plain).pop("connectionLost", None)
    try:
        if reason.check(ConnectionLost) and not reason.check(ConnectionAborted) and hasattr(plain, "socket"):
            _read_last_words(plain)
    finally:
        plain.connectionLost(reason)


def _read_last_words(plain: Any) -> None:
    protocol, receive = plain.protocol, plain.getHandle().recv
    try:
        while not plain.disconnecting:
            data = receive(READ_BYTES)
            if not data:
                if IHalfCloseableProtocol.providedBy(protocol):
                    protocol.readConnectionLost()
                return
            protocol.dataReceived(data)
    except OSError:
        pass  # EAGAIN or ECONNRESET: that was all.
