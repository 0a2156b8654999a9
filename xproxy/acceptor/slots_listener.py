"""One endpoint at which services register, with or without TLS, for one pool or several."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

import attr
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IListeningPort

from ..config import Config
from ..net.listening import ListenService, ensure_deferred
from ..startup import StartupError
from ..tls.certificate_store import CertificateStore
from .acceptor import Acceptor
from .admission import check_exposure, pools_at
from .over_tls.tls_slots import BridgeFactory
from .parked import ParkedSlot
from .registering import SlotFactory


@attr.frozen
class Endpoint:
    """Where services register."""

    description: str
    """As the pools name it."""
    secure: bool
    """Whether they name it in ``slots_tls``."""


def endpoints(config: Config) -> Dict[Endpoint, None]:
    """The endpoints of all pools, in the order of the configuration."""
    found: Dict[Endpoint, None] = {}
    for secure in (False, True):
        for pool in config.pools.values():
            for description in pool.slots_tls if secure else pool.slots:
                found[Endpoint(description, secure)] = None
    return found


class SlotsListener:
    """The listening service of one endpoint, and who registers at it.

    :param certificates: for an endpoint over TLS.
    :ivar service: listens; its parent is the caller's to set.
    :ivar slots: the factory of what registers.
    :ivar bridges: the factory of the bridges, over TLS.
    :raises StartupError: the endpoint can't be used, or its pools do not agree about it.
    """

    def __init__(
        self,
        acceptor: Acceptor,
        endpoint: Endpoint,
        certificates: Optional[CertificateStore],
        reactor: Any,
        monotonic: Callable[[], float],
    ) -> None:
        self.endpoint = endpoint
        self._acceptor = acceptor
        self.check()
        self.slots = SlotFactory(acceptor, endpoint.description, reactor, monotonic, endpoint.secure)
        self.bridges: Optional[BridgeFactory] = None
        if not endpoint.secure:
            self.service = ListenService(reactor, endpoint.description, self.slots, self._check_exposure)
            return
        assert certificates is not None
        self.bridges = BridgeFactory(certificates, self.slots, lambda: acceptor.config, reactor)
        self.service = ListenService(reactor, endpoint.description, self.bridges)

    def check(self) -> None:
        """Whether the pools of the configuration agree about this endpoint. Raises StartupError."""
        description = self.endpoint.description
        pools = pools_at(self._acceptor.config, description, self.endpoint.secure)
        if not self.endpoint.secure and description.partition(":")[0] in ("ssl", "tls"):
            raise StartupError(f"pool {pools[0].name}: {description}: slots over TLS go into slots_tls, as tcp:")
        modes = {pool.registration for pool in pools}
        if len(modes) > 1:
            names = ", ".join(pool.name for pool in pools)
            raise StartupError(f"pools {names} share {description}, but register by {' and '.join(sorted(modes))}")
        service: Optional[ListenService] = getattr(self, "service", None)
        if service is not None and service.port is not None and not self.endpoint.secure:
            self._check_exposure(service.port)

    def _check_exposure(self, port: IListeningPort) -> None:
        for pool in pools_at(self._acceptor.config, self.endpoint.description, False):
            check_exposure(pool, self.endpoint.description, port)

    def drain(self) -> Deferred[Any]:
        """Let nobody in any more; fires when nobody listens, and no slot over TLS is leased."""
        stopping = [self.service.stopService()]
        if self.bridges is not None:
            stopping.append(self.bridges.drain())
        self.slots.close()
        return DeferredList(stopping, fireOnOneErrback=True, consumeErrors=True)

    @property
    def has_something(self) -> bool:
        """Whether somebody registers, or is told why not, or is carried over TLS."""
        return bool(self.slots.registering or self.slots.lingering or (self.bridges is not None and self.bridges.bridges))

    def bridged(self) -> List[ParkedSlot]:
        """The slots that came over TLS, which can't leave this process."""
        protocols = [] if self.bridges is None else [bridge.slot for bridge in self.bridges.bridges]
        return [slot.parked for slot in protocols if slot is not None and slot.parked is not None]

    def stop(self) -> Deferred[Any]:
        """The acceptor stops: close who has not registered, and what it carries over TLS; fires when that is gone."""
        self.slots.close()
        return self.bridges.stop() if self.bridges is not None else ensure_deferred(None)

    def give_up(self) -> Deferred[Any]:
        """Listen no longer; what has registered stays. Fires when the port is closed."""
        self.slots.close()
        return ensure_deferred(self.service.disownServiceParent() if self.service.parent is not None else None)
