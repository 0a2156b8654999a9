"""Descriptors that come over a UNIX socket, and those that are lost on the way because this process has none left.

The kernel passes on the bytes all the same, and says only that something was cut off (recvmsg(2), MSG_CTRUNC). A transport's
own ``doRead`` does not look at that, and so the next descriptor would be taken for the lost one.
"""

from __future__ import annotations

import socket
from array import array
from typing import Any, Callable

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.unix import Client, Server

from ..net.transports import read_by

READ_BYTES = 65536
ANCILLARY_BYTES = socket.CMSG_SPACE(4 * 253)
"""As many descriptors as Linux lets one message carry (SCM_MAX_FD)."""


def watch_descriptors(transport: Any, lost: Callable[[], None]) -> None:
    """Read for the UNIX connection of an IFileDescriptorReceiver, in place of its ``doRead``, and tell it what is lost.

    The other end sends one descriptor at a time; so one is lost each time. Any other transport goes on reading for itself.
    """
    if isinstance(transport, (Client, Server)):
        connection: socket.socket = transport.getHandle()
        protocol: Any = transport.protocol

        def read() -> Any:
            try:
                data, ancillary, flags, _ = connection.recvmsg(READ_BYTES, ANCILLARY_BYTES)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError:
                return CONNECTION_LOST
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    for descriptor in array("i", value[: len(value) // 4 * 4]):
                        protocol.fileDescriptorReceived(descriptor)
            if flags & socket.MSG_CTRUNC:
                lost()
            if not data:
                return CONNECTION_DONE
            protocol.dataReceived(data)
            return None

        read_by(transport, read)
