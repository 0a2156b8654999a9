"""The estate of an acceptor, for its successor: the listening sockets, the slots, and which of them its proxies lease.

While the estate is frozen no slot is granted or read, and no connection accepted. Then the estate is let go, to the successor,
or thawed: the acceptor serves on.
"""

from __future__ import annotations

from typing import Any, Callable, Collection, Dict, Iterable, Iterator, List, cast

from ...handoff import takeover
from ..acceptor import Acceptor
from ..local import LocalSource
from ..parked import ParkedSlot
from .listening import Listening, ListeningEstate, Thing
from .offers import Expected, Offers
from .parting import Parting


class Estate(ListeningEstate):
    """See the module.

    :param offers: those of the acceptor's handoff socket.
    :param listening: gives the listening services.
    :param bridged: gives the slots that can't move: those over TLS, whose connection to the service ends in this process.
    :param thawed: called when a takeover was aborted, and the acceptor serves on.
    """

    name = "this acceptor"
    begins = "another acceptor takes over: nothing is granted meanwhile"
    over = "another acceptor has taken over"

    def __init__(
        self,
        acceptor: Acceptor,
        offers: Offers,
        listening: Callable[[], Listening],
        bridged: Callable[[], Collection[ParkedSlot]],
        thawed: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(acceptor.reactor, listening)
        self._acceptor = acceptor
        self._offers = offers
        self._bridged = bridged
        self._thawed = thawed
        self._idle: Dict[ParkedSlot, None] = {}
        self._leased: Dict[ParkedSlot, None] = {}
        self._partings: Dict[Parting, Any] = {}
        self._parted: Callable[[], object] = lambda: None

    def obstacle(self) -> str:
        """Why this acceptor can't be taken over; empty: it can be."""
        ends: List[Any] = [holding.end for holding in self._acceptor.holdings]
        if any(isinstance(end, LocalSource) and end.moves is None for end in ends):
            return "that acceptor has a proxy in its own process"
        if self._acceptor.handing_on:
            return "another one takes over from that acceptor already"
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
        super().freeze(lambda: None)
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
        yield from super().things()
        bridged = self._bridged()
        for slot in self._idle:
            if slot not in bridged:
                yield self.thing(slot, takeover.IDLE)
        for slot in (*self._leased, *self._offers.parted.values()):
            yield self.thing(slot, takeover.STAYING if slot in bridged else takeover.LEASED)
        for expected in self._offers.expected:
            yield self._expected_thing(expected)

    def _expected_thing(self, slot: Expected) -> Thing:
        """A slot that came from a former acceptor, and that no proxy has offered yet."""
        endpoint, numbered = slot.endpoint.encode(), cast(Any, slot)
        return Thing(
            lambda ordinal: takeover.SlotGiven(slot.pool, slot.service, takeover.LEASED, endpoint, int(slot.raw), ordinal),
            lambda: self._descriptors.dup(numbered),
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
        super().thaw()
        self._thawed()

    def _await_offers(self, slots: Iterable[ParkedSlot]) -> None:
        for slot in slots:
            self._offers.expect_back(slot)

    def let_go(self) -> None:
        """The successor has everything. Idle slots that can't move are closed, so that their services dial the successor."""
        super().let_go()
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
