"""A pool in the proxy: the line of waiting exchanges, the slots this proxy leases, and the asks for more.

Between the callers (``front``, ``resource``), which submit exchanges, and a slot source (an acceptor in this process or behind
the handoff socket), which grants leases. Who is served next is decided by the pure ``slots.line``.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, MutableSequence, Optional, Sequence

from twisted.internet.interfaces import IDelayedCall

from ... import config as cfg
from ...http1.limits import HeadLimits
from ...interfaces import ISlotSource
from ...metrics import PoolCounts
from ...net.descriptors import adopt
from ...net.splice import Splicer
from ...net.sweep import NEVER, Sweep
from ...slots.book import ASK_WINDOW
from ...slots.line import Fate, Line, LineFull
from .errors import Busy
from .exchange import Exchange
from .leased_slot import ORPHAN, LeasedSlot

ASK_INTERVAL_S = 0.01
"""How often an ask that is not urgent is said anew; it bounds how far a request can overtake across proxies."""

RETRY_AFTER_S = 1
"""What a refused client is told to wait (RFC 9110 section 10.2.3): the line may be shorter in a second."""


class ServiceCounts:
    """What happened on the slots of one service, as this proxy saw it."""

    __slots__ = ("slots", "in_flight", "most_in_flight", "served")

    def __init__(self) -> None:
        self.slots = self.in_flight = self.most_in_flight = self.served = 0

    def began(self) -> None:
        """An exchange went onto a slot of this service."""
        self.in_flight = in_flight = self.in_flight + 1
        if in_flight > self.most_in_flight:
            self.most_in_flight = in_flight

    def ended(self) -> None:
        """An exchange left its slot."""
        self.in_flight -= 1


class Pool:
    """One pool. See the module's docstring.

    :param monotonic: the clock of arrivals and deadlines, in seconds, the same for all processes of the host.
    """

    def __init__(
        self,
        reactor: Any,
        monotonic: Callable[[], float],
        config: cfg.PoolConfig,
        limits: cfg.LimitsConfig,
        sweep: Sweep,
        counts: PoolCounts,
        connections: Dict[str, int],
    ) -> None:
        self.reactor = reactor
        self.monotonic = monotonic
        self.config = config
        self.limits = limits
        self.response_limits = HeadLimits(
            header=limits.header, head=limits.head, header_count=limits.header_count, trailers=limits.trailers
        )
        self.sweep = sweep
        self.counts = counts
        self._connections = connections
        self.line: Line[Exchange, LeasedSlot] = Line(config.queue_limit)
        self.slots: Dict[LeasedSlot, None] = {}
        self.services: Dict[str, ServiceCounts] = {}
        self.board: MutableSequence[int] = bytearray(1)
        self.splicer: Optional[Splicer] = None
        """For long bodies; set by the gateway, which owns it."""
        self._source: Optional[ISlotSource] = None
        self._seen = 0
        self._asked: List[float] = []
        """What the source believes: what was said last, less what it has granted since."""
        self._news = False
        """A grant has come since it was said."""
        self._saying = False
        self._stopped = False
        self._ask_later: Optional[IDelayedCall] = None
        sweep.add(self)

    # -- the callers' side

    def submit(self, exchange: Exchange) -> None:
        """Serve ``exchange`` now or as soon as a slot is free; it is told when that can't be."""
        free = self.line.free
        while free:
            if free.popleft().begin(exchange, exchange.arrival):
                return
        if self._stopped:
            exchange.refused(Busy("stopping", retry_after_s=RETRY_AFTER_S))
            return
        try:
            self.line.join(exchange, exchange.arrival)
        except LineFull:
            exchange.refused(Busy("queue-full", retry_after_s=RETRY_AFTER_S))
            return
        self._ask()

    def resubmit(self, exchange: Exchange) -> None:
        """Serve ``exchange`` again, at the place its arrival gives it."""
        free = self.line.free
        while free:
            if free.popleft().begin(exchange, self.monotonic()):
                return
        self.line.rejoin(exchange, exchange.arrival)
        self._ask()

    def leave(self, exchange: Exchange) -> None:
        """``exchange`` waits no longer."""
        if self.line.leave(exchange):
            self._ask()

    @property
    def deadline(self) -> float:
        """When the oldest that waits has waited too long."""
        oldest = self.line.oldest()
        return NEVER if oldest is None else oldest + self.config.queue_timeout

    def deadline_passed(self, now: float) -> None:
        """Refuse whoever has waited too long."""
        for exchange in self.line.arrived_by(now - self.config.queue_timeout):
            if self.line.leave(exchange):
                exchange.refused(Busy("queue-timeout", retry_after_s=RETRY_AFTER_S))
        self._ask()

    # -- the slots' side

    def freed(self, slot: LeasedSlot, now: float) -> None:
        """A slot is clean and idle: serve the next, keep it, or give it back."""
        if slot.lease == ORPHAN and self._source is not None:
            slot.close()
            return
        fate = self.line.freed(slot)
        if fate is Fate.GIVE_BACK:
            self._give_back(slot)
        elif isinstance(fate, Exchange):
            if slot.begin(fate, now):
                self._ask()
            else:
                self.resubmit(fate)

    def lost(self, slot: LeasedSlot) -> None:
        """A slot is closed."""
        if slot not in self.slots:
            return
        self._forget(slot)
        self.line.lost(slot)
        if slot.lease != ORPHAN and self._source is not None:
            lease, slot.lease = slot.lease, ORPHAN
            self._source.lease_closed(lease)

    def _give_back(self, slot: LeasedSlot) -> None:
        assert self._source is not None
        self._forget(slot)
        lease, slot.lease = slot.lease, ORPHAN
        slot.give_back()
        self._source.give_back(lease)

    def _forget(self, slot: LeasedSlot) -> None:
        del self.slots[slot]
        self.sweep.discard(slot)
        self._connections["slot"] -= 1
        counts = self.service_counts(slot.service)
        counts.slots -= 1
        if not counts.slots:
            del self.services[slot.service]

    def service_counts(self, service: str) -> ServiceCounts:
        """The counts of a service: kept while it has slots here."""
        counts = self.services.get(service)
        if counts is None:
            counts = self.services[service] = ServiceCounts()
        return counts

    # -- the source's side

    def attach(self, source: ISlotSource) -> None:
        """Ask ``source`` for slots from here on."""
        self._source = source
        self.board = source.board
        self._seen = 0
        self._asked = []
        for slot in list(self.line.free):
            if slot.lease == ORPHAN:
                slot.close()
        self._say()

    def detach(self) -> None:
        """The source is gone: every lease is an orphan, usable until the next source is attached."""
        self._source = None
        self.board = bytearray(1)
        self.line.recalled(())
        for slot in self.slots:
            slot.lease = ORPHAN

    def lease_granted(self, lease: int, descriptor: int, service: str) -> None:
        """See ILeaseHolder."""
        self._seen += 1
        self._news = True
        self._asked = self._asked[1:]
        slot = LeasedSlot(self, lease, service)
        try:
            adopt(self.reactor, descriptor, slot)
        except OSError:
            self.service_counts(service)
            if not self.services[service].slots:
                del self.services[service]
            assert self._source is not None
            self._source.lease_closed(lease)
            return
        self.slots[slot] = None
        self._connections["slot"] += 1
        slot.service_counts.slots += 1
        if slot.seems_alive():
            self.freed(slot, self.monotonic())
        else:  # It ended on its way here, or said what nobody asked for: that must not become somebody's answer.
            slot.close()
        if self._news:
            self._ask()

    def ask_answered(self, question: int) -> None:
        """See ILeaseHolder."""

    def service_registered(self, registered: bool) -> None:
        """See ILeaseHolder."""

    def leases_recalled(self, arrivals: Sequence[float]) -> None:
        """See ILeaseHolder."""
        for slot in self.line.recalled(arrivals):
            self._give_back(slot)

    # -- asking

    def _ask(self) -> None:
        """The line has changed: say so at once when it matters (the first to wait, or grants are coming), else soon."""
        if self._news or not self._asked:
            self._say()
        elif self._ask_later is None and self._source is not None:
            self._ask_later = self.reactor.callLater(ASK_INTERVAL_S, self._say_later)

    def _say_later(self) -> None:
        self._ask_later = None
        self._say()

    def _say(self) -> None:
        """Say what is not known yet. A source that grants while it is asked is asked again only when it has returned."""
        if self._saying:
            return
        self._saying = True
        try:
            while self._source is not None:
                self._news = False
                arrivals = self.line.arrivals(ASK_WINDOW)
                if arrivals == self._asked:
                    return
                self._asked = arrivals
                self._source.ask(self.config.name, arrivals, self._seen)
                if not self._news:
                    return
        finally:
            self._saying = False

    def stop(self) -> None:
        """Give every idle slot back and close the others; whoever waits or is served is told."""
        self._stopped = True
        if self._ask_later is not None:
            self._ask_later.cancel()
            self._ask_later = None
        for slot in list(self.slots):
            if slot.exchange is None and slot.lease != ORPHAN and self._source is not None:
                self.line.lost(slot)
                self._give_back(slot)
            else:
                slot.stop()
        self._source = None
        for exchange in self.line.arrived_by(NEVER):
            if self.line.leave(exchange):
                exchange.refused(Busy("stopping", retry_after_s=RETRY_AFTER_S))
        self.sweep.discard(self)

    def status(self) -> Dict[str, Any]:
        """What ``/status`` says of this pool as far as the proxy knows."""
        return {
            "in_flight": self.counts.in_flight,
            "most_in_flight": self.counts.most_in_flight,
            "queue_length": len(self.line),
            "served": self.counts.served,
            "held": len(self.slots),
            "services": {
                name: {
                    "held": counts.slots,
                    "in_flight": counts.in_flight,
                    "most_in_flight": counts.most_in_flight,
                    "served": counts.served,
                }
                for name, counts in self.services.items()
            },
        }
