"""The offers of proxies: slots that they lease from a former acceptor, and that are this acceptor's from here on.

A proxy that finds an acceptor offers the slots that it leases: free ones and those in use. So the successor of an acceptor that
has died has its slots back without any service having to dial. See docs/architecture/takeover.md.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

import attr
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ...net.descriptors import Identity, adopt, descriptors_of
from ..acceptor import Acceptor
from ..holding import Holding
from ..parked import ParkedSlot
from ..registering import SlotConnection, SlotFactory, plain_socket

CLAIM_S = 5.0
"""How many seconds a slot that a former acceptor gave as leased waits for its proxy's offer: a proxy dials again at once, and
one that hangs loses its idle slots after as long."""


@attr.frozen
class Expected:
    """A slot that is known from a former acceptor."""

    pool: str
    service: str
    endpoint: str = ""
    """The description of the endpoint where the slot has registered."""
    raw: bool = False
    """The service said nothing then: a preamble may come yet."""
    descriptor: int = -1
    """Our own copy of the slot's descriptor."""

    def fileno(self) -> int:
        """The descriptor, as any file gives it."""
        return self.descriptor


class OfferedSlot(SlotConnection):
    """The connection of a slot that has registered with another acceptor: ``park`` is called right after it was adopted."""

    def connectionMade(self) -> None:
        """Adopted: no byte is read yet."""
        transport: Any = self.transport
        transport.pauseProducing()
        self._lent = plain_socket(transport)

    def park(self, acceptor: Acceptor, slot: Expected, holding: Optional[Holding]) -> ParkedSlot:
        """Park the slot; ``holding`` is the proxy that leases it, None: it is idle. Raises UnknownPool."""
        assert self._lent is not None
        anew = self._register_anew if slot.raw else None
        self._slot = acceptor.park(slot.pool, slot.service, self.transport, self._lent, anew, holding)
        if holding is None:
            self._slot.rest()
            acceptor.watch_if_idle(self._slot)
        return self._slot

    def turn_away(self, reason: str) -> None:
        """Tell the service why its connection is no slot here, and close."""
        transport: Any = self.transport
        transport.resumeProducing()
        self._refuse("refused_pool", reason)


class Offers:
    """Which slots may be offered. Owned by the listener of the handoff socket.

    A slot is offered by one proxy: the one that had leased it. That no slot of ours is offered, and none twice, is seen by the
    identity of the socket behind its descriptor.

    :ivar parted: slots of ours whose offers are waited for, by identity.
    :ivar has_former: the acceptor that was taken over is not gone yet.
    """

    _log = Logger()

    def __init__(self, acceptor: Acceptor, reactor: Any, monotonic: Callable[[], float]) -> None:
        self._acceptor = acceptor
        self._reactor = reactor
        self._descriptors = descriptors_of(reactor)
        self._factory = SlotFactory(acceptor, "", reactor, monotonic)
        self._known: Dict[Identity, int] = {}
        """The number of each slot that we have or had, by identity."""
        self._last = -1
        self._factories: Dict[str, SlotFactory] = {}
        self._expected: Dict[Identity, Expected] = {}
        self.parted: Dict[Identity, ParkedSlot] = {}
        self._staying: Dict[Identity, None] = {}
        self.has_former = False
        self._due: Optional[IDelayedCall] = None

    def add_factory(self, factory: SlotFactory) -> None:
        """Take the factory of an endpoint, for slots that have registered there with a former acceptor."""
        self._factories[factory.description] = factory

    def admit(self, holding: Holding, pool: str, service: str, descriptor: int) -> Optional[ParkedSlot]:
        """A proxy offers a slot; gives the slot, parked and leased to that proxy, or None when it can't be. The descriptor,
        which is this object's, is closed in any case."""
        config = self._acceptor.config.pools.get(pool)
        book = self._acceptor.books.get(pool)
        identity = self._descriptors.identity(descriptor)
        own = self.parted.pop(identity, None)
        if own is not None:
            self._descriptors.close(descriptor)
            return own if self._acceptor.put_back(own, holding) else None
        known = self._expected.pop(identity, None)
        if known is not None:
            self._descriptors.close(known.descriptor)
        if (
            config is None
            or book is None
            or (known is None and book.registered >= config.max_slots)
            or (known is not None and known.pool != pool)
            or identity in self._staying
            or self._is_ours(identity)
        ):
            self._descriptors.close(descriptor)
            return None
        slot = self._adopt(known or Expected(pool, service), descriptor, holding)
        if slot is not None:
            self._acceptor.registrations[pool, "offered"] += 1
        return slot

    def _adopt(self, known: Expected, descriptor: int, holding: Optional[Holding]) -> Optional[ParkedSlot]:
        connection = OfferedSlot(self._factories.get(known.endpoint, self._factory), "")
        try:
            adopt(self._reactor, descriptor, connection)
        except OSError as error:
            self._log.info("pool {pool}: a slot of a former acceptor is over: {error}", pool=known.pool, error=error)
            return None
        if known.pool not in self._acceptor.books:
            connection.turn_away(f"pool {known.pool} is no longer served here")
            return None
        return connection.park(self._acceptor, known, holding)

    # -- what is known from a former acceptor

    def park_idle(self, slot: Expected) -> None:
        """A slot was idle at the former acceptor, and is here. Where its pool is none of ours, its service is told so."""
        self._adopt(slot, slot.descriptor, None)

    def expect(self, slot: Expected) -> None:
        """A proxy leases this slot, and should offer it soon; a slot that is not offered within CLAIM_S is closed for all."""
        if slot.pool not in self._acceptor.books:
            self._descriptors.close(slot.descriptor)
            return
        self._expected[self._descriptors.identity(slot.descriptor)] = slot
        self._wait()

    def expect_back(self, slot: ParkedSlot) -> None:
        """The same for a slot of ours, whose proxy has hung up for a takeover that failed."""
        self.parted[slot.identity()] = slot
        self._wait()

    def _wait(self) -> None:
        if self._due is None:
            self._due = self._reactor.callLater(CLAIM_S, self._unclaimed)

    def refuse(self, descriptor: int) -> None:
        """Refuse offers of this slot until ``former_gone``: it can't move, and its proxy closes it when it is free. The
        descriptor is closed."""
        self._staying[self._descriptors.identity(descriptor)] = None
        self._descriptors.close(descriptor)

    def former_gone(self) -> None:
        """The former acceptor is gone, and with it the slots that could not move."""
        self.has_former = False
        self._staying.clear()

    @property
    def expected(self) -> List[Expected]:
        """The slots of former acceptors whose offers are waited for."""
        return list(self._expected.values())

    def hold(self) -> None:
        """Let no wait for an offer end, for now: everything is being given to a successor."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def go_on(self) -> None:
        """Wait for the offers again, CLAIM_S from now."""
        if self._expected or self.parted:
            self._wait()

    def _unclaimed(self) -> None:
        self._due = None
        number = len(self._expected) + len(self.parted)
        if number:
            self._log.warn("{number} slots were leased, and no proxy has offered them: they are closed", number=number)
        for slot in self._expected.values():
            self._acceptor.closings[slot.pool, "unclaimed"] += 1
            self._descriptors.shut(slot.descriptor)
        for own in self.parted.values():
            self._acceptor.closings[own.pool, "unclaimed"] += 1
            own.close()
        self._expected.clear()
        self.parted.clear()

    def close(self) -> None:
        """The acceptor stops: the slots whose offers it waits for stay with their proxies."""
        self.hold()
        for slot in self._expected.values():
            self._descriptors.close(slot.descriptor)
        for own in self.parted.values():
            own.let_go()
        self._expected.clear()
        self.parted.clear()

    def _is_ours(self, identity: Identity) -> bool:
        """Whether a slot with this identity is parked here already, leased or not."""
        slots = self._acceptor.slots
        for number in reversed(slots):
            if number <= self._last:
                break
            self._known[slots[number].identity()] = number
        self._last = next(reversed(slots), self._last)
        if len(self._known) > 2 * len(slots) + 1024:
            self._known = {identity: number for identity, number in self._known.items() if number in slots}
        return self._known.get(identity, -1) in slots
