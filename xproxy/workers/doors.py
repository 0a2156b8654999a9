"""The listening sockets of the whole: opened by the parent for all workers, by the configuration."""

from __future__ import annotations

import socket
from typing import Any, Dict, List, Tuple

import attr

from ..config import Config
from ..config.checks import BALANCED
from ..net.sharing.opened import Address, SharedSocket, open_shared
from ..startup import StartupError

Door = Tuple[bool, str, int]
"""Whether the endpoint is one of ``https``, its description without our prefix, and its number among those with this
description."""


def doors_of(config: Config) -> List[Door]:
    """The doors of a configuration, in the order in which a worker listens."""
    doors: List[Door] = []
    for secure, descriptions in ((False, config.proxy.http), (True, config.proxy.https)):
        for description in descriptions:
            plain = description[len(BALANCED) :] if description.startswith(BALANCED) else description
            doors.append((secure, plain, sum((secure, plain) == door[:2] for door in doors)))
    return doors


@attr.frozen
class Opened:
    """The sockets that another configuration needs besides those that are open. Owned by the caller until ``Doors.take``.

    :ivar count: how many workers the sockets are for.
    :ivar doors: in the order in which a worker listens.
    :ivar added: doors that are new.
    :ivar more: further sockets of the other doors, for workers that are new.
    """

    count: int
    doors: List[Door]
    added: Dict[Door, SharedSocket] = attr.field(factory=dict)
    more: Dict[Door, List[socket.socket]] = attr.field(factory=dict)

    def close(self) -> None:
        """Close all of these sockets: the configuration does not come into force."""
        for shared in self.added.values():
            shared.close()
        for sockets in self.more.values():
            for sock in sockets:
                sock.close()


class Doors:
    """The listening sockets that are open, which are this object's."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._sockets: Dict[Door, SharedSocket] = {}

    def opened(self, config: Config, count: int) -> Opened:
        """Open the sockets that a configuration needs; they are the caller's. Raises StartupError: none was left open."""
        opened = Opened(count, doors_of(config))
        try:
            for door in opened.doors:
                shared = self._sockets.get(door)
                if shared is not None:
                    opened.more[door] = shared.more(count)
                else:
                    opened.added[door] = open_shared(self._reactor, door[1], count, self._sockets.values())
        except StartupError:
            opened.close()
            raise
        return opened

    def take(self, opened: Opened) -> None:
        """Keep the sockets that were opened, and close those that are needed no more: the copies of workers are the last ones
        then."""
        before, self._sockets = self._sockets, {}
        for door in opened.doors:
            self._sockets[door] = shared = opened.added.get(door) or before.pop(door)
            if door in opened.more:
                shared.resize(opened.count, opened.more[door])
        for shared in before.values():
            shared.close()

    def close(self) -> None:
        """Close all sockets; the copies of workers are the last ones then."""
        sockets, self._sockets = self._sockets, {}
        for shared in sockets.values():
            shared.close()

    def addresses(self, secure: bool) -> List[Address]:
        """The addresses of the endpoints with TLS, or of those without."""
        return [sock.address for door, sock in self._sockets.items() if door[0] == secure]

    def sockets(self) -> List[SharedSocket]:
        """All sockets, in the order in which a worker listens."""
        return list(self._sockets.values())
