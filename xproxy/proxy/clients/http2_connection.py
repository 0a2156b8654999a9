"""Where HTTP/2 clients arrive, after ``https`` has agreed on it by ALPN: ``http2`` between a transport and our streams.

Bytes come in, are understood by ``http2.connection``, and become calls of a Stream; what streams have to send goes through a
FrameOutlet. How long the client may take for which of these is said here. docs/architecture/http2.md has the states.
"""

from __future__ import annotations

from typing import Any, Optional, Union

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ...http1.errors import BadMessage
from ...http2.connection import Connection
from ...http2.errors import ConnectionFault, ErrorCode, Flood
from ...http2.fields import FieldLines
from ...http2.heads import Request, Unreadable, first_line, read_request, same_for_path
from ...http2.streams import StreamState
from ...net.descriptors import has_left
from ...net.pace import paced
from ...net.sweep import NEVER
from ..requests.provenance import Provenance
from .client import Spare
from .connection import LINGER_S, LOOK_INTERVAL_S
from .front import HTTPFront
from .http2_outlet import FrameOutlet
from .http2_stream import Stream

LEAVE_S = 2.0
"""How long a client that was told to leave may take to say that it knows (RFC 9113 section 6.8: a round trip at least). After
that no further stream is taken."""


RESET_S = 1.0
"""How long a client that was answered before its request was whole has to see that, before it is told to stop."""


@implementer(IHalfCloseableProtocol)
class HTTP2Connection(Protocol):
    """One client and its streams: the owner of a Connection."""

    def __init__(self, front: HTTPFront, peer: str) -> None:
        self.front = front
        self.gateway = gateway = front.gateway
        self.policy = policy = gateway.policy
        """Of the connection. A stream has the one that it began with."""
        self.provenance = Provenance(policy, peer, b"https", version=b"2.0")
        """Of the next request."""
        now = gateway.monotonic()
        self.h2: Connection[Stream, Union[Request, Unreadable]] = Connection(self, policy.limits.head, now)
        self.streams = self.h2.streams
        self.deadline = self._idle_until = now + policy.timeouts.head
        self._block_until = self._write_until = self._leave_until = self._look_at = self._reset_at = NEVER
        self._over = False

    def connectionMade(self) -> None:
        """A client is here, and its handshake is over."""
        self.transport: Any = self.transport
        self.front.clients[self] = None
        self.gateway.sweep.add(self)
        self.gateway.counts.opened("client")
        self.outlet = FrameOutlet(self)
        self.h2.begin()
        self.outlet.flush()

    # -- reading

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._over:
            return
        outlet = self.outlet
        outlet.collecting = True  # What is answered at once is sent together, at the end.
        try:
            self.h2.feed(data, self.gateway.monotonic())
        except ConnectionFault as fault:
            self.gateway.counts.refuse("http2-" + (fault.reason if isinstance(fault, Flood) else "protocol-error"))
            self._end()
        finally:
            outlet.collecting = False
        outlet.go_on()

    def read_request(
        self, fields: FieldLines, before: Optional[Union[Request, Unreadable]], path: bytes
    ) -> Union[Request, Unreadable]:
        """See Owner: what is wrong with a request is remembered like what is right."""
        limits = self.policy.head_limits
        try:
            return same_for_path(before, path, limits) if isinstance(before, Request) else read_request(fields, limits)
        except BadMessage as error:
            return Unreadable(BadMessage(error.status, error.reason), first_line(fields))  # Without its traceback.

    def open_stream(self, stream_id: int, state: StreamState, send_window: int, receive_window: int, length: int) -> Stream:
        """See Owner."""
        if self.gateway.policy is not self.provenance.policy:
            self.provenance = self.provenance.under(self.gateway.policy)
        return Stream(self, stream_id, state, send_window, receive_window, length)

    def request_began(self, stream: Stream, request: Union[Request, Unreadable], whole: bool) -> None:
        """See Owner."""
        self._idle_until = NEVER
        if isinstance(request, Unreadable):
            stream.unreadable = request
            stream.refuse(request.error)
            return
        try:
            stream.start(request, whole)
        except BadMessage as error:
            stream.refuse(error)

    def request_malformed(self, fields: FieldLines, reason: str) -> None:
        """See Owner. In the access log it is a 400 of no bytes."""
        self.gateway.refused(self.provenance, BadMessage(400, reason), first_line(fields))

    def body_received(self, stream: Stream, data: bytes, flow_bytes: int) -> None:
        """See Owner."""
        try:
            stream.body_received(data, flow_bytes)
        except BadMessage as error:
            stream.refuse(error)

    def request_ended(self, stream: Stream, trailers: FieldLines) -> None:
        """See Owner."""
        try:
            stream.request_ended(trailers)
        except BadMessage as error:
            stream.refuse(error)

    def stream_lost(self, stream: Stream) -> None:
        """See Owner."""
        stream.gone()

    def window_opened(self, stream: Optional[Stream]) -> None:
        """See Owner."""
        for opened in self.streams.values() if stream is None else (stream,):
            self.outlet.queue(opened)

    def client_leaves(self, code: int) -> None:
        """See Owner: the client still takes what it has asked for, unless it says that something is wrong."""
        self.h2.leaving = True
        if code != ErrorCode.NO_ERROR or not self.streams:
            self._end()

    # -- what the outlet tells

    def await_taking(self) -> None:
        """The transport is full: the client has to take something."""
        self._write_until = self.gateway.monotonic() + self.policy.timeouts.write
        self._set_deadline()

    def taken(self) -> None:
        """The client has taken everything."""
        self._write_until = NEVER
        if self._over:
            self.deadline = self._write_until = self.gateway.monotonic() + LINGER_S
            self.transport.loseConnection()
        else:
            self.outlet.go_on()

    # -- time

    def note_progress(self) -> None:
        """Set the deadlines by what the connection is waiting for now."""
        if self._over:
            return
        if self.streams:
            self._idle_until = NEVER
        elif self.h2.leaving:
            self._end()
            return
        elif self._idle_until == NEVER:
            self._idle_until = self.gateway.monotonic() + self.policy.timeouts.keep_alive
        if not self.h2.in_block:
            self._block_until = NEVER
        elif self._block_until == NEVER:
            self._block_until = self.gateway.monotonic() + self.policy.timeouts.head
        if self.h2.owes_resets and self._reset_at == NEVER:
            self._reset_at = self.gateway.monotonic() + RESET_S
        self._set_deadline()

    def _set_deadline(self) -> None:
        until = min(self._idle_until, self._block_until, self._write_until)
        self.deadline = min(until, self._leave_until, self._look_at, self._reset_at)

    def deadline_passed(self, now: float) -> None:
        """The client was too slow, idle for too long, or does not close."""
        counts = self.gateway.counts
        if self._over:
            self.transport.abortConnection()
        elif now > self._write_until:
            most, rate = now + self.policy.timeouts.write, self.policy.limits.write_rate
            size = self.outlet.moved()
            self._write_until = paced(self._write_until, most, size, rate) if size else now
            self._set_deadline()
            if self._write_until <= now:
                counts.timed_out("write")
                self.transport.abortConnection()
        elif now > self._leave_until:
            self._leave_until = NEVER
            self.h2.refuse_streams()
            self.outlet.flush()
            self.note_progress()
        elif now > self._reset_at:
            self._reset_at = NEVER
            self.h2.send_resets()
            self.outlet.flush()
            self.note_progress()
        elif now > self._look_at:
            self._look_at = now + LOOK_INTERVAL_S
            self._set_deadline()
            if has_left(self.transport):
                self.transport.abortConnection()
        elif now > self._block_until or not self.h2.last_stream_id:
            counts.timed_out("head")
            self.h2.close()
            self._end()
        else:
            counts.timed_out("keep_alive")
            self._idle_until = NEVER
            self.drain()

    # -- the end

    @property
    def spare(self) -> Spare:
        """See Client."""
        if self.streams or self._over or self._block_until != NEVER:
            return Spare.BUSY
        return Spare.BETWEEN if self.h2.last_stream_id else Spare.SILENT

    def make_room(self) -> None:
        """See Client."""
        self.h2.close()
        self._end()

    def drain(self) -> None:
        """Take no further request: say so, and close when the last one is answered."""
        if not self._over and not self.h2.going and not self.h2.leaving:
            self._leave_until = self.gateway.monotonic() + LEAVE_S
            self.h2.go_away()
            self.outlet.flush()
            self._set_deadline()

    def readConnectionLost(self) -> None:
        """EOF (close_notify) from the client: what it has asked for wholly is answered, as after GOAWAY."""
        if not self._over:
            self.h2.leaving = True
            self._look_at = self.gateway.monotonic() + LOOK_INTERVAL_S
            for stream in list(self.streams.values()):
                if stream.state is StreamState.OPEN:
                    self.outlet.reset(stream, ErrorCode.CANCEL)
            self.note_progress()

    def writeConnectionLost(self) -> None:
        """Never: our side ends with the connection."""

    def _end(self) -> None:
        """Drop the streams and close, once what is written is sent."""
        if self._over:
            return
        self._idle_until = self._block_until = NEVER
        self._drop()
        self.outlet.flush()
        if self.outlet.blocked:
            self._set_deadline()
        else:
            self.taken()

    def _drop(self) -> None:
        self._over = self.h2.closed = True
        streams = list(self.streams.values())
        self.streams.clear()
        self.outlet.close()
        for stream in streams:
            stream.gone()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone, or was closed."""
        self._drop()
        self.h2.take_output()
        self.gateway.sweep.discard(self)
        self.gateway.counts.closed("client")
        self.front.client_gone(self)
