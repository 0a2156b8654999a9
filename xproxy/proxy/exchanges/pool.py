"""A pool in the proxy: the line of waiting exchanges, the slots this proxy leases, who is refused and why.

Between the callers (``clients/``), which submit exchanges, and a slot source (an acceptor in this process or behind the handoff
socket), which grants leases. Who is served next is decided by the pure ``slots.line``; what is asked for, by ``asking``.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

from twisted.logger import Logger

from ... import config as cfg
from ...dispatch import find_dispatch
from ...http1.limits import HeadLimits
from ...interfaces import ANSWER_S, MAX_WAITING, ISlotSource
from ...metrics import PoolCounts
from ...net.bodies.splice import Splicer
from ...net.descriptors import adopt
from ...net.polling import readiness_of
from ...net.sweep import NEVER, Sweep
from ...refusals import RefusalLog
from ...slots.line import Fate, Line, LineFull
from ...slots.patience import Patience, Terms
from ...slots.shares import Shares, most_of
from ...slots.slow_start import SlowStart
from .asking import StandingAsk
from .errors import Busy
from .exchange import Exchange
from .lease import Lease
from .leased_slot import LeasedSlot
from .sharing import Sharing
from .slot_connection import SlotConnection

RETRY_AFTER_S = 1
"""What a refused client is told to wait (RFC 9110 section 10.2.3): the line may be shorter in a second."""

REASONS = {
    "full": "queue-full",
    "share": "client-share",
    "timeout": "queue-timeout",
    "absent": "no-service",
    "stopping": "stopping",
    "removed": "pool-removed",
}
"""What a refused client is told, by the outcome of its wait (``metrics.OUTCOMES``)."""


class Pool:
    """One pool. See the module's docstring.

    :param monotonic: the clock of arrivals and deadlines, in seconds, the same for all processes of the host.
    :ivar slots: the slots that are held, in the order in which they came.
    :ivar asking: what is asked for.
    :ivar over: the pool is retired, and nothing of it is left.
    """

    _log = Logger()

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
        self.response_limits = _response_limits(limits)
        self.readiness = readiness_of(reactor)
        self.sweep = sweep
        self.counts = counts
        self._connections = connections
        dispatch = find_dispatch(config.dispatch)
        self._newcomers: SlowStart[LeasedSlot] = SlowStart(dispatch.free_leases(), attrgetter("service"), monotonic)
        free = self._newcomers.leases(config.slow_start)
        self.line: Line[Exchange, LeasedSlot] = Line(config.queue_limit, dispatch.waiting(), free)
        self.slots: Dict[LeasedSlot, None] = {}
        self.splicer: Optional[Splicer] = None
        """For long bodies; set by the gateway, which owns it."""
        self.over = False
        self.failures = RefusalLog(self._log, monotonic)
        """What services did wrong, told seldom."""
        self.asking = StandingAsk(reactor, config.name, self.line)
        self._sharing = Sharing(reactor, monotonic, self.line, self.give_back)
        self._patience = Patience(Terms(config.queue_timeout, config.absent_timeout))
        self._shares = Shares(most_of(config.queue_limit, config.client_share))
        self._past_share: Dict[Exchange, Tuple[str, int]] = {}
        """Those in the line who came past their client's share, with the client and the question whose answer decides."""
        self._refusal = ""
        """Why nobody can join any more: an outcome."""
        sweep.add(self)

    # -- the callers' side

    def submit(self, exchange: Exchange) -> None:
        """Serve ``exchange`` now or as soon as a slot is free; it is told when that can't be."""
        free = self.line.free
        while free:
            if free.popleft().begin(exchange, exchange.arrival):
                return
        if self._refusal:
            self._refuse(exchange, self._refusal)
            return
        line, asking = self.line, self.asking
        client = exchange.caller.client() if exchange.caller is not None else ""
        outcome = "share"
        try:
            if not client or self._shares.enter(client):
                exchange.share = client or None
                outcome = "full"
                line.join(exchange, exchange.arrival)
                asking.changed()
                return
        except LineFull:
            pass
        if asking.dry or asking.source is None or line.past >= MAX_WAITING:
            self._refuse(exchange, outcome)
            return
        question = asking.new_question()
        line.join_past(exchange, exchange.arrival, question)
        if outcome == "share":
            self._past_share[exchange] = (client, question)
        asking.changed()

    def resubmit(self, exchange: Exchange) -> None:
        """Serve ``exchange`` again, at the place its arrival gives it."""
        free = self.line.free
        while free:
            if free.popleft().begin(exchange, self.monotonic()):
                return
        self.line.rejoin(exchange, exchange.arrival)
        self.asking.changed()

    def leave(self, exchange: Exchange) -> None:
        """``exchange`` waits no longer: its client has left."""
        if self.line.leave(exchange):
            self._give_up_share(exchange)
            self.counts.queue_seconds["left"].observe(self.monotonic() - exchange.arrival)
            self.asking.changed()
            self._end_if_over()

    def _refuse(self, exchange: Exchange, outcome: str) -> None:
        """Tell an exchange that is not in the line that there will be no slot."""
        self._give_up_share(exchange)
        self.counts.queue_seconds[outcome].observe(self.monotonic() - exchange.arrival)
        exchange.refused(Busy(REASONS[outcome], retry_after_s=RETRY_AFTER_S))

    def _give_up_share(self, exchange: Exchange) -> None:
        """It waits no longer."""
        share, exchange.share = exchange.share, None
        if share is not None:
            self._shares.leave(share)
        elif self._past_share:
            self._past_share.pop(exchange, None)

    def _decided(self, refused: List[Exchange], question: float) -> None:
        """It is known that no slot is idle anywhere for those who asked up to this question, and came past a bound."""
        for exchange in refused:
            self._refuse(exchange, "full")
        for exchange, (client, asked) in list(self._past_share.items()):
            if asked > question:
                continue
            del self._past_share[exchange]
            if self._shares.enter(client):
                exchange.share = client
            elif self.line.leave(exchange):
                self._refuse(exchange, "share")

    # -- waits that are too long

    @property
    def deadline(self) -> float:
        """When the oldest that waits has waited too long, or too long for an answer; when an absence is to be spoken of."""
        oldest = self.line.oldest()
        if oldest is None:
            return NEVER
        when = self._patience.soonest(oldest)
        past = self.line.oldest_past()
        if past is not None:
            when = min(when, past + ANSWER_S)
        return min(when, self._patience.absence_at(oldest))

    def deadline_passed(self, now: float) -> None:
        """Refuse whoever has waited too long."""
        oldest = self.line.oldest()
        if oldest is not None and self._patience.absence_at(oldest) <= now:
            self._patience.absence_said = True
            self._log.warn("pool {pool}: requests wait and no service is registered", pool=self.config.name)
        past = self.line.oldest_past()
        if past is not None and past <= now - ANSWER_S:
            self._decided(self.line.decide(latest=now - ANSWER_S), NEVER)
        for exchange in self.line.arrived_by(now):
            until, outcome = self._patience.until(exchange.arrival)
            if until < now and self.line.leave(exchange):
                self._refuse(exchange, self._refusal or outcome)
        self.asking.changed()
        self._end_if_over()

    # -- the slots' side

    def freed(self, slot: LeasedSlot, now: float) -> None:
        """A slot is clean and idle: serve the next, keep it, or give it back."""
        if slot.lease.orphaned and self.asking.source is not None:
            slot.close()
            return
        fate = self.line.freed(slot, now)
        if fate is not Fate.KEEP or self.line.others_wait:
            self._free(slot, fate, now)

    def _free(self, slot: LeasedSlot, fate: Union[Exchange, Fate], now: float) -> None:
        if fate is Fate.GIVE_BACK:
            self.give_back(slot)
        elif fate is Fate.KEEP and self.line.others_wait:
            self._sharing.look_soon()
        elif isinstance(fate, Exchange):
            self._give_up_share(fate)
            if slot.begin(fate, now):
                self.asking.changed()
            else:
                self.resubmit(fate)

    def lost(self, slot: LeasedSlot, said: Optional[bytes] = None) -> None:
        """A slot is closed; or, with what its service has ``said``, to be judged by the acceptor."""
        if slot in self.slots:
            self._forget(slot)
            self.line.lost(slot)
            slot.lease.close() if said is None else slot.lease.spoke(said)
            self._end_if_over()

    def give_back(self, slot: LeasedSlot) -> None:
        """A slot that is not among the free ones goes back to the acceptor, which looks whether it is clean."""
        self._forget(slot)
        slot.give_back()
        self._end_if_over()

    def _forget(self, slot: LeasedSlot) -> None:
        del self.slots[slot]
        self.sweep.discard(slot)
        self._connections["slot"] -= 1
        self.counts.slot_gone(slot.counts, self.monotonic())

    # -- the source's side

    def attach(self, source: ISlotSource) -> None:
        """Ask ``source`` for slots from here on. Orphans that it was not offered (see ``orphans``) are closed."""
        for slot in [slot for slot in self.line.free if slot.lease.orphaned]:
            slot.close()
        self._newcomers.began()
        if not self._refusal:
            self._sharing.begin(source.tide(self.config.name))
            self.asking.attach(source)

    def detach(self) -> None:
        """The source is gone: every lease is an orphan, usable until the next source is attached."""
        self.asking.detach()
        self._patience.absent_since = None
        self._sharing.stop()
        for slot in self.slots:
            slot.lease.orphan()

    def lease_granted(self, lease: Lease, descriptor: int) -> None:
        """See ILeaseHolder."""
        self.asking.granted()
        if lease.service not in self.counts.services:
            self._newcomers.came(lease.service)
        slot = LeasedSlot(self, lease)
        self.counts.slot_held(slot.counts)
        try:
            adopt(self.reactor, descriptor, SlotConnection(slot, self.limits.request_memory))
        except OSError:
            self.counts.slot_gone(slot.counts, self.monotonic())
            lease.close()
            return
        self.slots[slot] = None
        self._connections["slot"] += 1
        if slot.connection.holds_something():
            slot.close()  # It ended on its way here, or said what nobody asked for: that must not become somebody's answer.
        else:
            self._free(slot, self.line.granted(slot), self.monotonic())
        self.asking.catch_up()

    def ask_answered(self, question: int) -> None:
        """See ILeaseHolder."""
        refused = self.line.decide(question)
        self.asking.answered(question)
        self._decided(refused, question)
        self.asking.catch_up()

    def service_registered(self, registered: bool) -> None:
        """See ILeaseHolder."""
        if not registered:
            if self._patience.absent_since is None:
                self._patience.absent_since = self.monotonic()
            return
        self._patience.absent_since = None
        if self._patience.absence_said:
            self._patience.absence_said = False
            self._log.info("pool {pool}: a service is registered again", pool=self.config.name)

    def leases_recalled(self, waiting: int, at_once: bool) -> None:
        """See ILeaseHolder."""
        self._sharing.recalled(waiting, at_once)

    def lease_asked_back(self, number: int) -> None:
        """See ILeaseHolder."""
        for slot in [slot for slot in self.line.free if slot.lease.number == number and not slot.lease.orphaned]:
            self.line.lost(slot)
            self.give_back(slot)

    # -- changes, and the end

    def reconfigure(self, config: cfg.PoolConfig, limits: cfg.LimitsConfig) -> None:
        """Go by another configuration: it holds for requests from here on; who waits already waits by the terms it came under.

        :param config: of the same name.
        """
        self._patience.change(Terms(config.queue_timeout, config.absent_timeout), self.monotonic(), self.line.oldest())
        self.line.free = self._newcomers.leases(config.slow_start)
        self.config = config
        self.limits = limits
        self.line.limit = config.queue_limit
        self._shares.most = most_of(config.queue_limit, config.client_share)
        self.response_limits = _response_limits(limits)
        for slot in self.slots:
            slot.response.limits = self.response_limits

    def retire(self) -> None:
        """The pool is not configured any more: nobody joins. At the end, when nothing of it is left, ``over`` is true.

        Who waits is served while there are slots, or refused after the time that it would have waited anyway; slots are given
        back as they become free, and none is asked for.
        """
        self._refusal = "removed"
        self.asking.stop()
        self._sharing.stop()
        for slot in self.line.retire():
            self.give_back(slot)
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._refusal and not self.slots and not len(self.line):
            self.over = True
            self.sweep.discard(self)

    def stop(self) -> None:
        """Give every idle slot back and close the others; whoever waits or is served is told."""
        self._refusal = "stopping"
        self.asking.stop()
        self._sharing.stop()
        for slot in list(self.slots):
            if slot.exchange is None and not slot.lease.orphaned:
                self.line.lost(slot)
                self.give_back(slot)
            else:
                slot.stop()
        for exchange in self.line.arrived_by(NEVER):
            if self.line.leave(exchange):
                self._refuse(exchange, "stopping")
        self._end_if_over()


def status_of(pool: Pool) -> Dict[str, Any]:
    """What ``/status`` says of a pool as far as the proxy knows."""
    pool.counts.forget_gone(pool.monotonic())
    return {
        "in_flight": pool.counts.in_flight,
        "most_in_flight": pool.counts.most_in_flight,
        "queue_length": len(pool.line),
        "served": pool.counts.served,
        "held": len(pool.slots),
        "services": {
            name: {
                "held": counts.slots,
                "in_flight": counts.in_flight,
                "most_in_flight": counts.most_in_flight,
                "served": counts.served,
            }
            for name, counts in pool.counts.services.items()
        },
    }


def _response_limits(limits: cfg.LimitsConfig) -> HeadLimits:
    return HeadLimits(header=limits.header, head=limits.head, header_count=limits.header_count, trailers=limits.trailers)
