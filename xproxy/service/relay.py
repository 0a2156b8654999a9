"""Puts a server that only listens behind slots: each slot's exchanges are carried over connections to the server, the backend.

A connection to the backend is taken when the first byte of a request arrives, so idle slots cost the backend nothing; after the
exchange it is kept for the next one, of any slot (``backend``). Bytes are passed on at the speed of the slower end. Where a
message ends is told by ``relay_tracker``, which also keeps the slot out of the end of a backend's connection.

A dead service is a closed socket, and the relay keeps it so: when the backend cannot be reached, nothing of the request was
read, the slot says that (``503``, ``Xproxy-Slot: closing``) and the proxy tries elsewhere; then the relay closes all its idle
slots and probes the backend, with backoff, until it answers, before it parks any slot again.

======================================  ======================  ==============================================================
what ends                               phase of the slot       what happens
======================================  ======================  ==============================================================
the slot's incoming side                TUNNEL, raw             passed on: the backend's incoming side ends
the slot's incoming side                any other               the proxy has given up: everything is closed
the exchange                            IDLE                    the backend's connection is kept, or closed; the slot stays
the answer, before its request          ANSWERED                the rest of the request goes to the backend while that takes
                                                                it, else nowhere; the slot stays
the exchange, and one side said close   SPENT                   the slot ends
the backend's connection, no answer     RUNNING                 tried again on a new connection where that is safe, see
                                                                ``_no_answer``; else the slot ends
the backend's connection, in the answer RUNNING                 the slot ends, so that the answer does not look whole
the backend's answers                   TUNNEL, raw             passed on: the proxy sees the end
======================================  ======================  ==============================================================

A slot ends with our side of it: what the backend said leaves first, and what the proxy still sends is read and thrown away
(``ServedSlot.finish``). It is reset only where an orderly end would make an answer look whole that is cut.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from xproxy.http1.request import IDEMPOTENT
from xproxy.net.plain import closes_by_halves
from xproxy.service.backend import BackendConnection, BackendConnections
from xproxy.service.relay_tracker import RelayTracker
from xproxy.service.served_slot import ITracksExchanges, ServedSlot
from xproxy.slots.serving.tracker import Phase

HALF_CLOSED_S = 30.0
"""How long a pair of which one direction is closed may be silent, in seconds; the example of HAProxy's timeout client-fin."""

MAX_HELD_BYTES = 64 * 1024
"""How much of a request is held, in bytes, so that it can be sent again; one read of a transport."""

MAX_CONNECTIONS = 3
"""How many connections are tried for a request that the backend reads on none of them."""

_passes_half_close = frozenset((Phase.TUNNEL, Phase.RAW_OWED, Phase.RAW_QUIET))


@implementer(IHalfCloseableProtocol, ITracksExchanges)
class Relay(Protocol, TimeoutMixin):
    """The protocol of one slot, which joins its exchanges to connections of the backend. Its transport is a ``ServedSlot``.

    :param clock: IReactorTime.
    :param connections: those of the backend.
    :param unreachable: told why, when none can be made.
    """

    transport: ServedSlot  # type: ignore[assignment]  # Protocol's is any transport.

    def __init__(self, clock: Any, connections: BackendConnections, unreachable: Callable[[Failure], None]) -> None:
        self.callLater = clock.callLater  # type: ignore[method-assign]  # Where TimeoutMixin looks for its clock.
        self.tracker = RelayTracker()
        self._connections = connections
        self._unreachable = unreachable
        self._connecting: Optional[Deferred[Any]] = None
        self._backend: Optional[BackendConnection] = None
        """The connection that carries the exchange; None when none is needed any more, or yet."""
        self._held: Optional[bytes] = None
        """The request so far, while it may have to be sent, or sent again."""
        self._tried = 0
        """Connections of this exchange."""
        self._slot_ended = False
        self._backend_ended = False
        self._over = False

    # -- the slot

    def dataReceived(self, data: bytes) -> None:
        """Bytes of a request, or of two."""
        self.resetTimeout()
        tracker = self.tracker
        while data:
            begins = tracker.phase is Phase.IDLE
            rest = tracker.follow_request(data)
            piece = data[: -len(rest)] if rest else data
            data = rest
            if begins:
                self._begin(piece)
            else:
                self._more(piece)

    def _begin(self, data: bytes) -> None:
        self._tried = 0
        self._held = data
        backend = self._connections.take()
        if backend is None:
            self._connect()
        else:
            self._join(backend)
            backend.send(data)

    def _more(self, data: bytes) -> None:
        backend = self._backend
        if self._held is not None:
            keep = backend is None or len(self._held) + len(data) <= MAX_HELD_BYTES
            self._held = self._held + data if keep else None
        if backend is not None:
            backend.send(data)
            if self.tracker.phase is Phase.IDLE:
                self._close_backend()  # It answered before it had the request, of which it has now read an unknown part.

    def readConnectionLost(self) -> None:
        """The proxy will send no more."""
        self._slot_ended = True
        backend = self._backend
        if backend is None or self.tracker.phase not in _passes_half_close:
            self._abort_backend()
            self.transport.loseConnection()
        elif self._backend_ended:
            self._close_both()
        elif closes_by_halves(backend.transport):
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
        self._abort_backend()

    def timeoutConnection(self) -> None:
        """Half closed, and silent for too long."""
        self.transport.abortConnection()

    # -- the backend

    def _connect(self) -> None:
        """Make a new connection, for what is held."""
        self.transport.pauseProducing()
        self._connecting = self._connections.connect()
        self._connecting.addCallbacks(self._connected, self._not_connected)

    def _connected(self, backend: BackendConnection) -> None:
        self._connecting = None
        assert self._held is not None
        self._join(backend)
        self.transport.resumeProducing()
        backend.send(self._held)

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = self._held = None
        if self._over:
            failure.trap(CancelledError)  # We gave it up ourselves: the slot was faster.
            return
        self._unreachable(failure)
        self.transport.refuse()

    def _join(self, backend: BackendConnection) -> None:
        self._backend = backend
        self._tried += 1
        self._backend_ended = False
        backend.begin(self)
        self.transport.registerProducer(backend.transport, True)
        backend.transport.registerProducer(self.transport, True)

    def _part(self) -> Optional[BackendConnection]:
        """Take the backend's connection off; returns it. Each may have paused the other while it was full."""
        backend, self._backend = self._backend, None
        self._held = None
        if backend is not None:
            backend.relay = None
            backend.transport.unregisterProducer()
            self.transport.unregisterProducer()
            self.transport.resumeProducing()
            backend.transport.resumeProducing()
        return backend

    def _close_backend(self) -> None:
        """The backend's connection is not used again. What was given to it leaves first."""
        backend = self._part()
        if backend is not None:
            self._connections.drop(backend)

    def _abort_backend(self) -> None:
        """The backend's connection is not used again, and the backend may know that we have not got, or given, everything."""
        backend = self._part()
        if backend is not None:
            backend.transport.abortConnection()

    def backend_answered(self, backend: BackendConnection, data: bytes) -> None:
        """Bytes from the backend."""
        if self.tracker.phase is Phase.RUNNING and not self.tracker.begun:
            if backend.nothing_received():
                backend.unread = True
                self._no_answer(backend)
                return
            self._held = None
        self.resetTimeout()
        passed = self.tracker.answer(data)
        if passed:
            self.transport.write_at_once(passed)
        if self.tracker.phase is not Phase.RUNNING:
            self._look(backend)

    def _look(self, backend: BackendConnection) -> None:
        """An answer is complete, or something else than HTTP goes on."""
        tracker, phase = self.tracker, self.tracker.phase
        if phase is Phase.IDLE:
            if tracker.backend_good:
                self._part()
                self._connections.keep(backend, tracker.keep_s)
            else:
                self._close_backend()
        elif phase is Phase.SPENT:
            self._close_backend()
            self.transport.finish()
        elif phase is Phase.ANSWERED and not tracker.backend_good:
            self._abort_backend()

    def backend_ended(self, backend: BackendConnection) -> None:
        """The backend will send no more, but may still read."""
        tracker = self.tracker
        if tracker.phase is Phase.RUNNING and not tracker.begun:
            self._no_answer(backend)
            return
        passed = tracker.answer_ended()
        if passed:
            self.transport.write_at_once(passed)
        phase = tracker.phase
        if phase in _passes_half_close:
            if self._slot_ended:
                self._close_both()
            else:
                self._backend_ended = True
                self.setTimeout(HALF_CLOSED_S)
                self.transport.unregisterProducer()
                self.transport.loseWriteConnection()
        elif phase in (Phase.RUNNING, Phase.UNCLEAR):
            self._abort_backend()
            self.transport.finish()
        else:
            self._look(backend)

    def backend_lost(self, backend: BackendConnection, clean: bool) -> None:
        """The connection to the backend is gone, both ways."""
        tracker = self.tracker
        if tracker.phase is Phase.RUNNING and not tracker.begun:
            self._no_answer(backend)
            return
        cut = not clean and not self._backend_ended and tracker.end_completes
        self._part()
        if cut:
            self.transport.abortConnection()
        elif tracker.phase is not Phase.ANSWERED:
            self.transport.finish()

    def _no_answer(self, backend: BackendConnection) -> None:
        """The connection ended before a byte of the answer.

        The request goes onto a new one when that is safe: the backend has certainly not read it; or its method is idempotent
        (RFC 9110 section 9.2.2) and the connection had been used before, so that it may have been closed for its age.
        """
        held, unread = self._held, backend.unread
        again = unread or (backend.used and self.tracker.method in IDEMPOTENT)
        self._abort_backend()
        if held is not None and again and self._tried < MAX_CONNECTIONS:
            self._held = held
            self._connect()
        elif unread:
            self.transport.refuse()
        else:
            self.transport.finish()

    def _close_both(self) -> None:
        """Both directions have ended: close when what is written has left."""
        self._close_backend()
        self.transport.loseConnection()


class RelayFactory(Factory):
    """One ``Relay`` for each slot; see there for the parameters."""

    noisy = False

    def __init__(self, clock: Any, connections: BackendConnections, unreachable: Callable[[Failure], None]) -> None:
        self._clock = clock
        self._connections = connections
        self._unreachable = unreachable

    def buildProtocol(self, addr: Optional[IAddress]) -> Relay:
        """The protocol of a new slot."""
        return Relay(self._clock, self._connections, self._unreachable)
