"""Where services register over TLS: the listener of one ``slots_tls`` endpoint.

TCP connections come from a listening endpoint; each gets a SecureTransport and, on it, a Bridge (``bridge``). What its
certificate is good for is decided here, and then a SlotConnection of the SlotFactory registers on the other end of the bridge's
socket pair, like any slot. See docs/architecture/tls-slots.md.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Set, Tuple

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from ...config import Config
from ...net.peers import peer_host
from ...startup import os_reason
from ...tls.certificate_store import CertificateStore
from ...tls.contexts import openssl_reason, verify_reason
from ...tls.secure_transport import SecureTransport
from ..holding import Holding
from ..registering import LINGER_BYTES, MAX_LINGERING, SlotFactory
from ..registering import LINGER_S as REFUSAL_LINGER_S
from .bridge import LINGER_S, Bridge
from .pair import make_pair
from .service_names import NotNamed, ServiceNames

MAX_HANDSHAKES = 2048
"""Handshakes of one endpoint at once; one more is refused. When an acceptor comes back, several services of 1,000 slots dial at
once. Each handshake holds some 55 kB (measured), so strangers get no more than 110 MB by them."""

DRAIN_LOOK_S = 0.1
"""How often a draining acceptor looks whether the exchanges on bridged slots are over."""


ACCESS_DENIED = b"\x15\x03\x03\x00\x02\x02\x31"
"""A record with the fatal alert access_denied (RFC 8446 section 6.2), which a client understands at any time."""


class Denial(Protocol):
    """A connection from an address that may not register here: no handshake, which costs us more than it costs a stranger.

    :param denials: where it stands until it is gone.
    """

    def __init__(self, denials: Dict[Denial, None], clock: Any) -> None:
        self._denials = denials
        self._clock = clock
        self._discarded = 0

    def connectionMade(self) -> None:
        """Say so. Not closed yet: where bytes are unread, that would send a reset, which overtakes the alert."""
        self.transport: Any = self.transport
        self._denials[self] = None
        self._timer: IDelayedCall = self._clock.callLater(REFUSAL_LINGER_S, self.close)
        self.transport.write(ACCESS_DENIED)
        self.transport.loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        """Of the handshake that there will not be."""
        self._discarded += len(data)
        if self._discarded > LINGER_BYTES:
            self.close()

    def close(self) -> None:
        """It has had its time, or the listener stops."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        del self._denials[self]
        if self._timer.active():
            self._timer.cancel()


class BridgeFactory(TLSMemoryBIOFactory):
    """What listens on one ``slots_tls`` endpoint.

    :param certificates: makes the OpenSSL connections, which must ask for a certificate.
    :param slots: where those register that may; its own listener is never used.
    :param config: gives the configuration of this moment.
    :param reactor: an IReactorTime and IReactorSocket.
    :ivar shaking: the connections whose handshake is not over.
    :ivar bridges: all connections.
    :ivar denials: those of peers that are being told that their address is not allowed.
    """

    noisy = False

    def __init__(
        self,
        certificates: CertificateStore,
        slots: SlotFactory,
        config: Callable[[], Config],
        reactor: Any,
    ) -> None:
        super().__init__(certificates, False, slots, clock=reactor)
        self.clock = reactor
        self.shaking: Dict[Bridge, None] = {}
        self.bridges: Dict[Bridge, None] = {}
        self.denials: Dict[Denial, None] = {}
        self._slots = slots
        self._config = config
        self._known: Optional[Tuple[Config, ServiceNames]] = None
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        self._drained: Optional[Deferred[None]] = None
        self._emptied: Optional[Deferred[None]] = None
        self._cutting: Optional[IDelayedCall] = None

    @property
    def handshake_timeout_s(self) -> float:
        """How long a handshake may take, in seconds."""
        return self._config().timeouts.handshake

    @property
    def _names(self) -> ServiceNames:
        config = self._config()
        if self._known is None or self._known[0] is not config:
            self._known = (config, ServiceNames(self._slots.pools))
        return self._known[1]

    # -- connections

    def buildProtocol(self, addr: Optional[IAddress]) -> Any:
        """A connection; a Denial when its peer may not register here; None when too many of either are under way."""
        peer = peer_host(addr)
        if not self._slots.lets_in(peer):
            self.count_refused("refused_address", "its address is not allowed", peer)
            return Denial(self.denials, self.clock) if len(self.denials) < MAX_LINGERING else None
        if len(self.shaking) >= MAX_HANDSHAKES:
            self.count_refused("too_many", f"{MAX_HANDSHAKES} TLS handshakes are under way", peer)
            return None
        bridge = Bridge(self, peer)
        self.bridges[bridge] = None
        return SecureTransport(self, bridge)

    def handshake_completed(self, bridge: Bridge) -> None:
        """Let the slot register in the pools that its certificate is good for, or refuse it."""
        try:
            pools = self._names.pools_of(bridge.transport.getPeerCertificate())
        except NotNamed as error:
            self.count_refused("refused_certificate", str(error), bridge.peer)
            bridge.refuse(str(error))
            return
        slot = self._slots.connection(bridge.peer, [pool.name for pool in pools])
        if slot is None:
            bridge.refuse("too many services are registering")
            return
        pair = bridge.pair_end()
        try:
            make_pair(self.clock, pair, slot)
        except OSError as error:
            self.count_refused("no_descriptors", os_reason(error), bridge.peer)
            bridge.refuse("the acceptor has no descriptors left")
        else:
            bridge.open(pair, slot)

    def handshake_failure(self, connection: SSL.Connection, reason: Failure) -> Tuple[str, str]:
        """Why there was no handshake: the result for the counts, and a reason for the log."""
        if not isinstance(reason.value, SSL.Error):
            return "gone", "it hung up before its TLS handshake was done"
        said = openssl_reason(reason.value)
        if "verify failed" in said:
            return "refused_certificate", f"its certificate is not good: {verify_reason(connection)}"
        if "peer did not return" in said:
            return "refused_certificate", "it has shown no certificate"
        return "refused_handshake", f"its TLS handshake failed: {said}"

    def count_refused(self, result: str, reason: str, peer: str) -> None:
        """A connection was refused: count it, and say so, not too often."""
        self._slots.count_refused(result, reason, peer)

    def bridge_over(self, bridge: Bridge) -> None:
        """A connection is gone."""
        del self.bridges[bridge]
        self._tell_if_empty()

    # -- the end

    def drain(self) -> Deferred[None]:
        """Close whoever has not registered, and each leased slot once no exchange is on it; fires when none is leased."""
        self._close_unregistered()
        if self._drained is None:
            self._drained = Deferred()
            self._looking.start(DRAIN_LOOK_S)
        return self._drained

    def stop(self) -> Deferred[None]:
        """End what is leased: politely where no exchange is on it, else it is cut off.

        The acceptor closes the idle ones. Fires when every connection is gone, at most 2 LINGER_S later.
        """
        self._close_unregistered()
        self._retire_quiet()
        for bridge in list(self.bridges):
            if bridge.leased() is not None:
                bridge.abort()
        self._end_drain()
        self._emptied = Deferred()
        self._cutting = self.clock.callLater(2 * LINGER_S, self._cut_the_rest)
        self._tell_if_empty()
        return self._emptied

    def _cut_the_rest(self) -> None:
        """A proxy that does not read can't keep the acceptor from stopping."""
        for bridge in list(self.bridges):
            bridge.abandon()

    def _close_unregistered(self) -> None:
        for bridge in list(self.shaking):
            bridge.abort()
        for denial in list(self.denials):
            denial.close()
        self._slots.close()

    def _look(self) -> None:
        if not self._retire_quiet():
            self._end_drain()

    def _end_drain(self) -> None:
        if self._looking.running:
            self._looking.stop()
        if self._drained is not None and not self._drained.called:
            self._drained.callback(None)

    def _retire_quiet(self) -> bool:
        """Close the leased slots that are in no exchange; returns whether any others are leased.

        In one go: nothing is read from a pair between the look at the board and the end of the reading. A proxy marks the board
        before it writes, so what it writes after the look was not passed on.
        """
        busy: Dict[Holding, Set[int]] = {}
        left = False
        for bridge in list(self.bridges):
            slot = bridge.leased()
            if slot is None:
                continue
            holding = slot.holding
            if holding is not None and holding not in busy:
                busy[holding] = holding.in_flight()
            if slot.loan is not None:
                if slot.loan.running:
                    left = True
                else:
                    bridge.close_politely()
            elif holding is None or slot.lease in busy[holding]:
                left = True
            else:
                bridge.close_politely()
        return left

    def _tell_if_empty(self) -> None:
        if not self.bridges and self._emptied is not None and not self._emptied.called:
            if self._cutting is not None and self._cutting.active():
                self._cutting.cancel()
            self._emptied.callback(None)
