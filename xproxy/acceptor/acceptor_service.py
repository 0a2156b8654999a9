"""The acceptor as a service: its endpoints, its handoff socket, and how it stops."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import attr
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.task import LoopingCall

from ..config import EVERYWHERE, Config, PoolConfig
from ..interfaces import ILeaseHolder
from ..net.listening import ListenService, ensure_deferred
from ..startup import StartupError
from ..tls.certificate_store import CertificateStore
from ..tls.contexts import TLSPolicy
from .acceptor import Acceptor
from .admission import check_exposure
from .handoff_server import HandoffFactory, HandoffServer
from .local import LocalSource
from .registering import SlotFactory
from .tls_slots import BridgeFactory

SHARED_LOOK_S = 10.0
"""How often shared slots, from which nobody reads here, are looked at for their end."""


def slots_certificate_store(reactor: Any, config: Config) -> Optional[CertificateStore]:
    """The certificates of the ``slots_tls`` endpoints, None when there are none. Raises StartupError."""
    pools = [pool for pool in config.pools.values() if pool.slots_tls]
    for pool in pools:
        if not (config.acceptor.certificates and config.acceptor.client_ca and pool.service_names):
            raise StartupError(f"pool {pool.name}: slots_tls needs service_names, and [acceptor] certificates and client_ca")
    policy = TLSPolicy(config.acceptor.client_ca, client_required=True, http2=False, tickets=False)
    return CertificateStore(reactor, config.acceptor.certificates, policy) if pools else None


class AcceptorService(MultiService):
    """Everything an acceptor is, in one service.

    :param config: the pools with their endpoints, and ``acceptor.handoff``.
    :param monotonic: the clock of arrivals, in seconds, the same for all processes of the host.
    :raises StartupError: from the constructor for a mistake in the configuration, from ``privilegedStartService`` when it can't
        listen; ``stopService`` then closes what did listen.
    """

    def __init__(self, reactor: Any, config: Config, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.acceptor = Acceptor(config.pools.values(), monotonic)
        self.listeners: List[ListenService] = []
        self._reactor = reactor
        self._factories: List[SlotFactory] = []
        for description, pools in _by_endpoint(config, lambda pool: pool.slots).items():
            self._add_listener(config, description, pools, monotonic)
        self._handoff: List[HandoffServer] = []
        if config.acceptor.handoff:
            factory = HandoffFactory(self.acceptor, config.pools, reactor, monotonic)
            server = HandoffServer(reactor, config.acceptor.handoff, factory)
            server.setServiceParent(self)
            self._handoff.append(server)
        self.tls_listeners: List[ListenService] = []
        self.certificates = slots_certificate_store(reactor, config)
        if self.certificates is not None:
            self.certificates.setServiceParent(self)
        self._bridges: List[BridgeFactory] = []
        for description, pools in _by_endpoint(config, lambda pool: pool.slots_tls).items():
            self._add_tls_listener(config, description, pools, monotonic)
        self._looking = LoopingCall(self.acceptor.lose_ended_shared)
        self._looking.clock = reactor

    def _add_listener(self, config: Config, description: str, pools: List[PoolConfig], monotonic: Callable[[], float]) -> None:
        if description.partition(":")[0] in ("ssl", "tls"):
            raise StartupError(f"pool {pools[0].name}: {description}: slots over TLS go into slots_tls, as tcp:")
        factory = self._slot_factory(config, description, pools, monotonic)

        def check(port: IListeningPort) -> None:
            for pool in pools:
                check_exposure(pool, description, port)

        listener = ListenService(self._reactor, description, factory, check)
        listener.setServiceParent(self)
        self.listeners.append(listener)
        self._factories.append(factory)

    def _add_tls_listener(
        self, config: Config, description: str, pools: List[PoolConfig], monotonic: Callable[[], float]
    ) -> None:
        """A certificate says who may come, so nothing else has to: not even an address, unless it was asked for."""
        assert self.certificates is not None
        pools = [pool if pool.allow_given else attr.evolve(pool, allow=EVERYWHERE) for pool in pools]
        slots = self._slot_factory(config, description, pools, monotonic)
        bridges = BridgeFactory(self.certificates, slots, pools, config.timeouts.handshake, self._reactor)
        listener = ListenService(self._reactor, description, bridges)
        listener.setServiceParent(self)
        self.tls_listeners.append(listener)
        self._bridges.append(bridges)

    def _slot_factory(
        self, config: Config, description: str, pools: List[PoolConfig], monotonic: Callable[[], float]
    ) -> SlotFactory:
        modes = {pool.registration for pool in pools}
        if len(modes) > 1:
            names = ", ".join(pool.name for pool in pools)
            raise StartupError(f"pools {names} share {description}, but register by {' and '.join(sorted(modes))}")
        return SlotFactory(self.acceptor, pools, modes.pop(), config.acceptor.registration_timeout, self._reactor, monotonic)

    def tls_addresses(self) -> List[IAddress]:
        """Where services register over TLS."""
        return [listener.port.getHost() for listener in self.tls_listeners if listener.port is not None]

    def certificate_ends(self) -> Sequence[Tuple[str, str, float]]:
        """Name, kind of key and end (seconds since 1970) of each certificate in use."""
        pairs = () if self.certificates is None else self.certificates.pairs
        return [(pair.label, pair.kind, pair.not_after.timestamp()) for pair in pairs]

    def reload(self) -> None:
        """Read the certificates and the client CA again."""
        if self.certificates is not None:
            self.certificates.reload()

    def startService(self) -> None:
        """Start, and look at the shared slots from time to time."""
        super().startService()
        self._looking.start(SHARED_LOOK_S, now=False)

    def local_source(self, holder: ILeaseHolder) -> LocalSource:
        """The slot source of a proxy in this process."""
        return LocalSource(self.acceptor, holder)

    def census(self) -> Dict[str, Dict[str, Any]]:
        """What is where, by pool: see ``Acceptor.census``."""
        return self.acceptor.census()

    def drain(self) -> Deferred[Any]:
        """Let no new slot and no new proxy in; fires when nobody listens any more, and no slot over TLS is leased.

        What runs on other slots needs no waiting for: a proxy in another process goes on with the leases it holds when the
        acceptor is gone, and one in this process drains by itself, before the acceptor is stopped.
        """
        stopping: List[Deferred[Any]] = [listener.stopService() for listener in (*self.listeners, *self.tls_listeners)]
        stopping.extend(bridges.drain() for bridges in self._bridges)
        stopping.extend(server.stop_listening() for server in self._handoff)
        for factory in self._factories:
            factory.close()
        return DeferredList(stopping, fireOnOneErrback=True, consumeErrors=True)

    def stopService(self) -> Deferred[Any]:
        """Stop listening, hang up on the proxies, close the idle slots; leased ones stay with whoever has them, but for those
        over TLS. Fires when nobody listens and the last bridge is gone.
        """
        if self._looking.running:
            self._looking.stop()
        for factory in self._factories:
            factory.close()
        stopping: List[Deferred[Any]] = [bridges.stop() for bridges in self._bridges]
        self.acceptor.close()
        stopping.append(ensure_deferred(super().stopService()))
        return DeferredList(stopping, fireOnOneErrback=True, consumeErrors=True)


def _by_endpoint(config: Config, endpoints: Callable[[PoolConfig], Sequence[str]]) -> Dict[str, List[PoolConfig]]:
    """The pools of each endpoint, in the order of the configuration."""
    found: Dict[str, List[PoolConfig]] = {}
    for pool in config.pools.values():
        for description in endpoints(pool):
            found.setdefault(description, []).append(pool)
    return found
