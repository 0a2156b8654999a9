"""The certificates in use: read at the start, at a reload and when a file changes, chosen for each client by its name.

A new table of contexts takes the place of the old one in one assignment, so a handshake meets the old certificates or the new
ones, never some of both; open connections keep what they have. A table that can't be made changes nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Callable, Optional, Sequence, Tuple

from OpenSSL import SSL
from twisted.application.service import MultiService, Service
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from .. import config as cfg
from ..startup import StartupError
from .certificates import CertificateError, Pair, fingerprint, read_pair
from .contexts import NameTable, TLSPolicy
from .ticket_keys import set_ticket_keys

POLL_INTERVAL_S = 5.0
"""How late a changed file may be noticed. A few calls of stat; a deploy hook that sends SIGHUP need not wait."""

EXPIRY_WARNING = timedelta(days=14)
"""From when on the log warns. ACME clients renew 30 days before the end, so at 14 days renewing has failed for two weeks."""

EXPIRY_REPEAT = timedelta(days=1)
"""How often it warns of the same certificate."""

MAX_SAID = 100
"""Different lines about OCSP responses that are remembered, so as not to be said again."""

TICKET_LIFETIME = timedelta(hours=12)
"""How long the keys of session tickets are used: a stolen one opens no more than the sessions of this time. OpenSSL makes them
with a context, so a new context has new ones; a session that was to be resumed right then takes a whole handshake."""


def utc_now() -> datetime:
    """The wall clock, which certificates are about."""
    return datetime.now(timezone.utc)


def _fingerprints_of(files: Sequence[cfg.CertificateConfig], policy: TLSPolicy) -> Tuple[Any, ...]:
    """What changes when one of the files does."""
    return (*map(fingerprint, files), fingerprint(cfg.CertificateConfig(policy.client_ca, policy.client_ca)))


def _nothing() -> None:
    """Nobody else has to know."""


@implementer(IOpenSSLServerConnectionCreator)
class CertificateStore(Service):
    """Makes the TLS connections of a server.

    :param reactor: for the polling.
    :param files: what the configuration names, the default first.
    :param policy: what every context has.
    :param made: further pairs, which come from no file.
    :param now: the wall clock, aware of its time zone.
    :param ticket_keys: of session tickets, where other processes are to open them too; empty: OpenSSL makes some.
    :param watches: whether it looks at the files now and then, and at how old keys and certificates are.
    :raises StartupError: a certificate can't be used, or there is none.
    :ivar front: the context that all connections begin with.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        files: Sequence[cfg.CertificateConfig],
        policy: TLSPolicy,
        made: Sequence[Pair] = (),
        now: Callable[[], datetime] = utc_now,
        ticket_keys: bytes = b"",
        watches: bool = True,
    ) -> None:
        if not files and not made:
            raise StartupError("https needs a certificate: [[proxy.certificates]], or --self-signed to try it out")
        self._files = tuple(files)
        self._policy = policy
        self._made = tuple(made)
        self._now = now
        self._ticket_keys = ticket_keys
        self._watches = watches
        self._seen = self._fingerprints()
        self._origin = self._origin_of(self._files, policy, self._seen)
        """What the table in use was made of."""
        self._warned: dict[str, datetime] = {}
        self.changed: Callable[[], None] = _nothing
        """Called when other certificates, read from the same files, have come into use, or an OCSP response has expired."""
        try:
            self._table = self._read()
            self.front = self._new_front(self._table)
        except CertificateError as error:
            raise StartupError(str(error)) from error
        self._polling = LoopingCall(self.poll)
        self._polling.clock = reactor
        self._staples_said: set[str] = set()
        """What was said of OCSP responses: once, however often they are read."""

    @property
    def asks_clients(self) -> bool:
        """Whether clients are asked for a certificate."""
        return bool(self._policy.client_ca)

    @property
    def pairs(self) -> Tuple[Pair, ...]:
        """The certificates in use."""
        return self._table.pairs

    # -- what Twisted asks for

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """See IOpenSSLServerConnectionCreator.

        The protocol keeps the first context alive, whose callback OpenSSL may still call after the certificate was chosen: when
        it has asked the client for another hello.
        """
        protocol.first_context = self.front
        return SSL.Connection(self.front, None)

    def _choose(self, connection: SSL.Connection) -> None:
        connection.set_context(self._table.find(connection.get_servername()))

    def _new_front(self, table: NameTable) -> SSL.Context:
        """The context that all connections begin with: its ticket keys serve every name.

        Where every client is shown the same it has the certificates itself; else they come by the name, with another context.
        """
        front = self._policy.context(table.only)
        if not table.only:
            front.set_tlsext_servername_callback(self._choose)
        if self._ticket_keys and self._policy.tickets and not set_ticket_keys(front, self._ticket_keys):
            self._log.info("this OpenSSL is not told ticket keys: a TLS session resumes only on the worker that it began with")
            self._ticket_keys = b""
        self._front_until = self._now() + TICKET_LIFETIME
        return front

    # -- reading

    def _fingerprints(self) -> Tuple[Any, ...]:
        return _fingerprints_of(self._files, self._policy)

    def _origin_of(self, files: Sequence[cfg.CertificateConfig], policy: TLSPolicy, seen: Tuple[Any, ...]) -> Tuple[Any, ...]:
        return tuple(files), policy, seen, self._made, self._ticket_keys

    def _read(self) -> NameTable:
        now = self._now()
        return NameTable([*(read_pair(files, now) for files in self._files), *self._made], self._policy.context)

    def supply(self, made: Sequence[Pair], ticket_keys: bytes) -> None:
        """What is prepared next is made with these pairs, which come from no file, and these keys of session tickets."""
        self._made, self._ticket_keys = tuple(made), ticket_keys

    def prepare(self, files: Sequence[cfg.CertificateConfig], policy: TLSPolicy) -> Callable[[], None]:
        """Read what another configuration names; what is returned puts it in the place of what is used now.

        Where all of it is what was read before, nothing is read and nothing changes: sessions go on to be resumed.

        :raises StartupError: it can't be used; nothing has changed.
        """
        if self._origin == self._origin_of(files, policy, _fingerprints_of(files, policy)):
            return lambda: None
        successor = CertificateStore(self._polling.clock, files, policy, self._made, self._now, self._ticket_keys)

        def install() -> None:
            self._files, self._policy, self._seen = successor._files, successor._policy, successor._seen
            self._table, self._origin = successor._table, successor._origin
            self._renew_front()
            self._say_read()

        return install

    def reload(self) -> bool:
        """Read everything again; False, and a line in the log, when that can't be used and the old certificates stay."""
        self._seen = self._fingerprints()
        try:
            table = self._read()
            front = self._new_front(table)
        except CertificateError as error:
            self._log.error("{error}; the certificates in use stay", error=error)
            return False
        self._table, self.front = table, front
        self._origin = self._origin_of(self._files, self._policy, self._seen)
        self._say_read()
        self.changed()
        return True

    def _say_read(self) -> None:
        self._log.info("certificates read again: {names}", names=", ".join(pair.label for pair in self.pairs))

    # -- now and then

    def startService(self) -> None:
        """Begin to look at the files now and then."""
        super().startService()
        if self._watches:
            self._polling.start(POLL_INTERVAL_S).addErrback(
                lambda failure: self._log.failure("cannot watch certificates", failure)
            )

    def stopService(self) -> None:
        """End."""
        if self._polling.running:
            self._polling.stop()
        super().stopService()

    def poll(self) -> None:
        """Look whether a file has changed, a certificate is about to expire, or the ticket keys are old."""
        if self._fingerprints() != self._seen:
            self.reload()
        now = self._now()
        if now >= self._front_until:
            self._renew_front()
        for pair in self.pairs:
            self._check_expiry(pair, now)
            self._check_staple(pair, now)

    def _renew_front(self) -> None:
        try:
            self.front = self._new_front(self._table)
        except CertificateError as error:  # The client CA's file was broken meanwhile, which poll has told.
            self._front_until = self._now() + TICKET_LIFETIME
            self._log.error("{error}; the session tickets keep their keys", error=error)

    def _check_staple(self, pair: Pair, now: datetime) -> None:
        reason, staple = pair.no_staple, pair.staple
        if staple is not None and staple.expire(now):
            reason = f"OCSP response {staple.source}: has expired on {staple.until:%Y-%m-%d %H:%M} UTC"
            self.changed()
        if reason and reason not in self._staples_said:
            if len(self._staples_said) >= MAX_SAID:
                self._staples_said.clear()
            self._staples_said.add(reason)
            self._log.warn("{reason}; nothing is stapled to {name}", reason=reason, name=pair.label)

    def _check_expiry(self, pair: Pair, now: datetime) -> None:
        verb, date = "expires on", pair.not_after
        if now < pair.not_before:
            verb, date = "is not valid before", pair.not_before
        elif now > pair.not_after:
            verb = "has expired on"
        elif pair.not_after - now > EXPIRY_WARNING:
            return
        warned: Optional[datetime] = self._warned.get(pair.source)
        if warned is not None and now - warned < EXPIRY_REPEAT:
            return
        self._warned[pair.source] = now
        self._log.warn(
            "certificate {source} ({name}) {verb} {date:%Y-%m-%d %H:%M} UTC",
            source=pair.source,
            name=pair.label,
            verb=verb,
            date=date,
        )


def exchange_stores(owner: MultiService, before: Optional[CertificateStore], after: Optional[CertificateStore]) -> None:
    """Put one store in the place of another among the services of ``owner``; None: there is none, or there is to be none."""
    if after is before:
        return
    if before is not None:
        before.disownServiceParent()
    if after is not None:
        after.setServiceParent(owner)
