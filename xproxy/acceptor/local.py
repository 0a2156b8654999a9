"""The acceptor as a proxy in the same process sees it: plain calls, no messages. Its counterpart is ``handoff.client``."""

from __future__ import annotations

from typing import Any, Callable, Collection, MutableSequence, Optional, Set

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ..interfaces import BOARD_BYTES, ILeaseHolder, ISlotSource
from ..net.descriptors import descriptors_of
from ..slots.tides import ASHORE, Tide, Tides
from .acceptor import Acceptor
from .holding import Holding


@implementer(ISlotSource)
class LocalSource:
    """A slot source for one proxy. ``acceptor_found`` is not called: the acceptor is there from the start.

    :param holder: the proxy. It is told ``acceptor_lost`` when the acceptor stops first.
    """

    answers = True

    def __init__(self, acceptor: Acceptor, holder: ILeaseHolder) -> None:
        self.board: MutableSequence[int] = bytearray(BOARD_BYTES)
        self._acceptor = acceptor
        self._holder = holder
        self.moves: Optional[Callable[[], object]] = None
        """Has the proxy look for another source of slots, since another acceptor takes over; None: it could not."""
        self._holding = acceptor.hold(self, self._busy)
        self._tides: Optional[Tides] = Tides(acceptor.tides.memory, self._holding.column)
        acceptor.greet(self._holding)

    def _busy(self, leases: Collection[int]) -> Set[int]:
        board = self.board
        return {lease for lease in leases if board[lease]}

    # -- ISlotSource

    def tide(self, pool: str) -> Tide:
        """See ISlotSource."""
        return ASHORE if self._tides is None else self._tides.tide(pool)

    def ask(self, pool: str, waiting: int, seen: int, question: int = 0) -> None:
        """See ISlotSource. Raises BadAsk."""
        self._holding.ask(pool, waiting, seen, question)

    def offer(self, pool: str, descriptor: int, service: str, busy: bool) -> int:
        """See ISlotSource. This acceptor lives and dies with its proxy: no former one can have leased anything."""
        descriptors_of(self._acceptor.reactor).close(descriptor)
        raise OSError("nothing is offered to the acceptor of the same process")

    def give_back(self, lease: int) -> None:
        """See ISlotSource. Raises NotLeased."""
        self._holding.give_back(lease)

    def lease_closed(self, lease: int) -> None:
        """See ISlotSource. Raises NotLeased."""
        self._holding.lease_closed(lease)

    def spoke(self, lease: int, data: bytes) -> None:
        """See ISlotSource. Raises NotLeased."""
        self._holding.spoke(lease, data)

    def census(self) -> Deferred[dict[str, Any]]:
        """See ISlotSource."""
        return succeed(self._acceptor.census())

    def leave(self) -> None:
        """The proxy is over: as if its process had died, clean slots go back to the ring, those in an exchange are closed."""
        self._tides = None
        self._holding.leave()

    def part(self, parting: Holding) -> None:
        """Another acceptor takes over: the proxy has its leases as orphans, in a moment, and says nothing here any more.

        :param parting: takes what it says meanwhile.
        """
        self._holding = parting
        self._tides = None
        self._acceptor.reactor.callLater(0, self._move)

    def _move(self) -> None:
        self._holder.acceptor_lost()
        self._holding.leave()
        assert self.moves is not None
        self.moves()

    # -- LeaseEnd

    def lease_granted(self, pool: str, lease: int, descriptor: int, service: str) -> None:
        """See ILeaseHolder."""
        self._holder.lease_granted(pool, lease, descriptor, service)

    def leases_recalled(self, pool: str, waiting: int, number: int) -> None:
        """See ILeaseHolder. The proxy gives back what it can before it returns."""
        self._holder.leases_recalled(pool, waiting, number > 0)
        if number:
            self._holding.recall_done(pool, number)

    def lease_asked_back(self, pool: str, lease: int) -> None:
        """See ILeaseHolder."""
        self._holder.lease_asked_back(pool, lease)

    def ask_answered(self, pool: str, question: int) -> None:
        """See ILeaseHolder."""
        self._holder.ask_answered(pool, question)

    def service_registered(self, pool: str, registered: bool, place: int) -> None:
        """See LeaseEnd."""
        if self._tides is not None:
            self._tides.put(pool, place)
        self._holder.service_registered(pool, registered)

    def acceptor_lost(self) -> None:
        """See ILeaseHolder."""
        self._tides = None
        self._holder.acceptor_lost()
