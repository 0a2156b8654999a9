"""What proxies bring from a former acceptor: slots that they lease from it still, and that are this acceptor's from here on.

A proxy that finds an acceptor offers it the slots that it has: free ones and those in use. So the successor of one that has
died has them back without any service having to dial. See docs/architecture/takeover.md.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

from twisted.logger import Logger

from ...net.descriptors import Identity, adopt, descriptors_of
from ..acceptor import Acceptor
from ..holding import Holding
from ..parked import ParkedSlot
from ..registering import SlotConnection, SlotFactory, plain_socket


class OfferedSlot(SlotConnection):
    """The connection of a slot that has registered elsewhere: it is parked by whoever adopts it, right away."""

    def connectionMade(self) -> None:
        """Adopted: nothing is read yet."""
        transport: Any = self.transport
        transport.pauseProducing()
        self._lent = plain_socket(transport)

    def park(self, acceptor: Acceptor, pool: str, service: str, holding: Optional[Holding]) -> ParkedSlot:
        """Park it. Raises UnknownPool."""
        assert self._lent is not None
        self._slot = acceptor.park(pool, service, self.transport, self._lent, None, holding)
        return self._slot


class Offers:
    """Who may offer what. Owned by the listener of the handoff socket.

    A slot is offered by one proxy: the one that had leased it. That none of ours is offered, and none twice, is seen by what
    its descriptor is of.
    """

    _log = Logger()

    def __init__(self, acceptor: Acceptor, reactor: Any, monotonic: Callable[[], float]) -> None:
        self._acceptor = acceptor
        self._reactor = reactor
        self._descriptors = descriptors_of(reactor)
        self._factory = SlotFactory(acceptor, "", reactor, monotonic)
        self._known: Dict[Identity, int] = {}
        """The number of each slot that we have or had, by what it is of."""
        self._last = -1

    def admit(self, holding: Holding, pool: str, service: str, descriptor: int) -> Optional[ParkedSlot]:
        """A proxy offers a slot: parked, and leased to it; None when it can't be. The descriptor is closed in any case."""
        config = self._acceptor.config.pools.get(pool)
        book = self._acceptor.books.get(pool)
        if config is None or book is None or book.registered >= config.max_slots or self._is_ours(descriptor):
            self._descriptors.close(descriptor)
            return None
        connection = OfferedSlot(self._factory, "")
        try:
            adopt(self._reactor, descriptor, connection)
        except OSError as error:
            self._log.info("pool {pool}: a slot that a proxy offers is none: {error}", pool=pool, error=error)
            return None
        self._acceptor.registrations[pool, "offered"] += 1
        return connection.park(self._acceptor, pool, service, holding)

    def _is_ours(self, descriptor: int) -> bool:
        """Whether we have this slot already, whoever leases it here."""
        slots = self._acceptor.slots
        for number in reversed(slots):
            if number <= self._last:
                break
            self._known[slots[number].identity()] = number
        self._last = next(reversed(slots), self._last)
        if len(self._known) > 2 * len(slots) + 1024:
            self._known = {identity: number for identity, number in self._known.items() if number in slots}
        return self._known.get(self._descriptors.identity(descriptor), -1) in slots
