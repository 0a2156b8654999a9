"""The proxy as a service of a twistd application: its listening endpoints, its pools, its end."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory
from zope.interface import implementer

from .. import config as cfg
from ..config.checks import BALANCED
from ..interfaces import ILeaseHolder, ISlotSource
from ..log_file import LogFile
from ..metrics import ProxyCounts
from ..net.accepting import accept_plainly
from ..net.descriptors import descriptors_of
from ..net.keepalive import USER_TIMEOUT_S
from ..net.listening import ListenService
from ..net.shortage import Shortage
from ..startup import StartupError, os_reason
from ..tls.certificate_store import CertificateStore, utc_now
from ..tls.contexts import TLSPolicy
from ..tls.self_signed import self_signed_pair
from .clients.balanced import BalancedFront
from .clients.front import HTTPFront
from .clients.https import HTTPSFront
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


def tls_policy(config: cfg.ProxyConfig) -> TLSPolicy:
    """What every context of the ``https`` endpoints has."""
    return TLSPolicy(config.client_ca, config.client_certificates == "required", config.http2)


def certificate_store(reactor: Any, config: cfg.ProxyConfig) -> Optional[CertificateStore]:
    """The certificates of the ``https`` endpoints, None when there are none. Raises StartupError."""
    if not config.https:
        return None
    made = [self_signed_pair(utc_now())] if config.self_signed else []
    return CertificateStore(reactor, config.certificates, tls_policy(config), made)


@implementer(ILeaseHolder)
class ProxyService(MultiService):
    """A proxy. Give it a slot source with ``attach`` before it starts.

    :param monotonic: see ``Gateway``, which is given the others too.
    :raises StartupError: from the constructor, for endpoints and files of the configuration that can't be used.
    """

    def __init__(
        self,
        reactor: Any,
        config: cfg.Config,
        monotonic: Callable[[], float],
        wall_time: Callable[[], float] = time.time,  # noqa: TID251 - as the Gateway has it
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self.config = config
        try:
            self.gateway = Gateway(reactor, config, monotonic, open_access_log(config.proxy), wall_time, random_bytes)
        except (OSError, ValueError) as error:
            raise StartupError(f"error pages {config.proxy.error_pages}: {os_reason(error)}") from error
        self.front = HTTPFront(self.gateway)
        self.shortage = Shortage(reactor, self.front.make_room, self.gateway.counts.accept_failures)
        self._listening: List[ListenService] = []
        self._listening_secure: List[ListenService] = []
        for description in config.proxy.http:
            self._listen(description, self.front, self._listening)
        self.certificates = certificate_store(reactor, config.proxy)
        if self.certificates is not None:
            self.certificates.setServiceParent(self)
            secure = HTTPSFront(self.front, self.certificates)
            for description in config.proxy.https:
                self._listen(description, secure, self._listening_secure)
        self._source: Optional[ISlotSource] = None
        self._found = False
        """The source answers."""
        self._drained: Optional[Deferred[None]] = None
        self._drain_timer: Optional[IDelayedCall] = None

    def _listen(self, description: str, factory: IProtocolFactory, listeners: List[ListenService]) -> None:
        plain = description[len(BALANCED) :] if description.startswith(BALANCED) else description
        if plain != description or self.config.proxy.proxy_protocol:
            if not self.config.proxy.trusted_proxies:
                raise StartupError(f"{description}: PROXY headers are believed from trusted_proxies only, and there are none")
            factory = BalancedFront(self.front, factory)
        user_timeout_s = max(USER_TIMEOUT_S, self.config.timeouts.write)
        accept = partial(accept_plainly, user_timeout_s=user_timeout_s)
        listening = ListenService(self._reactor, plain, factory, accept=accept, shortage=self.shortage)
        listeners.append(listening)
        listening.setServiceParent(self)

    @property
    def metrics(self) -> ProxyCounts:
        """The counts, for ``/metrics``."""
        return self.gateway.counts

    def certificate_ends(self) -> Sequence[Tuple[str, str, float]]:
        """Name, kind of key and end (seconds since 1970) of each certificate in use."""
        pairs = () if self.certificates is None else self.certificates.pairs
        return [(pair.label, pair.kind, pair.not_after.timestamp()) for pair in pairs]

    def use(self, config: cfg.Config) -> None:
        """Put another configuration in force: routes, limits, timeouts, pools, pages, marks, guards, certificates.

        The endpoints and their connections stay; what runs ends under the configuration that it began with.

        :raises StartupError: it can't be used; nothing has changed then.
        """
        install = None
        if self.certificates is not None:
            install = self.certificates.prepare(config.proxy.certificates, tls_policy(config.proxy))
        before = dict(self.gateway.pools)
        try:
            self.gateway.use(config)
        except (OSError, ValueError) as error:
            raise StartupError(f"error pages {config.proxy.error_pages}: {os_reason(error)}") from error
        self.config = config
        if install is not None:
            install()
        if self._source is not None and self._found:
            for name, pool in self.gateway.pools.items():
                if before.get(name) is not pool:
                    pool.attach(self._source)

    def reload(self) -> None:
        """Read the certificates again."""
        if self.certificates is not None:
            self.certificates.reload()

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
        return [listening.port.getHost() for listening in self._listening if listening.port is not None]

    def secure_addresses(self) -> Sequence[IAddress]:
        """Where it listens with TLS."""
        return [listening.port.getHost() for listening in self._listening_secure if listening.port is not None]

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

    def leases_recalled(self, pool: str, arrivals: Sequence[float], more: int = 0) -> None:
        """See ILeaseHolder."""
        found = self.gateway.pool_of(pool)
        if found is not None:
            found.leases_recalled(arrivals, more)

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
        stopping = [maybeDeferred(listening.disownServiceParent) for listening in (*self._listening, *self._listening_secure)]
        self._drain_timer = self._reactor.callLater(self.config.proxy.drain_timeout, self._end_drain)
        DeferredList(stopping, consumeErrors=True).addCallback(lambda _: self._watch_clients())
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
