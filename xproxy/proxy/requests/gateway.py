"""What every way in shares (the HTTP/1.1 front, the twisted.web resource): routes, limits, marks, pages, counts, the clock.

"Gateway" is what RFC 9110 section 3.7 calls a proxy that acts as the origin server for its clients.
"""

from __future__ import annotations

import os
from email.utils import formatdate
from itertools import count
from typing import Any, Callable, Dict, Mapping, Optional

from ... import config as cfg
from ...http1.forward import Marks
from ...http1.limits import HeadLimits
from ...metrics import PoolCounts, ProxyCounts
from ...net.blocks import Blocks
from ...net.splice import make_splicer
from ...net.sweep import NEVER, Sweep
from ...net.turn import Turn
from ...slots.access import allowed
from ..exchanges.pool import Pool
from .access_log import AccessLog
from .answers import Pages
from .routes import Router


class Destination:
    """Where a route leads, with everything that its requests need, worked out once."""

    __slots__ = (
        "route", "pool", "counts", "body_limit", "response_timeout", "strip_prefix", "set_host", "buffering", "hsts", "answers",
    )  # fmt: skip

    def __init__(self, route: cfg.RouteConfig, pool: Optional[Pool], limits: cfg.LimitsConfig) -> None:
        self.route = route
        self.pool = pool
        self.counts: Optional[PoolCounts] = pool.counts if pool is not None else None
        self.body_limit = limits.body if route.body_limit is None else route.body_limit
        self.response_timeout = route.response_timeout
        self.strip_prefix = route.strip_prefix.encode()
        self.set_host = route.set_host.encode()
        self.buffering = route.buffering
        self.hsts = route.hsts.encode()
        self.answers = pool is None or route.redirect_https > 0
        """Whether a request may be answered without a service."""


class Gateway:
    """The shared policy. Owned by ``service.ProxyService``.

    :param monotonic: seconds, one clock for all processes of the host.
    """

    def __init__(
        self, reactor: Any, config: cfg.Config, monotonic: Callable[[], float], access_log: Optional[AccessLog] = None
    ) -> None:
        self.reactor = reactor
        self.config = config
        self.limits = config.limits
        self.timeouts = config.timeouts
        self.monotonic = monotonic
        self.access_log = access_log
        self.counts = ProxyCounts()
        self.sweep = Sweep(reactor, monotonic)
        self.turn = Turn(reactor)
        self.head_limits = HeadLimits(
            request_line=self.limits.request_line,
            header=self.limits.header,
            head=self.limits.head,
            header_count=self.limits.header_count,
            trailers=self.limits.trailers,
        )
        subject_field = config.proxy.client_subject_header.encode() if config.proxy.client_ca else b""
        self.marks = Marks(style=config.proxy.forwarded, via=config.proxy.name.encode(), subject_field=subject_field)
        self.pages = Pages(config.proxy.error_pages)
        self.pools: Mapping[str, Pool] = {
            name: Pool(reactor, monotonic, pool, self.limits, self.sweep, self.counts.pool(name), self.counts.connections)
            for name, pool in config.pools.items()
        }
        self.splicer = make_splicer()
        self.blocks = Blocks(self.limits.bodies_memory)
        for pool in self.pools.values():
            pool.splicer = self.splicer
        self.router = Router([(route, self._destination(route)) for route in config.routes])
        self.draining = False
        self._request_form = os.urandom(8).hex().encode() + b"%08x"
        self._request_numbers = count(1)
        self.date = b""
        self.deadline = -NEVER
        self.deadline_passed(0.0)
        self.sweep.add(self)

    def _destination(self, route: cfg.RouteConfig) -> Destination:
        pool = None if route.redirect is not None or route.respond is not None else self.pools[route.pool]
        return Destination(route, pool, self.limits)

    def destination(self, pool: str) -> Destination:
        """Where everything goes to one pool, whatever the routes say. Raises KeyError."""
        return Destination(cfg.RouteConfig(pool=pool), self.pools[pool], self.limits)

    def deadline_passed(self, now: float) -> None:
        """At each sweep: the date of responses that come without one, and the access log."""
        self.date = formatdate(usegmt=True).encode()
        if self.access_log is not None:
            self.access_log.flush()

    def new_request_id(self) -> bytes:
        """Unique for this process and, by its random part, among processes."""
        return self._request_form % next(self._request_numbers)

    def trusts(self, peer: str) -> bool:
        """Whether what ``peer`` says about where a request came from is believed."""
        return bool(peer) and allowed(peer, self.config.proxy.trusted_proxies)

    def stop(self) -> None:
        """End everything."""
        self.sweep.stop()
        for pool in self.pools.values():
            pool.stop()
        if self.splicer is not None:
            self.splicer.close()
        if self.access_log is not None:
            self.access_log.close()

    def status(self) -> Dict[str, Any]:
        """What ``/status`` says as far as the proxy knows: per pool, by name."""
        return {name: pool.status() for name, pool in self.pools.items()}
