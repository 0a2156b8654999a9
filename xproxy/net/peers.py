"""Who is at the other end of a connection."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any, Optional

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress


def peer_host(address: Optional[IAddress]) -> str:
    """The host of a peer, without port and zone; empty where there is none: the mode of a UNIX socket says who may connect.

    An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) is given as the IPv4 address.
    """
    host = getattr(address, "host", None)
    if not isinstance(host, str):
        return ""
    return host[7:] if host.startswith("::ffff:") and "." in host else host.partition("%")[0]


UNIX_PEER = "unix:"
"""What a client on a UNIX socket is called, who has no address."""


def client_host(address: Any) -> str:
    """``peer_host`` of a client; UNIX_PEER where it came over a UNIX socket, and not through somebody who does not know.

    :param address: an IAddress, or None.
    """
    return UNIX_PEER if isinstance(address, UNIXAddress) and address.name is not None else peer_host(address)


SO_PEERCRED = getattr(socket, "SO_PEERCRED", 17 if sys.platform == "linux" else None)
"""The option by its number in asm-generic/socket.h where Python (PyPy) has no name for it; None where there is none."""


def peer_user(connection: socket.socket) -> int:
    """The user (uid) of the process that connected to a UNIX socket, as it was then (unix(7), SO_PEERCRED); -1 where the kernel
    does not say.
    """
    if SO_PEERCRED is None:
        return -1
    try:
        _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, SO_PEERCRED, struct.calcsize("3i")))
    except OSError:
        return -1
    return int(user)
