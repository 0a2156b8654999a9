"""One request of an HTTP/1.1 client: its exchange begun, its answer written.

Made by an Intake for each head; the caller (see ``exchange.Caller``) of the exchange that comes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import attr

from ...http1.body import BodyReader, ChunkedBody, LengthBody, encode_chunk, last_chunk
from ...http1.errors import BadMessage
from ...http1.forward import client_head
from ...http1.request import RequestHead
from ...http1.response import ResponseHead
from ...http1.upgrade import WEBSOCKET, protocols
from ...http1.websocket import Frames
from ..exchanges.errors import ExchangeError
from ..exchanges.exchange import Exchange
from ..requests import answers
from ..requests.answers import Answer, http1_answer
from ..requests.hearing import Hearing
from ..requests.outgoing import offered, outgoing, outgoing_whole, passed_trailers
from ..requests.policy import Destination
from ..requests.reply import CLIENT_LEFT, backlog_bytes, is_streamed, response_length
from ..requests.request_body import RequestBody
from .incoming_request import IncomingRequest
from .states import State
from .tunnel import Tunnel

if TYPE_CHECKING:
    from .connection import ClientConnection


_BODY = State.BODY


class ClientRequest(IncomingRequest):
    """A request from its head to the end of its answer; what comes in of it is its base class's business."""

    __slots__ = ("status", "sent_bytes", "_goes_on", "_chunked", "_response_body", "_backlog_bytes", "_began", "_error")

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
        self._error: Optional[ExchangeError] = None
        """Why the answer is one of ours, or broke off."""

    # -- the exchange

    def submit(self, length: int, chunked: bool, upgrade: bytes, now: float) -> None:
        """Put a request without a body, or one whose body is streamed, on its way to a slot."""
        connection, to = self.connection, self.destination
        request_id = self.request_id = connection.gateway.request_id(self.head.fields)
        message = outgoing(self.head, to, connection.provenance, request_id, length, chunked, upgrade)
        pool, streaming = to.pool, connection.state is _BODY
        assert pool is not None
        self.exchange = exchange = Exchange(
            self, pool, self.head.method, message, now, None, streaming, upgrade, to.response_timeout
        )
        pool.submit(exchange)

    def submit_whole(self) -> None:
        """Put a request with its whole body on its way to a slot. Raises BadMessage."""
        connection, to, head, body = self.connection, self.destination, self.head, self._body
        assert body is not None
        self.request_id = connection.gateway.request_id(head.fields)
        trailers = passed_trailers(connection.intake.trailers, connection.policy.marks)
        upgrade = offered(head, body.start, trailers != b"" or not body.size)
        message, spool = outgoing_whole(head, to, connection.provenance, self.request_id, body, trailers, upgrade)
        pool, now = to.pool, connection.gateway.monotonic()
        assert pool is not None
        self.exchange = exchange = Exchange(
            self, pool, head.method, message, now, spool, upgrade=upgrade, response_timeout=to.response_timeout
        )
        pool.submit(exchange)

    # -- the answer of a service

    def client(self) -> str:
        """See Caller."""
        return self.connection.provenance.client(self.head.fields)

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
        if self.exchange is not None and not complete and is_streamed(head, to):
            self.exchange.stream_response()
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
        elif self.connection.outlet.exceeds(self._backlog_bytes) and self.exchange is not None:
            self.exchange.pause()

    def splice_target(self) -> Optional[int]:
        """See Caller."""
        return self.connection.outlet.splice_target()

    def response_spliced(self, size: int) -> None:
        """See Caller."""
        self.sent_bytes += size

    def client_took(self) -> None:
        """The client took some of what waited for it."""
        if self.exchange is not None and not self.connection.outlet.exceeds(self._backlog_bytes // 2):
            self.exchange.resume()

    def response_failed(self, error: ExchangeError) -> None:
        """See Caller."""
        self.exchange = None
        self._error = error
        accept = self.head.fields.get(b"accept") or b""
        self.answer(self.connection.policy.pages.error(error.status, error.reason, accept, error.retry_after_s))

    def response_cut_off(self, error: ExchangeError) -> None:
        """See Caller. The client must see that something is missing (RFC 9112 section 8): a reset where close means the end."""
        self.exchange = None
        self._error = error
        self._note()
        framed = self._chunked or isinstance(self._response_body, LengthBody)
        self.connection.cut(abort=not framed)

    def response_upgraded(self, head: ResponseHead, content: bytes) -> None:
        """See Caller: a Tunnel takes our place."""
        connection = self.connection
        self.status = 101
        assert self.exchange is not None
        frames = Frames() if protocols(head.fields.upgrade) == [WEBSOCKET] else None
        if frames is not None:
            frames.passed(content)
        tunnel = Tunnel(connection, self, frames)
        self.exchange.tunnel = tunnel
        connection.send(client_head(head, 1, True, -1, False, connection.gateway.date, connection.policy.marks.via) + content)
        connection.switch(tunnel)

    # -- answers of our own

    def refuse(self, error: BadMessage) -> None:
        """The request turned out bad: nothing that follows on this connection could be trusted."""
        self.connection.gateway.refused(self.connection.provenance, error)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.abandon()
        self._error = ExchangeError(error.reason, error.status)
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
            connection.provenance,
            self.destination,
            self.head,
            self.status,
            self.sent_bytes,
            self.began_at,
            self.request_id,
            self._error,
        )
