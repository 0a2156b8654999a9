"""How a worker gets a connection to its parent's acceptor: the worker asks the parent for one end of a socket pair."""

from __future__ import annotations

import socket
from typing import Any, Callable, List, Tuple

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from ...net.descriptors import descriptors_of

Wanted = Tuple[IProtocolFactory, "Deferred[IProtocol]"]


@implementer(IStreamClientEndpoint)
class AskingEndpoint:
    """Connects by asking the parent for a connection.

    :param ask: sends the question to the parent; ``given`` is called with the answer.
    """

    def __init__(self, reactor: Any, ask: Callable[[], None]) -> None:
        self._reactor = reactor
        self._ask = ask
        self._wanted: List[Wanted] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See IStreamClientEndpoint. A caller that does not wait any longer cancels the Deferred."""
        connected: Deferred[IProtocol] = Deferred(self._cancelled)
        self._wanted.append((protocolFactory, connected))
        self._ask()
        return connected

    def _cancelled(self, connected: Deferred[IProtocol]) -> None:
        self._wanted = [wanted for wanted in self._wanted if wanted[1] is not connected]

    def given(self, descriptor: int) -> None:
        """The parent has sent a connection.

        :param descriptor: this object's from here on; -1: it was lost on the way.
        """
        if not self._wanted:
            if descriptor >= 0:
                descriptors_of(self._reactor).close(descriptor)
            return
        factory, connected = self._wanted.pop(0)
        if descriptor < 0:
            connected.errback(ConnectError(string="no descriptor is left to receive it with"))
            return
        made = _Made(factory)
        try:
            self._reactor.adoptStreamConnection(descriptor, socket.AF_UNIX, made)
        except OSError:
            connected.errback()
            return
        finally:
            descriptors_of(self._reactor).close(descriptor)
        connected.callback(made.protocol)


class _Made:
    """Keeps the protocol that a factory makes."""

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory = factory
        self.protocol: Any = None

    def buildProtocol(self, addr: Any) -> Any:
        """See IProtocolFactory."""
        self.protocol = self._factory.buildProtocol(addr)
        return self.protocol
