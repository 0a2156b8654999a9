"""What every way in shares (HTTP/1.1, HTTP/2, the twisted.web resource): the policy, pools, counts, blocks, the log, the clock.

"Gateway" is what RFC 9110 section 3.7 calls a proxy that acts as the origin server for its clients.
"""

from __future__ import annotations

import os
import time
from email.utils import formatdate
from itertools import count
from typing import Any, Callable, Dict, Optional

from twisted.logger import Logger

from ... import config as cfg
from ...http1.errors import BadMessage
from ...http1.fields import Fields
from ...http1.forward import received_request_id
from ...http1.request import RequestHead
from ...metrics import ProxyCounts
from ...net.blocks import Blocks
from ...net.splice import make_splicer
from ...net.sweep import NEVER, Sweep
from ...net.turn import Turn
from ...refusals import RefusalLog
from ..exchanges.pool import Pool
from .access_log import AccessLog
from .guards import make_guards
from .policy import Destination, Policy, make_policy
from .provenance import Provenance
from .request_body import RequestBody

_log = Logger()


class Gateway:
    """What all ways in share that is no policy, and the policy in force. Owned by ``proxy_service.ProxyService``.

    :param monotonic: seconds, one clock for all processes of the host.
    :param wall_time: seconds since 1970, for the dates of responses.
    :param random_bytes: so many, for the ids of requests.
    :raises OSError: the error pages can't be read.
    :raises ValueError: one of them is too large.
    :raises StartupError: a guard can't be made.
    :ivar policy: assigned as a whole; whoever begins a request takes it from here, once.
    """

    def __init__(
        self,
        reactor: Any,
        config: cfg.Config,
        monotonic: Callable[[], float],
        access_log: Optional[AccessLog] = None,
        wall_time: Callable[[], float] = time.time,  # noqa: TID251 - responses are dated in everybody's time
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.reactor = reactor
        self.monotonic = monotonic
        self.access_log = access_log
        self.counts = ProxyCounts()
        self.sweep = Sweep(reactor, monotonic)
        self.turn = Turn(reactor)
        self.splicer = make_splicer()
        self.blocks = Blocks(config.limits.bodies_memory)
        self.pools: Dict[str, Pool] = {}
        for pool in config.pools.values():
            self._add_pool(pool, config.limits)
        self.policy: Policy = make_policy(config, self.pools, self.counts, make_guards(reactor, config))
        self.refusals = RefusalLog(_log, monotonic)
        self.draining = False
        self._request_form = random_bytes(8).hex().encode() + b"%08x"
        self._request_numbers = count(1)
        self._wall_time = wall_time
        self.date = b""
        self.deadline = -NEVER
        self.deadline_passed(0.0)
        self.sweep.add(self)

    def _add_pool(self, config: cfg.PoolConfig, limits: cfg.LimitsConfig) -> None:
        counts = self.counts
        pool = Pool(self.reactor, self.monotonic, config, limits, self.sweep, counts.pool(config.name), counts.connections)
        pool.splicer = self.splicer
        self.pools[config.name] = pool

    # -- what a request asks for

    def request_id(self, fields: Fields) -> bytes:
        """The client's own, when it is a sound one; else unique for this process and, by its random part, among processes."""
        received = b"x-request-id" in fields.special and received_request_id(fields)
        return received or self._request_form % next(self._request_numbers)

    def request_body(self, policy: Policy, to: Destination, announced: int) -> RequestBody:
        """Where a request's body is kept. Raises BadMessage: 413.

        :param announced: its length, -1 when that is not known.
        """
        if announced > to.body_limit:
            raise BadMessage(413, "body-too-large")
        return RequestBody(to.body_limit, policy.limits.request_memory, self.blocks)

    def log(
        self,
        provenance: Provenance,
        to: Destination,
        head: Optional[RequestHead],
        status: int,
        sent_bytes: int,
        began_at: float,
        request_id: bytes,
    ) -> None:
        """Write an answer into the access log. The parameters are those of ``AccessLog.add``; began_at: monotonic seconds."""
        if self.access_log is not None:
            seconds = self.monotonic() - began_at
            version = provenance.version and b"HTTP/" + provenance.version
            self.access_log.add(provenance.peer, head, status, sent_bytes, seconds, to.pool_name, request_id, version)

    # -- now and then, and the end

    def deadline_passed(self, now: float) -> None:
        """At each sweep: the date of responses that come without one, and the access log."""
        self.date = formatdate(self._wall_time(), usegmt=True).encode()
        if self.access_log is not None:
            self.access_log.look(now)

    def begin(self) -> None:
        """Begin with what happens by itself."""
        self.sweep.start()
        if self.access_log is not None:
            self.access_log.begin()

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
