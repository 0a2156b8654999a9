"""Listening sockets that go from one process to another: whoever dials notices nothing, for what it dials is never closed."""

from __future__ import annotations

import os
import socket
import stat
from typing import Any, Type

from twisted.internet import unix
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Port

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
        adopted.mode = stat.S_IMODE(os.stat(adopted._bindPath).st_mode)  # Twisted would open the file to everybody.
        adopted.backlog = BACKLOG
        adopted.startListening()
        return adopted
    finally:
        descriptors.close(descriptor)


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
