"""What is decided about requests, as one frozen value: a new configuration makes a new one, and running requests keep theirs.

``gateway.Gateway`` has the one in force. Whoever begins a request takes it from there, once, and asks it for everything that
the configuration says until the request has ended.
"""

from __future__ import annotations

from typing import Dict, Mapping, Optional, Tuple, Union

import attr

from ... import config as cfg
from ...http1.forward import Marks
from ...http1.limits import HeadLimits
from ...metrics import PoolCounts, ProxyCounts
from ...net.peers import UNIX_PEER
from ...slots.access import allowed
from ..exchanges.pool import Pool
from .answers import Pages
from .guards import Guard
from .routes import Router


class Destination:
    """Where a route leads, with everything that its requests need, worked out once.

    :param pool: None: its requests are answered without a service.
    :param counts: of the answers of requests that reach no pool.
    :param guards: asked in this order whether a request may pass.
    """

    __slots__ = (
        "route", "pool", "counts", "body_limit", "response_timeout", "strip_prefix", "set_host", "buffering", "hsts", "answers",
        "guards",
    )  # fmt: skip

    def __init__(
        self,
        route: cfg.RouteConfig,
        pool: Optional[Pool],
        limits: cfg.LimitsConfig,
        counts: ProxyCounts,
        guards: Tuple[Guard, ...] = (),
    ) -> None:
        self.route = route
        self.pool = pool
        self.counts: Union[PoolCounts, ProxyCounts] = pool.counts if pool is not None else counts
        self.body_limit = limits.body if route.body_limit is None else route.body_limit
        self.response_timeout = route.response_timeout
        self.strip_prefix = route.strip_prefix.encode()
        self.set_host = route.set_host.encode()
        self.buffering = route.buffering
        self.hsts = route.hsts.encode()
        self.answers = pool is None or route.redirect_https > 0
        """Whether a request may be answered without a service."""
        self.guards = guards

    @property
    def pool_name(self) -> str:
        """The pool's name, as logs write it; empty: there is none."""
        return self.pool.config.name if self.pool is not None else ""


@attr.frozen(eq=False)
class Policy:
    """See the module's docstring. ``make_policy`` makes it.

    :ivar by_pool: where everything goes to one pool, by the pool's name, whatever the routes say.
    :ivar nowhere: where requests lead that no route takes, and what is no request.
    """

    config: cfg.Config
    limits: cfg.LimitsConfig
    timeouts: cfg.TimeoutsConfig
    head_limits: HeadLimits
    marks: Marks
    pages: Pages
    router: Router[Destination]
    by_pool: Mapping[str, Destination]
    nowhere: Destination
    trusted_proxies: cfg.Networks
    trusts_unix: bool = False

    def trusts(self, peer: str) -> bool:
        """Whether what ``peer`` says about where a request came from is believed. ``peer`` is as ``client_host`` gives it."""
        return self.trusts_unix if peer == UNIX_PEER else peer != "" and allowed(peer, self.trusted_proxies)


def make_policy(config: cfg.Config, pools: Mapping[str, Pool], counts: ProxyCounts, guards: Mapping[str, Guard]) -> Policy:
    """The policy of a configuration.

    :param pools: all that ``config`` names, by name.
    :param guards: the same.
    :raises OSError: the error pages can't be read.
    :raises ValueError: one of them is too large.
    """
    limits = config.limits
    by_pool: Dict[str, Destination] = {
        name: Destination(cfg.RouteConfig(pool=name), pools[name], limits, counts) for name in config.pools
    }
    routes = []
    for route in config.routes:
        pool = None if route.redirect is not None or route.respond is not None else pools[route.pool]
        asked = tuple(guards[name] for name in route.guards)
        routes.append((route, Destination(route, pool, limits, counts, asked)))
    return Policy(
        config=config,
        limits=limits,
        timeouts=config.timeouts,
        head_limits=HeadLimits(
            request_line=limits.request_line,
            header=limits.header,
            head=limits.head,
            header_count=limits.header_count,
            trailers=limits.trailers,
        ),
        marks=Marks(
            style=config.proxy.forwarded,
            via=config.proxy.name.encode(),
            subject_field=config.proxy.client_subject_header.encode() if config.proxy.client_ca else b"",
        ),
        pages=Pages(config.proxy.error_pages),
        router=Router(routes, config.proxy.path_matching == "exact"),
        by_pool=by_pool,
        nowhere=Destination(cfg.RouteConfig(), None, limits, counts),
        trusted_proxies=tuple(each for each in config.proxy.trusted_proxies if not isinstance(each, cfg.UnixPeers)),
        trusts_unix=cfg.UnixPeers() in config.proxy.trusted_proxies,
    )
