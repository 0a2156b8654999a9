"""The factory of client connections: who is connected, how many may be, and how all of them are told to stop."""

from __future__ import annotations

import sys
from typing import Callable, Dict, Optional

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from ...net.descriptors import is_readable
from ...net.peers import client_host
from ..requests.gateway import Gateway
from ..requests.provenance import Provenances
from .client import Client, Spare
from .connection import ClientConnection

ROOM_SHARE = 32
"""How many connections are closed at once to make room: one in so many, so that a look at all of them is worth its time."""


def _nobody(clients: int) -> int:
    """There are no other processes."""
    return 0


class HTTPFront(Factory):
    """Makes a ClientConnection for each client, up to ``limits.connections`` and as many as there are descriptors for."""

    noisy = False

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.clients: Dict[Client, None] = {}
        self.provenances = {scheme: Provenances(scheme) for scheme in (b"http", b"https")}
        """Of HTTP/1.1 clients."""
        self.room = sys.maxsize
        """How many clients there are descriptors for."""
        self.elsewhere: Callable[[int], int] = _nobody
        """Told how many clients there will be here, gives how many other processes have that share ``limits.connections``."""
        self.on_empty: Optional[Callable[[], None]] = None
        """Called when the last client is gone, once somebody waits for that."""

    def buildProtocol(self, addr: Optional[IAddress]) -> Optional[ClientConnection]:
        """A client; None, which closes it, when there are too many."""
        count = len(self.clients)
        limit = self.gateway.policy.limits.connections
        if (count < self.room and count + self.elsewhere(count + 1) < limit) or self.admits():
            return ClientConnection(self, client_host(addr))
        return None

    def admits(self) -> bool:
        """Whether there is room for one more client; counted when not. Where only descriptors are missing, room is made."""
        count = len(self.clients)
        others = self.elsewhere(count + 1)
        if count + others < self.gateway.policy.limits.connections and (count < self.room or self.make_room()):
            return True
        self.gateway.counts.refuse("too-many-connections")
        return False

    def make_room(self) -> int:
        """Close some of those that can be spared, the longest silent first; gives how many.

        Not those who have said something that was not read yet, as where many have come in one turn of the reactor.
        """
        clients = [client for client in self.clients if client.spare < Spare.BUSY]
        clients.sort(key=lambda client: (client.spare, client.deadline))
        wanted, made = 1 + len(self.clients) // ROOM_SHARE, 0
        for client in clients:
            if made < wanted and not is_readable(client.transport):
                client.make_room()
                self.gateway.counts.refuse("room-made")
                made += 1
        return made

    def client_gone(self, client: Client) -> None:
        """A client is gone."""
        self.clients.pop(client, None)
        if self.on_empty is not None and not self.clients:
            self.on_empty()

    def drain(self) -> None:
        """Take no further requests."""
        for client in list(self.clients):
            client.drain()
