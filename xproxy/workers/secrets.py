"""The secrets that all workers share: certificates with their keys, and the keys of session tickets. The parent's side."""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence, Tuple

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..config import ProxyConfig
from ..proxy.entrances import certificates_of, tls_policy
from ..reload import Change
from ..tls.certificate_store import TICKET_LIFETIME, CertificateStore, exchange_stores
from ..tls.ticket_keys import TICKET_KEYS_BYTES
from .orders import Certificate, contents

_log = Logger()


class Secrets(MultiService):
    """Reads certificates, watches their files, and makes ticket keys.

    :param changed: called when certificates or ticket keys are others: workers need new orders.
    :param random_bytes: gives so many bytes that nobody can guess.
    :raises StartupError: a certificate can't be used.
    :ivar store: of the certificates in use, None when there are none.
    """

    def __init__(
        self, reactor: Any, config: ProxyConfig, changed: Callable[[], None], random_bytes: Callable[[int], bytes]
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._changed = changed
        self._random_bytes = random_bytes
        self.ticket_keys = random_bytes(TICKET_KEYS_BYTES)
        self.store: Optional[CertificateStore] = None
        self.prepare(config).commit()
        self._renewing = LoopingCall(self.renew)
        self._renewing.clock = reactor

    def prepare(self, config: ProxyConfig) -> Change:
        """Get ready for the certificates of another configuration. Raises StartupError."""
        store = self.store
        install: Callable[[], None] = _nothing
        if not config.https:
            store = None
        elif store is None:
            store = certificates_of(self._reactor, config)
        else:
            install = store.prepare(config.certificates, tls_policy(config))

        def commit() -> Deferred[Any]:
            install()
            self._take(store)
            return succeed(None)

        return Change(commit, _nothing)

    def _take(self, store: Optional[CertificateStore]) -> None:
        before, self.store = self.store, store
        if store is not None:
            store.changed = self._changed
        exchange_stores(self, before, store)

    @property
    def certificates(self) -> Tuple[Certificate, ...]:
        """The certificates in use, as workers get them."""
        return () if self.store is None else contents(self.store.pairs)

    def ends(self) -> Sequence[Tuple[str, str, float]]:
        """Name, kind of key and end (seconds since 1970) of each certificate in use."""
        pairs = () if self.store is None else self.store.pairs
        return [(pair.label, pair.kind, pair.not_after.timestamp()) for pair in pairs]

    def startService(self) -> None:
        """Watch the files of certificates, and change the ticket keys every ``TICKET_LIFETIME``."""
        super().startService()
        self._renewing.start(TICKET_LIFETIME.total_seconds(), now=False)

    def stopService(self) -> Any:
        """End."""
        if self._renewing.running:
            self._renewing.stop()
        return super().stopService()

    def renew(self) -> None:
        """Make other ticket keys, and have workers told."""
        self.ticket_keys = self._random_bytes(TICKET_KEYS_BYTES)
        self._changed()


def _nothing() -> None:
    """Install nothing: no certificate was read."""
