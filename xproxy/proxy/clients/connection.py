"""Where HTTP/1.1 clients arrive: bytes to requests, answers back to bytes, in order.

``states`` has the states, what each input does in each of them, and the only words about it; here it is done. What the client
sends goes through an Intake, what it gets through an Outlet; how long it may take is said here and nowhere else.

EOF before a request is whole means that the client has left. EOF after that may be a half-close: the answers to all that was
sent are sent. Who has left for good resets the connection when it is sent something, or has not read all it was sent before.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Type, Union

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ... import config as cfg
from ...http1.errors import BadMessage
from ...http1.request import RequestHead
from ...net.descriptors import has_left, is_readable
from ...net.inlet import Inlet
from ...net.outlet import Outlet
from ...net.pace import paced
from ...net.sweep import NEVER
from ...tls.secure_socket import SecureInlet
from ..requests.answers import http1_answer
from .client import Spare
from .intake import Intake
from .request import ClientRequest
from .states import TABLE, Do, Input, State, on
from .tunnel import Tunnel

if TYPE_CHECKING:
    from .front import HTTPFront

LAST_REQUEST_S = 1.0
"""How long a client may take for one more request when we stop. Who has come last has connected in order to do that; who asks
again and again does in this time. After it, a request and our end cross as seldom as with any idle timeout."""

LINGER_S = 5.0
"""How long a refused client may send nothing before we close; nginx lingering_timeout 5s. Also how long closing may take."""

LONGEST_LINGER_S = 30.0
"""And how long it may send; nginx lingering_time 30s."""

LOOK_INTERVAL_S = 1.0
"""How often we look whether a client that has ended its side, and waits, has left altogether: nothing else tells us."""

_BODY, _EXCHANGE, _TUNNEL, _LINGERING = State.BODY, State.EXCHANGE, State.TUNNEL, State.LINGERING
_ON_ANSWERED = on(Input.ANSWERED)

SECONDS: Dict[State, Callable[[cfg.TimeoutsConfig], float]] = {
    State.IDLE: attrgetter("keep_alive"),
    State.HEAD: attrgetter("head"),
    State.BODY: attrgetter("body"),
    State.DRAINING: attrgetter("write"),
    State.TUNNEL: attrgetter("tunnel"),
    State.CLOSING: attrgetter("write"),
    State.REFUSING: attrgetter("write"),
}
"""How long a client may take for what is expected of it. In EXCHANGE that is nothing, unless something waits for it; from
LINGERING on it is LINGER_S."""


@implementer(IHalfCloseableProtocol)
class ClientConnection(Protocol):
    """One client: one request at a time.

    :ivar state: set by ``on``, and by those on the hot path that look up the table themselves.
    """

    scheme = b"http"
    inlet_class: Type[Union[Inlet, SecureInlet]] = Inlet
    outlet_class = Outlet
    half_closes = True
    """Whether a tunnel's client can end its side, and we ours, and the other go on."""

    # How every connection begins. Set here and not in __init__, which would cost each one microseconds.
    state = State.IDLE
    request: Optional[ClientRequest] = None
    """Until its whole answer is given to the outlet."""
    tunnel: Optional[Tunnel] = None
    _linger_until = NEVER

    def __init__(self, front: HTTPFront, peer: str) -> None:
        gateway = front.gateway
        self.front = front
        self.gateway = gateway
        self.policy = policy = gateway.policy
        """Of the request that is there, or comes next."""
        self.provenance = front.provenances[self.scheme].find(policy, peer)
        self.deadline = gateway.monotonic() + policy.timeouts.head

    def connectionMade(self) -> None:
        """A client is here."""
        self.transport: Any = self.transport
        self.intake = Intake(self)
        memory_bytes, provenance = self.policy.limits.response_memory, self.provenance
        client = "" if provenance.trusted else provenance.peer  # A trusted peer stands for many.
        self.outlet: Outlet = self.outlet_class(self.transport, self, memory_bytes, self.gateway.space, client)
        self.front.clients[self] = None
        self.gateway.sweep.add(self)
        self.gateway.counts.opened("client")

    def dataReceived(self, data: bytes) -> None:
        """From transports without an Inlet."""
        self.intake.received(data)

    def on(self, event: Input) -> None:
        """Do what the table says."""
        before = self.state
        self.state, do = TABLE[before, event]
        if self.state is not before:
            self.touch()
        if do in ACTIONS:
            ACTIONS[do](self)

    # -- time

    def touch(self, size: int = 0, rate: int = 0) -> None:
        """Something has moved: the time that the client has begins anew; with a rate, as far as ``size`` bytes earn it."""
        state, intake = self.state, self.intake
        if state >= _LINGERING:
            seconds = LINGER_S
        elif state is not _EXCHANGE and not (state is _BODY and intake.paused):
            seconds = SECONDS[state](self.policy.timeouts)
        elif self.outlet.draining:
            seconds = self.policy.timeouts.write
        elif intake.ended:
            seconds = LOOK_INTERVAL_S
        else:  # A client that is not read is not late.
            self.deadline = NEVER
            return
        self.deadline = paced(self.deadline, self.gateway.monotonic() + seconds, size, rate)
        if self.deadline > self._linger_until:
            self.deadline = self._linger_until

    def deadline_passed(self, now: float) -> None:
        """The client was too slow, or is done."""
        if self.state is State.IDLE:
            if is_readable(self.transport):
                return  # It has asked right now, and is read in this turn.
            if not self.gateway.draining:
                self.gateway.counts.timed_out("keep_alive")
        self.on(Input.DEADLINE)

    def _be_late(self) -> None:
        """It has begun a request, and does not go on."""
        if self.state is State.HEAD:
            self.gateway.counts.timed_out("head")
            self.refuse(BadMessage(408, "head-timeout"))
        elif self.intake.paused:
            self._look()
        elif self.request is not None:
            self.gateway.counts.timed_out("body")
            self.request.refuse(BadMessage(408, "body-timeout"))

    def _look(self) -> None:
        """It takes nothing, or nothing moves in its tunnel; or it has ended its side, and may be gone altogether."""
        outlet = self.outlet
        if outlet.draining and outlet.moved():
            self.outlet_progress()
            if self.deadline > self.gateway.monotonic():
                return
        if outlet.draining or self.state is _TUNNEL:
            self.gateway.counts.timed_out("tunnel" if self.state is _TUNNEL else "write")
            self.on(Input.ABORT)
        elif has_left(self.transport):
            self.on(Input.ABORT)
        else:
            self.touch()

    # -- what a request asks of its connection

    def goes_on(self, head: RequestHead) -> bool:
        """Whether another request may follow the answer that begins now."""
        intake = self.intake
        if self.state is not _EXCHANGE or not head.keep_alive or self.gateway.draining:
            return False  # In BODY: what is left of the request can't be told from the next one.
        return not intake.ended or intake.buffer != b""

    def send(self, data: bytes) -> None:
        """Give ``data`` to the outlet."""
        outlet = self.outlet
        waited = outlet.draining
        try:
            outlet.send(data)
        except OSError as error:
            self.gateway.not_kept(error)
            self.on(Input.ABORT)
            return
        if outlet.draining and (self.deadline == NEVER or (self.intake.ended and not waited)):
            self.touch()

    def answered(self, goes_on: bool) -> None:
        """The whole answer is sent, or waits in the outlet."""
        self.request = None
        intake, waits = self.intake, self.outlet.draining
        if goes_on and not waits:
            self.state, _ = _ON_ANSWERED[self.state]
            self._next()
        elif self.state is State.CLOSED:
            return  # It was aborted while the answer went on.
        elif goes_on:
            self.on(Input.ANSWER_WAITS)
        elif not intake.ended and (self.state is _BODY or (intake.buffer and self.state is _EXCHANGE)):
            intake.read_all()
            self.on(Input.REFUSAL_WAITS if waits else Input.REFUSED)
        else:
            self.on(Input.LAST_WAITS if waits else Input.LAST_ANSWERED)

    def cut(self, abort: bool) -> None:
        """The answer can't be completed."""
        if abort:
            self.request = None
            self.on(Input.ABORT)
        else:
            self.answered(False)

    def switch(self, tunnel: Tunnel) -> None:
        """From here on bytes are relayed."""
        self.tunnel = tunnel
        self.on(Input.SWITCHED)
        intake = self.intake
        intake.resume()
        data, intake.buffer = intake.buffer, b""
        if data:
            tunnel.client_sent(data)
        if intake.ended:
            self.on(Input.EOF)
        if self.gateway.draining and self.state is _TUNNEL:
            tunnel.leave()

    def refuse(self, error: BadMessage) -> None:
        """Answer what is no request; nothing that follows on this connection could be trusted."""
        gateway, nowhere = self.gateway, self.policy.nowhere
        nowhere.counts.answered(error.status)
        answer = self.policy.pages.error(error.status, error.reason, b"")
        self.send(http1_answer(answer, gateway.date, 1, False, True))
        gateway.refused(self.provenance, error, self.intake.buffer, len(answer.content))
        self.on(Input.REFUSAL_WAITS if self.outlet.draining else Input.REFUSED)

    # -- what follows

    def outlet_progress(self) -> None:
        """The client took something."""
        outlet = self.outlet
        if outlet.draining and self.state is not _TUNNEL:
            self.touch(outlet.earned(), self.policy.limits.write_rate)
        else:
            self.touch()
        self._go_on()

    def outlet_drained(self) -> None:
        """The client took everything."""
        self.on(Input.TAKEN)

    def _go_on(self) -> None:
        if self.tunnel is not None:
            self.tunnel.client_took()
        elif self.request is not None:
            self.request.client_took()

    def _next(self) -> None:
        """Take the next request."""
        intake = self.intake
        self.deadline = self.gateway.monotonic() + self.policy.timeouts.keep_alive
        if intake.buffer or intake.ended:
            intake.advance()
        else:
            if intake.paused:
                intake.resume()
            if self.gateway.draining:  # It began when this client had been told that it may go on.
                self.drain()

    # -- the end

    @property
    def spare(self) -> Spare:
        """See Client."""
        if self.state is not State.IDLE:
            return Spare.BUSY
        return Spare.SILENT if self.intake.is_new else Spare.BETWEEN

    def make_room(self) -> None:
        """See Client."""
        self.on(Input.DRAIN)

    def drain(self) -> None:
        """Take no further request, but for one that crosses this: whoever is between two, or has just come, has
        LAST_REQUEST_S to ask once more, and is told in the answer. To close at once would reset who has just asked.
        """
        if self.state is State.IDLE:
            self.deadline = min(self.deadline, self.gateway.monotonic() + LAST_REQUEST_S)
        else:
            if self.tunnel is not None:
                self.tunnel.leave()
            self.on(Input.DRAIN)

    def _linger(self) -> None:
        self._linger_until = self.gateway.monotonic() + LONGEST_LINGER_S
        self.intake.buffer = b""
        self.intake.resume()
        self.transport.loseWriteConnection()

    def readConnectionLost(self) -> None:
        """EOF from the client. Who ends its side in the middle of a stream of events has left: it would go on for ever."""
        self.intake.ended = True
        exchange = self.request.exchange if self.request is not None else None
        if exchange is not None and exchange.endless:
            self.on(Input.ABORT)
        else:
            self.on(Input.EOF)

    def writeConnectionLost(self) -> None:
        """Our own half-close is done."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone, or was closed."""
        self.state = State.CLOSED
        self.intake.close()
        self.gateway.sweep.discard(self)
        self.gateway.counts.closed("client")
        self.outlet.close()
        request, self.request = self.request, None
        if request is not None:
            request.abandon()
        self.tunnel = None
        self.front.client_gone(self)


def _pass_end_on(connection: ClientConnection) -> None:
    assert connection.tunnel is not None
    connection.tunnel.client_ended()


ACTIONS: Dict[Do, Callable[[ClientConnection], None]] = {
    Do.NEXT: ClientConnection._next,
    Do.GO_ON: ClientConnection.outlet_progress,
    Do.PASS_END_ON: _pass_end_on,
    Do.LATE: ClientConnection._be_late,
    Do.LOOK: ClientConnection._look,
    Do.WATCH: ClientConnection.touch,
    Do.LINGER: ClientConnection._linger,
    Do.CLOSE: lambda connection: connection.outlet.end(),
    Do.RESET: lambda connection: connection.transport.abortConnection(),
}
"""What of the table is done here; what is to be done with bytes the Intake knows, and at a request's beginning."""
