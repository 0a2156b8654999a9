"""Where HTTP/1.1 clients arrive: bytes to requests, requests to exchanges, responses back to bytes, in order.

States of a client's connection, and what each input does:

========  =====================  ======================================================================
state     input                  what happens
========  =====================  ======================================================================
HEAD      a whole head           routed; BODY, EXCHANGE, or answered here
HEAD      a bad head             refused: CLOSING
HEAD      deadline               408 when something of a head came, else just closed
BODY      the whole body         EXCHANGE
BODY      a bad body, deadline   refused: CLOSING
EXCHANGE  bytes                  the next request, kept until this one is answered
EXCHANGE  the whole response     HEAD, or DRAINING while the client still has to take some of it
EXCHANGE  101                    TUNNEL
DRAINING  everything taken       HEAD
TUNNEL    bytes, EOF             relayed
CLOSING   bytes                  thrown away, so that the client reads our answer before a reset (RFC 9112 section 9.6)
========  =====================  ======================================================================

EOF in HEAD, BODY or while the exchange waits in line means that the client has left. EOF while a slot works on the request may
be a half-close: the answer is sent, and a client that is gone resets the connection then.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Callable, Optional, Set

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, ISSLTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ..http1.body import BodyReader, ChunkedBody, LengthBody, encode_chunk, last_chunk
from ..http1.errors import BadMessage
from ..http1.fields import Fields
from ..http1.forward import client_head, forwarding_block, received_request_id, request_head
from ..http1.request import RequestHead, head_end, parse_request_head, request_body
from ..http1.response import ResponseHead
from .errors import ExchangeError
from .exchange import Exchange
from .gateway import Destination, Gateway, peer_host
from .outlet import Outlet
from .pages import phrase
from .routes import strip_prefix
from .spool import Spool
from .sweep import NEVER

PIPELINE_BYTES = 64 * 1024
"""What a client may send ahead of its answers before we stop reading; nginx and HAProxy keep a buffer of 8k to 16k."""

LINGER_S = 5.0
"""How long a refused client may take to notice; nginx lingering_timeout 5s."""

STREAM_BYTES = 64 * 1024
"""How much of a streamed response may wait for a slow client."""


class State(Enum):
    """Where a connection is; the table is in the module's docstring."""

    HEAD = "head"
    BODY = "body"
    EXCHANGE = "exchange"
    DRAINING = "draining"
    TUNNEL = "tunnel"
    CLOSING = "closing"


_HEAD, _BODY, _EXCHANGE, _DRAINING, _TUNNEL, _CLOSING = State


@implementer(IHalfCloseableProtocol)
class ClientConnection(Protocol):
    """One client. The caller (see ``exchange.Caller``) of its exchanges, one at a time."""

    scheme = b"http"

    def __init__(self, front: "HTTPFront", peer: str) -> None:
        gateway = front.gateway
        self.front = front
        self.gateway = gateway
        self.peer = peer
        self.trusted = gateway.trusts(peer)
        self.deadline = gateway.monotonic() + gateway.timeouts.head
        self._state = State.HEAD
        self._buffer = b""
        self._searched = 0
        self._paused = False
        self._advancing = False
        self._exchange: Optional[Exchange] = None
        # The last request's fields and the block made of them: clients repeat themselves.
        self._fields: Optional[Fields] = None
        self._host = b""
        self._block = b""
        self._reset()

    def _reset(self) -> None:
        """Forget the request."""
        self._request: Optional[RequestHead] = None
        self._destination: Optional[Destination] = None
        self._reader: Optional[BodyReader] = None
        self._spool: Optional[Spool] = None
        self._body_bytes = 0
        self._keep_alive = False
        self._began_at = 0.0
        self._status = 0
        self._sent_bytes = 0
        self._chunked = False
        self._response_reader: Any = None
        self._backlog_limit = 0
        self._request_id = b""
        self._lingering = False

    def connectionMade(self) -> None:
        """A client is here."""
        self.transport: Any = self.transport
        self.outlet = Outlet(self.transport, self, self.gateway.limits.response_memory)
        self.front.clients.add(self)
        self.gateway.sweep.add(self)
        self.gateway.counts.opened("client")

    # -- bytes from the client

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client."""
        state = self._state
        if state is _HEAD:
            self._buffer = self._buffer + data if self._buffer else data
            self._advance()
        elif state is _BODY:
            self._body_received(data)
        elif state is _TUNNEL:
            self._tunnel_sent(data)
        elif state is not _CLOSING:
            self._buffer += data
            if len(self._buffer) > PIPELINE_BYTES:
                self._pause()

    def _advance(self) -> None:
        """Parse what is buffered, request after request, as long as each is answered at once."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._buffer and self._state is _HEAD:
                if not self._next_head():
                    break
        finally:
            self._advancing = False

    def _next_head(self) -> bool:
        data = self._buffer
        limits = self.gateway.head_limits
        try:
            end = head_end(data, limits, 0, self._searched)
            if not end:
                if not self._searched:
                    self.deadline = self.gateway.monotonic() + self.gateway.timeouts.head
                self._searched = len(data)
                return False
            self._searched = 0
            if end == len(data):
                self._buffer = b""
            else:
                self._buffer = data[end:]
                data = data[:end]
            self._head_received(parse_request_head(data, limits, self._fields))
        except BadMessage as error:
            self._refuse(error.status, error.reason)
        return True

    def _head_received(self, head: RequestHead) -> None:
        """Decide what becomes of a request."""
        gateway = self.gateway
        self._request = head
        self._began_at = gateway.monotonic()
        fields = head.fields
        self._keep_alive = head.keep_alive and not gateway.draining
        if head.method == b"CONNECT" or head.method == b"TRACE":
            # RFC 9110 sections 9.3.6 and 9.3.8: no tunnel to elsewhere is offered, and TRACE would show what we add.
            self._refuse(405, "method-not-allowed")
            return
        destination = self._destination = gateway.router.find(head.host, head.path, head.method)
        reader = request_body(head, gateway.head_limits)
        if destination is None or destination.pool is None:
            self._answer_here(head, destination, reader)
            return
        if head.method == b"OPTIONS" and fields.special.get(b"max-forwards", b"") == b"0":
            self._respond(200, b"text/plain; charset=utf-8", b"", reader is None)
            return
        if reader is None:
            self._go(head, destination, b"", None, False)
            return
        if fields.content_length > destination.body_limit:
            self._refuse(413, "body-too-large")
            return
        self._reader = reader
        self._state = _BODY
        self.deadline = self._began_at + gateway.timeouts.body
        data, self._buffer = self._buffer, b""
        if fields.expect_continue and head.minor and not data:
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not destination.buffering:
            self._go(head, destination, b"", None, True)
        if data:
            self._body_received(data)

    def _body_received(self, data: bytes) -> None:
        """Some of a request's body."""
        assert self._reader is not None and self._destination is not None and self._request is not None
        try:
            content, rest = self._reader.feed(data)
        except BadMessage as error:
            self._refuse(error.status, error.reason)
            return
        self._body_bytes += len(content)
        if self._body_bytes > self._destination.body_limit:
            self._refuse(413, "body-too-large")
            return
        if not self._destination.buffering:
            self._stream_body(content, rest)
            return
        if rest is None:
            self.deadline = self.gateway.monotonic() + self.gateway.timeouts.body
            if self._spool is None:
                self._spool = Spool(self.gateway.limits.request_memory)
            self._keep(content)
            return
        self._buffer = rest
        if self._spool is not None:
            self._keep(content)
            content = b""
        if self._state is _BODY:
            self._go(self._request, self._destination, content, self._spool, False)

    def _keep(self, content: bytes) -> None:
        assert self._spool is not None
        try:
            if content:
                self._spool.put(content)
        except OSError:
            self._refuse(507, "no-space")

    def _stream_body(self, content: bytes, rest: Optional[bytes]) -> None:
        """Pass a body on as it comes: the slot is held for as long as the client takes."""
        exchange = self._exchange
        complete = rest is not None
        if rest is not None:
            self._buffer = rest
        if exchange is None:
            return  # Answered already; the rest of the body is thrown away.
        assert self._request is not None
        if self._request.fields.chunked:
            content = encode_chunk(content)
            if complete:
                assert isinstance(self._reader, ChunkedBody)
                content += last_chunk(self._reader.trailers)
        if complete:
            self._state = _EXCHANGE
            self.deadline = NEVER
        else:
            self.deadline = self.gateway.monotonic() + self.gateway.timeouts.body
        if not exchange.request_more(content, complete) and not complete:
            self._pause()
            self.deadline = NEVER

    def request_drained(self) -> None:
        """See Caller."""
        if self._state is _BODY or self._state is _TUNNEL:
            self._resume()
            if self._state is _BODY:
                self.deadline = self.gateway.monotonic() + self.gateway.timeouts.body

    def _go(self, head: RequestHead, to: Destination, content: bytes, spool: Optional[Spool], streaming: bool) -> None:
        """Put the request on its way to a slot."""
        gateway = self.gateway
        fields = head.fields
        host = to.set_host or head.host
        if fields is self._fields and host == self._host:
            block = self._block
        else:
            block = forwarding_block(fields, self.peer.encode(), self.scheme, host, head.minor, self.trusted, gateway.marks)
            self._fields, self._host, self._block = fields, host, block
        self._request_id = received_request_id(fields, self.trusted) or gateway.new_request_id()
        path = strip_prefix(head.path, to.strip_prefix) if to.strip_prefix else head.path
        reader = self._reader
        upgrade = fields.upgrade if reader is None and head.minor else b""
        trailers = reader.trailers if isinstance(reader, ChunkedBody) else b""
        if reader is None:
            message = request_head(head.method, path, block, -1, False, self._request_id, upgrade)
        elif streaming:
            message = request_head(head.method, path, block, fields.content_length, fields.chunked, self._request_id)
        elif trailers:
            message = request_head(head.method, path, block, -1, True, self._request_id)
            message += b"%x\r\n" % self._body_bytes if self._body_bytes else b""
            ending = (b"\r\n" if self._body_bytes else b"") + last_chunk(trailers)
            if spool is not None:
                self._keep(ending)
            else:
                content += ending
        else:
            message = request_head(head.method, path, block, self._body_bytes, False, self._request_id)
        if not streaming:
            self._state = _EXCHANGE
            self.deadline = NEVER
            self._spool = None
        assert to.pool is not None
        now = self._began_at if reader is None else gateway.monotonic()
        exchange = Exchange(
            self, to.pool, head.method, message + content if content else message, now, spool, streaming, bool(upgrade),
            to.response_timeout,
        )  # fmt: skip
        self._exchange = exchange
        to.pool.submit(exchange)

    # -- answers that no service gives

    def _answer_here(self, head: RequestHead, to: Optional[Destination], reader: Optional[BodyReader]) -> None:
        if to is None:
            self._error(404, "no-route", reader is None)
        elif to.route.redirect is not None:
            host = head.host.partition(b"]")[0] + b"]" if head.host[:1] == b"[" else head.host.partition(b":")[0]
            location = to.route.redirect.location.replace("{host}", host.decode("ascii"))
            location = location.replace("{target}", head.path.decode("ascii"))
            extra = b"Location: %b\r\n" % location.encode("latin-1")
            self._respond(to.route.redirect.status, b"text/plain; charset=utf-8", b"", reader is None, extra)
        elif to.route.respond is not None:
            respond = to.route.respond
            self._respond(respond.status, respond.content_type.encode("latin-1"), respond.body, reader is None)

    def _refuse(self, status: int, reason: str) -> None:
        """Answer what is not a request that we pass on; nothing that follows on this connection could be trusted."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()
            if self._status:
                self._cut()
                return
        self._error(status, reason, False)

    def _error(self, status: int, reason: str, keep_alive: bool, retry_after_s: Optional[int] = None) -> None:
        accept = b""
        if self._request is not None:
            accept = self._request.fields.get(b"accept") or b""
        kind, content = self.gateway.pages.page(status, reason, accept)
        extra = b"Retry-After: %d\r\n" % retry_after_s if retry_after_s is not None else b""
        if status == 405:
            extra += b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
        self._respond(status, kind, content, keep_alive, extra)

    def _respond(self, status: int, content_type: bytes, content: bytes, keep_alive: bool, extra: bytes = b"") -> None:
        """Send an answer of our own."""
        self._keep_alive = self._keep_alive and keep_alive
        minor = self._request.minor if self._request is not None else 1
        lines = [b"HTTP/1.1 %d %b\r\nDate: %b\r\n" % (status, phrase(status).encode(), self.gateway.date), extra]
        if status not in (204, 304):
            lines.append(b"Content-Type: %b\r\nContent-Length: %d\r\n" % (content_type, len(content)))
        if not self._keep_alive:
            lines.append(b"Connection: close\r\n")
        elif not minor:
            lines.append(b"Connection: keep-alive\r\n")
        lines.append(b"\r\n")
        if status not in (204, 304) and not (self._request is not None and self._request.method == b"HEAD"):
            lines.append(content)
            self._sent_bytes = len(content)
        self._status = status
        self._send(b"".join(lines))
        self._finish()

    # -- the exchange's answers

    def response_hint(self, head: ResponseHead) -> None:
        """See Caller. HTTP/1.0 knows no interim responses (RFC 9110 section 15.2)."""
        if self._request is not None and self._request.minor:
            self._send(b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.reason, head.fields.passed_on))

    def response_began(self, head: ResponseHead, content: bytes, body: Any, complete: bool) -> None:
        """See Caller."""
        request, to = self._request, self._destination
        assert request is not None and to is not None
        status = self._status = head.status
        minor = request.minor
        length = -1
        if body is None:
            if request.method == b"HEAD" or status == 304:
                length = head.fields.content_length
            elif status != 204:
                length = 0
        elif isinstance(body, LengthBody):
            length = head.fields.content_length
        elif complete and not (isinstance(body, ChunkedBody) and body.trailers):
            length = len(content)
        elif minor:
            self._chunked = True
        else:
            self._keep_alive = False
        if self._state is _BODY:  # Answered before the request was read: what is left of it can't be told from the next one.
            self._keep_alive = False
        gateway = self.gateway
        keep_alive = self._keep_alive = self._keep_alive and not gateway.draining
        out = client_head(head, minor, keep_alive, length, self._chunked, gateway.date, gateway.marks.via)
        if complete and not self._chunked:
            self._sent_bytes = len(content)
            self._send(out + content if content else out)
            self._finish()
            return
        limits = gateway.limits
        streamed = head.unbuffered or not to.buffering
        self._backlog_limit = STREAM_BYTES if streamed else limits.response_memory + limits.response_file
        self._response_reader = body
        self._send(out)
        self.response_more(content, complete)

    def response_more(self, content: bytes, complete: bool) -> None:
        """See Caller."""
        self._sent_bytes += len(content)
        if self._chunked:
            content = encode_chunk(content)
            if complete:
                reader = self._response_reader
                content += last_chunk(reader.trailers if isinstance(reader, ChunkedBody) else b"")
        if content:
            self._send(content)
        if complete:
            self._finish()
        elif self.outlet.waiting > self._backlog_limit and self._exchange is not None:
            self._exchange.pause()

    def response_failed(self, error: ExchangeError) -> None:
        """See Caller."""
        self._exchange = None
        self._error(error.status, error.reason, self._state is not _BODY, error.retry_after_s)

    def response_cut_off(self, reason: str) -> None:
        """See Caller. The client must see that something is missing (RFC 9112 section 8)."""
        self._exchange = None
        self._log()
        self._cut()

    def _cut(self) -> None:
        ends_by_close = not self._chunked and self._response_reader is not None
        ends_by_close = ends_by_close and not isinstance(self._response_reader, LengthBody)
        self._keep_alive = False
        if ends_by_close:
            self.transport.abortConnection()
        else:
            self._close()

    def _finish(self) -> None:
        """The answer is out, or waits in the outlet."""
        to = self._destination
        whole = self._state is not _BODY
        self._exchange = None
        if to is not None and to.counts is not None:
            to.counts.answered(self._status)
        else:
            self.gateway.counts.answered(self._status)
        if self.gateway.access_log is not None:
            self._log()
        if self._spool is not None:
            self._spool.clear()
        if not self._keep_alive:
            self._close(lingering=not whole or self._request is None or self._status in (400, 413, 431))
        elif self.outlet.draining:
            self._state = _DRAINING
        else:
            self._ready()

    def _ready(self) -> None:
        """Take the next request."""
        self._reset()
        self._state = _HEAD
        self.deadline = self.gateway.monotonic() + self.gateway.timeouts.keep_alive
        if self._paused:
            self._resume()
        if self._buffer:
            self._advance()

    def _log(self) -> None:
        log = self.gateway.access_log
        if log is None:
            return
        request, to = self._request, self._destination
        pool = to.pool.config.name if to is not None and to.pool is not None else ""
        seconds = self.gateway.monotonic() - self._began_at if self._began_at else 0.0
        if request is not None:
            log.add(
                self.peer, request.method, request.target, request.minor, self._status, self._sent_bytes, seconds, request.fields,
                pool, self._request_id,
            )  # fmt: skip
        else:
            log.add(self.peer, b"", b"", 1, self._status, self._sent_bytes, seconds, None, pool, b"")

    # -- writing

    def _send(self, data: bytes) -> None:
        outlet = self.outlet
        try:
            outlet.send(data)
        except OSError:  # No space for what the client does not take.
            self.transport.abortConnection()
            return
        if outlet.draining and self.deadline == NEVER:
            self.deadline = self.gateway.monotonic() + self.gateway.timeouts.write

    def outlet_progress(self) -> None:
        """The client took something."""
        self.deadline = self.gateway.monotonic() + self.gateway.timeouts.write
        if self._exchange is not None and self.outlet.waiting <= self._backlog_limit // 2:
            self._exchange.resume()

    def outlet_drained(self) -> None:
        """The client took everything."""
        state = self._state
        if state is _DRAINING:
            self._ready()
        elif state is _CLOSING:
            self._close_now()
        else:
            if state is _EXCHANGE:
                self.deadline = NEVER
            elif state is _TUNNEL:
                self.deadline = self.gateway.monotonic() + self.gateway.timeouts.tunnel
            if self._exchange is not None:
                self._exchange.resume()

    # -- tunnels

    def response_upgraded(self, head: ResponseHead, content: bytes) -> None:
        """See Caller."""
        self._status = 101
        self._state = _TUNNEL
        self._keep_alive = False
        self._backlog_limit = STREAM_BYTES
        self.deadline = self.gateway.monotonic() + self.gateway.timeouts.tunnel
        self._send(client_head(head, 1, True, -1, False, self.gateway.date, self.gateway.marks.via) + content)
        if self._buffer:
            data, self._buffer = self._buffer, b""
            self._tunnel_sent(data)
        self._resume()

    def _tunnel_sent(self, data: bytes) -> None:
        self.deadline = self.gateway.monotonic() + self.gateway.timeouts.tunnel
        if self._exchange is not None and not self._exchange.request_more(data, False):
            self._pause()

    def tunnel_received(self, data: bytes) -> None:
        """See Caller."""
        self.deadline = self.gateway.monotonic() + self.gateway.timeouts.tunnel
        self._sent_bytes += len(data)
        self._send(data)
        if self.outlet.waiting > self._backlog_limit and self._exchange is not None:
            self._exchange.pause()

    def tunnel_ended(self, half: bool) -> None:
        """See Caller."""
        if half and not ISSLTransport.providedBy(self.transport):
            self.transport.loseWriteConnection()
            return
        exchange, self._exchange = self._exchange, None
        if half and exchange is not None and exchange.slot is not None:
            exchange.slot.end_tunnel(False)
        self._finish_tunnel()

    def _finish_tunnel(self) -> None:
        self._finish()

    # -- the end

    def deadline_passed(self, now: float) -> None:
        """The client was too slow, or is done."""
        if self._state is _HEAD and not self._buffer:
            self._close()
        elif self._state is _HEAD or self._state is _BODY:
            self._keep_alive = False
            self._refuse(408, "head-timeout" if self._state is _HEAD else "body-timeout")
        else:
            self.transport.abortConnection()

    def drain(self) -> None:
        """Take no further request: an idle connection is closed, the others say so in their answer."""
        if self._state is _HEAD and not self._buffer:
            self._close()

    def _close(self, lingering: bool = False) -> None:
        """Close once everything is sent; ``lingering``: the client still sends, and would not read our answer after a reset."""
        self._state = _CLOSING
        self._buffer = b""
        self._lingering = lingering
        if self.outlet.draining:
            self.deadline = self.gateway.monotonic() + self.gateway.timeouts.write
            self._resume()
        else:
            self._close_now()

    def _close_now(self) -> None:
        if self._lingering and not ISSLTransport.providedBy(self.transport):
            self._lingering = False
            self.deadline = self.gateway.monotonic() + LINGER_S
            self._resume()
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()

    def readConnectionLost(self) -> None:
        """EOF from the client; see the module's docstring."""
        exchange = self._exchange
        if exchange is not None and exchange.slot is not None:
            if self._state is _TUNNEL:
                exchange.slot.end_tunnel(True)
                return
            if self._state is _EXCHANGE:
                self._keep_alive = False
                return
        if self._state is _DRAINING:
            self._keep_alive = False
            self._close()
        elif not (self._state is _CLOSING and self.outlet.draining):
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our own half-close is done."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone, or was closed."""
        self.gateway.sweep.discard(self)
        self.gateway.counts.closed("client")
        self._state = _CLOSING
        self.outlet.close()
        if self._spool is not None:
            self._spool.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()
            self._status = self._status or 499
            self._log()
        self.front.client_gone(self)


class HTTPFront(Factory):
    """Makes a ClientConnection for each client, up to ``limits.connections``."""

    noisy = False

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.clients: Set[ClientConnection] = set()
        self.on_empty: Optional[Callable[[], None]] = None
        """Called when the last client is gone, once somebody waits for that."""

    def buildProtocol(self, addr: Optional[IAddress]) -> Optional[ClientConnection]:
        """A client; None, which closes it, when there are too many."""
        if len(self.clients) >= self.gateway.limits.connections:
            self.gateway.counts.refuse("too-many-connections")
            return None
        return ClientConnection(self, peer_host(addr) if addr is not None else "")

    def client_gone(self, client: ClientConnection) -> None:
        """A client is gone."""
        self.clients.discard(client)
        if self.on_empty is not None and not self.clients:
            self.on_empty()

    def drain(self) -> None:
        """Take no further requests."""
        for client in list(self.clients):
            client.drain()
