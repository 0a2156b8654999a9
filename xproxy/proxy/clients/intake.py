"""What a client of HTTP/1.1 sends becomes requests: heads, the bodies behind them, and what comes ahead of its time.

The one owner of the bytes that were read and not yet understood, of the reader of a body, and of whether anything is read.
What may come when is the connection's to say (``states``): its table is asked about bytes, told of heads and ends of bodies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from ...http1.body import BodyReader, ChunkedBody, LengthBody
from ...http1.errors import BadMessage
from ...http1.fields import Fields
from ...http1.request import RequestHead, head_end, parse_request_head, request_body
from ...net.bodies.splice import MIN_BYTES
from ...net.inlet import MAX_READ_BYTES
from ...net.sweep import NEVER
from ..requests.request_body import RequestBody
from .request import ClientRequest
from .states import Do, Input, State, on

if TYPE_CHECKING:
    from .connection import ClientConnection

PIPELINE_BYTES = 64 * 1024
"""What a client may send ahead of its answers before we stop reading; nginx and HAProxy keep a buffer of 8k to 16k."""

HEAD_READ_BYTES = 16 * 1024
"""What is read at a time of heads: it is what a client that sends ahead can have here beyond PIPELINE_BYTES."""

BODY_READ_BYTES = MAX_READ_BYTES
"""What is read at a time of a body."""

_HEAD, _BODY = State.HEAD, State.BODY
_ON_BYTES, _ON_REQUEST = on(Input.BYTES), on(Input.REQUEST)
_PARSE = Do.PARSE


class Intake:
    """Of one connection, whose ``transport`` is there.

    :ivar buffer: what was read and not understood yet.
    :ivar ended: the client has ended its side.
    :ivar paused: nothing is read.
    """

    __slots__ = (
        "buffer", "ended", "paused", "_connection", "_transport", "_inlet", "_advancing", "_searched", "_previous", "_reader",
        "_body",
    )  # fmt: skip

    def __init__(self, connection: ClientConnection) -> None:
        self.buffer = b""
        self.ended = self.paused = self._advancing = False
        self._connection = connection
        self._transport = transport = connection.transport
        self._inlet = connection.inlet_class(transport, self.received, HEAD_READ_BYTES)
        self._searched = 0
        """How much of the buffer was searched for the end of a head."""
        self._previous: Optional[Fields] = None
        """The last head's: clients repeat themselves."""
        self._reader: Optional[BodyReader] = None
        self._body: Optional[RequestBody] = None
        """What is received into, past ``received``."""

    def received(self, data: bytes) -> None:
        """Bytes from the client."""
        connection = self._connection
        _, do = _ON_BYTES[connection.state]
        if do is _PARSE:
            self.buffer = self.buffer + data if self.buffer else data
            self.advance()
        elif do is Do.FEED:
            self._feed(data)
        elif do is Do.HOLD:
            self.buffer += data
            self._bound()
        elif do is Do.RELAY:
            assert connection.tunnel is not None
            connection.tunnel.client_sent(data)
        elif do is Do.DROP_A_WHILE:
            connection.touch()

    # -- heads

    def advance(self) -> None:
        """Begin what is buffered, request after request, as long as each is answered at once."""
        if self._advancing:
            return
        self._advancing = True
        connection = self._connection
        try:
            while self.buffer and connection.state <= _HEAD:
                if connection.gateway.policy is not connection.policy:
                    self._take_policy()
                request = None
                try:
                    head = self._next_head()
                    if head is None:
                        break
                    fields = head.fields
                    if fields.content_length > 0 or fields.chunked:
                        connection.on(Input.REQUEST_WITH_BODY)
                    else:
                        connection.state, _ = _ON_REQUEST[connection.state]
                        connection.deadline = NEVER
                    request = connection.request = ClientRequest(connection, head, connection.gateway.monotonic())
                    request.start()
                except BadMessage as error:
                    if request is None:
                        connection.refuse(error)
                        break
                    request.refuse(error)
        finally:
            self._advancing = False
        if (self.buffer or self.paused or self.ended) and connection.state is not State.CLOSED:
            self._bound()
            if self.ended:
                connection.on(Input.EOF)  # What was buffered when it came was more important.

    def _take_policy(self) -> None:
        """There is a new policy: it is in force for what comes now."""
        connection = self._connection
        connection.policy = policy = connection.gateway.policy
        connection.provenance = connection.provenance.under(policy)
        self._previous = None  # Checked under other limits.

    def _next_head(self) -> Optional[RequestHead]:
        """Take the next head out of the buffer, None when it is not whole. Raises BadMessage."""
        data, limits = self.buffer, self._connection.policy.head_limits
        end = head_end(data, limits, 0, self._searched)
        if not end:
            if data.strip(b"\r\n"):
                self._connection.on(Input.BEGUN)
            else:  # Empty lines behind a body: they belong to no head (RFC 9112 section 2.2). A last CR may become another.
                data = self.buffer = data[len(data) & ~1 :]
            self._searched = len(data)
            return None
        self._searched = 0
        if end == len(data):
            self.buffer = b""
        else:
            self.buffer = data[end:]
            data = data[:end]
        try:
            head = parse_request_head(data, limits, self._previous)
        except BadMessage:
            self.buffer = data  # For whoever says what was refused.
            raise
        self._previous = head.fields
        return head

    @property
    def is_new(self) -> bool:
        """Whether nothing was asked yet."""
        return self._previous is None

    # -- bodies

    def read_body(self, head: RequestHead, most_bytes: int, kept_in: Optional[RequestBody]) -> None:
        """Give the request its body. Raises BadMessage: 413, of a body that announces more than ``most_bytes``.

        :param kept_in: where the body waits until it is whole; None: it is streamed, and the service sets the pace.
        """
        connection = self._connection
        reader = self._reader = request_body(head, connection.policy.head_limits)
        assert reader is not None
        reader.bound(most_bytes)
        self._inlet.size = BODY_READ_BYTES
        data, self.buffer = self.buffer, b""
        if data:
            self._feed(data)
        if kept_in is not None and connection.state is _BODY:
            self.resume()  # It may have been stopped when the client had sent far ahead.
            if isinstance(reader, LengthBody) and reader.remaining >= MIN_BYTES and self._inlet.lend(self._receive):
                self._body = kept_in

    def _feed(self, data: bytes) -> None:
        """Some of the body has come."""
        request, reader = self._connection.request, self._reader
        assert request is not None and reader is not None
        try:
            content, rest = reader.feed(data)
            request.count(content)
            if rest is not None:
                self._end_body(rest)
            else:
                self._connection.touch(len(data), self._connection.policy.limits.body_rate)
            request.body_received(content, rest is not None)
        except BadMessage as error:
            request.refuse(error)

    def _receive(self) -> Any:
        """Stands in for the ``doRead`` of the transport: what is there of a long body of known length goes to its spool."""
        transport, reader, body, request = self._transport, self._reader, self._body, self._connection.request
        assert isinstance(reader, LengthBody) and body is not None and request is not None
        room = body.spool().room()
        try:
            size = transport.getHandle().recv_into(room, min(reader.remaining, len(room)))
        except BlockingIOError:
            return None
        except OSError:
            size = 0
        if not size:
            self.read_all()
            return transport.doRead()  # It knows what to make of an end or an error.
        try:
            body.received(size)
            reader.remaining -= size
            if reader.remaining:
                self._connection.touch(size, self._connection.policy.limits.body_rate)
            else:
                self._end_body(b"")
                request.body_received(b"", True)
        except BadMessage as error:
            request.refuse(error)
        return None

    def _end_body(self, rest: bytes) -> None:
        """The body is whole; ``rest`` came after it."""
        self.read_all()
        self._inlet.size = HEAD_READ_BYTES
        self.buffer = rest
        self._connection.on(Input.BODY_WHOLE)

    @property
    def trailers(self) -> bytes:
        """Those that the body ended with."""
        return self._reader.trailers if isinstance(self._reader, ChunkedBody) else b""

    # -- whether it is read

    def read_all(self) -> None:
        """Let everything come to ``received`` again."""
        if self._body is not None:
            self._body = None
            self._inlet.open()

    def _bound(self) -> None:
        """Read ahead of the answers as far as PIPELINE_BYTES. In BODY the service sets the pace."""
        if self._connection.state > _BODY and len(self.buffer) > PIPELINE_BYTES:
            self.pause()
        elif self._connection.state is not _BODY:
            self.resume()

    def pause_body(self) -> None:
        """Read no more of the body for now."""
        self.pause()
        self._connection.touch()

    def resume_body(self) -> None:
        """More of it can be taken."""
        self.resume()
        self._connection.touch()

    def pause(self) -> None:
        """Read nothing for now."""
        if not self.paused:
            self.paused = True
            self._transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if self.paused and not self.ended:
            self.paused = False
            self._transport.resumeProducing()

    def close(self) -> None:
        """The connection is gone: let go of it, so that nothing here needs a garbage collector."""
        self.ended = self.paused = True
        self._inlet.close()
        self.buffer = b""
        self._reader = self._body = None
        del self._transport, self._connection
