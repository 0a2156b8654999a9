"""The factory of client connections: who is connected, how many may be, and how all of them are told to stop."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional
from typing import Protocol as TypingProtocol

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from ...net.peers import peer_host
from ..requests.gateway import Gateway
from ..requests.provenance import Provenances
from .connection import ClientConnection


class Client(TypingProtocol):
    """Whoever is connected: what the front needs of it, in whichever state and protocol it is."""

    transport: Any

    def drain(self) -> None:
        """Take no further request."""


class HTTPFront(Factory):
    """Makes a ClientConnection for each client, up to ``limits.connections``."""

    noisy = False

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.clients: Dict[Client, None] = {}
        self.provenances = {scheme: Provenances(scheme) for scheme in (b"http", b"https")}
        """Of HTTP/1.1 clients."""
        self.on_empty: Optional[Callable[[], None]] = None
        """Called when the last client is gone, once somebody waits for that."""

    def buildProtocol(self, addr: Optional[IAddress]) -> Optional[ClientConnection]:
        """A client; None, which closes it, when there are too many."""
        if len(self.clients) < self.gateway.policy.limits.connections or self.admits():
            return ClientConnection(self, peer_host(addr))
        return None

    def admits(self) -> bool:
        """Whether there is room for one more client; counted when not."""
        if len(self.clients) < self.gateway.policy.limits.connections:
            return True
        self.gateway.counts.refuse("too-many-connections")
        return False

    def client_gone(self, client: Client) -> None:
        """A client is gone."""
        self.clients.pop(client, None)
        if self.on_empty is not None and not self.clients:
            self.on_empty()

    def drain(self) -> None:
        """Take no further requests."""
        for client in list(self.clients):
            client.drain()
