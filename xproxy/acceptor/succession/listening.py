"""What listens in a program, for its successor: all that there is to give where no acceptor is, and a part of it where one is.

Between ``Giver``, which sends it, and the services that listen.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, List, Mapping, Tuple

import attr

from ...handoff import takeover
from ...net.descriptors import descriptors_of
from ..parked import ParkedSlot
from ..registering import SlotConnection

Listening = Mapping[Tuple[str, str], Any]
"""What listens, by kind and description: each with its ``port``, and with ``hand_on``."""


@attr.frozen
class Thing:
    """Something to be given."""

    message: Callable[[int], takeover.Message]
    """Makes its message, from the ordinal of its descriptor."""
    copy: Callable[[], int]
    """Makes a copy of its descriptor, which is the caller's. Raises OSError."""


class ListeningEstate:
    """See the module.

    :param listening: gives what listens.
    :ivar name: who gives, for the log, as the next two, which say that it begins, and that all is given.
    """

    name = "this program"
    begins = "a new program takes over"
    over = "a new program has taken over"

    def __init__(self, reactor: Any, listening: Callable[[], Listening]) -> None:
        self._listening = listening
        self._descriptors = descriptors_of(reactor)

    def obstacle(self) -> str:
        """Why nothing can be given; empty: it can."""
        return ""

    def _ports(self) -> Iterator[Any]:
        return (each.port for each in list(self._listening().values()) if each.port is not None)

    def freeze(self, parted: Callable[[], object]) -> None:
        """Accept nobody from here on.

        :param parted: called when all can be given, perhaps at once.
        """
        for port in self._ports():
            port.stopReading()
        parted()

    def expire(self) -> None:
        """Who takes too long to get ready for that has had its time."""

    def things(self) -> Iterator[Thing]:
        """Everything, when all can be given."""
        for (kind, description), each in self._listening().items():
            if each.port is not None:
                yield self._listening_thing(kind, description, each.port)

    def _listening_thing(self, kind: str, description: str, port: Any) -> Thing:
        return Thing(
            lambda ordinal: takeover.ListeningGiven(kind, description.encode(), ordinal),
            lambda: self._descriptors.dup(port.socket),
        )

    @staticmethod
    def thing(slot: ParkedSlot, state: str) -> Thing:
        """One slot."""
        connection: SlotConnection = slot.transport.protocol
        endpoint, raw = connection.endpoint.encode(), int(slot.register_anew is not None)
        return Thing(
            lambda ordinal: takeover.SlotGiven(slot.pool, slot.service, state, endpoint, raw, ordinal),
            slot.copy,
        )

    def thaw(self) -> None:
        """There is no successor: go on."""
        for port in self._ports():
            port.startReading()

    def let_go(self) -> None:
        """The successor has everything."""
        for each in list(self._listening().values()):
            each.hand_on()

    def late(self) -> List[ParkedSlot]:
        """After that: slots that are to be given too."""
        return []
