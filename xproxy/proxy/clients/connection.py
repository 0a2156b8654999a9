"""Where HTTP/1.1 clients arrive: bytes to requests, answers back to bytes, in order.

States of a client's connection, and what each input does:

========  =====================  ======================================================================
state     input                  what happens
========  =====================  ======================================================================
HEAD      a whole head           a ClientRequest: BODY, EXCHANGE, or answered at once
HEAD      a bad head             refused: CLOSING
HEAD      deadline               408 when something of a head came, else just closed
BODY      the whole body         EXCHANGE
BODY      a bad body, deadline   refused: CLOSING
EXCHANGE  bytes                  the next request, kept until this one is answered
EXCHANGE  the whole answer       HEAD, or DRAINING while the client still has to take some of it
EXCHANGE  101                    TUNNEL
DRAINING  everything taken       HEAD
TUNNEL    bytes, EOF             relayed
CLOSING   bytes                  thrown away, so that the client reads our answer before a reset (RFC 9112 section 9.6)
========  =====================  ======================================================================

EOF in HEAD or BODY means that the client has left. EOF while a slot works on the request may be a half-close: the answers to
all that was sent are sent, and a client that is gone resets the connection then. EOF while the request waits in line may be
either, and who has left must leave the line: it waits for HALF_CLOSED_S longer, enough where a slot only has to be fetched.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Callable, Optional, Type, Union

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ...http1.errors import BadMessage
from ...http1.fields import Fields
from ...http1.phrases import phrase
from ...http1.request import head_end, parse_request_head
from ...net.inlet import MAX_READ_BYTES, Inlet
from ...net.outlet import Outlet
from ...net.sweep import NEVER
from ...tls.secure_socket import SecureInlet
from ..requests.answers import Answer
from ..requests.provenance import Provenance
from .request import ClientRequest
from .tunnel import Tunnel

if TYPE_CHECKING:
    from .front import HTTPFront

PIPELINE_BYTES = 64 * 1024
"""What a client may send ahead of its answers before we stop reading; nginx and HAProxy keep a buffer of 8k to 16k."""

HEAD_READ_BYTES = 16 * 1024
"""What is read at a time of heads: it is what a client that sends ahead can have here beyond PIPELINE_BYTES."""

BODY_READ_BYTES = MAX_READ_BYTES
"""What is read at a time of a body."""

HALF_CLOSED_S = 0.25
"""How long the request of a client that has ended its side may still wait in line. Fetching an idle slot takes milliseconds."""

LINGER_S = 5.0
"""How long a refused client may take to notice; nginx lingering_timeout 5s."""


class State(Enum):
    """Where a connection is; the table is in the module's docstring."""

    HEAD = "head"
    BODY = "body"
    EXCHANGE = "exchange"
    DRAINING = "draining"
    TUNNEL = "tunnel"
    CLOSING = "closing"


_HEAD, _BODY, _EXCHANGE, _DRAINING, _TUNNEL, _CLOSING = State


@implementer(IHalfCloseableProtocol)
class ClientConnection(Protocol):
    """One client: one request at a time."""

    scheme = b"http"
    inlet_class: Type[Union[Inlet, SecureInlet]] = Inlet
    outlet_class = Outlet
    half_closes = True
    """Whether a client can end its side, and we ours, and the other go on."""

    # How every connection begins. Set here and not in __init__, which would cost each one microseconds.
    _state = State.HEAD
    _buffer = b""
    _searched = 0
    _paused = _advancing = _lingering = False
    _ended = False  # The client has ended its side.
    _request: Optional[ClientRequest] = None
    _tunnel: Optional[Tunnel] = None
    _previous: Optional[Fields] = None  # The last request's: clients repeat themselves.

    def __init__(self, front: HTTPFront, peer: str) -> None:
        gateway = front.gateway
        self.front = front
        self.gateway = gateway
        self.policy = policy = gateway.policy
        """Of the request that is there, or comes next."""
        self.provenance = Provenance(policy, peer, self.scheme)
        self.deadline = gateway.monotonic() + policy.timeouts.head

    def connectionMade(self) -> None:
        """A client is here."""
        self.transport: Any = self.transport
        self._inlet = self.inlet_class(self.transport, self.dataReceived, HEAD_READ_BYTES)
        self.outlet = self.outlet_class(self.transport, self, self.policy.limits.response_memory)
        self.front.clients.add(self)
        self.gateway.sweep.add(self)
        self.gateway.counts.opened("client")

    # -- reading

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client."""
        state = self._state
        if state is _HEAD:
            self._buffer = self._buffer + data if self._buffer else data
            self._advance()
        elif state is _BODY:
            self._body_received(data)
        elif self._tunnel is not None:
            self._tunnel.client_sent(data)
        elif state is not _CLOSING:
            self._buffer += data
            if len(self._buffer) > PIPELINE_BYTES:
                self.pause()

    def _advance(self) -> None:
        """Parse what is buffered, request after request, as long as each is answered at once."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._buffer and self._state is _HEAD:
                if not self._next_head():
                    break
        finally:
            self._advancing = False
        if self._paused or len(self._buffer) > PIPELINE_BYTES:
            self._bound_pipeline()
        if self._ended:
            self._nothing_follows()

    def _bound_pipeline(self) -> None:
        """Read no further ahead of the answers than PIPELINE_BYTES. In BODY the service sets the pace."""
        if self._state is _HEAD or len(self._buffer) <= PIPELINE_BYTES:
            if self._state is not _BODY:
                self.resume()
        else:
            self.pause()

    def _next_head(self) -> bool:
        data = self._buffer
        gateway = self.gateway
        if gateway.policy is not self.policy:
            self._take_policy()
        limits = self.policy.head_limits
        try:
            end = head_end(data, limits, 0, self._searched)
            if not end:
                if not self._searched:
                    self.deadline = gateway.monotonic() + self.policy.timeouts.head
                self._searched = len(data)
                return False
            self._searched = 0
            if end == len(data):
                self._buffer = b""
            else:
                self._buffer = data[end:]
                data = data[:end]
            head = parse_request_head(data, limits, self._previous)
        except BadMessage as error:
            self._refuse(error)
            return False
        self._previous = head.fields
        request = self._request = ClientRequest(self, head, gateway.monotonic())
        if self._ended and not self._buffer:
            request.keep_alive = False
        try:
            request.start()
        except BadMessage as error:
            request.refuse(error)
        return True

    def _take_policy(self) -> None:
        """There is a new policy, and it is in force for what comes now."""
        self.policy = policy = self.gateway.policy
        self.provenance = self.provenance.under(policy)
        self._previous = None  # Checked under other limits.

    def _body_received(self, data: bytes) -> None:
        request = self._request
        assert request is not None
        self.deadline = self.gateway.monotonic() + self.policy.timeouts.body
        try:
            request.body_received(data)
        except BadMessage as error:
            request.refuse(error)

    def _refuse(self, error: BadMessage) -> None:
        """Answer what is no request; nothing that follows on this connection could be trusted."""
        self._request = None
        self.policy.nowhere.counts.answered(error.status)
        self.send_answer(self.policy.pages.error(error.status, error.reason, b""), 1, False, True)
        gateway, nowhere = self.gateway, self.policy.nowhere
        gateway.log(self.provenance, nowhere, None, error.status, 0, gateway.monotonic(), b"")
        self.answered(False, True)

    # -- what a request asks of its connection

    def await_body(self) -> bytes:
        """The request has a body: what of it is here already."""
        self._state = _BODY
        self._inlet.size = BODY_READ_BYTES
        self.deadline = self.gateway.monotonic() + self.policy.timeouts.body
        data, self._buffer = self._buffer, b""
        return data

    def lend_body(self, read: Callable[[], Any]) -> bool:
        """Let the request read its body itself, until ``read_on``; False where our socket is not plain."""
        return self._inlet.lend(read)

    def read_on(self) -> None:
        """Read for ourselves again."""
        self._inlet.open()

    def await_more(self) -> None:
        """More of a streamed body can be taken."""
        self.deadline = self.gateway.monotonic() + self.policy.timeouts.body
        self.resume()

    def body_ended(self, rest: bytes) -> None:
        """The body is whole; ``rest`` came after it."""
        self._inlet.size = HEAD_READ_BYTES
        self._buffer = rest
        self.await_answer()

    def await_answer(self) -> None:
        """The client has nothing to do but wait."""
        self._state = _EXCHANGE
        self.deadline = NEVER

    def begin_tunnel(self, tunnel: Tunnel) -> None:
        """From here on bytes are relayed."""
        self._state = _TUNNEL
        self._tunnel = tunnel
        self.resume()
        data, self._buffer = self._buffer, b""
        if data:
            tunnel.client_sent(data)
        if self._ended:
            tunnel.client_ended()

    def answered(self, keep_alive: bool, reading: bool) -> None:
        """The whole answer is sent, or waits in the outlet.

        :param reading: the client still sends the request: it would not read the answer if it met a reset first.
        """
        if not keep_alive:
            self._close(lingering=reading)
        elif self.outlet.draining:
            self._state = _DRAINING
        else:
            self._ready()

    def cut(self, abort: bool) -> None:
        """The answer can't be completed."""
        if abort:
            self.transport.abortConnection()
        else:
            self._close(lingering=False)

    def _ready(self) -> None:
        """Take the next request."""
        self._request = None
        self._state = _HEAD
        self.deadline = self.gateway.monotonic() + self.policy.timeouts.keep_alive
        if self._buffer or self._ended:
            self._advance()
        elif self.gateway.draining:
            self._close(lingering=False)
        else:
            self.resume()

    def pause(self) -> None:
        """Read nothing for now; a client that is not read is not late."""
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()
            if self._state is _BODY:
                self.deadline = NEVER

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self._ended:
            self._paused = False
            self.transport.resumeProducing()

    # -- writing

    def send(self, data: bytes) -> None:
        """Give ``data`` to the outlet."""
        try:
            self.outlet.send(data)
        except OSError:  # No space for what the client does not take.
            self.transport.abortConnection()
            return
        if self.outlet.draining and (self.deadline == NEVER or self._ended):
            self.deadline = self.gateway.monotonic() + self.policy.timeouts.write

    def send_answer(self, answer: Answer, minor: int, keep_alive: bool, with_content: bool) -> None:
        """Write an answer of our own as HTTP/1.1."""
        lines = [b"HTTP/1.1 %d %b" % (answer.status, phrase(answer.status).encode()), b"Date: " + self.gateway.date]
        lines.extend(name + b": " + value for name, value in answer.fields)
        if answer.has_content:
            lines.append(b"Content-Length: %d" % len(answer.content))
        if not keep_alive:
            lines.append(b"Connection: close")
        elif not minor:
            lines.append(b"Connection: keep-alive")
        lines.append(b"\r\n" + answer.content if with_content else b"\r\n")
        self.send(b"\r\n".join(lines))

    def outlet_progress(self) -> None:
        """The client took something."""
        self.deadline = self.gateway.monotonic() + self.policy.timeouts.write
        if self._tunnel is not None:
            self._tunnel.client_took()
        elif self._request is not None:
            self._request.client_took()

    def outlet_drained(self) -> None:
        """The client took everything."""
        state = self._state
        if state is _DRAINING:
            self._ready()
        elif state is _CLOSING:
            self._close_now()
        elif self._tunnel is not None:
            self._tunnel.client_took()
        else:
            if state is _EXCHANGE:
                self.deadline = NEVER
            if self._request is not None:
                self._request.client_took()

    # -- the end

    def deadline_passed(self, now: float) -> None:
        """The client was too slow, or is done."""
        counts = self.gateway.counts
        if self._state is _HEAD and self._buffer:
            counts.timed_out("head")
            self._refuse(BadMessage(408, "head-timeout"))
        elif self._state is _HEAD:
            counts.timed_out("keep_alive")
            self._close(lingering=False)
        elif self._state is _BODY and self._request is not None:
            counts.timed_out("body")
            self._request.refuse(BadMessage(408, "body-timeout"))
        elif self.outlet.draining and self.outlet.moved():
            self.outlet_progress()
        elif self._state is _EXCHANGE and self._ended and not self.outlet.draining:
            self.deadline = NEVER
            if self._request is not None and self._request.waits:
                self.transport.loseConnection()
        else:
            if self._state is _TUNNEL:
                counts.timed_out("tunnel")
            elif self.outlet.draining:
                counts.timed_out("write")
            self.transport.abortConnection()

    def drain(self) -> None:
        """Take no further request: an idle connection is closed, the others say so in their answer."""
        if self._state is _HEAD and not self._buffer:
            self._close(lingering=False)

    def _close(self, lingering: bool) -> None:
        """Close once everything is sent; ``lingering``: as soon as the client has stopped sending."""
        self._state = _CLOSING
        self._request = None
        self._tunnel = None
        self._buffer = b""
        self._lingering = lingering
        if self.outlet.draining:
            self.deadline = self.gateway.monotonic() + self.policy.timeouts.write
        else:
            self._close_now()

    def _close_now(self) -> None:
        if self._lingering and not self._ended:
            self._lingering = False
            self.deadline = self.gateway.monotonic() + LINGER_S
            self.resume()
            self.transport.loseWriteConnection()
        else:
            self.deadline = self.gateway.monotonic() + LINGER_S
            self.outlet.end()

    def readConnectionLost(self) -> None:
        """EOF from the client; see the module's docstring."""
        state, request = self._state, self._request
        self._ended = True
        if self._tunnel is not None:
            self._tunnel.client_ended()
        elif state is _EXCHANGE and request is not None:
            request.keep_alive = request.keep_alive and bool(self._buffer)
            self._nothing_follows()
        elif state is _DRAINING:
            if not self._buffer:
                self._close(lingering=False)
        elif not (state is _CLOSING and self.outlet.draining):
            self.outlet.end()

    def _nothing_follows(self) -> None:
        """The client has ended its side: what is missing of a request will not come, and who waits has probably left."""
        if self._state is _HEAD or self._state is _BODY:
            self.transport.loseConnection()
        elif self._state is _EXCHANGE and self._request is not None and self._request.waits:
            self.deadline = self.gateway.monotonic() + HALF_CLOSED_S

    def writeConnectionLost(self) -> None:
        """Our own half-close is done."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone, or was closed."""
        self._inlet.close()
        self.gateway.sweep.discard(self)
        self.gateway.counts.closed("client")
        self._state = _CLOSING
        self.outlet.close()
        request, self._request = self._request, None
        if request is not None:
            request.abandon()
        self.front.client_gone(self)
