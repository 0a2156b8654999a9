"""The listening sockets of the whole: opened by the parent for all workers, by the configuration."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

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


class Doors:
    """What is open.

    :param count: for so many workers.
    """

    def __init__(self, reactor: Any, count: int) -> None:
        self._reactor = reactor
        self._count = count
        self._sockets: Dict[Door, SharedSocket] = {}

    def opened(self, config: Config) -> Dict[Door, SharedSocket]:
        """What a configuration has and is not open yet, opened; it is the caller's. Raises StartupError: nothing is."""
        added: Dict[Door, SharedSocket] = {}
        try:
            for door in doors_of(config):
                if door not in self._sockets:
                    added[door] = open_shared(self._reactor, door[1], self._count, self._sockets.values())
        except StartupError:
            close(added)
            raise
        return added

    def take(self, added: Dict[Door, SharedSocket], config: Config) -> None:
        """Keep what was opened for a configuration, and close what it does not have."""
        wanted = doors_of(config)
        close({door: sock for door, sock in self._sockets.items() if door not in wanted})
        self._sockets = {door: added.get(door) or self._sockets[door] for door in wanted}

    def close(self) -> None:
        """Close everything: the copies of the workers are the last."""
        close(self._sockets)
        self._sockets = {}

    def addresses(self, secure: bool) -> List[Address]:
        """Where is listened with TLS, or without."""
        return [sock.address for door, sock in self._sockets.items() if door[0] == secure]

    def sockets(self) -> List[SharedSocket]:
        """All of them, in the order in which a worker listens."""
        return list(self._sockets.values())


def close(sockets: Dict[Door, SharedSocket]) -> None:
    """Close some."""
    for sock in sockets.values():
        sock.close()
