"""The proxy as a service of a twistd application: its listening endpoints, its pools, its end."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall
from zope.interface import implementer

from .. import config as cfg
from ..interfaces import ILeaseHolder, ISlotSource
from ..log_file import LogFile
from ..net.descriptors import descriptors_of
from ..reload import Change, prepare_all
from ..startup import StartupError, os_reason
from .clients.front import HTTPFront
from .entrances import OWN, Entrances, Provision
from .exchanges import orphans
from .exchanges.lease import Lease
from .requests.access_log import AccessLog
from .requests.gateway import Gateway


def open_access_log(config: cfg.ProxyConfig) -> Optional[AccessLog]:
    """The access log that the configuration asks for. Raises StartupError when its file can't be opened."""
    if config.access_log == "none":
        return None
    try:
        return AccessLog(LogFile(config.access_log), config.access_log_format)
    except OSError as error:
        raise StartupError(f"access log {config.access_log}: {os_reason(error)}") from error


@implementer(ILeaseHolder)
class ProxyService(MultiService):
    """A proxy. Give it a slot source with ``attach`` before it starts.

    :param monotonic: see ``Gateway``, which is given the next two as well.
    :param provision: see there.
    :raises StartupError: from the constructor, for endpoints and files of the configuration that can't be used.
    """

    def __init__(
        self,
        reactor: Any,
        config: cfg.Config,
        monotonic: Callable[[], float],
        wall_time: Callable[[], float] = time.time,  # noqa: TID251 - as the Gateway has it
        random_bytes: Callable[[int], bytes] = os.urandom,
        provision: Provision = OWN,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self.config = config
        try:
            self.gateway = Gateway(reactor, config, monotonic, open_access_log(config.proxy), wall_time, random_bytes)
        except (OSError, ValueError) as error:
            raise StartupError(f"error pages {config.proxy.error_pages}: {os_reason(error)}") from error
        self.front = HTTPFront(self.gateway)
        self.entrances = Entrances(reactor, self.front, config, provision)
        self.entrances.setServiceParent(self)
        self._source: Optional[ISlotSource] = None
        self._found = False
        """The source answers."""
        self._drained: Optional[Deferred[None]] = None
        self._drain_timer: Optional[IDelayedCall] = None

    def certificate_ends(self) -> Sequence[Tuple[str, str, float]]:
        """Name, kind of key and end (seconds since 1970) of each certificate in use."""
        certificates = self.entrances.certificates
        pairs = () if certificates is None else certificates.pairs
        return [(pair.label, pair.kind, pair.not_after.timestamp()) for pair in pairs]

    # -- another configuration

    def prepare(self, config: cfg.Config) -> Change:
        """Get ready for another configuration: see ``Change``, and docs/architecture/lifecycle.md.

        Its connections stay; what runs ends under the configuration that it began with.

        :raises StartupError: it can't be used; nothing has changed then.
        """
        return prepare_all((self._prepare_policy, self._prepare_log, self.entrances.prepare), config)

    def use(self, config: cfg.Config) -> Deferred[Any]:
        """Go by another configuration; fires when the endpoints that it has not are closed. Raises as ``prepare`` does."""
        return self.prepare(config).commit()

    def _prepare_policy(self, config: cfg.Config) -> Change:
        try:
            change = self.gateway.prepare(config)
        except (OSError, ValueError) as error:
            raise StartupError(f"error pages {config.proxy.error_pages}: {os_reason(error)}") from error

        def commit() -> Deferred[Any]:
            before = dict(self.gateway.pools)
            self.config = config
            done = change.commit()
            if self._source is not None and self._found:
                for name, pool in self.gateway.pools.items():
                    if before.get(name) is not pool:
                        pool.attach(self._source)
            return done

        return Change(commit, change.abort)

    def _prepare_log(self, config: cfg.Config) -> Change:
        """Another access log when its path or its format is another; the lines so far go to the one that they are for."""
        wanted, used, before = config.proxy, self.config.proxy, self.gateway.access_log
        if (wanted.access_log, wanted.access_log_format) == (used.access_log, used.access_log_format):
            return Change(lambda: succeed(None), lambda: None)
        if before is not None and wanted.access_log == used.access_log:
            log: Optional[AccessLog] = AccessLog(before.file, wanted.access_log_format)
        else:
            log = open_access_log(wanted)

        def commit() -> Deferred[Any]:
            self.gateway.log_to(log)
            return succeed(None)

        def abort() -> None:
            if log is not None and (before is None or log.file is not before.file):
                log.file.close()

        return Change(commit, abort)

    def reopen_logs(self) -> None:
        """The files of logs were moved away."""
        if self.gateway.access_log is not None:
            self.gateway.access_log.reopen()

    def attach(self, source: ISlotSource) -> None:
        """Take slots from ``source``."""
        self._source = source

    def startService(self) -> None:
        """Begin, and ask for slots: with the first ask, be it for none, they are dealt out ahead of need."""
        super().startService()
        self.gateway.begin()
        if self._source is not None:
            self.acceptor_found()

    def addresses(self) -> Sequence[IAddress]:
        """Where it listens without TLS."""
        return self.entrances.addresses(secure=False)

    def secure_addresses(self) -> Sequence[IAddress]:
        """Where it listens with TLS."""
        return self.entrances.addresses(secure=True)

    @property
    def can_serve(self) -> bool:
        """Whether a request could get a slot: the acceptor answers, or some slot is held anyway."""
        return (self._source is not None and self._source.answers) or self.gateway.counts.connections["slot"] > 0

    # -- ILeaseHolder

    def lease_granted(self, pool: str, lease: int, descriptor: int, service: str) -> None:
        """See ILeaseHolder."""
        assert self._source is not None
        granted, found = Lease(self._source, lease, service), self.gateway.pool_of(pool)
        if found is not None:
            found.lease_granted(granted, descriptor)
        else:  # It was asked for before the pool was removed.
            descriptors_of(self._reactor).close(descriptor)
            granted.give_back()

    def leases_recalled(self, pool: str, waiting: int, at_once: bool = False) -> None:
        """See ILeaseHolder."""
        found = self.gateway.pool_of(pool)
        if found is not None:
            found.leases_recalled(waiting, at_once)

    def lease_asked_back(self, pool: str, lease: int) -> None:
        """See ILeaseHolder."""
        found = self.gateway.pool_of(pool)
        if found is not None:
            found.lease_asked_back(lease)

    def ask_answered(self, pool: str, question: int) -> None:
        """See ILeaseHolder."""
        found = self.gateway.pool_of(pool)
        if found is not None:
            found.ask_answered(question)

    def service_registered(self, pool: str, registered: bool) -> None:
        """See ILeaseHolder. The acceptor may have pools that are not ours."""
        if pool in self.gateway.pools:
            self.gateway.pools[pool].service_registered(registered)

    def acceptor_lost(self) -> None:
        """See ILeaseHolder."""
        self._found = False
        for pool in (*self.gateway.pools.values(), *self.gateway.leaving):
            pool.detach()

    def acceptor_found(self) -> None:
        """See ILeaseHolder."""
        assert self._source is not None
        self._found = True
        for pool in self.gateway.pools.values():  # Those that leave go on with what they have.
            orphans.offer(pool, self._source)
        for pool in (*self.gateway.pools.values(), *self.gateway.leaving):
            pool.attach(self._source)

    def offer_refused(self, pool: str, lease: int) -> None:
        """See ILeaseHolder."""
        found = self.gateway.pool_of(pool)
        if found is not None:
            orphans.refused(found, lease)

    # -- the end

    def drain(self) -> Deferred[None]:
        """Stop listening, finish what runs; fires when nothing runs any more or ``drain_timeout`` is over."""
        if self._drained is not None:
            return self._drained
        drained: Deferred[None] = Deferred()
        self._drained = drained
        self.gateway.draining = True
        self._drain_timer = self._reactor.callLater(self.config.proxy.drain_timeout, self._end_drain)
        self.entrances.stop_listening().addCallback(lambda _: self._watch_clients())
        return drained

    def _watch_clients(self) -> None:
        self.front.on_empty = self._end_drain
        self.front.drain()
        if not self.front.clients:
            self._end_drain()

    def _end_drain(self) -> None:
        drained = self._drained
        if drained is not None and not drained.called:
            if self._drain_timer is not None and self._drain_timer.active():
                self._drain_timer.cancel()
            drained.callback(None)

    def stopService(self) -> Any:
        """Drop what still runs and give the leases back."""
        self._end_drain()
        self.gateway.draining = True
        self.gateway.stop()
        for client in list(self.front.clients):
            client.transport.abortConnection()
        return super().stopService()

    def status(self) -> Dict[str, Any]:
        """What ``/status`` says as far as the proxy knows: per pool, by name."""
        return self.gateway.status()
