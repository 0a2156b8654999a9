"""What every way in shares (HTTP/1.1, HTTP/2, the twisted.web resource): the policy, pools, counts, blocks, the log, the clock.

"Gateway" is what RFC 9110 section 3.7 calls a proxy that acts as the origin server for its clients.
"""

from __future__ import annotations

import os
import time
from email.utils import formatdate
from itertools import count
from typing import Any, Callable, Dict, List, Optional

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from ... import config as cfg
from ...http1.errors import BadMessage
from ...http1.fields import Fields
from ...http1.forward import received_request_id
from ...http1.request import RequestHead
from ...metrics import ProxyCounts
from ...net.bodies.blocks import Blocks
from ...net.bodies.space import Bounds, Space
from ...net.bodies.splice import make_splicer
from ...net.sweep import NEVER, Sweep
from ...net.turn import Turn
from ...refusals import RefusalLog
from ...reload import Change
from ...startup import StartupError, os_reason
from ..exchanges.errors import ExchangeError
from ..exchanges.pool import Pool, status_of
from .access_log import AccessLog
from .guards import make_guards
from .policy import Destination, Policy, make_policy
from .provenance import Provenance
from .request_body import RequestBody

_log = Logger()


def _bounds(limits: cfg.LimitsConfig) -> Bounds:
    return Bounds(limits.spool_bytes, limits.spool_files, limits.client_spool_bytes, limits.client_spool_files)


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
        self.space = Space(_bounds(config.limits), self.counts.spools)
        self.pools: Dict[str, Pool] = {}
        self.leaving: List[Pool] = []
        """Pools that are not configured any more, until the last of their requests and slots has gone."""
        self.pools.update({name: self._new_pool(pool, config.limits) for name, pool in config.pools.items()})
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

    def prepare(self, config: cfg.Config) -> Change:
        """Get ready to put another configuration in force, in one assignment; requests that run end under the policy they began
        with.

        Its pools are there at once, changed ones go by it from here on; those that it does not name are left by their requests
        and slots.

        :raises OSError, ValueError, StartupError: as the constructor; nothing has changed then.
        """
        added = {name: self._new_pool(pool, config.limits) for name, pool in config.pools.items() if name not in self.pools}
        pools = {name: added[name] if name in added else self.pools[name] for name in config.pools}

        def abort() -> None:
            for pool in added.values():
                pool.retire()

        try:
            policy = make_policy(config, pools, self.counts, make_guards(self.reactor, config))
        except (OSError, ValueError, StartupError):
            abort()
            raise

        def commit() -> Deferred[Any]:
            for name, pool in pools.items():
                if name not in added:
                    pool.reconfigure(config.pools[name], config.limits)
            removed = [pool for name, pool in self.pools.items() if name not in pools]
            self.pools, self.policy = pools, policy
            self.space.bounds = _bounds(config.limits)
            self.blocks.resize(config.limits.bodies_memory)
            for pool in removed:
                pool.retire()
            self.leaving = [pool for pool in (*self.leaving, *removed) if not pool.over]
            return succeed(None)

        return Change(commit, abort)

    def log_to(self, log: Optional[AccessLog]) -> None:
        """Log into another file, or in another form, or no longer; what was logged so far is handed to the file before."""
        before, self.access_log = self.access_log, log
        if log is not None and self.sweep.running:
            log.begin()
        if before is not None:
            before.close()
            if log is None or log.file is not before.file:
                before.file.close()

    def pool_of(self, name: str) -> Optional[Pool]:
        """The pool that is told what an acceptor says of ``name``: also one that is being left; None: there is none."""
        return self.pools.get(name) or next((pool for pool in self.leaving if pool.config.name == name), None)

    def _new_pool(self, config: cfg.PoolConfig, limits: cfg.LimitsConfig) -> Pool:
        counts = self.counts
        pool = Pool(self.reactor, self.monotonic, config, limits, self.sweep, counts.pool(config.name), counts.connections)
        pool.splicer = self.splicer
        return pool

    # -- what a request asks for

    def request_id(self, fields: Fields) -> bytes:
        """The client's own, when it is a sound one; else unique for this process and, by its random part, among processes."""
        received = b"x-request-id" in fields.special and received_request_id(fields)
        return received or self._request_form % next(self._request_numbers)

    def request_body(self, policy: Policy, to: Destination, announced: int, client: str) -> RequestBody:
        """Where a request's body is kept, of the share of ``client``. Raises BadMessage: 413.

        :param announced: its length, -1 when that is not known.
        """
        if announced > to.body_limit:
            raise BadMessage(413, "body-too-large")
        return RequestBody(to.body_limit, policy.limits.request_memory, self.blocks, self.space, client)

    def log(
        self,
        provenance: Provenance,
        to: Destination,
        head: Optional[RequestHead],
        status: int,
        sent_bytes: int,
        began_at: float,
        request_id: bytes,
        error: Optional[ExchangeError] = None,
    ) -> None:
        """Write an answer into the access log. The parameters are those of ``AccessLog.add``.

        :param began_at: monotonic seconds.
        :param error: why the answer is one of ours, or broke off.
        """
        if self.access_log is not None:
            seconds = self.monotonic() - began_at
            version = provenance.version and b"HTTP/" + provenance.version
            client = provenance.peer if head is None or not provenance.trusted else provenance.client(head.fields)
            reason, service = (error.reason, error.service) if error is not None else ("", "")
            self.access_log.add(client, head, status, sent_bytes, seconds, to.pool_name, request_id, version, reason, service)

    def refused(self, provenance: Provenance, error: BadMessage, received: Optional[bytes] = None, sent_bytes: int = 0) -> None:
        """A request was refused for what it is: count that, and say it, but seldom.

        :param received: what came of a head that was none, which the access log then has with the answer; None: there is a
            head, whose answer is logged like any other.
        """
        self.counts.bad_request(error.reason)
        what = "bad request from {peer}: {reason}" if error.status < 500 else "a request from {peer} can't be taken: {reason}"
        self.refusals.say(what, peer=provenance.peer or "a UNIX socket", reason=error.reason)
        if received is not None and self.access_log is not None:
            self.access_log.add_refused(provenance.peer, received, error.status, sent_bytes, error.reason)

    def not_kept(self, error: OSError) -> None:
        """There is no space for what a client does not take of its answer: say it, but seldom."""
        self.refusals.say("an answer that its client does not take can't be kept: {reason}", reason=os_reason(error))

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
        for pool in (*self.pools.values(), *self.leaving):
            pool.stop()
        if self.splicer is not None:
            self.splicer.close()
        if self.access_log is not None:
            self.access_log.close()

    def status(self) -> Dict[str, Any]:
        """What ``/status`` says as far as the proxy knows: per pool, by name."""
        return {name: status_of(pool) for name, pool in self.pools.items()}
