"""The write side of an HTTP/2 client's connection: streams send in turn, one frame each, until the transport is full.

While it is full streams keep what they have; only what the connection itself answers (acknowledgements) is held here, and not
much of it. What belongs together is sent together: at the end of a read, or of the reactor's turn.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Deque

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

from ...net.outlet import unacknowledged_bytes

if TYPE_CHECKING:
    from ...http2.errors import ErrorCode
    from .http2_connection import HTTP2Connection
    from .http2_stream import Stream

HELD_BYTES = 64 * 1024
"""Acknowledgements kept for a client that does not read; one more closes the connection. Twisted keeps 17 kB."""

WRITE_BYTES = 64 * 1024
"""What is collected before it is written: four frames, one call of send."""

RECORD_BYTES = 16 * 1024
"""What fills a TLS record (RFC 8446 section 5.1): nothing is gained by waiting for more."""


@implementer(IPullProducer)
class FrameOutlet:
    """Of one connection, whose ``transport`` is there.

    :ivar blocked: the transport is full.
    :ivar collecting: what is given to the connection now is sent by whoever set this.
    :ivar closed: nothing of a stream is sent any more.
    """

    __slots__ = (
        "blocked", "collecting", "closed", "_connection", "_transport", "_h2", "_ready", "_in_turn", "_held", "_below_bytes",
        "_registering",
    )  # fmt: skip

    def __init__(self, connection: HTTP2Connection) -> None:
        self.blocked = self.collecting = self.closed = False
        self._connection = connection
        self._transport = connection.transport
        self._h2 = connection.h2
        self._ready: Deque[Stream] = deque()
        self._in_turn = False
        """What waits is sent when this turn of the reactor ends."""
        self._held = b""
        self._below_bytes = 0
        """What was below us at the last look while the transport was full."""
        self._registering = False

    # -- streams

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream that can't be completed."""
        if stream.stream_id in self._h2.streams and not self.closed:
            self._h2.cancel(stream, code)
        stream.gone()
        self.go_on()

    def send_hint(self, stream: Stream, block: bytes) -> None:
        """Send an interim response, unless it would come late, when nobody misses it."""
        if not self.blocked and not self.closed:
            self._h2.send_head(stream, block)
            self._send_soon()

    def send_answer(self, stream: Stream, block: bytes, content: bytes) -> bool:
        """Send a whole answer, if that can be done now: False when it has to wait for its turn, or for the client."""
        h2 = self._h2
        if self.blocked or self.closed or len(content) > h2.room(stream):
            return False
        if content:
            h2.send_answer(stream, block, content)
        else:
            h2.send_head(stream, block, True)
        self._send_soon()
        return True

    def acknowledge(self, stream: Stream, flow_bytes: int) -> None:
        """What came on a stream was used."""
        if not self.closed:
            self._h2.acknowledge(stream, flow_bytes)
            if not self.collecting:
                self.flush()

    def round(self, stream: Stream) -> None:
        """``stream`` has something to send."""
        self.queue(stream)
        self.go_on()

    def queue(self, stream: Stream) -> None:
        """``stream`` may have something to send, in its turn."""
        if stream.takes_turn():
            self._ready.append(stream)

    def go_on(self) -> None:
        """Send what can be sent, unless somebody is at it already."""
        if not self.collecting:
            self.send_round()
            self._connection.note_progress()

    def send_round(self) -> None:
        """Let the streams send in turn until nothing is left or the transport is full."""
        if self._ready and not self.collecting:
            self.collecting = True
            try:
                self._send_frames()
            finally:
                self.collecting = False
        self.flush()

    def _send_frames(self) -> None:
        ready, h2, streams = self._ready, self._h2, self._connection.streams
        while ready and not self.blocked and not self.closed:
            stream = ready.popleft()
            stream.queued = False
            if stream.stream_id in streams and stream.send_frame():
                self.queue(stream)
            if h2.pending >= WRITE_BYTES:
                self.flush()

    def _send_soon(self) -> None:
        """Something small was given to the connection: let what comes in the same turn go with it."""
        if self.collecting:
            if self._h2.pending >= WRITE_BYTES:
                self.flush()
        elif not self._connection.streams or self._h2.pending >= RECORD_BYTES:
            self.flush()
            self._connection.note_progress()
        elif not self._in_turn:
            self._in_turn = True
            self._connection.gateway.turn.add(self)

    def turn_ended(self) -> None:
        """See Sender."""
        self._in_turn = False
        self.flush()

    # -- the transport

    def flush(self) -> None:
        """Send what the connection has to say."""
        h2 = self._h2
        if not h2.pending:
            return
        data = h2.take_output()
        if self.blocked:
            self._held += data
            if len(self._held) > HELD_BYTES:
                self._connection.gateway.counts.refuse("http2-not-reading")
                self._transport.abortConnection()
        elif not self._transport.write_now(data):
            self.blocked = True
            self._took()
            self._registering = True
            self._transport.registerProducer(self, False)
            self._registering = False

    def _took(self) -> None:
        """The client has taken all of what was below us, and has to take more."""
        self._below_bytes = unacknowledged_bytes(self._transport)
        self._connection.await_taking()

    def moved(self) -> int:
        """How much of what is below us the client has taken since it was looked last."""
        before, self._below_bytes = self._below_bytes, unacknowledged_bytes(self._transport)
        return max(before - self._below_bytes, 0)

    def resumeProducing(self) -> None:
        """The transport has nothing more to send."""
        if self._registering:  # It asks at once, before it has sent anything.
            return
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)
            self._took()
            return
        self.blocked = False
        self._transport.unregisterProducer()
        self._connection.taken()

    def stopProducing(self) -> None:
        """The connection is gone; ``connectionLost`` tells."""

    def close(self) -> None:
        """Nothing of a stream is sent any more; what the connection has to say still is."""
        self.closed = True
        self._ready.clear()
