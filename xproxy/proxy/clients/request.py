"""One request of an HTTP/1.1 client: its body read, its exchange begun, its answer written.

Made by a ``ClientConnection`` for each head; the caller (see ``exchange.Caller``) of the exchange that comes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import attr

from ...http1.body import BodyReader, ChunkedBody, LengthBody, encode_chunk, last_chunk
from ...http1.errors import BadMessage
from ...http1.forward import client_head
from ...http1.request import RequestHead
from ...http1.response import ResponseHead
from ...interfaces import Verdict
from ..exchanges.errors import ExchangeError
from ..exchanges.exchange import Exchange
from ..requests import answers
from ..requests.answers import Answer, http1_answer
from ..requests.decide import decide
from ..requests.hearing import Hearing, hear, ruled
from ..requests.outgoing import outgoing, outgoing_whole, passed_trailers
from ..requests.policy import Destination
from ..requests.reply import CLIENT_LEFT, backlog_bytes, response_length
from ..requests.request_body import RequestBody
from .states import State
from .tunnel import Tunnel

if TYPE_CHECKING:
    from .connection import ClientConnection


_BODY = State.BODY


class ClientRequest:
    """A request from its head to the end of its answer."""

    __slots__ = (
        "connection", "head", "destination", "exchange", "began_at", "status", "sent_bytes", "request_id",
        "_hearing", "_body", "_goes_on", "_chunked", "_response_body", "_backlog_bytes", "_began",
    )  # fmt: skip

    def __init__(self, connection: ClientConnection, head: RequestHead, now: float) -> None:
        self.connection = connection
        self.head = head
        self.destination: Destination = connection.policy.nowhere
        self.exchange: Optional[Exchange] = None
        self.began_at = now
        self.status = 0
        self.sent_bytes = 0
        """Content bytes given to the outlet."""
        self.request_id = b""
        self._hearing: Optional[Hearing] = None
        self._body: Optional[RequestBody] = None
        self._goes_on = False
        """The client was told that another request may follow."""
        self._chunked = False
        self._response_body: Optional[BodyReader] = None
        self._backlog_bytes = 0
        self._began = False

    def start(self) -> None:
        """Begin what was decided of the request. Raises BadMessage."""
        head, connection = self.head, self.connection
        if not head.host:
            connection.provenance = connection.provenance.at(connection.transport.getHost())
        self.destination, own = decide(head, connection.provenance)
        if own is not None:
            self.answer(own)
        elif self.destination.guards:
            self._ask_guards()
        else:
            self._let_in()

    def _ask_guards(self) -> None:
        """Ask whether the request may pass; until then nothing of its body is read. Raises BadMessage."""
        connection = self.connection
        self._hearing, verdict = hear(self.head, self.destination, connection.provenance, connection.gateway, self._heard)
        if verdict is not None:
            self._ruled(verdict)
        elif connection.state is _BODY:
            connection.pause_body()

    def _heard(self, verdict: Verdict) -> None:
        """The verdict took its time."""
        try:
            if self.connection.state is _BODY:
                self.connection.resume_body()
            self._ruled(verdict)
        except BadMessage as error:
            self.refuse(error)

    def _ruled(self, verdict: Verdict) -> None:
        self._hearing = None
        self.head, denial = ruled(self.head, verdict, self.connection.provenance)
        if denial is not None:
            self.answer(denial)
        else:
            self._let_in()

    def _let_in(self) -> None:
        """Go on with a request that may pass. Raises BadMessage."""
        announced = self.head.fields.content_length
        if self.connection.state is _BODY:
            self._begin_body(announced)
        else:
            # No body, which some services want to be told where they expect one: a length of 0 goes on.
            self._submit(announced, False, self.began_at)

    # -- the body

    def _begin_body(self, announced: int) -> None:
        """Ask for the body. Raises BadMessage."""
        head, connection, to = self.head, self.connection, self.destination
        gateway, intake = connection.gateway, connection.intake
        body = self._body = gateway.request_body(connection.policy, to, announced)
        if head.expect_continue and not intake.buffer:
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not to.buffering:
            self._submit(announced, head.fields.chunked, gateway.monotonic())
        if connection.state is _BODY:  # Nothing was answered meanwhile.
            intake.read_body(head, to.body_limit, body if to.buffering else None)

    def count(self, content: bytes) -> None:
        """Some of the body has come: count it, and keep it unless it is streamed. Raises BadMessage."""
        body = self._body
        assert body is not None
        if self.destination.buffering:
            body.keep(content)
        else:
            body.count(len(content))

    def body_received(self, content: bytes, whole: bool) -> None:
        """Do with the body what can be done now. Raises BadMessage.

        :param content: what was counted last.
        """
        if not self.destination.buffering:
            self._pass_on(content, whole)
        elif whole:
            self._submit_whole()

    def _pass_on(self, content: bytes, whole: bool) -> None:
        """Stream: the slot is held for as long as the client takes."""
        exchange = self.exchange
        if exchange is None:
            return  # Answered already; the rest of the body is thrown away.
        if self.head.fields.chunked:
            content = encode_chunk(content)
            if whole:
                content += last_chunk(passed_trailers(self.connection.intake.trailers, self.connection.policy.marks))
        if not exchange.request_more(content, whole) and not whole:
            self.connection.pause_body()

    def request_drained(self) -> None:
        """See Caller."""
        if self.connection.state is _BODY:
            self.connection.resume_body()

    # -- the exchange

    def _submit(self, length: int, chunked: bool, now: float) -> None:
        """Put a request without a body, or one whose body is streamed, on its way to a slot."""
        connection, to = self.connection, self.destination
        request_id = self.request_id = connection.gateway.request_id(self.head.fields)
        message = outgoing(self.head, to, connection.provenance, request_id, length, chunked)
        pool, streaming = to.pool, connection.state is _BODY
        assert pool is not None
        self.exchange = exchange = Exchange(
            self, pool, self.head.method, message, now, None, streaming, self.head.upgrade, to.response_timeout
        )
        pool.submit(exchange)

    def _submit_whole(self) -> None:
        """Put a request with its whole body on its way to a slot. Raises BadMessage."""
        connection, to, head, body = self.connection, self.destination, self.head, self._body
        assert body is not None
        self.request_id = connection.gateway.request_id(head.fields)
        trailers = passed_trailers(connection.intake.trailers, connection.policy.marks)
        message, spool = outgoing_whole(head, to, connection.provenance, self.request_id, body, trailers)
        pool, now = to.pool, connection.gateway.monotonic()
        assert pool is not None
        self.exchange = exchange = Exchange(
            self, pool, head.method, message, now, spool, upgrade=head.upgrade, response_timeout=to.response_timeout
        )
        pool.submit(exchange)

    # -- the answer of a service

    def response_hint(self, head: ResponseHead) -> None:
        """See Caller. HTTP/1.0 knows no interim responses (RFC 9110 section 15.2)."""
        if self.head.minor:
            self.connection.send(b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.reason, head.fields.passed_on))

    def response_began(self, head: ResponseHead, content: bytes, body: Optional[BodyReader], complete: bool) -> None:
        """See Caller."""
        connection = self.connection
        self.status = head.status
        self._began = True
        goes_on = connection.goes_on(self.head)
        length = response_length(head, self.head.method, content, body, complete)
        if length < 0 and body is not None:
            if self.head.minor:
                self._chunked = True
            else:
                goes_on = False  # HTTP/1.0 knows only the end of the connection.
        self._goes_on = goes_on
        date, via = connection.gateway.date, connection.policy.marks.via
        out = client_head(head, self.head.minor, goes_on, length, self._chunked, date, via)
        to = self.destination
        if to.hsts:
            out = answers.add_hsts(out, connection.provenance.hsts(self.head, to))
        if complete and not self._chunked:
            self.sent_bytes = len(content)
            connection.send(out + content if content else out)
            self.finished()
            return
        self._backlog_bytes = backlog_bytes(head, to, connection.policy.limits)
        self._response_body = body
        self._more(out, content, complete)

    def response_more(self, content: bytes, complete: bool) -> None:
        """See Caller."""
        self._more(b"", content, complete)

    def _more(self, out: bytes, content: bytes, complete: bool) -> None:
        self.sent_bytes += len(content)
        if self._chunked:
            content = encode_chunk(content)
            if complete:
                body = self._response_body
                content += last_chunk(body.trailers if isinstance(body, ChunkedBody) else b"")
        if out or content:
            self.connection.send(out + content if out else content)
        if complete:
            self.finished()
        elif self.connection.outlet.waiting > self._backlog_bytes and self.exchange is not None:
            self.exchange.pause()

    def splice_target(self) -> Optional[int]:
        """See Caller."""
        return self.connection.outlet.splice_target()

    def response_spliced(self, size: int) -> None:
        """See Caller."""
        self.sent_bytes += size

    def client_took(self) -> None:
        """The client took some of what waited for it."""
        if self.exchange is not None and self.connection.outlet.waiting <= self._backlog_bytes // 2:
            self.exchange.resume()

    def response_failed(self, error: ExchangeError) -> None:
        """See Caller."""
        self.exchange = None
        accept = self.head.fields.get(b"accept") or b""
        self.answer(self.connection.policy.pages.error(error.status, error.reason, accept, error.retry_after_s))

    def response_cut_off(self, reason: str) -> None:
        """See Caller. The client must see that something is missing (RFC 9112 section 8): a reset where close means the end."""
        self.exchange = None
        self._note()
        framed = self._chunked or isinstance(self._response_body, LengthBody)
        self.connection.cut(abort=not framed)

    def response_upgraded(self, head: ResponseHead, content: bytes) -> None:
        """See Caller: a Tunnel takes our place."""
        connection = self.connection
        self.status = 101
        assert self.exchange is not None
        tunnel = Tunnel(connection, self)
        self.exchange.tunnel = tunnel
        connection.send(client_head(head, 1, True, -1, False, connection.gateway.date, connection.policy.marks.via) + content)
        connection.switch(tunnel)

    # -- answers of our own

    def refuse(self, error: BadMessage) -> None:
        """The request turned out bad: nothing that follows on this connection could be trusted."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.abandon()
        if self._began:
            self._note()
            self.connection.cut(abort=True)
        else:
            accept = self.head.fields.get(b"accept") or b""
            self.answer(self.connection.policy.pages.error(error.status, error.reason, accept), last=True)

    def answer(self, answer: Answer, last: bool = False) -> None:
        """Answer without a service. ``last``: whatever the client would like."""
        connection = self.connection
        self._goes_on = connection.goes_on(self.head) and not last
        hsts = connection.provenance.hsts(self.head, self.destination)
        if hsts:
            answer = attr.evolve(answer, fields=(*answer.fields, (answers.HSTS, hsts)))
        self.status = answer.status
        with_content = answer.has_content and self.head.method != b"HEAD"
        self.sent_bytes = len(answer.content) if with_content else 0
        connection.send(http1_answer(answer, connection.gateway.date, self.head.minor, self._goes_on, with_content))
        self.finished()

    # -- the end

    def finished(self) -> None:
        """The whole answer is given to the outlet."""
        self.exchange = None
        connection = self.connection
        self.destination.counts.answered(self.status)
        if connection.gateway.access_log is not None:
            self._log()
        if self._body is not None:
            self._body.clear()
        connection.answered(self._goes_on)

    def abandon(self) -> None:
        """The client has left."""
        if self._hearing is not None:
            self._hearing.cancel()
        if self._body is not None:
            self._body.clear()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.abandon()
        self.status = self.status or CLIENT_LEFT
        self._note()

    def _note(self) -> None:
        """Count and log how it ended."""
        self.destination.counts.answered(self.status)
        self._log()

    def _log(self) -> None:
        connection = self.connection
        connection.gateway.log(
            connection.provenance, self.destination, self.head, self.status, self.sent_bytes, self.began_at, self.request_id
        )
