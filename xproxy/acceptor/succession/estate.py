"""The estate of an acceptor, for its successor: the listening sockets, the slots, and which of them its proxies lease.

While the estate is frozen no slot is granted or read, and no connection accepted. Then the estate is let go, to the successor,
or thawed: the acceptor serves on.
"""

from __future__ import annotations

from typing import Any, Callable, Collection, Dict, Iterable, Iterator, List, Mapping, Tuple, cast

import attr

from ...handoff import takeover
from ...net.descriptors import descriptors_of
from ..acceptor import Acceptor
from ..parked import ParkedSlot
from ..registering import SlotConnection
from ..remote_holder import RemoteHolder
from .offers import Expected, Offers
from .parting import Parting

Listening = Mapping[Tuple[str, str], Any]
"""The listening services, by kind and description: each with its ``port``, and with ``hand_on``."""


@attr.frozen
class Thing:
    """A socket to be given: one that listens, or a slot."""

    message: Callable[[int], takeover.Message]
    """Makes the message about the socket, from the ordinal of the descriptor that goes with it."""
    copy: Callable[[], int]
    """Makes a copy of the socket's descriptor, which is the caller's. Raises OSError."""


class Estate:
    """See the module.

    :param offers: those of the acceptor's handoff socket.
    :param listening: gives the listening services.
    :param bridged: gives the slots that can't move: those over TLS, whose connection to the service ends in this process.
    """

    def __init__(
        self,
        acceptor: Acceptor,
        offers: Offers,
        listening: Callable[[], Listening],
        bridged: Callable[[], Collection[ParkedSlot]],
    ) -> None:
        self._acceptor = acceptor
        self._offers = offers
        self._listening = listening
        self._bridged = bridged
        self._descriptors = descriptors_of(acceptor.reactor)
        self._idle: Dict[ParkedSlot, None] = {}
        self._leased: Dict[ParkedSlot, None] = {}
        self._partings: Dict[Parting, RemoteHolder] = {}
        self._parted: Callable[[], object] = lambda: None

    def obstacle(self) -> str:
        """Why this acceptor can't be taken over; empty: it can be."""
        if any(not isinstance(holding.end, RemoteHolder) for holding in self._acceptor.holdings):
            return "that acceptor has a proxy in its own process"
        if self._offers.has_former:
            return "that acceptor has itself taken over a moment ago, and the one before it is not gone yet"
        return ""

    # -- frozen

    def freeze(self, parted: Callable[[], object]) -> None:
        """Accept, read and grant nothing from here on, and have the proxies hang up.

        :param parted: called when the last proxy has hung up, perhaps at once.
        """
        self._acceptor.handing_on = True
        self._parted = parted
        for each in self._listening().values():
            if each.port is not None:
                each.port.stopReading()
        self._offers.hold()
        self._idle.update(dict.fromkeys(self._acceptor.take_out_idle()))
        for holding in list(self._acceptor.holdings):
            end: Any = holding.end
            self._acceptor.part(holding)
            parting = Parting(holding, self._has_come_back, self._has_parted)
            self._partings[parting] = end
            end.part(parting)
        if not self._partings:
            parted()

    def _has_come_back(self, slot: ParkedSlot) -> None:
        self._idle[slot] = None

    def _has_parted(self, parting: Parting) -> None:
        del self._partings[parting]
        if not self._acceptor.handing_on:
            self._await_offers(parting.leases.values())
            return
        self._leased.update(dict.fromkeys(parting.leases.values()))
        if not self._partings:
            self._parted()

    def expire(self) -> None:
        """Cut off the proxies that have not hung up: they hang. Their leases are given as leased; such a proxy may offer them
        yet."""
        for parting, end in list(self._partings.items()):
            parting.expired = True
            end.drop("the acceptor is taken over, and this proxy did not hang up")

    def things(self) -> Iterator[Thing]:
        """The whole estate, when no proxy is parting any more."""
        for (kind, description), each in self._listening().items():
            if each.port is not None:
                yield self._listening_thing(kind, description, each.port)
        bridged = self._bridged()
        for slot in self._idle:
            if slot not in bridged:
                yield self.thing(slot, takeover.IDLE)
        for slot in (*self._leased, *self._offers.parted.values()):
            yield self.thing(slot, takeover.STAYING if slot in bridged else takeover.LEASED)
        for expected in self._offers.expected:
            yield self._expected_thing(expected)

    def _listening_thing(self, kind: str, description: str, port: Any) -> Thing:
        return Thing(
            lambda ordinal: takeover.ListeningGiven(kind, description.encode(), ordinal),
            lambda: self._descriptors.dup(port.socket),
        )

    def _expected_thing(self, slot: Expected) -> Thing:
        """A slot that came from a former acceptor, and that no proxy has offered yet."""
        endpoint, numbered = slot.endpoint.encode(), cast(Any, slot)
        return Thing(
            lambda ordinal: takeover.SlotGiven(slot.pool, slot.service, takeover.LEASED, endpoint, int(slot.raw), ordinal),
            lambda: self._descriptors.dup(numbered),
        )

    @staticmethod
    def thing(slot: ParkedSlot, state: str) -> Thing:
        """A parked slot, for the successor."""
        connection: SlotConnection = slot.transport.protocol
        endpoint, raw = connection.endpoint.encode(), int(slot.register_anew is not None)
        return Thing(
            lambda ordinal: takeover.SlotGiven(slot.pool, slot.service, state, endpoint, raw, ordinal),
            slot.copy,
        )

    # -- the end of it

    def thaw(self) -> None:
        """There is no successor: serve on. The proxies dial again, and offer their leases as they would to any acceptor."""
        self._acceptor.handing_on = False
        self.expire()
        self._await_offers(self._leased)
        self._offers.go_on()
        for slot in self._idle:
            self._acceptor.put_back(slot)
        self._leased.clear()
        self._idle.clear()
        for each in self._listening().values():
            if each.port is not None:
                each.port.startReading()

    def _await_offers(self, slots: Iterable[ParkedSlot]) -> None:
        for slot in slots:
            self._offers.expect_back(slot)

    def let_go(self) -> None:
        """The successor has everything. Idle slots that can't move are closed, so that their services dial the successor."""
        for each in self._listening().values():
            each.hand_on()
        bridged = self._bridged()
        for slot in self._idle:
            if slot in bridged:
                slot.close()
            else:
                slot.let_go()
        for slot in self._leased:
            slot.let_go()
        self._offers.close()
        self._idle.clear()
        self._leased.clear()

    def late(self) -> List[ParkedSlot]:
        """After ``let_go``: the idle slots that have registered since, or were lent. Those that can't move are closed."""
        bridged = self._bridged()
        slots = self._acceptor.take_out_idle()
        for slot in slots:
            if slot in bridged:
                slot.close()
        return [slot for slot in slots if slot not in bridged]
