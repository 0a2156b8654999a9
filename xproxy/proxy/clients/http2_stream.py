"""One request of an HTTP/2 client, from its fields to the end of its answer; the caller (``exchange.Caller``) of its exchange.

Made by ``http2.HTTP2Connection`` for each stream. What a stream is to the protocol is in its base class and the connection's
business; a Stream keeps what waits for the client (one piece, then a backlog in memory and file) and hands it out frame by
frame when the connection asks::

    reading ──whole──▶ waiting, on a slot ──head──▶ answering ──last frame──▶ gone
       │ 4xx                │ 5xx                      │ cut off
       ▼                    ▼                          ▼
     answering            answering                  reset

So a slow client costs no slot: the exchange is over when the service has finished, however slowly the stream's window opens.
The common answer, which is there at once and whole and has room, goes out in one piece without any of this.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Callable, List, Optional

import attr

from ...http1.body import BodyReader, ChunkedBody, encode_chunk, last_chunk
from ...http1.errors import BadMessage
from ...http1.response import ResponseHead
from ...http2.errors import ErrorCode
from ...http2.fields import FieldLines
from ...http2.heads import CONTINUE, Request, answer_block, hint_block, read_trailers, response_block, trailer_block
from ...http2.streams import OpenStream, StreamState
from ...interfaces import Verdict
from ...net.spool import Backlog, Spool
from ...net.sweep import NEVER
from ..exchanges.errors import ExchangeError
from ..exchanges.exchange import Exchange
from ..requests import answers
from ..requests.answers import Answer
from ..requests.decide import decide
from ..requests.hearing import Hearing, hear, ruled
from ..requests.outgoing import outgoing, outgoing_whole, passed_trailers
from ..requests.policy import Destination
from ..requests.reply import CLIENT_LEFT, backlog_bytes, response_length
from ..requests.request_body import RequestBody

if TYPE_CHECKING:
    from .http2_connection import HTTP2Connection

PIECE_BYTES = 64 * 1024
"""What of one piece of a response may stay in memory beside the backlog, when the client's window is shut."""


class Stream(OpenStream):
    """A request and its answer. What most of them never need is set when it is needed; until then the class has it.

    :ivar queued: it has a place in the connection's round.
    :ivar answered: a final head is on its way to the client.
    """

    deadline = NEVER
    queued = False
    answered = False
    _request: Optional[Request] = None
    _destination: Destination
    _exchange: Optional[Exchange] = None
    _status = 0
    _sent_bytes = 0
    _request_id = b""
    _request_body: Optional[RequestBody] = None
    """None: the request has none."""
    _reading = True
    _unacknowledged = 0
    """Bytes of a streamed body that the client's window has not been opened for again."""
    _head = b""
    """The header block that is to be sent; empty: it was."""
    _piece = b""
    _at = 0
    """How much of the piece is sent."""
    _backlog: Optional[Backlog] = None
    _backlog_bytes = 0
    _body: Optional[BodyReader] = None
    _complete = False
    _swept = False
    """It has, or had, a deadline."""
    _noted = False
    _hearing: Optional[Hearing] = None
    _held: List[Callable[[], None]]
    """What came of the body during the hearing."""

    def __init__(
        self,
        connection: HTTP2Connection,
        stream_id: int,
        state: StreamState,
        send_window: int,
        receive_window: int,
        length: int,
    ) -> None:
        super().__init__(stream_id, state, send_window, receive_window, length)
        self.connection = connection
        self.provenance = connection.provenance
        self._destination = self.provenance.policy.nowhere
        self._began_at = connection.gateway.monotonic()

    # -- the request

    def start(self, request: Request, whole: bool) -> None:
        """Decide what becomes of the request. Raises BadMessage.

        :param whole: no body follows.
        """
        self._reading = not whole
        self._request = request
        to, own = decide(request.head, self.provenance)
        self._destination = to
        if own is not None:
            self.answer(own)
        elif to.guards:
            self._held = []
            self._hearing, verdict = hear(request.head, to, self.provenance, self.connection.gateway, self._heard)
            if verdict is not None:
                self._ruled(request, verdict)
        else:
            self._let_in(request)

    def _heard(self, verdict: Verdict) -> None:
        """The verdict took its time; some of the body may have come, as far as the window was open."""
        assert self._request is not None
        try:
            self._ruled(self._request, verdict)
            for come in self._held:
                come()
        except BadMessage as error:
            self.fail(error.status, error.reason)

    def _ruled(self, request: Request, verdict: Verdict) -> None:
        self._hearing = None
        head, denial = ruled(request.head, verdict, self.provenance)
        self._request = request = attr.evolve(request, head=head)
        if denial is not None:
            self.answer(denial)
        else:
            self._let_in(request)

    def _let_in(self, request: Request) -> None:
        """Go on with a request that may pass. Raises BadMessage."""
        announced, to, connection = request.content_length, self._destination, self.connection
        if not self._reading:
            self._submit(announced)
            return
        self._request_body = connection.gateway.request_body(self.provenance.policy, to, announced)
        if request.expect_continue:
            connection.send_hint(self, CONTINUE)
        self._expect(self.provenance.policy.timeouts.body)
        if not to.buffering:
            self._submit(announced)

    def body_received(self, data: bytes, flow_bytes: int) -> None:
        """Some of the body. Raises BadMessage.

        :param flow_bytes: what it took of the client's window, padding included.
        """
        if self._hearing is not None:
            self._held.append(partial(self.body_received, data, flow_bytes))
            return
        connection, to, body = self.connection, self._destination, self._request_body
        if self.answered or body is None:
            connection.acknowledge(self, flow_bytes)
            return
        self._expect(self.provenance.policy.timeouts.body)
        used = True
        try:
            if to.buffering:
                body.keep(data)
            else:
                body.count(len(data))
                used = self._pass_on(data)
        finally:
            if used:
                connection.acknowledge(self, flow_bytes)
        if not used:
            self._unacknowledged += flow_bytes
            self.deadline = NEVER  # A client that is not read is not late.

    def request_ended(self, fields: FieldLines) -> None:
        """The request is whole; ``fields`` are its trailers. Raises BadMessage."""
        if self._hearing is not None:
            self._held.append(partial(self.request_ended, fields))
            return
        if not self._reading:
            return
        self._reading = False
        self.deadline = NEVER
        body, policy = self._request_body, self.provenance.policy
        if self.answered or body is None:
            return
        trailers = passed_trailers(read_trailers(fields, policy.head_limits), policy.marks) if fields else b""
        if self._destination.buffering:
            self._submit_whole(body, trailers)
        elif self._exchange is not None:
            ending = last_chunk(trailers) if self._is_chunked() else b""
            self._exchange.request_more(ending, True)

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
            self._expect(self.provenance.policy.timeouts.body)
            self.connection.acknowledge(self, size)

    def _submit(self, length: int) -> None:
        """Put a request without a body, or (``_reading``) one whose body is streamed, on its way to a slot."""
        request, to = self._request, self._destination
        assert request is not None
        gateway, reading = self.connection.gateway, self._reading
        self._request_id = gateway.request_id(request.head.fields)
        chunked = reading and length < 0
        message = outgoing(request.head, to, self.provenance, self._request_id, length, chunked)
        self._give_to_pool(message, gateway.monotonic() if reading else self._began_at, None)

    def _submit_whole(self, body: RequestBody, trailers: bytes) -> None:
        """Put a request with its whole body on its way to a slot. Raises BadMessage."""
        request, gateway = self._request, self.connection.gateway
        assert request is not None
        self._request_id = gateway.request_id(request.head.fields)
        message, spool = outgoing_whole(request.head, self._destination, self.provenance, self._request_id, body, trailers)
        self._give_to_pool(message, gateway.monotonic(), spool)

    def _give_to_pool(self, message: bytes, now: float, spool: Optional[Spool]) -> None:
        to, request = self._destination, self._request
        assert to.pool is not None and request is not None
        self._exchange = exchange = Exchange(
            self, to.pool, request.head.method, message, now, spool, self._reading, response_timeout=to.response_timeout
        )
        to.pool.submit(exchange)

    # -- the answer of a service

    def response_hint(self, head: ResponseHead) -> None:
        """See Caller."""
        self.connection.send_hint(self, hint_block(head))

    def response_began(self, head: ResponseHead, content: bytes, body: Optional[BodyReader], complete: bool) -> None:
        """See Caller."""
        to, request, provenance = self._destination, self._request, self.provenance
        assert request is not None
        connection = self.connection
        length = response_length(head, request.head.method, content, body, complete)
        hsts = provenance.hsts(request.head, to) if to.hsts else b""
        block = response_block(head, length, connection.gateway.date, provenance.policy.marks.via, hsts)
        self._status = head.status
        if complete and (length >= 0 or not body) and connection.send_answer(self, block, content):
            self._sent_bytes = len(content)
            self._complete = self.answered = True
            self._exchange = None
            self._finished()
            self._left()
            return
        self._backlog_bytes = backlog_bytes(head, to, provenance.policy.limits)
        self._body = body
        self._begin(block)
        self.response_more(content, complete)

    def _begin(self, block: bytes) -> None:
        """The answer begins; what is left of the request is of no use any more."""
        self.answered = True
        self.deadline = NEVER
        self._head = block

    def response_more(self, content: bytes, complete: bool) -> None:
        """See Caller."""
        self._sent_bytes += len(content)
        self._complete = complete
        if complete:
            self._exchange = None
        try:
            self._give(content)
        except OSError:  # No space for what the client does not take.
            self.connection.reset(self, ErrorCode.INTERNAL_ERROR)
            return
        if complete:
            self._finished()
        elif self._exchange is not None and self._waiting > self._backlog_bytes:
            self._exchange.pause()

    @property
    def _waiting(self) -> int:
        """Bytes that wait beside the piece that is being sent."""
        return self._backlog.unread if self._backlog is not None else 0

    def _keep_for_client(self, content: bytes) -> None:
        """Raises OSError."""
        if self._backlog is None:
            self._backlog = Backlog(self.provenance.policy.limits.response_memory)
        self._backlog.put(content)

    def _give(self, content: bytes) -> None:
        """Send, or keep. Raises OSError."""
        if self._at < len(self._piece) or self._waiting:
            if content:
                self._keep_for_client(content)
            return
        self._piece, self._at = content, 0
        self.connection.round(self)
        if len(self._piece) - self._at > PIECE_BYTES:
            rest, self._piece, self._at = self._piece[self._at :], b"", 0
            self._keep_for_client(rest)

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
        self.connection.reset(self, ErrorCode.INTERNAL_ERROR)

    def response_upgraded(self, head: ResponseHead, content: bytes) -> None:
        """See Caller: never, because no Upgrade is passed on."""
        raise AssertionError("an upgrade that nobody asked for")

    # -- sending

    def send_frame(self) -> bool:
        """Send the head, or as much content as one frame holds; False when there is nothing more to send for now."""
        connection = self.connection
        h2 = connection.h2
        head, self._head = self._head, b""
        if self._at >= len(self._piece):
            self._piece, self._at = (self._backlog.take() if self._backlog is not None else b""), 0
        if head:
            last = self._complete and not self._piece and not self._has_trailers
            h2.send_head(self, head, last)
            if last:
                self._left()
                return False
        if not self._piece:
            return self._send_end()
        room = h2.room(self)
        if room <= 0:
            self._expect(self.provenance.policy.timeouts.write)
            return False
        self.deadline = NEVER
        data = self._piece[self._at : self._at + room]
        self._at += len(data)
        rest = self._at < len(self._piece) or self._waiting > 0
        last = self._complete and not rest and not self._has_trailers
        h2.send_data(self, data, last)
        if last:
            self._left()
            return False
        if self._exchange is not None and self._waiting <= self._backlog_bytes // 2:
            self._exchange.resume()
        return rest or self._complete

    @property
    def _has_trailers(self) -> bool:
        return isinstance(self._body, ChunkedBody) and self._body.trailers != b""

    def _send_end(self) -> bool:
        if self._complete:
            h2 = self.connection.h2
            if self._has_trailers:
                h2.send_head(self, trailer_block(self._body), True)
            else:
                h2.send_data(self, b"", True)
            self._left()
        return False

    # -- answers of our own

    def refuse(self, error: BadMessage) -> None:
        """The request turned out bad."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()
        if self.answered:
            self.connection.reset(self, ErrorCode.PROTOCOL_ERROR)
        else:
            self.fail(error.status, error.reason)

    def fail(self, status: int, reason: str, retry_after_s: Optional[int] = None) -> None:
        """Answer with an error."""
        accept = (self._request.head.fields.get(b"accept") if self._request is not None else None) or b""
        self.answer(self.provenance.policy.pages.error(status, reason, accept, retry_after_s))

    def answer(self, answer: Answer) -> None:
        """Answer without a service."""
        self._status = answer.status
        fields = list(answer.fields)
        hsts = self.provenance.hsts(self._request.head, self._destination) if self._request is not None else b""
        if hsts:
            fields.append((answers.HSTS, hsts))
        if answer.has_content:
            fields.append((b"content-length", b"%d" % len(answer.content)))
        self._begin(answer_block(answer.status, fields, self.connection.gateway.date))
        with_content = answer.has_content and not (self._request is not None and self._request.head.method == b"HEAD")
        self.response_more(answer.content if with_content else b"", True)

    # -- the end

    def _expect(self, seconds: float) -> None:
        """Something has to come from the client in this time."""
        gateway = self.connection.gateway
        self.deadline = gateway.monotonic() + seconds
        gateway.sweep.add(self)
        self._swept = True

    def deadline_passed(self, now: float) -> None:
        """The client was too slow: with its request, or with taking the answer."""
        self.deadline = NEVER
        self.connection.gateway.counts.timed_out("write" if self.answered else "body")
        if self.answered:
            self.connection.reset(self, ErrorCode.CANCEL)
        else:
            self.refuse(BadMessage(408, "body-timeout"))

    def _finished(self) -> None:
        """The answer is whole, though perhaps not sent."""
        self._note()
        if self._request_body is not None:
            self._request_body.clear()

    def _left(self) -> None:
        """The last frame was sent."""
        if self._swept or self._backlog is not None:
            self.gone()

    def gone(self) -> None:
        """The stream is over, or the client has left: drop everything."""
        self.connection.gateway.sweep.discard(self)
        if self._backlog is not None:
            self._backlog.clear()
        self._piece = b""
        if self._hearing is not None:
            self._hearing.cancel()
        if self._request_body is not None:
            self._request_body.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()
        if not self._complete and self._request is not None:
            self._status = self._status or CLIENT_LEFT
            self._note()

    def _note(self) -> None:
        """Count and log how it ended, once."""
        if self._noted:
            return
        self._noted = True
        self._destination.counts.answered(self._status)
        gateway = self.connection.gateway
        if gateway.access_log is not None:
            head = self._request.head if self._request is not None else None
            gateway.log(
                self.provenance, self._destination, head, self._status, self._sent_bytes, self._began_at, self._request_id
            )
