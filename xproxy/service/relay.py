"""Puts a server that only listens behind slots: each slot is joined to a connection of its own to the server, the backend.

The connection is made when the first byte of a request arrives, so idle slots cost the backend nothing, and it is kept for as
long as both ends like. Bytes are passed on as they are, both ways, at the speed of the slower end.

A dead service is a closed socket, and the relay keeps it so: when the backend cannot be reached, nothing of the request was
read, the slot says that (``503``, ``Xproxy-Slot: closing``) and the proxy tries elsewhere; then the relay closes all its idle
slots and probes the backend, with backoff, until it answers, before it parks any slot again.

=========================  ======================  ====================================================================
what ends                  phase of the slot       what happens
=========================  ======================  ====================================================================
the slot's incoming side   TUNNEL, raw             passed on: the backend's incoming side ends
the slot's incoming side   any other               the proxy has given up: everything is closed
the backend's answers      IDLE                    the backend does not keep connections: the next request gets a new one
the backend's answers      RUNNING, TUNNEL, raw    passed on: the proxy sees the end of the answer, and closes
the backend's answers      any other               everything is closed, after what is written has left
the backend, by a reset    IDLE                    as above
the backend, by a reset    any other               the slot is reset too, so that nobody takes what came for a whole answer
=========================  ======================  ====================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    ISSLTransport,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from xproxy.slots.tracker import Phase

if TYPE_CHECKING:
    from xproxy.service.served_slot import ServedSlot

HALF_CLOSED_S = 30.0
"""How long a pair of which one direction is closed may be silent, in seconds; the example of HAProxy's timeout client-fin."""

_passes_half_close = frozenset((Phase.TUNNEL, Phase.RAW_OWED, Phase.RAW_QUIET))


@implementer(IHalfCloseableProtocol)
class BackendSide(Protocol):
    """The connection to the backend. Only tells its relay."""

    transport: Any

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def dataReceived(self, data: bytes) -> None:
        """Bytes of an answer."""
        self._relay.answered(data)

    def readConnectionLost(self) -> None:
        """The backend will send no more."""
        self._relay.backend_ended(self)

    def writeConnectionLost(self) -> None:
        """Our half-close is done."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._relay.backend_lost(self, clean=bool(reason.check(ConnectionDone)))


@implementer(IHalfCloseableProtocol)
class Relay(Protocol, TimeoutMixin):
    """The slot's side, which owns the pair. Its transport is a ``ServedSlot``.

    :param clock: IReactorTime.
    :param connect: connects a protocol to the backend.
    :param unreachable: told why, when that fails.
    """

    transport: ServedSlot  # type: ignore[assignment]  # Protocol's is any transport.

    def __init__(
        self, clock: Any, connect: Callable[[Protocol], Deferred[Any]], unreachable: Callable[[Failure], None]
    ) -> None:
        self.callLater = clock.callLater  # type: ignore[method-assign]  # Where TimeoutMixin looks for its clock.
        self._connect = connect
        self._unreachable = unreachable
        self._connecting: Optional[Deferred[Any]] = None
        self._backend: Optional[BackendSide] = None
        self._waiting = b""
        """What arrived before the backend was connected: one read, then the slot is paused."""
        self._slot_ended = False
        self._backend_ended = False
        self._over = False

    # -- the slot

    def dataReceived(self, data: bytes) -> None:
        """Bytes of a request."""
        self.resetTimeout()
        if self._backend is not None:
            self._backend.transport.write(data)
            return
        self._waiting += data
        if self._connecting is None:
            self.transport.pauseProducing()
            self._connecting = self._connect(BackendSide(self))
            self._connecting.addCallbacks(self._connected, self._not_connected)

    def readConnectionLost(self) -> None:
        """The proxy will send no more."""
        self._slot_ended = True
        backend = self._backend
        if backend is None or self.transport.tracker.phase not in _passes_half_close:
            self.transport.loseConnection()
        elif self._backend_ended:
            self._close_both(backend)
        elif _closes_by_halves(backend.transport):
            self.setTimeout(HALF_CLOSED_S)
            backend.transport.unregisterProducer()
            backend.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """Our half-close is done."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The slot is gone, or is about to close and has taken us off."""
        self._over = True
        self.setTimeout(None)
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        backend, self._backend = self._backend, None
        if backend is None:
            return
        backend.transport.unregisterProducer()
        if self.transport.tracker.phase in (Phase.IDLE, Phase.SPENT):
            backend.transport.loseConnection()
        else:
            backend.transport.abortConnection()

    def timeoutConnection(self) -> None:
        """Half closed, and silent for too long."""
        self.transport.abortConnection()

    # -- the backend

    def _connected(self, backend: BackendSide) -> None:
        self._connecting = None
        self._backend = backend
        slot, transport = self.transport, backend.transport
        slot.registerProducer(transport, True)
        transport.registerProducer(slot, True)
        waiting, self._waiting = self._waiting, b""
        transport.write(waiting)
        slot.resumeProducing()

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if self._over:
            failure.trap(CancelledError)  # We gave it up ourselves: the slot was faster.
            return
        self._waiting = b""
        self._unreachable(failure)
        self.transport.refuse()

    def answered(self, data: bytes) -> None:
        """Bytes from the backend."""
        self.resetTimeout()
        self.transport.write(data)

    def backend_ended(self, backend: BackendSide) -> None:
        """The backend will send no more, but may still read."""
        if backend is not self._backend:
            return
        slot, phase = self.transport, self.transport.tracker.phase
        slot.unregisterProducer()
        if phase is Phase.IDLE:
            self._backend = None
            backend.transport.unregisterProducer()
            backend.transport.loseConnection()
        elif self._slot_ended:
            self._close_both(backend)
        elif phase is Phase.RUNNING or phase in _passes_half_close:
            self._backend_ended = True
            self.setTimeout(HALF_CLOSED_S)
            slot.loseWriteConnection()
        else:
            slot.loseConnection()

    def _close_both(self, backend: BackendSide) -> None:
        """Both directions have ended: close when what is written has left."""
        self._backend = None
        backend.transport.unregisterProducer()
        backend.transport.loseConnection()
        self.transport.loseConnection()

    def backend_lost(self, backend: BackendSide, clean: bool) -> None:
        """The connection to the backend is gone, both ways."""
        if backend is not self._backend:
            return
        self._backend = None
        slot = self.transport
        slot.unregisterProducer()
        if slot.tracker.phase is Phase.IDLE:
            slot.resumeProducing()  # The backend may have paused it while it was full.
        elif clean:
            slot.loseConnection()
        else:
            slot.abortConnection()


class RelayFactory(Factory):
    """One ``Relay`` for each slot; see there for the parameters."""

    noisy = False

    def __init__(self, clock: Any, backend: Any, unreachable: Callable[[Failure], None]) -> None:
        self._clock = clock
        self._backend = backend
        self._unreachable = unreachable

    def buildProtocol(self, addr: Optional[IAddress]) -> Relay:
        """The protocol of a new slot."""
        return Relay(self._clock, lambda side: connect_quietly(self._backend, side), self._unreachable)


class _Once(Factory):
    """A factory of one connection."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: Optional[IAddress]) -> Protocol:
        """The protocol."""
        return self._protocol


def connect_quietly(endpoint: IStreamClientEndpoint, protocol: Protocol) -> Deferred[Any]:
    """``connectProtocol``, without two lines in the log for each connection."""
    return endpoint.connect(_Once(protocol))


def _closes_by_halves(transport: Any) -> bool:
    # Twisted's TLS transport claims the interfaces of the TCP transport below it.
    return IHalfCloseableDescriptor.providedBy(transport) and not ISSLTransport.providedBy(transport)
