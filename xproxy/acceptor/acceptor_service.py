"""The acceptor as a service: its endpoints, its handoff socket, and how it stops."""

from __future__ import annotations

import time
from socket import AF_UNIX
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IAddress
from twisted.internet.task import LoopingCall

from ..config import Config
from ..interfaces import ILeaseHolder
from ..net.descriptors import descriptors_of
from ..net.listening import ListenService, ensure_deferred
from ..reload import Change
from ..slots.dealing import DEAL_INTERVAL_S
from ..startup import StartupError
from ..tls.certificate_store import CertificateStore, exchange_stores
from ..tls.contexts import TLSPolicy
from .acceptor import Acceptor
from .handoff_server import HandoffFactory, HandoffServer
from .local import LocalSource
from .parked import ParkedSlot
from .registering import SlotFactory
from .slots_listener import Endpoint, SlotsListener, endpoints
from .succession.succession import Succession


def tls_policy(config: Config) -> TLSPolicy:
    """What every context of the ``slots_tls`` endpoints has."""
    return TLSPolicy(config.acceptor.client_ca, client_required=True, http2=False, tickets=False)


def is_secure(config: Config) -> bool:
    """Whether there are ``slots_tls`` endpoints. Raises StartupError: there are, without what they need."""
    pools = [pool for pool in config.pools.values() if pool.slots_tls]
    for pool in pools:
        if not (config.acceptor.certificates and config.acceptor.client_ca and pool.service_names):
            raise StartupError(f"pool {pool.name}: slots_tls needs service_names, and [acceptor] certificates and client_ca")
    return bool(pools)


class AcceptorService(MultiService):
    """Everything an acceptor is, in one service.

    :param config: the pools with their endpoints, and ``acceptor.handoff``.
    :param monotonic: the clock of arrivals, in seconds, the same for all processes of the host.
    :raises StartupError: from the constructor for a mistake in the configuration, from ``privilegedStartService`` when it can't
        listen; ``stopService`` then closes what did listen.
    """

    def __init__(self, reactor: Any, config: Config, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.acceptor = Acceptor(config, monotonic, reactor)
        self.certificates: Optional[CertificateStore] = None
        """Of the ``slots_tls`` endpoints, None when there are none."""
        self._reactor = reactor
        self._monotonic = monotonic
        self._endpoints: Dict[Endpoint, SlotsListener] = {}
        self.prepare(config).commit()
        self._handoff: List[HandoffServer] = []
        self.succession = Succession(
            self.acceptor, reactor, self.listening, self._bridged, self._has_something, self.take_proxy
        )
        self._proxies = HandoffFactory(self.acceptor, reactor, monotonic)
        """Of proxies that have not come over the handoff socket."""
        self.succession.share_offers(self._proxies)
        if config.acceptor.handoff:
            factory = HandoffFactory(self.acceptor, reactor, monotonic)
            self.add_handoff(HandoffServer(reactor, config.acceptor, factory))
        self._looking = LoopingCall(self.acceptor.look)
        self._looking.clock = reactor

    def add_handoff(self, server: HandoffServer) -> None:
        """Proxies reach the acceptor by this, and another acceptor that takes over from it."""
        server.setServiceParent(self)
        self._handoff.append(server)
        self.succession.over(server.factory)

    # -- what there is to hand on

    def listening(self) -> Dict[Tuple[str, str], Any]:
        """What listens, or will, by kind and description."""
        found: Dict[Tuple[str, str], Any] = {
            ("slots_tls" if endpoint.secure else "slots", endpoint.description): listener.service
            for endpoint, listener in self._endpoints.items()
        }
        found.update((("handoff", ""), server) for server in self._handoff)
        return found

    def _bridged(self) -> Dict[ParkedSlot, None]:
        return {slot: None for listener in self._endpoints.values() for slot in listener.bridged()}

    def _has_something(self) -> bool:
        return any(listener.has_something for listener in self._endpoints.values())

    def slot_factories(self) -> List[SlotFactory]:
        """Where services register without TLS."""
        return [listener.slots for endpoint, listener in self._endpoints.items() if not endpoint.secure]

    def _add(
        self, endpoint: Endpoint, certificates: Optional[CertificateStore], gone: Sequence[SlotsListener]
    ) -> SlotsListener:
        listener = SlotsListener(self.acceptor, endpoint, certificates, self._reactor, self._monotonic)
        self._endpoints[endpoint] = listener
        listener.service.take_place([other.service for other in gone])
        try:
            listener.service.setServiceParent(self)
        except StartupError:
            self._remove(listener)
            raise
        return listener

    def _remove(self, listener: SlotsListener) -> Deferred[Any]:
        del self._endpoints[listener.endpoint]
        return listener.give_up()

    @property
    def listeners(self) -> List[ListenService]:
        """Where services register without TLS."""
        return [listener.service for listener in self._endpoints.values() if not listener.endpoint.secure]

    @property
    def tls_listeners(self) -> List[ListenService]:
        """Where services register over TLS."""
        return [listener.service for listener in self._endpoints.values() if listener.endpoint.secure]

    def tls_addresses(self) -> List[IAddress]:
        """Where services register over TLS."""
        return [listener.port.getHost() for listener in self.tls_listeners if listener.port is not None]

    def certificate_ends(self) -> Sequence[Tuple[str, str, float]]:
        """Name, kind of key and end (seconds since 1970) of each certificate in use."""
        pairs = () if self.certificates is None else self.certificates.pairs
        return [(pair.label, pair.kind, pair.not_after.timestamp()) for pair in pairs]

    # -- the configuration

    def prepare(self, config: Config) -> Change:
        """Get ready for another configuration: see ``Change``.

        Pools are added, changed and given up by it, endpoints listened on or no longer, certificates read. What has registered
        stays where it is, unless its pool is gone. The handoff socket stays what it is.

        :raises StartupError: the configuration can't be used; then nothing has changed.
        """
        if self.acceptor.handing_on:
            raise StartupError("another acceptor takes over")
        wanted = endpoints(config)
        certificates, install = self._certificates_for(config)
        before = self.acceptor.config
        gone = [listener for endpoint, listener in self._endpoints.items() if endpoint not in wanted]
        added: List[SlotsListener] = []

        def abort() -> None:
            for listener in added:
                self._remove(listener)

        def commit() -> Deferred[Any]:
            install()
            self._show(certificates)
            self.acceptor.config = config
            closing = [self._remove(listener) for listener in gone]
            self.acceptor.configure(config)
            return DeferredList(closing, consumeErrors=True)

        self.acceptor.config = config
        try:
            for endpoint in wanted:
                if endpoint not in self._endpoints:
                    added.append(self._add(endpoint, certificates, gone))
                else:
                    self._endpoints[endpoint].check()
        except StartupError:
            abort()
            raise
        finally:
            self.acceptor.config = before
        return Change(commit, abort)

    def configure(self, config: Config) -> Deferred[Any]:
        """Let another configuration take the place of this one; fires when endpoints that are gone are closed. Raises as
        ``prepare`` does.
        """
        return self.prepare(config).commit()

    def _certificates_for(self, config: Config) -> Tuple[Optional[CertificateStore], Callable[[], None]]:
        """The store for a configuration, and what puts its certificates into it. Raises StartupError."""
        if not is_secure(config):
            return None, lambda: None
        if self.certificates is not None:
            return self.certificates, self.certificates.prepare(config.acceptor.certificates, tls_policy(config))
        return CertificateStore(self._reactor, config.acceptor.certificates, tls_policy(config)), lambda: None

    def _show(self, certificates: Optional[CertificateStore]) -> None:
        before, self.certificates = self.certificates, certificates
        exchange_stores(self, before, certificates)

    # -- running

    def startService(self) -> None:
        """Start, deal idle slots out from time to time, and watch what is lent."""
        super().startService()
        self._looking.start(DEAL_INTERVAL_S, now=False)
        self.acceptor.lending.sweep.start()

    def take_proxy(self, descriptor: int) -> None:
        """A proxy is at the other end of a socket pair, as if it had come over the handoff socket.

        :param descriptor: of our end; closed here, or by who takes over.
        :raises OSError: there is no descriptor to have it with.
        """
        if self.acceptor.handing_on:
            self.succession.proxy_came(descriptor)
            return
        try:
            self._reactor.adoptStreamConnection(descriptor, AF_UNIX, self._proxies)
        finally:
            descriptors_of(self._reactor).close(descriptor)

    def local_source(self, holder: ILeaseHolder) -> LocalSource:
        """The slot source of a proxy in this process."""
        return LocalSource(self.acceptor, holder)

    def census(self) -> Dict[str, Dict[str, Any]]:
        """What is where, by pool: see ``acceptor.census``."""
        return self.acceptor.census()

    def drain(self) -> Deferred[Any]:
        """Let no new slot and no new proxy in; fires when nobody listens any more, nothing runs on what is lent, and no slot
        over TLS is leased.

        What runs on other slots needs no waiting for: a proxy in another process goes on with the leases it holds when the
        acceptor is gone, and one in this process drains by itself, before the acceptor is stopped.
        """
        if self.succession.is_over:
            return self.succession.drain()
        self.succession.stop()
        stopping: List[Deferred[Any]] = [listener.drain() for listener in self._endpoints.values()]
        stopping.extend(server.stop_listening() for server in self._handoff)
        stopping.append(self.acceptor.lending.drain())
        return DeferredList(stopping, fireOnOneErrback=True, consumeErrors=True)

    def stopService(self) -> Deferred[Any]:
        """Stop listening, hang up on the proxies, close the idle slots; leased ones stay with whoever has them, but for those
        over TLS. Fires when nobody listens and the last bridge is gone.
        """
        if self._looking.running:
            self._looking.stop()
        self.succession.stop()
        stopping: List[Deferred[Any]] = [listener.stop() for listener in self._endpoints.values()]
        self._proxies.cut_all()
        self.acceptor.close()
        stopping.append(ensure_deferred(super().stopService()))
        return DeferredList(stopping, fireOnOneErrback=True, consumeErrors=True)
