"""Where HTTP/2 clients arrive, after ``https`` has agreed on it by ALPN: ``http2`` between a transport and our streams.

Bytes come in, are understood by ``http2.connection``, and become calls of a Stream; what streams have to send is asked of them
in turn, one frame each, until the transport is full. While it is full streams keep what they have; only what the connection
itself answers (acknowledgements) is held here, and not much of it. docs/architecture/http2.md has the states.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, Optional, Union

from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ...http1.errors import BadMessage
from ...http2.connection import Connection
from ...http2.errors import ConnectionFault, ErrorCode, Flood
from ...http2.fields import FieldLines
from ...http2.heads import Request, read_request, same_for_path
from ...http2.streams import StreamState
from ...net.outlet import unacknowledged_bytes
from ...net.sweep import NEVER
from ..requests.provenance import Provenance
from .connection import LINGER_S
from .front import HTTPFront
from .http2_stream import Stream

HELD_BYTES = 64 * 1024
"""Acknowledgements kept for a client that does not read; one more closes the connection. Twisted keeps 17 kB."""

WRITE_BYTES = 64 * 1024
"""What is collected before it is written: four frames, one call of send."""

LEAVE_S = 2.0
"""How long a client that was told to leave may take to say that it knows (RFC 9113 section 6.8: a round trip at least). After
that no further stream is taken."""

RECORD_BYTES = 16 * 1024
"""What fills a TLS record (RFC 8446 section 5.1): nothing is gained by waiting for more."""


@implementer(IPullProducer)
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
        self.h2: Connection[Stream, Union[Request, BadMessage]] = Connection(self, policy.limits.head, now)
        self.streams = self.h2.streams
        self.blocked = False
        """The transport is full."""
        self.deadline = self._idle_until = now + policy.timeouts.head
        self._block_until = self._write_until = self._leave_until = NEVER
        self._ready: Deque[Stream] = deque()
        self._sending = False
        """What is given to the connection now is sent by who is at it."""
        self._in_turn = False
        """What waits is sent when this turn of the reactor ends."""
        self._held = b""
        self._below_bytes = 0
        """What was below us at the last look while the transport was full."""
        self._registering = False
        self._over = False

    def connectionMade(self) -> None:
        """A client is here, and its handshake is over."""
        self.transport: Any = self.transport
        self.front.clients[self] = None
        self.gateway.sweep.add(self)
        self.gateway.counts.opened("client")
        self.h2.begin()
        self.flush()

    # -- reading

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._over:
            return
        self._sending = True  # What is answered at once is sent together, at the end.
        try:
            self.h2.feed(data, self.gateway.monotonic())
        except ConnectionFault as fault:
            self.gateway.counts.refuse("http2-" + (fault.reason if isinstance(fault, Flood) else "protocol-error"))
            self._end()
        finally:
            self._sending = False
        self._send_round()
        self._note_progress()

    def read_request(
        self, fields: FieldLines, before: Optional[Union[Request, BadMessage]], path: bytes
    ) -> Union[Request, BadMessage]:
        """See Owner: what is wrong with a request is remembered like what is right."""
        limits = self.policy.head_limits
        try:
            return same_for_path(before, path, limits) if isinstance(before, Request) else read_request(fields, limits)
        except BadMessage as error:
            return BadMessage(error.status, error.reason)  # Without its traceback.

    def open_stream(self, stream_id: int, state: StreamState, send_window: int, receive_window: int, length: int) -> Stream:
        """See Owner."""
        if self.gateway.policy is not self.provenance.policy:
            self.provenance = self.provenance.under(self.gateway.policy)
        return Stream(self, stream_id, state, send_window, receive_window, length)

    def request_began(self, stream: Stream, request: Union[Request, BadMessage], whole: bool) -> None:
        """See Owner."""
        self._idle_until = NEVER
        if isinstance(request, BadMessage):
            stream.refuse(request)
            return
        try:
            stream.start(request, whole)
        except BadMessage as error:
            stream.refuse(error)

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
            if opened.answered:
                self._queue(opened)

    def client_leaves(self, code: int) -> None:
        """See Owner: the client still takes what it has asked for, unless it says that something is wrong."""
        self.h2.leaving = True
        if code != ErrorCode.NO_ERROR or not self.streams:
            self._end()

    # -- what a request asks of its connection

    def send_hint(self, stream: Stream, block: bytes) -> None:
        """Send an interim response, unless it would come late, when nobody misses it."""
        if not self.blocked and not self._over:
            self.h2.send_head(stream, block)
            self._send_soon()

    def send_answer(self, stream: Stream, block: bytes, content: bytes) -> bool:
        """Send a whole answer, if that can be done now: False when it has to wait for its turn, or for the client."""
        h2 = self.h2
        if self.blocked or self._over or len(content) > h2.room(stream):
            return False
        if content:
            h2.send_answer(stream, block, content)
        else:
            h2.send_head(stream, block, True)
        self._send_soon()
        return True

    def round(self, stream: Stream) -> None:
        """``stream`` has something to send."""
        self._queue(stream)
        if not self._sending:
            self._send_round()
            self._note_progress()

    def acknowledge(self, stream: Stream, flow_bytes: int) -> None:
        """What came on a stream was used."""
        if not self._over:
            self.h2.acknowledge(stream, flow_bytes)
            if not self._sending:
                self.flush()

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream that can't be completed."""
        if stream.stream_id in self.streams and not self._over:
            self.h2.cancel(stream, code)
        stream.gone()
        if not self._sending:
            self._send_round()
            self._note_progress()

    # -- sending

    def _queue(self, stream: Stream) -> None:
        if stream.answered and not stream.queued:
            stream.queued = True
            stream.deadline = NEVER  # It is we who are late now.
            self._ready.append(stream)

    def _send_round(self) -> None:
        """Let the streams send in turn until nothing is left or the transport is full."""
        if self._ready and not self._sending:
            self._sending = True
            try:
                self._send_frames()
            finally:
                self._sending = False
        self.flush()

    def _send_frames(self) -> None:
        ready, h2 = self._ready, self.h2
        while ready and not self.blocked and not self._over:
            stream = ready.popleft()
            stream.queued = False
            if stream.stream_id in self.streams and stream.send_frame():
                self._queue(stream)
            if h2.pending >= WRITE_BYTES:
                self.flush()

    def _send_soon(self) -> None:
        """Something small was given to the connection: let what comes in the same turn go with it."""
        if self._sending:
            if self.h2.pending >= WRITE_BYTES:
                self.flush()
        elif not self.streams or self.h2.pending >= RECORD_BYTES:
            self.flush()
            self._note_progress()
        elif not self._in_turn:
            self._in_turn = True
            self.gateway.turn.add(self)

    def turn_ended(self) -> None:
        """See Sender."""
        self._in_turn = False
        self.flush()

    def flush(self) -> None:
        """Send what the connection has to say."""
        h2 = self.h2
        if not h2.pending:
            return
        data = h2.take_output()
        if self.blocked:
            self._held += data
            if len(self._held) > HELD_BYTES:
                self.gateway.counts.refuse("http2-not-reading")
                self.transport.abortConnection()
        elif not self.transport.write_now(data):
            self.blocked = True
            self._client_took()
            self._registering = True
            self.transport.registerProducer(self, False)
            self._registering = False

    def resumeProducing(self) -> None:
        """The transport has nothing more to send."""
        if self._registering:  # It asks at once, before it has sent anything.
            return
        if self._held:
            held, self._held = self._held, b""
            self.transport.write(held)
            self._client_took()
            return
        self.blocked = False
        self._write_until = NEVER
        self.transport.unregisterProducer()
        if self._over:
            self._close()
        else:
            self._send_round()
            self._note_progress()

    def stopProducing(self) -> None:
        """The connection is gone; ``connectionLost`` tells."""

    def _client_took(self) -> None:
        """It took something of what is below us, and has to take more."""
        self._below_bytes = unacknowledged_bytes(self.transport)
        self._write_until = self.gateway.monotonic() + self.policy.timeouts.write
        self._set_deadline()

    # -- time

    def _note_progress(self) -> None:
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
        self._set_deadline()

    def _set_deadline(self) -> None:
        self.deadline = min(self._idle_until, self._block_until, self._write_until, self._leave_until)

    def deadline_passed(self, now: float) -> None:
        """The client was too slow, idle for too long, or does not close."""
        counts = self.gateway.counts
        if self._over:
            self.transport.abortConnection()
        elif now > self._write_until:
            if unacknowledged_bytes(self.transport) < self._below_bytes:
                self._client_took()
                return
            counts.timed_out("write")
            self.transport.abortConnection()
        elif now > self._leave_until:
            self._leave_until = NEVER
            self.h2.refuse_streams()
            self.flush()
            self._note_progress()
        elif now > self._block_until or not self.h2.last_stream_id:
            counts.timed_out("head")
            self.h2.close()
            self._end()
        else:
            counts.timed_out("keep_alive")
            self._idle_until = NEVER
            self._begin_to_leave()

    # -- the end

    def drain(self) -> None:
        """Take no further request: say so, and close when the last one is answered."""
        if not self._over:
            self._begin_to_leave()

    def _begin_to_leave(self) -> None:
        if not self.h2.going and not self.h2.leaving:
            self._leave_until = self.gateway.monotonic() + LEAVE_S
            self.h2.go_away()
            self.flush()
            self._set_deadline()

    def _end(self) -> None:
        """Drop the streams and close, once what is written is sent."""
        if self._over:
            return
        self._idle_until = self._block_until = NEVER
        self._drop()
        self.flush()
        if self.blocked:
            self._set_deadline()
        else:
            self._close()

    def _drop(self) -> None:
        self._over = self.h2.closed = True
        streams = list(self.streams.values())
        self.streams.clear()
        self._ready.clear()
        for stream in streams:
            stream.gone()

    def _close(self) -> None:
        self.deadline = self._write_until = self.gateway.monotonic() + LINGER_S
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone, or was closed."""
        self._drop()
        self.h2.take_output()
        self.gateway.sweep.discard(self)
        self.gateway.counts.closed("client")
        self.front.client_gone(self)
