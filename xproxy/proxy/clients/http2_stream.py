"""One request of an HTTP/2 client, from its fields to the end of its answer; the caller (``exchange.Caller``) of its exchange.

Made by ``HTTP2Connection`` for each stream. What a stream is to the protocol is in its base class and the connection's
business; a Stream has a WaitingAnswer where it can't be sent at once, and hands it out frame by frame when the outlet asks::

    reading ──whole──▶ waiting, on a slot ──head──▶ answering ──last frame──▶ gone
       │ 4xx                │ 5xx                      │ cut off
       ▼                    ▼                          ▼
     answering            answering                  reset

So a slow client costs no slot. The common answer, which is there at once and whole and has room, goes out without any of this.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Callable, List, Optional

import attr

from ...http1.body import BodyReader, encode_chunk, last_chunk
from ...http1.errors import BadMessage
from ...http1.response import ResponseHead
from ...http2.errors import ErrorCode
from ...http2.fields import FieldLines
from ...http2.heads import CONTINUE, Request, Unreadable, answer_block, hint_block, read_trailers, response_block, trailer_block
from ...http2.streams import OpenStream, StreamState
from ...interfaces import Verdict
from ...net.pace import paced
from ...net.sweep import NEVER
from ..exchanges.errors import ExchangeError
from ..exchanges.exchange import Exchange, FramedCaller
from ..requests import answers
from ..requests.answers import Answer
from ..requests.decide import decide
from ..requests.hearing import Hearing, hear, ruled
from ..requests.outgoing import outgoing, outgoing_whole, passed_trailers
from ..requests.policy import Destination
from ..requests.reply import CLIENT_LEFT, backlog_bytes, is_streamed, response_length
from ..requests.request_body import RequestBody
from .http2_waiting import Sent, WaitingAnswer

if TYPE_CHECKING:
    from .http2_connection import HTTP2Connection


class Stream(OpenStream, FramedCaller):
    """A request and its answer. What most of them never need is set when it is needed; until then the class has it.

    :ivar queued: it has a place in the connection's round.
    :ivar answered: a final head is on its way to the client.
    :ivar unreadable: what there is in place of a request.
    """

    deadline = NEVER
    queued = False
    answered = False
    _request: Optional[Request] = None
    _destination: Destination
    _reading = True  # More of the request is to come, as far as we were told: during a hearing we are not.
    _exchange: Optional[Exchange] = None
    _status = 0
    _sent_bytes = 0
    _request_id = b""
    _request_body: Optional[RequestBody] = None  # None: the request has none.
    _unacknowledged = 0  # Bytes of a streamed body that the client's window has not been opened for again.
    _waiting: Optional[WaitingAnswer] = None
    _backlog_bytes = 0  # How much may wait before the slot is read no further.
    _body: Optional[BodyReader] = None
    _complete = False
    _patience = NEVER  # For how long the client may leave its window shut. It was not waited for yet.
    _swept = False  # It has, or had, a deadline.
    _noted = False
    _hearing: Optional[Hearing] = None
    _held: List[Callable[[], None]]  # What came of the body during the hearing.
    unreadable: Optional[Unreadable] = None
    _error: Optional[ExchangeError] = None  # Why the answer is one of ours.

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
        self._reading, self._request = not whole, request
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
            self.refuse(error)

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
            self._submit()
            return
        self._request_body = connection.gateway.request_body(self.provenance.policy, to, announced, self.client())
        if request.expect_continue:
            connection.outlet.send_hint(self, CONTINUE)
        self._expect(self.provenance.policy.timeouts.body)
        if not to.buffering:
            self._submit()

    def body_received(self, data: bytes, flow_bytes: int) -> None:
        """Some of the body. Raises BadMessage.

        :param flow_bytes: what it took of the client's window, padding included.
        """
        if self._hearing is not None:
            self._held.append(partial(self.body_received, data, flow_bytes))
            return
        connection, to, body = self.connection, self._destination, self._request_body
        if self.answered or body is None:
            connection.outlet.acknowledge(self, flow_bytes)
            return
        policy = self.provenance.policy
        self._expect(policy.timeouts.body, self.deadline, flow_bytes, policy.limits.body_rate)
        used = True
        try:
            if to.buffering:
                body.keep(data)
            else:
                body.count(len(data))
                used = _pass_on(self._exchange, self._request, data)
        finally:
            if used:
                connection.outlet.acknowledge(self, flow_bytes)
        if not used:
            self._unacknowledged += flow_bytes
            self.deadline = NEVER  # A client that is not read is not late.

    def request_ended(self, fields: FieldLines) -> None:
        """The request is whole; ``fields`` are its trailers. Raises BadMessage."""
        if self._hearing is not None:
            self._held.append(partial(self.request_ended, fields))
            return
        self._reading, self.deadline = False, NEVER
        body, policy, request = self._request_body, self.provenance.policy, self._request
        if self.answered or body is None or request is None:
            return
        trailers = passed_trailers(read_trailers(fields, policy.head_limits), policy.marks) if fields else b""
        if self._destination.buffering:
            self._submit(body, trailers)
        elif self._exchange is not None:
            self._exchange.request_more(last_chunk(trailers) if request.content_length < 0 else b"", True)

    def request_drained(self) -> None:
        """See Caller."""
        size, self._unacknowledged = self._unacknowledged, 0
        if size and self._reading:
            self._expect(self.provenance.policy.timeouts.body)
            self.connection.outlet.acknowledge(self, size)

    def _submit(self, body: Optional[RequestBody] = None, trailers: bytes = b"") -> None:
        """Put the request on its way to a slot. Raises BadMessage: 507.

        :param body: whole; None: there is none, or it still comes and is streamed.
        """
        request, to, gateway = self._request, self._destination, self.connection.gateway
        assert request is not None and to.pool is not None
        head, now, spool, streaming = request.head, self._began_at, None, self._reading
        request_id = self._request_id = gateway.request_id(head.fields)
        if body is not None:
            message, spool = outgoing_whole(head, to, self.provenance, request_id, body, trailers)
        else:
            chunked = streaming and request.content_length < 0
            message = outgoing(head, to, self.provenance, request_id, request.content_length, chunked)
        if self._request_body is not None:
            now = gateway.monotonic()
        self._exchange = exchange = Exchange(
            self, to.pool, head.method, message, now, spool, streaming, response_timeout=to.response_timeout
        )
        to.pool.submit(exchange)

    # -- the answer of a service

    def client(self) -> str:
        """See Caller. Who has sent no request that can be read is the peer."""
        return self.provenance.client(self._request.head.fields) if self._request is not None else self.provenance.peer

    def response_hint(self, head: ResponseHead) -> None:
        """See Caller."""
        self.connection.outlet.send_hint(self, hint_block(head))

    def response_began(self, head: ResponseHead, content: bytes, body: Optional[BodyReader], complete: bool) -> None:
        """See Caller."""
        to, request, provenance, connection = self._destination, self._request, self.provenance, self.connection
        assert request is not None
        length = response_length(head, request.head.method, content, body, complete)
        hsts = provenance.hsts(request.head, to) if to.hsts else b""
        block = response_block(head, length, connection.gateway.date, provenance.policy.marks.via, hsts)
        self._status = head.status
        if complete and (length >= 0 or not body) and connection.outlet.send_answer(self, block, content):
            self._sent_bytes = len(content)
            self._complete = self.answered = True
            self._exchange = None
            self._note()
            if self._swept:
                self.gone()
            return
        self._backlog_bytes = backlog_bytes(head, to, provenance.policy.limits)
        if self._exchange is not None and not complete and is_streamed(head, to):
            self._exchange.stream_response()
        self._body = body
        self._begin(block)
        self.response_more(content, complete)

    def _begin(self, block: bytes) -> None:
        """The answer begins, and waits; what is left of the request is of no use any more."""
        self.answered, self.deadline = True, NEVER
        memory_bytes = self.provenance.policy.limits.response_memory
        self._waiting = WaitingAnswer(block, memory_bytes, self.connection.gateway.space, self.client())

    def response_more(self, content: bytes, complete: bool) -> None:
        """See Caller."""
        waiting = self._waiting
        if waiting is None:
            return  # Reset while the service goes on.
        self._sent_bytes += len(content)
        self._complete = complete
        if complete:
            self._exchange = None
            waiting.complete, waiting.trailers = True, trailer_block(self._body)
        try:
            if waiting.put(content):
                self.connection.outlet.round(self)
                waiting.bound()
        except OSError as error:
            self.connection.gateway.not_kept(error)
            self.connection.outlet.reset(self, ErrorCode.INTERNAL_ERROR)
            return
        if complete:
            self._note()
        elif self._exchange is not None and waiting.exceeds(self._backlog_bytes):
            self._exchange.pause()

    def response_failed(self, error: ExchangeError) -> None:
        """See Caller."""
        self._exchange = None
        self._error = error
        accept = (self._request.head.fields.get(b"accept") if self._request is not None else None) or b""
        self.answer(self.provenance.policy.pages.error(error.status, error.reason, accept, error.retry_after_s))

    def response_cut_off(self, error: ExchangeError) -> None:
        """See Caller: the client must see that something is missing."""
        self._error = error
        self._exchange = None
        self.connection.outlet.reset(self, ErrorCode.INTERNAL_ERROR)

    # -- sending

    def takes_turn(self) -> bool:
        """Whether it wants a place in the round, which it has from here on."""
        if not self.answered or self.queued:
            return False
        self.queued = True
        if self.deadline != NEVER:
            self._patience = self.deadline - self.connection.gateway.monotonic()
            self.deadline = NEVER  # It is we who are late now.
        return True

    def send_frame(self) -> bool:
        """Send the head, or as much content as one frame holds; False when there is nothing more to send for now."""
        waiting = self._waiting
        if waiting is None:
            return False
        sent = waiting.send_frame(self.connection.h2, self)
        if sent is Sent.NO_ROOM:
            policy, before = self.provenance.policy, self.connection.gateway.monotonic() + self._patience
            self._expect(policy.timeouts.write, before, waiting.earned(), policy.limits.write_rate)
        elif sent is Sent.LAST:
            self.gone()
        elif self._exchange is not None and not waiting.exceeds(self._backlog_bytes // 2):
            self._exchange.resume()
        return sent is Sent.MORE

    # -- answers of our own

    def refuse(self, error: BadMessage) -> None:
        """The request turned out bad."""
        self.connection.gateway.refused(self.provenance, error)
        self._abandon()
        if self.answered:
            self.connection.outlet.reset(self, ErrorCode.PROTOCOL_ERROR)
        else:
            self.response_failed(ExchangeError(error.reason, error.status))

    def answer(self, answer: Answer) -> None:
        """Answer without a service."""
        self._status, fields = answer.status, list(answer.fields)
        hsts = self.provenance.hsts(self._request.head, self._destination) if self._request is not None else b""
        if hsts:
            fields.append((answers.HSTS, hsts))
        if answer.has_content:
            fields.append((b"content-length", b"%d" % len(answer.content)))
        self._begin(answer_block(answer.status, fields, self.connection.gateway.date))
        with_content = answer.has_content and not (self._request is not None and self._request.head.method == b"HEAD")
        self.response_more(answer.content if with_content else b"", True)

    # -- the end

    def _expect(self, seconds: float, before: float = NEVER, size: int = 0, rate: int = 0) -> None:
        """Something has to come from the client in this time, or in what it has earned: see ``paced``."""
        gateway = self.connection.gateway
        self.deadline = paced(before, gateway.monotonic() + seconds, size, rate)
        gateway.sweep.add(self)
        self._swept = True

    def deadline_passed(self, now: float) -> None:
        """The client was too slow: with its request, or with taking the answer."""
        self.deadline = NEVER
        self.connection.gateway.counts.timed_out("write" if self.answered else "body")
        if self.answered:
            self.connection.outlet.reset(self, ErrorCode.CANCEL)
        else:
            self.refuse(BadMessage(408, "body-timeout"))

    def gone(self) -> None:
        """The stream is over, or the client has left: drop everything."""
        self.connection.gateway.sweep.discard(self)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.clear()
        if self._hearing is not None:
            self._hearing.cancel()
        if self._request_body is not None:
            self._request_body.clear()
        self._abandon()
        if not self._complete and self._request is not None:
            self._status = self._status or CLIENT_LEFT
            self._note()

    def _abandon(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()

    def _note(self) -> None:
        """The answer is whole, though perhaps not sent, or will never be: count and log how it ended, once."""
        if self._request_body is not None:
            self._request_body.clear()
        if self._noted:
            return
        self._noted = True
        self._destination.counts.answered(self._status)
        gateway, unread = self.connection.gateway, self.unreadable
        if gateway.access_log is not None:
            head, end = self._request.head if self._request is not None else None, (self._status, self._sent_bytes)
            if unread is not None:
                gateway.access_log.add_refused(self.provenance.peer, unread.line, *end, unread.error.reason)
            else:
                gateway.log(self.provenance, self._destination, head, *end, self._began_at, self._request_id, self._error)


def _pass_on(exchange: Optional[Exchange], request: Optional[Request], data: bytes) -> bool:
    """Stream: the slot is held for as long as the client takes. False: no more for now."""
    chunked = request is not None and request.content_length < 0
    return exchange is None or exchange.request_more(encode_chunk(data) if chunked else data, False)
