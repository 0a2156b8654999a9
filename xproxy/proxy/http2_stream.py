"""One request of an HTTP/2 client, from its fields to the end of its answer; the caller (``exchange.Caller``) of its exchange.

Made by ``http2.HTTP2Connection`` for each stream. What a stream is to hyper-h2 is the connection's business; a Stream keeps
what waits for the client (one piece, then a backlog in memory and file) and hands it out frame by frame when the connection
asks::

    reading ──whole──▶ waiting, on a slot ──head──▶ answering ──last frame──▶ gone
       │ 4xx                │ 5xx                      │ cut off
       ▼                    ▼                          ▼
     answering            answering                  reset

So a slow client costs no slot: the exchange is over when the service has finished, however slowly the stream's window opens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Optional, Tuple

from h2.errors import ErrorCodes

from ..http1.body import BodyReader, ChunkedBody, LengthBody, encode_chunk, last_chunk
from ..http1.errors import BadMessage
from ..http1.forward import client_head, received_request_id, request_head
from ..http1.response import ResponseHead
from . import answers
from .answers import Answer
from .client_request import CLIENT_LEFT, STREAM_BYTES
from .errors import ExchangeError
from .exchange import Exchange
from .gateway import Destination
from .http2_head import VERSION, FieldLines, Request, read_request, read_trailers, response_fields, trailer_fields
from .routes import strip_prefix
from .spool import Backlog, Spool
from .sweep import NEVER

if TYPE_CHECKING:
    from .http2 import HTTP2Connection

PIECE_BYTES = 64 * 1024
"""What of one piece of a response may stay in memory beside the backlog, when the client's window is shut."""

FRAME_BYTES = 16 * 1024
"""The largest DATA frame we send, whatever the client allows: streams take turns frame by frame."""

Fields = List[Tuple[bytes, bytes]]


class Stream:
    """A request and its answer.

    :ivar stream_id: of hyper-h2.
    :ivar queued: it has a place in the connection's round.
    """

    __slots__ = (
        "connection", "stream_id", "deadline", "queued", "answered", "_request", "_destination", "_exchange", "_began_at",
        "_status", "_sent_bytes", "_request_id", "_spool", "_body_bytes", "_reading", "_unacknowledged", "_head", "_piece",
        "_at", "_backlog", "_backlog_bytes", "_body", "_complete", "_logged",
    )  # fmt: skip

    def __init__(self, connection: HTTP2Connection, stream_id: int) -> None:
        gateway = connection.gateway
        self.connection = connection
        self.stream_id = stream_id
        self.deadline = NEVER
        self.queued = False
        self.answered = False
        """A final head is on its way to the client."""
        self._request: Optional[Request] = None
        self._destination: Optional[Destination] = None
        self._exchange: Optional[Exchange] = None
        self._began_at = gateway.monotonic()
        self._status = 0
        self._sent_bytes = 0
        self._request_id = b""
        self._spool: Optional[Spool] = None
        self._body_bytes = -1
        """-1: the request has none."""
        self._reading = True
        self._unacknowledged = 0
        """Bytes of a streamed body that the client's window has not been opened for again."""
        self._head: Optional[Fields] = None
        self._piece = b""
        self._at = 0
        """How much of the piece is sent."""
        self._backlog = Backlog(gateway.limits.response_memory)
        self._backlog_bytes = 0
        self._body: Optional[BodyReader] = None
        self._complete = False
        self._logged = False

    # -- the request

    def start(self, fields: FieldLines, whole: bool) -> None:
        """Decide what becomes of the request. Raises BadMessage.

        :param whole: no body follows.
        """
        connection = self.connection
        gateway = connection.gateway
        self._reading = not whole
        request = self._request = read_request(fields, gateway.head_limits)
        head = request.head
        if head.method == b"TRACE":
            raise BadMessage(405, "method-not-allowed")
        to = self._destination = gateway.router.find(head.host, head.path, head.method)
        if to is None:
            raise BadMessage(404, "no-route")
        own = answers.without_service(to.route, head, True)
        if own is not None:
            self.answer(own)
        elif whole:
            self._submit(b"")
        elif request.content_length > to.body_limit:
            raise BadMessage(413, "body-too-large")
        else:
            if request.expect_continue:
                connection.send_fields(self.stream_id, [(b":status", b"100")])
            self._body_bytes = 0
            self._expect(gateway.timeouts.body)
            if not to.buffering:
                self._submit(b"")

    def body_received(self, data: bytes, flow_bytes: int) -> None:
        """Some of the body. Raises BadMessage.

        :param flow_bytes: what it took of the client's window, padding included.
        """
        connection, to = self.connection, self._destination
        if self.answered or to is None:
            connection.acknowledge(self.stream_id, flow_bytes)
            return
        self._body_bytes += len(data)
        if self._body_bytes > to.body_limit:
            connection.acknowledge(self.stream_id, flow_bytes)
            raise BadMessage(413, "body-too-large")
        if not data:
            connection.acknowledge(self.stream_id, flow_bytes)
            return
        self._expect(connection.gateway.timeouts.body)
        if to.buffering:
            self._keep(data)
            connection.acknowledge(self.stream_id, flow_bytes)
        elif self._pass_on(data):
            connection.acknowledge(self.stream_id, flow_bytes)
        else:
            self._unacknowledged += flow_bytes
            self.deadline = NEVER  # A client that is not read is not late.

    def request_ended(self, fields: FieldLines = ()) -> None:
        """The request is whole; ``fields`` are its trailers. Raises BadMessage."""
        if not self._reading:
            return
        self._reading = False
        self.deadline = NEVER
        if self.answered or self._destination is None:
            return
        trailers = read_trailers(fields, self.connection.gateway.head_limits)
        if self._destination.buffering:
            self._submit(trailers)
        elif self._exchange is not None:
            ending = last_chunk(trailers) if self._is_chunked() else b""
            self._exchange.request_more(ending, True)

    def _keep(self, data: bytes) -> None:
        if self._spool is None:
            self._spool = Spool(self.connection.gateway.limits.request_memory)
        try:
            self._spool.put(data)
        except OSError:
            raise BadMessage(507, "no-space") from None

    def _is_chunked(self) -> bool:
        return self._request is not None and self._request.content_length < 0

    def _pass_on(self, data: bytes) -> bool:
        """Stream: the slot is held for as long as the client takes. False: no more for now."""
        if self._exchange is None:
            return True
        return self._exchange.request_more(encode_chunk(data) if self._is_chunked() else data, False)

    def request_drained(self) -> None:
        """See Caller."""
        size, self._unacknowledged = self._unacknowledged, 0
        if size and self._reading:
            self._expect(self.connection.gateway.timeouts.body)
            self.connection.acknowledge(self.stream_id, size)
            self.connection.flush()

    def _submit(self, trailers: bytes) -> None:
        """Put the request on its way to a slot: whole, or (``_reading``) as it comes."""
        connection, to, request = self.connection, self._destination, self._request
        assert to is not None and to.pool is not None and request is not None
        head, gateway = request.head, connection.gateway
        fields = head.fields
        if head.method == b"OPTIONS" and fields.max_forwards > 0:
            fields = fields.with_max_forwards(fields.max_forwards - 1)
        block = connection.forwarding_block(fields, head.host, to.set_host)
        self._request_id = received_request_id(fields) or gateway.new_request_id()
        path = strip_prefix(head.path, to.strip_prefix)
        spool, self._spool = self._spool, None
        content = b""
        if self._reading:
            message = request_head(head.method, path, block, request.content_length, self._is_chunked(), self._request_id)
        elif trailers:
            # A body with trailers has to go on in the chunked coding (RFC 9110 section 6.5): as one chunk.
            message = request_head(head.method, path, block, -1, True, self._request_id)
            ending = last_chunk(trailers)
            if spool is not None:
                message += b"%x\r\n" % self._body_bytes
                spool.put(b"\r\n" + ending)
            else:
                content = ending
        else:
            length = request.content_length if self._body_bytes < 0 else self._body_bytes
            message = request_head(head.method, path, block, length, False, self._request_id)
        if spool is not None and not spool.in_file:
            pieces = list(iter(spool.take, b""))
            content, spool = b"".join(pieces), None
        now = self._began_at if self._body_bytes < 0 else gateway.monotonic()
        self._exchange = exchange = Exchange(
            self, to.pool, head.method, message + content, now, spool, self._reading, False, to.response_timeout
        )
        to.pool.submit(exchange)

    # -- the answer of a service

    def response_hint(self, head: ResponseHead) -> None:
        """See Caller."""
        if not self.connection.blocked:  # Nobody misses a hint that would come late.
            fields = response_fields(b"HTTP/1.1 %d \r\n%b\r\n" % (head.status, head.fields.passed_on))
            self.connection.send_fields(self.stream_id, fields)
            self.connection.flush()

    def response_began(self, head: ResponseHead, content: bytes, body: Optional[BodyReader], complete: bool) -> None:
        """See Caller."""
        assert self._destination is not None and self._request is not None
        gateway, status = self.connection.gateway, head.status
        length = -1
        if body is None:
            if self._request.head.method == b"HEAD" or status == 304:
                length = head.fields.content_length
            elif status != 204:
                length = 0
        elif isinstance(body, LengthBody):
            length = head.fields.content_length
        elif complete and not (isinstance(body, ChunkedBody) and body.trailers):
            length = len(content)
        out = client_head(head, 1, True, length, False, gateway.date, gateway.marks.via)
        limits = gateway.limits
        streamed = head.unbuffered or not self._destination.buffering
        self._backlog_bytes = STREAM_BYTES if streamed else limits.response_memory + limits.response_file
        self._body = body
        self._status = status
        if self._destination.hsts:
            out = answers.add_hsts(out, self._destination.hsts)
        self._begin(response_fields(out))
        self.response_more(content, complete)

    def _begin(self, fields: Fields) -> None:
        """The answer begins; what is left of the request is of no use any more."""
        self.answered = True
        self.deadline = NEVER
        self._head = fields

    def response_more(self, content: bytes, complete: bool) -> None:
        """See Caller."""
        self._sent_bytes += len(content)
        self._complete = complete
        try:
            self._give(content)
        except OSError:  # No space for what the client does not take.
            self.cancel(ErrorCodes.INTERNAL_ERROR)
            return
        if complete:
            self._exchange = None
            self._finished()
        elif self._exchange is not None and self._backlog.unread > self._backlog_bytes:
            self._exchange.pause()

    def _give(self, content: bytes) -> None:
        """Send, or keep. Raises OSError."""
        if self._at < len(self._piece) or self._backlog.unread:
            if content:
                self._backlog.put(content)
            return
        self._piece, self._at = content, 0
        self.connection.round(self)
        if len(self._piece) - self._at > PIECE_BYTES:
            rest, self._piece, self._at = self._piece[self._at :], b"", 0
            self._backlog.put(rest)

    def splice_target(self) -> Optional[int]:
        """See Caller: never."""
        return None

    def response_spliced(self, size: int) -> None:
        """See Caller: never."""
        raise AssertionError("nothing is spliced into frames")

    def response_failed(self, error: ExchangeError) -> None:
        """See Caller."""
        self._exchange = None
        self.fail(error.status, error.reason, error.retry_after_s)

    def response_cut_off(self, reason: str) -> None:
        """See Caller: the client must see that something is missing."""
        self._exchange = None
        self.cancel(ErrorCodes.INTERNAL_ERROR)

    def response_upgraded(self, head: ResponseHead, content: bytes) -> None:
        """See Caller: never, because no Upgrade is passed on."""
        raise AssertionError("an upgrade that nobody asked for")

    # -- sending

    def send_frame(self) -> bool:
        """Send the head, or as much content as one frame holds; False when there is nothing more to send for now."""
        connection, stream_id = self.connection, self.stream_id
        h2 = connection.h2
        head, self._head = self._head, None
        if self._at >= len(self._piece):
            self._piece, self._at = self._backlog.take(), 0
        if head is not None:
            last = self._complete and not self._piece and not trailer_fields(self._body)
            h2.send_headers(stream_id, head, end_stream=last)
            if last:
                connection.stream_answered(self, self._reading)
                return False
        if not self._piece:
            return self._send_end()
        window = h2.local_flow_control_window(stream_id)
        if window <= 0:
            self._expect(connection.gateway.timeouts.write)
            return False
        self.deadline = NEVER
        size = min(len(self._piece) - self._at, window, FRAME_BYTES, h2.max_outbound_frame_size)
        data = self._piece[self._at : self._at + size]
        self._at += size
        rest = self._at < len(self._piece) or self._backlog.unread > 0
        last = self._complete and not rest and not trailer_fields(self._body)
        h2.send_data(stream_id, data, end_stream=last)
        connection.meter.sent(size)
        if last:
            connection.stream_answered(self, self._reading)
            return False
        if self._exchange is not None and self._backlog.unread <= self._backlog_bytes // 2:
            self._exchange.resume()
        return rest or self._complete

    def _send_end(self) -> bool:
        if self._complete:
            trailers = trailer_fields(self._body)
            if trailers:
                self.connection.h2.send_headers(self.stream_id, trailers, end_stream=True)
            else:
                self.connection.h2.end_stream(self.stream_id)
            self.connection.stream_answered(self, self._reading)
        return False

    # -- answers of our own

    def refuse(self, error: BadMessage) -> None:
        """The request turned out bad."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()
        if self.answered:
            self.cancel(ErrorCodes.PROTOCOL_ERROR)
        else:
            self.fail(error.status, error.reason)

    def fail(self, status: int, reason: str, retry_after_s: Optional[int] = None) -> None:
        """Answer with an error."""
        accept = (self._request.head.fields.get(b"accept") if self._request is not None else None) or b""
        self.answer(self.connection.gateway.pages.error(status, reason, accept, retry_after_s))

    def answer(self, answer: Answer) -> None:
        """Answer without a service."""
        self._status = answer.status
        fields = [(b":status", b"%d" % answer.status), (b"date", self.connection.gateway.date)]
        fields += [(name.lower(), value) for name, value in answer.fields]
        if self._destination is not None and self._destination.hsts:
            fields.append((answers.HSTS.lower(), self._destination.hsts))
        if answer.has_content:
            fields.append((b"content-length", b"%d" % len(answer.content)))
        self._begin(fields)
        with_content = answer.has_content and not (self._request is not None and self._request.head.method == b"HEAD")
        self.response_more(answer.content if with_content else b"", True)

    # -- the end

    def _expect(self, seconds: float) -> None:
        """Something has to come from the client in this time."""
        gateway = self.connection.gateway
        self.deadline = gateway.monotonic() + seconds
        gateway.sweep.add(self)

    def deadline_passed(self, now: float) -> None:
        """The client was too slow: with its request, or with taking the answer."""
        self.deadline = NEVER
        self.connection.gateway.counts.timed_out("write" if self.answered else "body")
        if self.answered:
            self.cancel(ErrorCodes.CANCEL)
        else:
            self.refuse(BadMessage(408, "body-timeout"))

    def cancel(self, code: ErrorCodes) -> None:
        """Reset the stream."""
        self.connection.reset(self, code)

    def _finished(self) -> None:
        """The answer is whole, though perhaps not sent."""
        to = self._destination
        counts = to.counts if to is not None else None
        (counts or self.connection.gateway.counts).answered(self._status)
        self._log()
        if self._spool is not None:
            self._spool.clear()

    def gone(self) -> None:
        """The stream is over, or the client has left: drop everything."""
        self.connection.gateway.sweep.discard(self)
        self._backlog.clear()
        self._piece = b""
        if self._spool is not None:
            self._spool.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()
            self._status = self._status or CLIENT_LEFT
        if not self._complete and self._status:
            self._log()

    def _log(self) -> None:
        log = self.connection.gateway.access_log
        if log is None or self._logged:
            return
        self._logged = True
        to, request = self._destination, self._request
        pool = to.pool.config.name if to is not None and to.pool is not None else ""
        seconds = self.connection.gateway.monotonic() - self._began_at
        head = request.head if request is not None else None
        log.add(self.connection.peer, head, self._status, self._sent_bytes, seconds, pool, self._request_id, VERSION)
