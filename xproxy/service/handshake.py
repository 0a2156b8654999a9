"""Slots over TLS, as the service sees them: how long a handshake may take, and what went wrong, in words."""

from __future__ import annotations

from typing import Any, Callable, List, Optional

from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from xproxy.tls.contexts import openssl_reason

HANDSHAKE_TIMEOUT_S = 10.0
"""As the acceptor's own, ``timeouts.handshake``: it waits for nothing but arithmetic."""


class HandshakeFailed(Exception):
    """There was no TLS connection with the acceptor that was meant. The text says why, on one line."""


class EndedByTLS(Exception):
    """The TLS connection ended in a way of its own. The text says which, on one line."""


class Handshake:
    """The handshake of one connection: bounded in time, and told to whoever waits for its end.

    :param clock: IReactorTime.
    :param abort: ends the connection, when the handshake takes too long.
    :ivar late: it has taken too long.
    """

    def __init__(self, clock: Any, abort: Callable[[], object]) -> None:
        self.late = False
        self._abort = abort
        self._timer: Optional[IDelayedCall] = clock.callLater(HANDSHAKE_TIMEOUT_S, self._too_late)
        self._waiting: List[Deferred[None]] = []

    def wait(self) -> Deferred[None]:
        """Fires when the handshake is done, or the connection lost."""
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def stop_timer(self) -> None:
        """The handshake can't be late any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def over(self) -> None:
        """The handshake is done, or the connection lost."""
        self.stop_timer()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)

    def _too_late(self) -> None:
        self._timer = None
        self.late = True
        self._abort()


def why_lost(reason: Failure, shaken: bool, late: bool) -> Failure:
    """Why a connection over TLS was lost: HandshakeFailed, EndedByTLS, or the reason as it is.

    :param shaken: the handshake was done. The name in the certificate is looked at after that.
    :param late: it was ended because the handshake took too long.
    """
    error = reason.value
    if isinstance(error, VerificationError):
        return Failure(HandshakeFailed("the acceptor's certificate is not for the name that is dialled"))
    if isinstance(error, CertificateError):
        return Failure(HandshakeFailed("the names in the acceptor's certificate can't be read"))
    if late:
        return Failure(HandshakeFailed(f"no TLS handshake in {HANDSHAKE_TIMEOUT_S:g} s"))
    said = openssl_reason(error) if isinstance(error, SSL.Error) else ""
    if not shaken:
        return Failure(HandshakeFailed(f"TLS handshake failed: {said or 'closed by the other end'}"))
    return Failure(EndedByTLS(said)) if said else reason
