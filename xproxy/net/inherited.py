"""Listening sockets that go from one process to another: whoever dials notices nothing, for what it dials is never closed."""

from __future__ import annotations

import os
import socket
import stat
from typing import Any, Iterable, Type

from twisted.internet import unix
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Port

from ..config.checks import Place
from .accepting import BACKLOG, stop_accepting
from .descriptors import descriptors_of


def adopt_port(reactor: Any, descriptor: int, factory: Any, unix_port: Type[unix.Port] = unix.Port) -> Any:
    """A port on a listening socket that another process has made. The descriptor is closed here; the port has a copy.

    :param unix_port: the class of a port on a UNIX socket. It is not started: its mode is set to what the file has.
    :raises OSError: the descriptor is none of a listening socket.
    """
    descriptors = descriptors_of(reactor)
    try:
        family = descriptors.listening(descriptor)
        if family != socket.AF_UNIX:
            port: IListeningPort = reactor.adoptStreamPort(descriptor, family, factory)
            return port
        adopted: Any = unix_port._fromListeningDescriptor(reactor, descriptor, factory)
        path = adopted._preexistingSocket.getsockname()
        adopted.mode = stat.S_IMODE(os.stat(path).st_mode)  # Twisted would open the file to everybody.
        adopted.backlog = BACKLOG
        adopted.startListening()
        return adopted
    finally:
        descriptors.close(descriptor)


def listen_beside(place: Place, ports: Iterable[Any]) -> int:
    """A descriptor that listens at a TCP address where ports of ours, which are to close next, listen too: at the same one,
    or at all addresses beside one. All of them get SO_REUSEPORT, without which the kernel refuses the second one (socket(7));
    until the others close, it gives each client to any of them.

    :raises OSError: somebody else listens there, or there is no such address.
    """
    for port in ports:
        port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening = socket.socket(socket.AF_INET6 if place.kind == "tcp6" else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            listening.setsockopt(socket.SOL_SOCKET, option, 1)
        listening.bind((place.address, place.port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening.detach()


def hand_on(port: Any) -> None:
    """Close our descriptor of a listening socket of which another process has a copy: nobody who waits is accepted, nothing is
    shut down, which would be for all copies, and no file is removed.

    Whatever is no port of Twisted's does it itself.
    """
    if not isinstance(port, Port):
        port.hand_on()
        return
    stop_accepting(port)
    port.stopReading()
    port._shouldShutdown = False
    Port.connectionLost(port, connectionDone)
