"""The numbers a proxy keeps: plain integers and buckets that the hot path adds to and ``/metrics`` reads.

Nothing here locks, allocates on the common path or knows Prometheus: ``admin.metrics`` turns these objects into its text format
when somebody asks. One thread, the reactor's, touches them.
"""

from __future__ import annotations

from bisect import bisect_left

SECONDS_BUCKETS: tuple[float, ...] = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)
"""Upper bounds, in seconds: prometheus_client's default series (5 ms to 10 s), drawn out to what one core answers in (half a
millisecond) and to the default timeouts (30 s in the line, 60 s for a response)."""


class Histogram:
    """How often values fell into each bucket, and their sum. A value on a bound belongs to that bucket (``le``, not ``lt``)."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = SECONDS_BUCKETS) -> None:
        if not bounds or any(low >= high for low, high in zip(bounds, bounds[1:])):
            raise ValueError("bounds must rise strictly, and there must be one")
        self.bounds = bounds
        self.counts: list[int] = [0] * (len(bounds) + 1)
        """One count for each bound, and one, the last, for what lies past them all. Not cumulative."""
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[float, int]]:
        """Each upper bound with how many values lay at or below it; the last bound is infinity."""
        total = 0
        pairs: list[tuple[float, int]] = []
        for bound, count in zip((*self.bounds, float("inf")), self.counts):
            total += count
            pairs.append((bound, total))
        return pairs


OUTCOMES = ("served", "full", "share", "timeout", "absent", "left", "stopping", "removed")
"""How a wait for a slot ends: with a slot; refused because too many wait, or too many of one client; after ``queue_timeout``;
after ``absent_timeout``, no service being registered; because the client has left; because the proxy stops; because the pool is
not configured any more."""

MAX_GONE = 64
"""Services without a slot whose counts are kept: their names are theirs to choose."""

GONE_S = 600.0
"""And for how long, in seconds: a service that closes its slot after each answer is never gone for as long as that."""


class ServiceCounts:
    """What happened on the slots of one service, as this proxy saw it."""

    __slots__ = ("name", "pool", "slots", "in_flight", "most_in_flight", "served")

    def __init__(self, name: str, pool: PoolCounts) -> None:
        self.name = name
        self.pool = pool
        self.slots = self.in_flight = self.most_in_flight = self.served = 0

    def took_slot(self) -> None:
        """An exchange went onto a slot of this service."""
        self.in_flight = in_flight = self.in_flight + 1
        if in_flight > self.most_in_flight:
            self.most_in_flight = in_flight
        pool = self.pool
        pool.in_flight = in_flight = pool.in_flight + 1
        if in_flight > pool.most_in_flight:
            pool.most_in_flight = in_flight

    def left_slot(self, served: bool) -> None:
        """An exchange left its slot, whatever became of it; ``served``: with a response."""
        pool = self.pool
        self.in_flight -= 1
        pool.in_flight -= 1
        if served:
            self.served += 1
            pool.served += 1


class PoolCounts:
    """What happened in one pool, as this proxy saw it."""

    __slots__ = (
        "served", "in_flight", "most_in_flight", "codes", "retries", "queue_seconds", "served_waits", "response_seconds",
        "services", "_gone",
    )  # fmt: skip

    def __init__(self) -> None:
        self.served = 0
        """Exchanges whose response came from a slot."""
        self.in_flight = 0
        """Exchanges on a slot at this moment."""
        self.most_in_flight = 0
        """The highest ``in_flight`` so far."""
        self.codes: dict[int, int] = {}
        """Final answers to clients by status code, our own (502, 503, 504 ...) included; 499: the client left before one."""
        self.retries: dict[str, int] = {}
        """Exchanges tried again, by reason."""
        self.queue_seconds = {outcome: Histogram() for outcome in OUTCOMES}
        """From the arrival in the line to the end of the wait, by outcome."""
        self.served_waits = self.queue_seconds["served"]
        self.response_seconds = Histogram()
        """From the slot to the end of the service's response."""
        self.services: dict[str, ServiceCounts] = {}
        """By name: services with slots here, and those that had some not long ago."""
        self._gone: dict[str, float] = {}

    def answered(self, code: int) -> None:
        """A client was given its final answer."""
        codes = self.codes
        codes[code] = codes.get(code, 0) + 1

    def retried(self, reason: str) -> None:
        """An exchange is tried again. The reasons are a fixed few words: they become label values."""
        self.retries[reason] = self.retries.get(reason, 0) + 1

    def service(self, name: str) -> ServiceCounts:
        """The counts of a service, made when first asked for."""
        counts = self.services.get(name)
        if counts is None:
            counts = self.services[name] = ServiceCounts(name, self)
        return counts

    def slot_held(self, counts: ServiceCounts) -> None:
        """This proxy has a slot of a service."""
        counts.slots += 1
        self._gone.pop(counts.name, None)

    def slot_gone(self, counts: ServiceCounts, now: float) -> None:
        """This proxy has it no more. The counts of a service that has none here are kept for a while."""
        counts.slots -= 1
        if counts.slots == 0:
            self._gone[counts.name] = now
            self.forget_gone(now)

    def forget_gone(self, now: float) -> None:
        """Drop the counts of services that are gone for long, and of those gone longest when they are many."""
        gone = self._gone
        while gone:
            name, at = next(iter(gone.items()))
            if len(gone) <= MAX_GONE and now - at <= GONE_S:
                return
            del gone[name], self.services[name]


class ProxyCounts:
    """What happened in one proxy."""

    __slots__ = (
        "pools",
        "connections",
        "connections_total",
        "refused",
        "timeouts",
        "routeless",
        "handshakes",
        "bad_requests",
        "accept_failures",
        "spools",
    )

    def __init__(self) -> None:
        self.pools: dict[str, PoolCounts] = {}
        self.connections: dict[str, int] = {"client": 0, "slot": 0}
        """Open at this moment, by side: client, slot and, once there was one, handshake: clients that came no further yet."""
        self.connections_total: dict[str, int] = {"client": 0}
        """Opened so far, by side; of slots the acceptor counts that, as registrations."""
        self.refused: dict[str, int] = {}
        """Connections closed at once, by reason (a fixed few words)."""
        self.timeouts: dict[str, int] = {}
        """Clients that were too slow, by the timeout: its key in the configuration."""
        self.routeless: dict[int, int] = {}
        """Answers given without a pool, by status code: bad requests, targets no route takes, redirects."""
        self.accept_failures: dict[str, int] = {}
        """How often no connection could be accepted for want of descriptors or memory, by the system's reason."""
        self.bad_requests: dict[str, int] = {}
        """Requests that were refused for what they are, by reason (a fixed few words)."""
        self.spools: dict[str, int] = {"bytes": 0, "files": 0}
        """What is in files at this moment, of bodies that did not fit into memory: see ``net.bodies.space``."""
        self.handshakes: dict[str, int] = {}
        """How TLS handshakes ended, by outcome (a fixed few words)."""

    def pool(self, name: str) -> PoolCounts:
        """The counts of one pool, made when first asked for. Call it with configured names only."""
        counts = self.pools.get(name)
        if counts is None:
            counts = self.pools[name] = PoolCounts()
        return counts

    def opened(self, side: str) -> None:
        """A connection of ``side`` is open."""
        self.connections[side] = self.connections.get(side, 0) + 1
        self.connections_total[side] = self.connections_total.get(side, 0) + 1

    def closed(self, side: str) -> None:
        """A connection of ``side`` is gone."""
        self.connections[side] -= 1

    def handshook(self, outcome: str) -> None:
        """A TLS handshake is over, well (``done``) or not."""
        self.handshakes[outcome] = self.handshakes.get(outcome, 0) + 1

    def refuse(self, reason: str) -> None:
        """A connection was closed at once."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def bad_request(self, reason: str) -> None:
        """A request was refused for what it is."""
        self.bad_requests[reason] = self.bad_requests.get(reason, 0) + 1

    def timed_out(self, timeout: str) -> None:
        """A client was too slow."""
        self.timeouts[timeout] = self.timeouts.get(timeout, 0) + 1

    def answered(self, code: int) -> None:
        """A client was given an answer that no pool stands behind."""
        self.routeless[code] = self.routeless.get(code, 0) + 1
