"""The listening sockets of the whole: opened by the parent for all workers, by the configuration."""

from __future__ import annotations

import os
import socket
from typing import Any, Dict, List, Mapping, Tuple

import attr

from ..config import Config
from ..config.checks import BALANCED, MAX_WORKERS
from ..net.sharing.opened import Address, SharedSocket, open_shared, shared_from
from ..proxy.entrances import key_of
from ..startup import StartupError, os_reason

Key = Tuple[str, str]

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


class Given:
    """A socket of ours while it is given to another program. Nobody accepts from it in this process.

    :ivar socket: the socket, as a port has it.
    """

    def __init__(self, shared: SharedSocket, sock: socket.socket) -> None:
        self.socket = sock
        self._shared = shared

    @property
    def port(self) -> Given:
        """The same, as a listening service has its port."""
        return self

    def stopReading(self) -> None:
        """The workers go on accepting."""

    def startReading(self) -> None:
        """They have done so all the time."""

    def hand_on(self) -> None:
        """Close our copy."""
        self._shared.hand_on()


class DoorsBeside:
    """The doors of a program that takes over from another one.

    :param config: by which they are opened.
    :param count: for so many workers.
    """

    def __init__(self, doors: Doors, config: Config, count: int) -> None:
        self._doors = doors
        self._config = config
        self._count = count

    def listen_beside(self, given: Mapping[Key, int]) -> None:
        """See ``Doors``. Raises StartupError."""
        self._doors.listen_beside(given, self._config, self._count)

    def give_up(self) -> None:
        """See ``Doors``."""
        self._doors.give_up()


def _given_for(door: Door, given: Mapping[Key, int]) -> List[Key]:
    """What is given for a door, in its order."""
    return [key for key in (key_of(door, index) for index in range(MAX_WORKERS)) if key in given]


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
        self._prepared: Dict[Door, SharedSocket] = {}
        """What ``opened`` finds open already."""

    def opened(self, config: Config, count: int) -> Opened:
        """Open the sockets that a configuration needs; they are the caller's. Raises StartupError: none was left open."""
        opened = Opened(count, doors_of(config))
        try:
            for door in opened.doors:
                shared = self._sockets.get(door)
                if shared is not None:
                    opened.more[door] = shared.more(count)
                elif door in self._prepared:
                    opened.added[door] = self._prepared.pop(door)
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

    # -- from one program to another

    def listening(self) -> Dict[Key, Given]:
        """What is open, for another program, by ``key_of``."""
        return {
            key_of(door, index): Given(shared, sock)
            for door, shared in self._sockets.items()
            for index, sock in enumerate(shared.sockets)
        }

    def listen_beside(self, given: Mapping[Key, int], config: Config, count: int) -> None:
        """Open what a configuration needs beside what another program gives, of which copies are taken. Raises StartupError."""
        for door in doors_of(config):
            there = _given_for(door, given)[:count]
            if not there:
                self._prepared[door] = open_shared(self._reactor, door[1], count)
                continue
            try:
                shared = self._prepared[door] = shared_from(door[1], [os.dup(given[key]) for key in there])
            except OSError as error:
                raise StartupError(f"cannot listen on {door[1]}: {os_reason(error)}", door[1]) from error
            shared.resize(count, shared.more(count))

    def give_up(self) -> None:
        """Nothing comes of that."""
        for shared in self._prepared.values():
            shared.hand_on()
        self._prepared = {}

    # -- what there is

    def sockets(self) -> List[SharedSocket]:
        """All sockets, in the order in which a worker listens."""
        return list(self._sockets.values())
