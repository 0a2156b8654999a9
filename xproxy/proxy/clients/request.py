"""One request of an HTTP/1.1 client: its body read, its exchange begun, its answer written.

Made by a ``ClientConnection`` for each head; the caller (see ``exchange.Caller``) of the exchange that comes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import attr

from ...http1.body import BodyReader, ChunkedBody, LengthBody, encode_chunk, last_chunk
from ...http1.errors import BadMessage
from ...http1.forward import client_head, received_request_id, request_head, without_field
from ...http1.request import RequestHead, request_body
from ...http1.response import ResponseHead
from ...net.splice import MIN_BYTES
from ...net.spool import Spool
from ..exchanges.errors import ExchangeError
from ..exchanges.exchange import Exchange
from ..requests import answers
from ..requests.answers import Answer
from ..requests.gateway import Destination
from ..requests.routes import strip_prefix
from .tunnel import Tunnel

if TYPE_CHECKING:
    from .connection import ClientConnection

STREAM_BYTES = 64 * 1024
"""How much of a streamed response may wait for a slow client."""


class ClientRequest:
    """A request from its head to the end of its answer."""

    __slots__ = (
        "connection", "head", "destination", "exchange", "keep_alive", "began_at", "status", "sent_bytes", "request_id",
        "_reader", "_spool", "_body_bytes", "_reading", "_chunked", "_response_body", "_backlog_bytes", "_began",
    )  # fmt: skip

    def __init__(self, connection: ClientConnection, head: RequestHead, now: float) -> None:
        gateway = connection.gateway
        self.connection = connection
        self.head = head
        self.destination: Optional[Destination] = gateway.router.find(head.host, head.path, head.method)
        self.exchange: Optional[Exchange] = None
        self.keep_alive = head.keep_alive and not gateway.draining
        self.began_at = now
        self.status = 0
        self.sent_bytes = 0
        """Content bytes given to the outlet."""
        self.request_id = b""
        self._reader: Optional[BodyReader] = None
        self._spool: Optional[Spool] = None
        self._body_bytes = 0
        self._reading = False
        """More of the body is to come: what follows on the connection is not the next request."""
        self._chunked = False
        self._response_body: Optional[BodyReader] = None
        self._backlog_bytes = 0
        self._began = False

    def start(self) -> None:
        """Decide what becomes of the request. Raises BadMessage."""
        head, connection = self.head, self.connection
        gateway = connection.gateway
        reader = self._reader = request_body(head, gateway.head_limits)
        self._reading = reader is not None
        to = self.destination
        if head.method == b"CONNECT" or head.method == b"TRACE":
            # RFC 9110 sections 9.3.6 and 9.3.8: no tunnel to elsewhere is offered, and TRACE would show what we add.
            raise BadMessage(405, "method-not-allowed")
        if to is None:
            self.fail(404, "no-route")
            return
        if to.answers or head.method == b"OPTIONS":
            own = answers.without_service(to.route, head, connection.came_with_tls(head))
            if own is not None:
                self.answer(own)
                return
        if reader is None:
            self._submit(to, b"", None)
        elif head.fields.content_length > to.body_limit:
            raise BadMessage(413, "body-too-large")
        else:
            data = connection.await_body()
            if head.expect_continue and not data:
                connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            if not to.buffering:
                self._submit(to, b"", None)
            if data and not self.status:  # Nothing was answered meanwhile.
                self.body_received(data)
            if self._reading and not self.status and to.buffering:
                connection.resume()  # It may have been stopped when it had sent far ahead; streamed, the service sets the pace.
                self._receive_past_us()

    # -- the body

    def body_received(self, data: bytes) -> None:
        """Some of the body. Raises BadMessage."""
        to = self.destination
        assert self._reader is not None and to is not None
        content, rest = self._reader.feed(data)
        self._body_bytes += len(content)
        if self._body_bytes > to.body_limit:
            raise BadMessage(413, "body-too-large")
        if rest is not None:
            self._reading = False
            self.connection.body_ended(rest)
        if not to.buffering:
            self._pass_on(content)
        elif rest is None:
            if self._spool is None:
                self._spool = self._new_spool()
            self._keep(content)
        else:
            if self._spool is not None:
                self._keep(content)
                content = b""
            self._submit(to, content, self._spool)

    def _receive_past_us(self) -> None:
        """Let what is missing of a long body of known length be received where it will stay, without a look at it."""
        reader, connection = self._reader, self.connection
        if isinstance(reader, LengthBody) and reader.remaining >= MIN_BYTES and connection.lend_body(self._receive):
            self._spool = self._spool or self._new_spool()

    def _receive(self) -> Any:
        """Stands in for the ``doRead`` of the client's transport: what is there of the body goes to the spool."""
        connection, to, body, spool = self.connection, self.destination, self._reader, self._spool
        assert to is not None and isinstance(body, LengthBody) and spool is not None
        transport, room = connection.transport, spool.room()
        try:
            size = transport.getHandle().recv_into(room, min(body.remaining, len(room)))
        except BlockingIOError:
            return None
        except OSError:
            size = 0
        if not size:
            connection.read_on()
            return transport.doRead()  # It knows what to make of an end or an error.
        try:
            spool.received(size)
        except OSError:
            self.refuse(BadMessage(507, "no-space"))
            return None
        self._body_bytes += size
        body.remaining -= size
        if body.remaining:
            connection.deadline = connection.gateway.monotonic() + connection.gateway.timeouts.body
        else:
            self._reading = False
            connection.read_on()
            connection.body_ended(b"")
            self._submit(to, b"", spool)
        return None

    def _new_spool(self) -> Spool:
        gateway = self.connection.gateway
        return Spool(gateway.limits.request_memory, gateway.blocks)

    def _keep(self, content: bytes) -> None:
        assert self._spool is not None
        try:
            self._spool.put(content)
        except OSError:
            raise BadMessage(507, "no-space") from None

    def _pass_on(self, content: bytes) -> None:
        """Stream: the slot is held for as long as the client takes."""
        exchange = self.exchange
        if exchange is None:
            return  # Answered already; the rest of the body is thrown away.
        complete = not self._reading
        if self.head.fields.chunked:
            content = encode_chunk(content)
            if complete:
                assert isinstance(self._reader, ChunkedBody)
                content += last_chunk(self._trailers(self._reader))
        if not exchange.request_more(content, complete) and not complete:
            self.connection.pause()

    def request_drained(self) -> None:
        """See Caller."""
        if self._reading:
            self.connection.await_more()

    # -- the exchange

    def _submit(self, to: Destination, content: bytes, spool: Optional[Spool]) -> None:
        """Put the request on its way to a slot: whole, or (``_reading``) as it comes."""
        head, connection = self.head, self.connection
        fields = head.fields
        if head.method == b"OPTIONS" and fields.max_forwards > 0:
            fields = fields.with_max_forwards(fields.max_forwards - 1)
        block = connection.forwarding_block(fields, head.host, head.minor, to.set_host)
        self.request_id = received_request_id(fields) or connection.gateway.new_request_id()
        path = strip_prefix(head.path, to.strip_prefix) if to.strip_prefix else head.path
        reader = self._reader
        upgrade = b""
        now = self.began_at
        if reader is None:
            upgrade = head.upgrade
            # No body, which some services want to be told where they expect one: a length of 0 goes on.
            message = request_head(head.method, path, block, fields.content_length, False, self.request_id, upgrade)
        elif self._reading:
            message = request_head(head.method, path, block, fields.content_length, fields.chunked, self.request_id)
        elif isinstance(reader, ChunkedBody) and reader.trailers:
            message, content = self._with_trailers(self._trailers(reader), path, block, content, spool)
        else:
            message = request_head(head.method, path, block, self._body_bytes, False, self.request_id) + content
        if reader is not None:
            now = connection.gateway.monotonic()
        if not self._reading:
            connection.await_answer()
        self._spool = None
        assert to.pool is not None
        self.exchange = exchange = Exchange(
            self, to.pool, head.method, message, now, spool, self._reading, upgrade != b"", to.response_timeout
        )
        to.pool.submit(exchange)

    def _trailers(self, body: ChunkedBody) -> bytes:
        """Those that go on: who a client is can't be said by a trailer any more than by a header."""
        subject_field = self.connection.gateway.marks.subject_field
        return without_field(body.trailers, subject_field) if subject_field else body.trailers

    def _with_trailers(self, trailers: bytes, path: bytes, block: bytes, content: bytes, spool: Optional[Spool]) -> Any:
        """A body with trailers has to go on in the chunked coding (RFC 9110 section 6.5): as one chunk."""
        message = request_head(self.head.method, path, block, -1, True, self.request_id)
        ending = last_chunk(trailers)
        if self._body_bytes:
            message += b"%x\r\n" % self._body_bytes
            ending = b"\r\n" + ending
        if spool is not None:
            self._keep(ending)
            return message, b""
        return message + content + ending, b""

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
        length = -1
        if body is None:
            if self.head.method == b"HEAD" or status == 304:
                length = head.fields.content_length
            elif status != 204:
                length = 0
        elif isinstance(body, LengthBody):
            length = head.fields.content_length
        elif complete and not (isinstance(body, ChunkedBody) and body.trailers):
            length = len(content)
        elif self.head.minor:
            self._chunked = True
        else:
            self.keep_alive = False  # HTTP/1.0 knows only the end of the connection.
        # Answered before the request was read: what is left of it can't be told from the next one.
        keep_alive = self.keep_alive = self.keep_alive and not self._reading and not gateway.draining
        out = client_head(head, self.head.minor, keep_alive, length, self._chunked, gateway.date, gateway.marks.via)
        to = self.destination
        assert to is not None
        if to.hsts and connection.came_with_tls(self.head):
            out = answers.add_hsts(out, to.hsts)
        if complete and not self._chunked:
            self.sent_bytes = len(content)
            connection.send(out + content if content else out)
            self.finished()
            return
        streamed = head.unbuffered or not to.buffering
        limits = gateway.limits
        self._backlog_bytes = STREAM_BYTES if streamed else limits.response_memory + limits.response_file
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
        self._log()
        framed = self._chunked or isinstance(self._response_body, LengthBody)
        self.connection.cut(abort=not framed)

    def response_upgraded(self, head: ResponseHead, content: bytes) -> None:
        """See Caller: a Tunnel takes our place."""
        gateway = self.connection.gateway
        self.status = 101
        self.keep_alive = False
        assert self.exchange is not None
        tunnel = Tunnel(self.connection, self)
        self.exchange.tunnel = tunnel
        self.connection.send(client_head(head, 1, True, -1, False, gateway.date, gateway.marks.via) + content)
        self.connection.begin_tunnel(tunnel)

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
            self._log()
            self.connection.cut(abort=True)
        else:
            self.fail(error.status, error.reason)

    def fail(self, status: int, reason: str, retry_after_s: Optional[int] = None) -> None:
        """Answer with an error."""
        accept = self.head.fields.get(b"accept") or b""
        self.answer(self.connection.gateway.pages.error(status, reason, accept, retry_after_s))

    def answer(self, answer: Answer) -> None:
        """Answer without a service."""
        self.keep_alive = self.keep_alive and not self._reading and not self.connection.gateway.draining
        to = self.destination
        if to is not None and to.hsts and self.connection.came_with_tls(self.head):
            answer = attr.evolve(answer, fields=(*answer.fields, (answers.HSTS, to.hsts)))
        self.status = answer.status
        with_content = answer.has_content and self.head.method != b"HEAD"
        self.sent_bytes = len(answer.content) if with_content else 0
        self.connection.send_answer(answer, self.head.minor, self.keep_alive, with_content)
        self.finished()

    # -- the end

    def finished(self) -> None:
        """The whole answer is given to the outlet."""
        self.exchange = None
        to, gateway = self.destination, self.connection.gateway
        if to is not None and to.counts is not None:
            to.counts.answered(self.status)
        else:
            gateway.counts.answered(self.status)
        if gateway.access_log is not None:
            self._log()
        if self._spool is not None:
            self._spool.clear()
        self.connection.answered(self.keep_alive, self._reading)

    def abandon(self) -> None:
        """The client has left."""
        if self._spool is not None:
            self._spool.clear()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.abandon()
            self.status = self.status or CLIENT_LEFT
            self._log()

    def _log(self) -> None:
        log = self.connection.gateway.access_log
        if log is not None:
            to = self.destination
            pool = to.pool.config.name if to is not None and to.pool is not None else ""
            seconds = self.connection.gateway.monotonic() - self.began_at
            log.add(self.connection.peer, self.head, self.status, self.sent_bytes, seconds, pool, self.request_id)


CLIENT_LEFT = 499
"""What the access log says of a client that left without an answer, as nginx's."""
