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
"""Whether it is one with TLS, its description without what is ours of it, and which one of those with this description."""


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
    """What another configuration needs besides what is open.

    :ivar count: for so many workers.
    :ivar doors: in the order in which a worker listens.
    :ivar added: doors that are new.
    :ivar more: sockets of those that are not, for workers that are new.
    """

    count: int
    doors: List[Door]
    added: Dict[Door, SharedSocket] = attr.field(factory=dict)
    more: Dict[Door, List[socket.socket]] = attr.field(factory=dict)

    def close(self) -> None:
        """It is not needed."""
        for shared in self.added.values():
            shared.close()
        for sockets in self.more.values():
            for sock in sockets:
                sock.close()


class Doors:
    """What is open."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._sockets: Dict[Door, SharedSocket] = {}

    def opened(self, config: Config, count: int) -> Opened:
        """What a configuration needs, opened; it is the caller's. Raises StartupError: nothing is."""
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
        """Keep what was opened, and close what is not needed with it: the copies of workers are the last ones then."""
        before, self._sockets = self._sockets, {}
        for door in opened.doors:
            self._sockets[door] = shared = opened.added.get(door) or before.pop(door)
            if door in opened.more:
                shared.resize(opened.count, opened.more[door])
        for shared in before.values():
            shared.close()

    def close(self) -> None:
        """Close everything, in the same way."""
        sockets, self._sockets = self._sockets, {}
        for shared in sockets.values():
            shared.close()

    def addresses(self, secure: bool) -> List[Address]:
        """Where is listened with TLS, or without."""
        return [sock.address for door, sock in self._sockets.items() if door[0] == secure]

    def sockets(self) -> List[SharedSocket]:
        """All of them, in the order in which a worker listens."""
        return list(self._sockets.values())
