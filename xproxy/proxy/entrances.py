"""Where clients come in: the listening endpoints of a proxy, and the certificates that those with TLS show.

An endpoint is known by its description. Another configuration adds some and takes some away; those that it has too are not
touched, and no connection of any is closed.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

import attr
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IAddress, IProtocolFactory, IStreamServerEndpoint

from .. import config as cfg
from ..config.checks import BALANCED
from ..net.accepting import accept_plainly, time_out_peers
from ..net.keepalive import USER_TIMEOUT_S
from ..net.listening import ListenService
from ..net.shortage import Shortage
from ..reload import Change
from ..startup import StartupError
from ..tls.certificate_store import CertificateStore, exchange_stores, utc_now
from ..tls.contexts import TLSPolicy
from ..tls.self_signed import self_signed_pair
from .clients.balanced import BalancedFront
from .clients.front import HTTPFront
from .clients.https import HTTPSFront

Entrance = Tuple[bool, str, int]
"""Whether it is one with TLS, its description without what is ours of it, and which one of those with this description."""


def key_of(entrance: Entrance, index: int = 0) -> Tuple[str, str]:
    """The kind and the description by which a program hands an entrance on to another one.

    :param index: which of its sockets, where it has several.
    """
    secure, description, same = entrance
    return f"{'https' if secure else 'http'} {same} {index}", description


def tls_policy(config: cfg.ProxyConfig) -> TLSPolicy:
    """What every context of the ``https`` endpoints has."""
    return TLSPolicy(config.client_ca, config.client_certificates == "required", config.http2)


def user_timeout_s(config: cfg.Config) -> float:
    """How long a client may leave what was sent unacknowledged."""
    return max(USER_TIMEOUT_S, config.timeouts.write)


def certificates_of(reactor: Any, config: cfg.ProxyConfig) -> CertificateStore:
    """The store of the certificates that a configuration names. Raises StartupError."""
    made = [self_signed_pair(utc_now())] if config.self_signed else []
    return CertificateStore(reactor, config.certificates, tls_policy(config), made)


@attr.frozen
class Provision:
    """What entrances are made of, in a process that has it all itself; another one is given it.

    :ivar endpoint: of a description, asked for once for each entrance that is new; None: what the description says. Raises
        StartupError.
    :ivar certificates: asked for once. Raises StartupError.
    """

    endpoint: Callable[[Any, str], Optional[IStreamServerEndpoint]] = lambda reactor, description: None
    certificates: Callable[[Any, cfg.ProxyConfig], CertificateStore] = certificates_of


OWN = Provision()


class Entrances(MultiService):
    """All entrances of one proxy.

    :param front: makes and counts the clients.
    :param provision: see there.
    :raises StartupError: for endpoints and certificates that can't be used.
    :ivar certificates: of the ``https`` endpoints, None when there are none.
    """

    def __init__(self, reactor: Any, front: HTTPFront, config: cfg.Config, provision: Provision = OWN) -> None:
        super().__init__()
        self._reactor = reactor
        self._front = front
        self._provision = provision
        self._shortage = Shortage(reactor, front.make_room, front.gateway.counts.accept_failures)
        self.certificates: Optional[CertificateStore] = None
        self._secure: Optional[HTTPSFront] = None
        self._balanced: Dict[Any, BalancedFront] = {}
        """By what stands behind."""
        self._listening: Dict[Entrance, ListenService] = {}
        self._user_timeout_s = user_timeout_s(config)
        self.prepare(config).commit()

    def prepare(self, config: cfg.Config) -> Change:
        """Listen on what is new. See ``Change``."""
        certificates, install = self._certificates_for(config.proxy)
        secure = self._secure
        if certificates is not self.certificates:
            secure = None if certificates is None else HTTPSFront(self._front, certificates)
        wanted = self._wanted(config.proxy, secure)
        gone = [listening for entrance, listening in self._listening.items() if entrance not in wanted]
        added: Dict[Entrance, ListenService] = {}

        def abort() -> None:
            for listening in added.values():
                listening.disownServiceParent()

        def commit() -> Deferred[Any]:
            install()
            self._show(certificates)
            self._secure = secure
            self._listening = {entrance: added.get(entrance) or self._listening[entrance] for entrance in wanted}
            for entrance, listening in self._listening.items():
                listening.serve(wanted[entrance])
            self._balanced = {front: it for front, it in self._balanced.items() if front is self._front or front is secure}
            self._time_out(user_timeout_s(config))
            return DeferredList([maybeDeferred(listening.disownServiceParent) for listening in gone], consumeErrors=True)

        try:
            for entrance, factory in wanted.items():
                if entrance not in self._listening:
                    listening = added[entrance] = self._listener(entrance, factory, user_timeout_s(config))
                    listening.take_place(gone)
                    listening.setServiceParent(self)
        except StartupError:
            abort()
            raise
        return Change(commit, abort)

    def _certificates_for(self, config: cfg.ProxyConfig) -> Tuple[Optional[CertificateStore], Callable[[], None]]:
        """The store for a configuration, and what puts its certificates into it. Raises StartupError."""
        if not config.https:
            return None, lambda: None
        if self.certificates is not None:
            return self.certificates, self.certificates.prepare(config.certificates, tls_policy(config))
        return self._provision.certificates(self._reactor, config), lambda: None

    def _show(self, certificates: Optional[CertificateStore]) -> None:
        before, self.certificates = self.certificates, certificates
        exchange_stores(self, before, certificates)

    def _wanted(self, config: cfg.ProxyConfig, secure: Optional[HTTPSFront]) -> Dict[Entrance, IProtocolFactory]:
        """The entrances of a configuration, and what stands behind each. Raises StartupError."""
        wanted: Dict[Entrance, IProtocolFactory] = {}
        for descriptions, front in ((config.http, self._front), (config.https, secure)):
            for description in descriptions:
                assert front is not None
                factory: IProtocolFactory = front
                plain = description[len(BALANCED) :] if description.startswith(BALANCED) else description
                if plain != description or config.proxy_protocol:
                    if not config.trusted_proxies:
                        raise StartupError(
                            f"{description}: PROXY headers are believed from trusted_proxies only, and there are none", plain
                        )
                    factory = self._balanced.setdefault(front, BalancedFront(self._front, front))
                same = sum((front is secure, plain) == entrance[:2] for entrance in wanted)
                wanted[front is secure, plain, same] = factory
        return wanted

    def _listener(self, entrance: Entrance, factory: IProtocolFactory, timeout_s: float) -> ListenService:
        accept = partial(accept_plainly, user_timeout_s=timeout_s)
        endpoint = self._provision.endpoint(self._reactor, entrance[1])
        return ListenService(self._reactor, entrance[1], factory, accept=accept, shortage=self._shortage, endpoint=endpoint)

    def _time_out(self, timeout_s: float) -> None:
        if timeout_s != self._user_timeout_s:
            self._user_timeout_s = timeout_s
            for listening in self._listening.values():
                if listening.port is not None:
                    time_out_peers(listening.port, timeout_s)

    def listening(self) -> Dict[Tuple[str, str], ListenService]:
        """Its listening services, by ``key_of``."""
        return {key_of(entrance): listening for entrance, listening in self._listening.items()}

    def addresses(self, secure: bool) -> List[IAddress]:
        """Where it listens with TLS, or without."""
        listening = [each for entrance, each in self._listening.items() if entrance[0] == secure]
        return [each.port.getHost() for each in listening if each.port is not None]

    def stop_listening(self) -> Deferred[Any]:
        """Let nobody in any more; fires when those that the kernel has accepted are here. Who is here stays."""
        stopping: List[Deferred[Any]] = [maybeDeferred(each.disownServiceParent) for each in self._listening.values()]
        return DeferredList(stopping, consumeErrors=True)
