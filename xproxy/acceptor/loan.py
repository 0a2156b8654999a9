"""One slot that one one-byte client has: the bytes between the slot and the client's end of a socket pair.

Such a client says nothing when it is done; it closes its end, and that is the give-back. It never has the slot's own
descriptor, so whatever it leaves unread is nobody else's answer. The tracker follows the messages, and so it is known, when the
client has closed, whether the slot is clean. See docs/architecture/handoff.md, "The paper's protocol".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ..net.pair_end import is_deserted
from ..net.plain import is_quiet, unreceived_bytes, write_at_once
from ..net.transports import Reading
from ..slots.actions import Ending
from ..slots.preambles.registration import begins_preamble
from ..slots.serving.tracker import ExchangeTracker, Phase
from .parked import ParkedSlot

if TYPE_CHECKING:
    from .lending import Lending

IDLE_S = 10.0
"""How long a client may have a slot on which nothing runs: before its request, and after the response. The paper's nginx sends
at once, and closes at once; one with keep-alive connections that another client waits for would hold them for ever."""

SILENT_S = 60.0
"""How long nothing may come from either side while something runs; nginx proxy_read_timeout 60s."""

LOOK_S = 1.0
"""How often it is looked whether a client that is not read, because the service is slow, has left: nothing else would tell."""

COOL_S = 0.05
"""How long a slot rests whose client said that the connection ends and whose service did not. nginx says so with each request
(HTTP/1.0, ``Connection: close``) unless it is told otherwise, and a raw service need not care; one that does closes within this
time of its response. A slot that has survived it once is not made to rest again."""

TUNNEL_S = 3600.0
"""The same in a tunnel; as ``timeouts.tunnel``."""

_PATIENCE_S: Dict[Phase, float] = {
    Phase.IDLE: IDLE_S,
    Phase.RUNNING: SILENT_S,
    Phase.ANSWERED: IDLE_S,
    Phase.SPENT: IDLE_S,
    Phase.TUNNEL: TUNNEL_S,
    Phase.UNCLEAR: SILENT_S,
    Phase.RAW_OWED: TUNNEL_S,
    Phase.RAW_QUIET: TUNNEL_S,
}
"""How long a loan may rest in each phase."""


@implementer(IHalfCloseableProtocol)
class Loan(Protocol):
    """The protocol of our end of the pair; the slot's own protocol calls ``slot_received`` and ``slot_lost``.

    What is under way is bounded each way by one read and what a transport takes before it pauses its producer (64 kB each).

    :ivar deadline: until when something has to come, in monotonic seconds.
    """

    def __init__(self, lending: Lending, slot: ParkedSlot) -> None:
        self.slot = slot
        self.deadline = self._until = 0.0
        self._lending = lending
        self._tracker = ExchangeTracker()
        self._answering = False
        """Something of a response has come."""
        self._client_ended = False
        self._over = False
        """The client's side is."""
        self._cooling: Optional[IDelayedCall] = None
        self._coupled = False

    def begin(self) -> None:
        """The client has been sent its end."""
        self._stir()

    def _stir(self) -> None:
        now = self._lending.monotonic()
        self._until = now + _PATIENCE_S[self._tracker.phase]
        self.deadline = min(self._until, now + LOOK_S) if self._coupled else self._until

    @property
    def running(self) -> bool:
        """Whether an exchange is on the slot."""
        return self._tracker.phase is not Phase.IDLE

    # -- from the client

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the client."""
        if self._over:
            return
        self._tracker.received(data)
        self._stir()
        write_at_once(self.slot.transport, data)
        if unreceived_bytes(self.slot.transport):
            self._couple()

    def readConnectionLost(self) -> None:
        """The client has closed its end, or only its sending side: then it may still want its answer."""
        self._client_ended = True
        if self._over:
            return
        if self._tracker.phase is Phase.IDLE or is_deserted(self.transport):
            self.end()

    def writeConnectionLost(self) -> None:
        """We never close our side alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Our end is closed: by us, or because the client closed its own while we wrote to it."""
        self._client_ended = True
        self.end()

    # -- from the service

    def slot_received(self, data: bytes) -> None:
        """Bytes of the service."""
        if self._over:
            self._warm(Ending.CLOSED, "unasked")
            return
        phase = self._tracker.phase
        if not self._answering and self.slot.register_anew is not None and begins_preamble(data):
            self._introduced(data, phase)
            return
        if phase is Phase.IDLE:
            self.end(unasked=True)  # Nobody's answer: least of all this client's.
            return
        self._answering = True
        self._tracker.sent(data)
        self._stir()
        write_at_once(self.transport, data)
        if unreceived_bytes(self.transport):
            self._couple()
        if self._client_ended and self._tracker.phase in (Phase.IDLE, Phase.SPENT):
            self.end()

    def _introduced(self, data: bytes, phase: Phase) -> None:
        """The preamble of a slot that was taken for raw. After a request was written to it, it can't be used for another."""
        if phase is Phase.IDLE:
            self._finish()
            self._lending.over(self, Ending.ANEW, data=data)
        else:
            self.end()

    def slot_lost(self) -> None:
        """The slot's connection is gone: the client reads what came before, then the end of file."""
        if self._over:
            self._warm(Ending.CLOSED, "ended")
        else:
            self._finish()
            self._lending.over(self, Ending.CLOSED, reason="ended")

    # -- the end

    def deadline_passed(self, now: float) -> None:
        """Nothing has come for too long. A request that has come and was not read yet is no silence."""
        if self._over:
            return
        if now <= self._until and not is_deserted(self.transport):
            self.deadline = min(self._until, now + LOOK_S)
        elif self._tracker.phase is not Phase.IDLE or is_quiet(self.transport):
            self.end()

    def end(self, unasked: bool = False) -> None:
        """Take the slot back: clean when no exchange is on it, else it is closed."""
        if self._over:
            return
        tracker = self._tracker
        quiet = not unasked and not unreceived_bytes(self.slot.transport)
        spared = tracker.phase is Phase.SPENT and not tracker.response_last
        clean = quiet and (tracker.phase is Phase.IDLE or (spared and self.slot.ignores_close))
        self._finish()
        if quiet and spared and not clean:
            self._cooling = self._lending.clock.callLater(COOL_S, self._cooled)
            return
        reason = "unasked" if unasked else "loan_closed"
        self._lending.over(self, Ending.CLEAN if clean else Ending.CLOSED, reason=reason)

    def _cooled(self) -> None:
        """The service has not closed."""
        self._cooling = None
        self.slot.ignores_close = True
        self._lending.over(self, Ending.CLEAN)

    def _warm(self, how: Ending, reason: str) -> None:
        """The slot is not left to rest."""
        cooling, self._cooling = self._cooling, None
        if cooling is not None:
            cooling.cancel()
            self._lending.over(self, how, reason=reason)

    def cut_off(self) -> None:
        """The acceptor stops, and closes the slot itself."""
        cooling, self._cooling = self._cooling, None
        if cooling is not None:
            cooling.cancel()
        else:
            self._finish()

    def _finish(self) -> None:
        """Close our end, once what the client has yet to read is written; when it is gone, at once."""
        self._over = True
        transport: Any = self.transport
        if self._coupled:
            transport.unregisterProducer()
            self.slot.transport.unregisterProducer()
        if self._client_ended or not unreceived_bytes(transport):
            transport.connectionLost(connectionDone)
        else:
            transport.loseConnection()

    def _couple(self) -> None:
        """One side is slow: from here on each transport tells the other when to stop reading and when to go on."""
        if not self._coupled:
            self._coupled = True
            self._stir()
            transport: Any = self.transport
            transport.registerProducer(Reading(self.slot.transport), True)
            self.slot.transport.registerProducer(Reading(transport), True)
