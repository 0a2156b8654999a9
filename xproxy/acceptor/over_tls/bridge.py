"""One slot over TLS: the bridge between the service's TLS connection and the socket pair whose other end is lent.

It is the protocol on the TLS transport. The listener (``tls_slots``) says whether the service may register; ``pair`` is the
inner end of the socket pair. The table of states and the reasons for every kind of end are in docs/architecture/tls-slots.md.
"""

from __future__ import annotations

import socket
from enum import Enum
from typing import TYPE_CHECKING, Any, Optional

from OpenSSL import SSL
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ...net.keepalive import watch_peer
from ...net.transports import Reading
from ...slots.parked_states import SlotState
from ...slots.serving.goodbye import CLOSING_RESPONSE
from ...slots.serving.refusal import refusal_response
from ..parked import ParkedSlot
from ..registering import SlotConnection
from .pair import PairEnd

if TYPE_CHECKING:
    from .tls_slots import BridgeFactory

LINGER_S = 5.0
"""How long the service may take to answer our ``close_notify``; nginx lingering_timeout 5s."""


class BridgeState(Enum):
    """Where a bridge is."""

    SHAKING = "shaking"
    OPEN = "open"
    ENDING = "ending"
    OVER = "over"


@implementer(IHandshakeListener)
class Bridge(Protocol):
    """Passes bytes both ways, each side at the pace of the other, and passes on how each side ends.

    :param factory: its listener.
    :param peer: the address of the service's host; empty for a UNIX socket.
    :ivar slot: the protocol on the outer end, once there is a pair.
    """

    def __init__(self, factory: BridgeFactory, peer: str) -> None:
        self.peer = peer
        self.state = BridgeState.SHAKING
        self.slot: Optional[SlotConnection] = None
        self._factory = factory
        self._pair: Optional[PairEnd] = None
        self._lost = False
        self._timer: Optional[IDelayedCall] = None

    # -- the handshake

    def connectionMade(self) -> None:
        """The TCP connection is there; the handshake has its time from now on."""
        self.transport: Any = self.transport
        self._timer = self._factory.clock.callLater(self._factory.handshake_timeout_s, self._too_late)
        self._factory.shaking[self] = None
        connection = getattr(self.transport, "socket", None)
        if isinstance(connection, socket.socket):
            try:
                watch_peer(connection)
            except OSError:
                self.transport.abortConnection()

    def handshakeCompleted(self) -> None:
        """The service's certificate is a good one; the listener says what it is good for, and makes the pair."""
        if self.state is BridgeState.SHAKING:
            self._shaken(BridgeState.OPEN)
            self._factory.handshake_completed(self)

    def _shaken(self, state: BridgeState) -> None:
        """The handshake is over, one way or the other."""
        self._stop_timer()
        del self._factory.shaking[self]
        self.state = state

    def _too_late(self) -> None:
        self._timer = None
        self._factory.count_refused("handshake_timeout", "its TLS handshake was not done in time", self.peer)
        self.abort()

    def pair_end(self) -> PairEnd:
        """The inner end of a pair for this bridge."""
        return PairEnd(self._factory.clock, LINGER_S, self._pair_received, self._pair_ended, self._pair_closed)

    def open(self, pair: PairEnd, slot: SlotConnection) -> None:
        """The pair is there: begin."""
        self._pair, self.slot = pair, slot
        slot.on_lost = self._outer_lost
        if not pair.gone:
            # Each transport tells the other one's protocol when to stop reading and when to go on.
            self.transport.registerProducer(pair, True)
            pair.transport.registerProducer(Reading(self.transport), True)

    # -- bytes

    def dataReceived(self, data: bytes) -> None:
        """Decrypted bytes of the service."""
        if self._pair is not None:
            self._pair.write(data)

    def _pair_received(self, data: bytes) -> None:
        """Bytes of whoever has the slot."""
        if self.state is BridgeState.OPEN:
            self.transport.write(data)

    # -- ends

    def _pair_ended(self) -> None:
        """Whoever had the slot has closed it, or its sending side."""
        if self.state is BridgeState.OPEN:
            self.close()

    def close(self) -> None:
        """Say ``close_notify``, after what was written before. The service is heard for a while yet."""
        self.state = BridgeState.ENDING
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        if self._pair is None or self._pair.deserted():
            self.transport.resumeProducing()  # Nobody is left who could be too slow, and the answer must be heard.
        self._linger()

    def refuse(self, reason: str) -> None:
        """The service may not register: tell it why, and close."""
        self.transport.write(refusal_response(reason))
        self.close()

    def _pair_closed(self) -> None:
        """The pair is gone."""
        self._over_if_both_are()

    def _outer_lost(self) -> None:
        """The acceptor has no copy of the outer end any more.

        As a rule that is the end, which is read from the pair in its turn; but not while a service that does not read keeps us
        from reading.
        """
        if self.state is BridgeState.OPEN:
            self._linger()

    def _linger(self) -> None:
        self._stop_timer()
        self._timer = self._factory.clock.callLater(LINGER_S, self._lingered)

    def _lingered(self) -> None:
        """A tunnel whose one direction is closed may go on in the other; anything else has had its time."""
        self._timer = None
        if self._pair is None or self._pair.deserted():
            self.transport.abortConnection()
        else:
            self._linger()

    def close_politely(self) -> None:
        """No exchange is on the slot: say so to the proxy, in the service's place, and close both sides."""
        if self.state is BridgeState.OPEN and self._pair is not None:
            self._pair.write(CLOSING_RESPONSE)
            self._pair.end()
            self.close()

    def abort(self) -> None:
        """Cut off both sides, whatever runs. TLS itself would say ``close_notify`` first."""
        if self.state is BridgeState.SHAKING:
            self._shaken(BridgeState.ENDING)
        if self._pair is not None:
            self._pair.reset()
        if not self._lost:
            self.transport.transport.abortConnection()

    def abandon(self) -> None:
        """The same, and what waits to be read is not waited for."""
        self.abort()
        if self._pair is not None:
            self._pair.abort()

    def leased(self) -> Optional[ParkedSlot]:
        """The slot, when somebody has it whom this bridge still serves."""
        parked = self.slot.parked if self.slot is not None else None
        if parked is None or self._pair is None or self._pair.over:
            return None
        return parked if parked.state in (SlotState.LEASED, SlotState.LENT) else None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """TLS has ended."""
        self._stop_timer()
        if self.state is BridgeState.SHAKING:
            self._shaken(BridgeState.ENDING)
            self._factory.count_refused(*self._factory.handshake_failure(self.transport.getHandle(), reason), self.peer)
        self.state = BridgeState.ENDING
        self._lost = True
        if self._pair is not None:
            if self._ended_in_order():
                self._pair.end()
            else:
                self._pair.reset()
        self._over_if_both_are()

    def _over_if_both_are(self) -> None:
        if self._lost and (self._pair is None or self._pair.gone) and self.state is not BridgeState.OVER:
            self.state = BridgeState.OVER
            self._factory.bridge_over(self)

    def _ended_in_order(self) -> bool:
        """Whether the service said ``close_notify``: what TCP does after that is of no meaning."""
        connection: SSL.Connection = self.transport.getHandle()
        return bool(connection.get_shutdown() & SSL.RECEIVED_SHUTDOWN)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
