"""One request of an HTTP/1.1 client: its body read, its exchange begun, its answer written.

Made by a ``ClientConnection`` for each head; the caller (see ``exchange.Caller``) of the exchange that comes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import attr

from ...http1.body import BodyReader, ChunkedBody, LengthBody, encode_chunk, last_chunk
from ...http1.errors import BadMessage
from ...http1.forward import client_head
from ...http1.request import RequestHead, request_body
from ...http1.response import ResponseHead
from ...net.splice import MIN_BYTES
from ..exchanges.errors import ExchangeError
from ..exchanges.exchange import Exchange
from ..requests import answers
from ..requests.answers import Answer
from ..requests.decide import decide
from ..requests.outgoing import outgoing, outgoing_whole, passed_trailers
from ..requests.policy import Destination
from ..requests.reply import CLIENT_LEFT, backlog_bytes, response_length
from ..requests.request_body import RequestBody
from .tunnel import Tunnel

if TYPE_CHECKING:
    from .connection import ClientConnection


class ClientRequest:
    """A request from its head to the end of its answer."""

    __slots__ = (
        "connection", "head", "destination", "exchange", "keep_alive", "began_at", "status", "sent_bytes", "request_id",
        "_reader", "_body", "_reading", "_chunked", "_response_body", "_backlog_bytes", "_began",
    )  # fmt: skip

    def __init__(self, connection: ClientConnection, head: RequestHead, now: float) -> None:
        self.connection = connection
        self.head = head
        self.destination: Destination = connection.policy.nowhere
        self.exchange: Optional[Exchange] = None
        self.keep_alive = head.keep_alive and not connection.gateway.draining
        self.began_at = now
        self.status = 0
        self.sent_bytes = 0
        """Content bytes given to the outlet."""
        self.request_id = b""
        self._reader: Optional[BodyReader] = None
        self._body: Optional[RequestBody] = None
        self._reading = False
        """More of the body is to come: what follows on the connection is not the next request."""
        self._chunked = False
        self._response_body: Optional[BodyReader] = None
        self._backlog_bytes = 0
        self._began = False

    def start(self) -> None:
        """Begin what was decided of the request. Raises BadMessage."""
        head, connection = self.head, self.connection
        reader = self._reader = request_body(head, connection.policy.head_limits)
        self._reading = reader is not None
        self.destination, own = decide(head, connection.provenance)
        if own is not None:
            self.answer(own)
        elif reader is None:
            # No body, which some services want to be told where they expect one: a length of 0 goes on.
            self._submit(head.fields.content_length, False, head.upgrade, self.began_at)
        else:
            self._begin_body(head.fields.content_length)

    # -- the body

    def _begin_body(self, announced: int) -> None:
        """Take what is there of the body. Raises BadMessage."""
        head, connection, to = self.head, self.connection, self.destination
        gateway = connection.gateway
        self._body = gateway.request_body(connection.policy, to, announced)
        data = connection.await_body()
        if head.expect_continue and not data:
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not to.buffering:
            self._submit(announced, head.fields.chunked, b"", gateway.monotonic())
        if data and not self.status:  # Nothing was answered meanwhile.
            self.body_received(data)
        if self._reading and not self.status and to.buffering:
            connection.resume()  # It may have been stopped when it had sent far ahead; streamed, the service sets the pace.
            self._receive_past_us()

    def body_received(self, data: bytes) -> None:
        """Some of the body. Raises BadMessage."""
        to, body = self.destination, self._body
        assert self._reader is not None and body is not None
        content, rest = self._reader.feed(data)
        if to.buffering:
            body.keep(content)
        else:
            body.count(len(content))
        if rest is not None:
            self._reading = False
            self.connection.body_ended(rest)
        if not to.buffering:
            self._pass_on(content)
        elif rest is not None:
            self._submit_whole(body)

    def _receive_past_us(self) -> None:
        """Receive what is missing of a long body of known length straight into its spool, without a look at it."""
        reader, connection, body = self._reader, self.connection, self._body
        if isinstance(reader, LengthBody) and reader.remaining >= MIN_BYTES and connection.lend_body(self._receive):
            assert body is not None
            body.spool()

    def _receive(self) -> Any:
        """Stands in for the ``doRead`` of the client's transport: what is there of the body goes to the spool."""
        connection, body, reader = self.connection, self._body, self._reader
        assert isinstance(reader, LengthBody) and body is not None
        transport, room = connection.transport, body.spool().room()
        try:
            size = transport.getHandle().recv_into(room, min(reader.remaining, len(room)))
        except BlockingIOError:
            return None
        except OSError:
            size = 0
        if not size:
            connection.read_on()
            return transport.doRead()  # It knows what to make of an end or an error.
        try:
            body.received(size)
            reader.remaining -= size
            if reader.remaining:
                connection.deadline = connection.gateway.monotonic() + connection.policy.timeouts.body
            else:
                self._reading = False
                connection.read_on()
                connection.body_ended(b"")
                self._submit_whole(body)
        except BadMessage as error:
            self.refuse(error)
        return None

    def _pass_on(self, content: bytes) -> None:
        """Stream: the slot is held for as long as the client takes."""
        exchange = self.exchange
        if exchange is None:
            return  # Answered already; the rest of the body is thrown away.
        complete = not self._reading
        if self.head.fields.chunked:
            content = encode_chunk(content)
            if complete:
                content += last_chunk(self._trailers())
        if not exchange.request_more(content, complete) and not complete:
            self.connection.pause()

    def _trailers(self) -> bytes:
        """Those that go on."""
        reader = self._reader
        return passed_trailers(reader.trailers, self.connection.policy.marks) if isinstance(reader, ChunkedBody) else b""

    def request_drained(self) -> None:
        """See Caller."""
        if self._reading:
            self.connection.await_more()

    # -- the exchange

    def _submit(self, length: int, chunked: bool, upgrade: bytes, now: float) -> None:
        """Put a request without a body, or (``_reading``) one whose body is streamed, on its way to a slot."""
        connection, to = self.connection, self.destination
        request_id = self.request_id = connection.gateway.request_id(self.head.fields)
        message = outgoing(self.head, to, connection.provenance, request_id, length, chunked, upgrade)
        if not self._reading:
            connection.await_answer()
        pool = to.pool
        assert pool is not None
        self.exchange = exchange = Exchange(
            self, pool, self.head.method, message, now, None, self._reading, upgrade != b"", to.response_timeout
        )
        pool.submit(exchange)

    def _submit_whole(self, body: RequestBody) -> None:
        """Put a request with its whole body on its way to a slot. Raises BadMessage."""
        connection, to, head = self.connection, self.destination, self.head
        self.request_id = connection.gateway.request_id(head.fields)
        message, spool = outgoing_whole(head, to, connection.provenance, self.request_id, body, self._trailers())
        pool, now = to.pool, connection.gateway.monotonic()
        assert pool is not None
        self.exchange = exchange = Exchange(self, pool, head.method, message, now, spool, response_timeout=to.response_timeout)
        pool.submit(exchange)

    @property
    def waits(self) -> bool:
        """Whether it stands in line."""
        return self.exchange is not None and self.exchange.slot is None and not self.status

    # -- the answer of a service

    def response_hint(self, head: ResponseHead) -> None:
        """See Caller. HTTP/1.0 knows no interim responses (RFC 9110 section 15.2)."""
        if self.head.minor:
            self.connection.send(b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.reason, head.fields.passed_on))

    def response_began(self, head: ResponseHead, content: bytes, body: Optional[BodyReader], complete: bool) -> None:
        """See Caller."""
        connection, status = self.connection, head.status
        gateway = connection.gateway
        self.status = status
        self._began = True
        length = response_length(head, self.head.method, content, body, complete)
        if length < 0 and body is not None:
            if self.head.minor:
                self._chunked = True
            else:
                self.keep_alive = False  # HTTP/1.0 knows only the end of the connection.
        # Answered before the request was read: what is left of it can't be told from the next one.
        keep_alive = self.keep_alive = self.keep_alive and not self._reading and not gateway.draining
        out = client_head(head, self.head.minor, keep_alive, length, self._chunked, gateway.date, connection.policy.marks.via)
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
        self.fail(error.status, error.reason, error.retry_after_s)

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
        self.keep_alive = False
        assert self.exchange is not None
        tunnel = Tunnel(connection, self)
        self.exchange.tunnel = tunnel
        connection.send(client_head(head, 1, True, -1, False, connection.gateway.date, connection.policy.marks.via) + content)
        connection.begin_tunnel(tunnel)

    # -- answers of our own

    def refuse(self, error: BadMessage) -> None:
        """The request turned out bad: nothing that follows on this connection could be trusted."""
        self.keep_alive = False
        self._reading = True
        self.connection.read_on()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.abandon()
        if self._began:
            self._note()
            self.connection.cut(abort=True)
        else:
            self.fail(error.status, error.reason)

    def fail(self, status: int, reason: str, retry_after_s: Optional[int] = None) -> None:
        """Answer with an error."""
        accept = self.head.fields.get(b"accept") or b""
        self.answer(self.connection.policy.pages.error(status, reason, accept, retry_after_s))

    def answer(self, answer: Answer) -> None:
        """Answer without a service."""
        self.keep_alive = self.keep_alive and not self._reading and not self.connection.gateway.draining
        hsts = self.connection.provenance.hsts(self.head, self.destination)
        if hsts:
            answer = attr.evolve(answer, fields=(*answer.fields, (answers.HSTS, hsts)))
        self.status = answer.status
        with_content = answer.has_content and self.head.method != b"HEAD"
        self.sent_bytes = len(answer.content) if with_content else 0
        self.connection.send_answer(answer, self.head.minor, self.keep_alive, with_content)
        self.finished()

    # -- the end

    def finished(self) -> None:
        """The whole answer is given to the outlet."""
        self.exchange = None
        self._note()
        if self._body is not None:
            self._body.clear()
        self.connection.answered(self.keep_alive, self._reading)

    def abandon(self) -> None:
        """The client has left."""
        if self._body is not None:
            self._body.clear()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.abandon()
        if exchange is not None or not self.status:
            self.status = self.status or CLIENT_LEFT
            self._note()

    def _note(self) -> None:
        """Count and log how it ended."""
        self.destination.counts.answered(self.status)
        connection = self.connection
        if connection.gateway.access_log is not None:
            connection.gateway.log(
                connection.provenance, self.destination, self.head, self.status, self.sent_bytes, self.began_at, self.request_id
            )
