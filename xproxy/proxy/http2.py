"""Where HTTP/2 clients arrive, after ``https`` has agreed on it by ALPN: hyper-h2 between a transport and our streams.

Bytes come in, are counted by ``http2_meter``, understood by hyper-h2, and become calls of a Stream; what streams have to send
is asked of them in turn, one frame each, until the transport is full. While it is full streams keep what they have; only what
hyper-h2 itself answers (acknowledgements) is held here, and not much of it.

Why not ``twisted.web``'s HTTP/2: it reads a request whole without a bound of ours, holds the slot while a client is slow to
take the answer, drops trailers, sends one frame in each turn of the reactor, and ends with a traceback when a request's body
goes on after its answer. ``resource.SlotProxyResource`` serves those who have a ``Site`` of their own, with HTTP/2 too.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple, Type

import h2.config
import h2.connection
import h2.events as events
import h2.settings
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hyperframe.frame import GoAwayFrame
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ..http1.errors import BadMessage
from ..http1.fields import Fields
from ..http1.forward import forwarding_block
from .front import LINGER_S, HTTPFront
from .http2_meter import Flood, FrameMeter
from .http2_stream import Stream
from .outlet import unacknowledged_bytes
from .sweep import NEVER

MAX_STREAMS = 128
"""Requests of one client at once (SETTINGS_MAX_CONCURRENT_STREAMS); nginx http2_max_concurrent_streams 128."""

STREAM_WINDOW_BYTES = 256 * 1024
"""What a client may send of one body before it was read: 5 MB/s at 50 ms. nginx reads ahead 64 kB (http2_body_preread_size)."""

CONNECTION_WINDOW_BYTES = MAX_STREAMS * STREAM_WINDOW_BYTES
"""Of all bodies together: what one stream is held back for holds back no other."""

HELD_BYTES = 64 * 1024
"""Acknowledgements kept for a client that does not read; one more closes the connection. Twisted keeps 17 kB."""

HEADER_TABLE_BYTES = 4096
"""What we remember of a client's answers to compress the next ones, however much it allows: hyper-h2 would take all of it, and
search all of it for each field. 4096 is where HTTP/2 begins (RFC 9113 section 6.5.2), and nghttp2's most."""

CLOSED_STREAMS = 1000
"""Of so many streams that are over it is known how they ended; hyper-h2's own 65,536 are megabytes for each connection."""

TURN_FRAMES = 4
"""Frames between two writes: 64 kB, one call of send."""


class Hyper(h2.connection.H2Connection):
    """hyper-h2, which remembers less."""

    MAX_CLOSED_STREAMS = CLOSED_STREAMS


def new_connection(max_head_bytes: int) -> h2.connection.H2Connection:
    """hyper-h2's side of a connection. Our own fields were checked before: it need not check them again."""
    config = h2.config.H2Configuration(
        client_side=False, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
    )
    made = Hyper(config)
    code = h2.settings.SettingCodes
    made.local_settings = h2.settings.Settings(
        client=False,
        initial_values={
            code.ENABLE_PUSH: 0,
            code.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            code.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
            code.MAX_HEADER_LIST_SIZE: max_head_bytes,
        },
    )
    # A little too large gets a 431, much too large ends the connection.
    made.decoder.max_header_list_size = 2 * max_head_bytes
    return made


@implementer(IPullProducer)
class HTTP2Connection(Protocol):
    """One client and its streams."""

    scheme = b"https"
    subject = b""
    """Of the client's certificate."""

    def __init__(self, front: HTTPFront, peer: str) -> None:
        self.front = front
        self.gateway = gateway = front.gateway
        self.peer = peer
        self.trusted = gateway.trusts(peer)
        self.h2 = new_connection(gateway.limits.head)
        now = gateway.monotonic()
        self.meter = FrameMeter(now, 2 * gateway.limits.head)
        self.streams: Dict[int, Stream] = {}
        self.blocked = False
        """The transport is full."""
        self.deadline = self._idle_until = now + gateway.timeouts.head
        self._block_until = self._write_until = NEVER
        self._ready: Deque[Stream] = deque()
        self._sending = False
        self._held = b""
        self._below_bytes = 0
        """What was below us at the last look while the transport was full."""
        self._registering = False
        self._leaving = False
        """No further stream is taken."""
        self._over = False
        self._fields: Optional[Fields] = None
        self._asked = (b"", b"")
        self._block = b""

    def connectionMade(self) -> None:
        """A client is here, and its handshake is over."""
        self.transport: Any = self.transport
        self.front.clients.add(self)
        self.gateway.sweep.add(self)
        self.gateway.counts.opened("client")
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES - 65535)
        self.flush()

    # -- reading

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._over:
            return
        self._sending = True  # What is answered at once is sent together, at the end.
        try:
            self.meter.feed(data, self.gateway.monotonic())
            for event in self.h2.receive_data(data):
                happens = _HAPPENS.get(type(event))
                if happens is not None and not self._over:
                    happens(self, event)
        except Flood as flood:
            self.gateway.counts.refuse("http2-" + flood.reason)
            self.h2.close_connection(flood.code, flood.reason.encode())
            self._end()
        except ProtocolError:  # hyper-h2 has written a GOAWAY that says why.
            self.gateway.counts.refuse("http2-protocol-error")
            self._end()
        finally:
            self._sending = False
        self._send_round()
        self._note_progress()

    def _request(self, event: events.RequestReceived) -> None:
        stream_id = event.stream_id
        assert stream_id is not None
        if self._leaving:
            self._about_stream(self.h2.reset_stream, stream_id, ErrorCodes.REFUSED_STREAM)
            return
        stream = self.streams[stream_id] = Stream(self, stream_id)
        try:
            stream.start(event.headers or (), event.stream_ended is not None)
        except BadMessage as error:
            stream.refuse(error)

    def _data(self, event: events.DataReceived) -> None:
        stream, flow_bytes = self.streams.get(event.stream_id or 0), event.flow_controlled_length or 0
        if stream is None:
            self.acknowledge(event.stream_id or 0, flow_bytes)
            return
        try:
            stream.body_received(event.data or b"", flow_bytes)
        except BadMessage as error:
            stream.refuse(error)

    def _ended(self, event: events.StreamEnded) -> None:
        self._request_ended(event.stream_id or 0, ())

    def _trailers(self, event: events.TrailersReceived) -> None:
        self._request_ended(event.stream_id or 0, event.headers or ())

    def _request_ended(self, stream_id: int, fields: Any) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None:
            try:
                stream.request_ended(fields)
            except BadMessage as error:
                stream.refuse(error)

    def _was_reset(self, event: events.StreamReset) -> None:
        stream = self.streams.pop(event.stream_id or 0, None)
        if stream is not None:
            stream.gone()
            self.meter.reset(self.gateway.monotonic())

    def _window(self, event: events.WindowUpdated) -> None:
        stream = self.streams.get(event.stream_id or 0)
        if stream is not None:
            self._queue(stream)
        elif not event.stream_id:
            self._all_windows(event)

    def _settings(self, event: events.RemoteSettingsChanged) -> None:
        encoder = self.h2.encoder
        if encoder.header_table_size > HEADER_TABLE_BYTES:
            encoder.header_table_size = HEADER_TABLE_BYTES
        self._all_windows(event)

    def _all_windows(self, event: events.Event) -> None:
        for stream in self.streams.values():
            if stream.answered:
                self._queue(stream)

    def _client_leaves(self, event: events.ConnectionTerminated) -> None:
        self._end()

    def acknowledge(self, stream_id: int, flow_bytes: int) -> None:
        """Open the client's window again for what was read."""
        if flow_bytes and not self._over:
            self._about_stream(self.h2.acknowledge_received_data, flow_bytes, stream_id)

    def _about_stream(self, call: Callable[..., None], *arguments: Any) -> None:
        """Tell hyper-h2 something of a stream that the client may have reset: the event that says so is under way then."""
        try:
            call(*arguments)
        except ProtocolError:
            pass

    # -- what a request asks of its connection

    def forwarding_block(self, fields: Fields, host: bytes, set_host: bytes) -> bytes:
        """The outgoing header block, worked out once for requests that repeat their fields."""
        asked = (host, set_host)
        if fields is not self._fields or asked != self._asked:
            peer, marks = self.peer.encode(), self.gateway.marks
            self._block = forwarding_block(
                fields, peer, self.scheme, host, 1, self.trusted, marks, set_host, self.subject, version=b"2.0"
            )
            self._fields, self._asked = fields, asked
        return self._block

    def send_fields(self, stream_id: int, fields: List[Tuple[bytes, bytes]]) -> None:
        """Send an interim response."""
        if not self._over:
            self._about_stream(self.h2.send_headers, stream_id, fields)

    def round(self, stream: Stream) -> None:
        """``stream`` has something to send."""
        self._queue(stream)
        if not self._sending:
            self._send_round()
            self._note_progress()

    def stream_answered(self, stream: Stream, reading: bool) -> None:
        """The last frame of an answer is given to hyper-h2; ``reading``: the request goes on, which nobody needs any more."""
        if reading:
            self._about_stream(self.h2.reset_stream, stream.stream_id, ErrorCodes.NO_ERROR)  # RFC 9113 section 8.1
        self.streams.pop(stream.stream_id, None)
        stream.gone()

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """End a stream that can't be completed."""
        if self.streams.pop(stream.stream_id, None) is not None and not self._over:
            self._about_stream(self.h2.reset_stream, stream.stream_id, code)
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
        if self._sending:
            return
        self._sending = True
        try:
            self._send_frames()
        finally:
            self._sending = False
        self.flush()

    def _send_frames(self) -> None:
        ready = self._ready
        frames = 0
        while ready and not self.blocked and not self._over:
            stream = ready.popleft()
            stream.queued = False
            if stream.stream_id in self.streams and stream.send_frame():
                self._queue(stream)
            frames += 1
            if frames % TURN_FRAMES == 0:
                self.flush()

    def flush(self) -> None:
        """Send what hyper-h2 has to say."""
        data = self.h2.data_to_send()
        if not data:
            return
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
        self._write_until = self.gateway.monotonic() + self.gateway.timeouts.write
        self._set_deadline()

    # -- time

    def _note_progress(self) -> None:
        """Set the deadlines by what the connection is waiting for now."""
        if self._over:
            return
        timeouts = self.gateway.timeouts
        if self.streams:
            self._idle_until = NEVER
        elif self._idle_until == NEVER:
            if self._leaving:
                self._end()
                return
            self._idle_until = self.gateway.monotonic() + timeouts.keep_alive
        if not self.meter.in_block:
            self._block_until = NEVER
        elif self._block_until == NEVER:
            self._block_until = self.gateway.monotonic() + timeouts.head
        self._set_deadline()

    def _set_deadline(self) -> None:
        self.deadline = min(self._idle_until, self._block_until, self._write_until)

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
        else:
            counts.timed_out("head" if now > self._block_until or not self.h2.highest_inbound_stream_id else "keep_alive")
            self.h2.close_connection()
            self._end()

    # -- the end

    def drain(self) -> None:
        """Take no further request: say so, and close when the last one is answered.

        hyper-h2 takes its own GOAWAY for the end of everything, so this one goes past it.
        """
        if self._over or self._leaving:
            return
        self._leaving = True
        self.flush()
        frame = GoAwayFrame(0, last_stream_id=self.h2.highest_inbound_stream_id)
        if self.blocked:
            self._held += frame.serialize()
        else:
            self.transport.write(frame.serialize())
        if not self.streams:
            self._end()

    def _end(self) -> None:
        """Drop the streams and close, once what is written is sent."""
        if self._over:
            return
        self._over = True
        self._idle_until = self._block_until = NEVER
        for stream in list(self.streams.values()):
            stream.gone()
        self.streams.clear()
        self._ready.clear()
        self.flush()
        if self.blocked:
            self._set_deadline()
        else:
            self._close()

    def _close(self) -> None:
        self.deadline = self._write_until = self.gateway.monotonic() + LINGER_S
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone, or was closed."""
        self._over = True
        self.gateway.sweep.discard(self)
        self.gateway.counts.closed("client")
        for stream in list(self.streams.values()):
            stream.gone()
        self.streams.clear()
        self._ready.clear()
        self.front.client_gone(self)


_HAPPENS: Dict[Type[events.Event], Callable[[HTTP2Connection, Any], None]] = {
    events.RequestReceived: HTTP2Connection._request,
    events.DataReceived: HTTP2Connection._data,
    events.StreamEnded: HTTP2Connection._ended,
    events.TrailersReceived: HTTP2Connection._trailers,
    events.StreamReset: HTTP2Connection._was_reset,
    events.WindowUpdated: HTTP2Connection._window,
    events.RemoteSettingsChanged: HTTP2Connection._settings,
    events.ConnectionTerminated: HTTP2Connection._client_leaves,
}
