"""A leased slot in the proxy: the adopted connection to a service, one exchange at a time.

States, and what each input does (an exchange is there in all but IDLE and CLOSED):

=========  ======================  =====================================================================
state      input                   what happens
=========  ======================  =====================================================================
IDLE       ``begin``               the request is sent; HEAD
IDLE       bytes, EOF              nobody asked: CLOSED, the acceptor is told
HEAD       1xx head                relayed; HEAD (100 is swallowed, 101 to an upgrade: TUNNEL)
HEAD       head of the response    given to the caller; BODY, or done when nothing is missing
HEAD       EOF, garbage, deadline  CLOSED; the exchange tries again or fails (502, 504)
BODY       content                 given to the caller; done at its end
BODY       EOF, garbage, deadline  done when the body ends by close, else CLOSED and cut off
TUNNEL     bytes, EOF              relayed; CLOSED when both sides ended
=========  ======================  =====================================================================

Done is IDLE when the slot is clean (complete response, nothing extra, neither side said close), else CLOSED.
"""

from __future__ import annotations

import socket
from enum import Enum
from typing import TYPE_CHECKING, Any, Optional, Tuple

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ...http1.body import BodyReader, CloseBody
from ...http1.errors import BadMessage
from ...http1.request import IDEMPOTENT, head_end
from ...http1.response import ResponseHead, parse_response_head, response_body
from ...http1.upgrade import check_switch
from ...net.descriptors import unread
from ...net.inlet import Inlet
from ...net.outlet import Outlet
from ...net.sweep import NEVER
from .bypass import Bypass
from .errors import Busy, ExchangeError, ServiceFailed, ServiceSilent
from .exchange import Exchange

if TYPE_CHECKING:
    from .pool import Pool

ORPHAN = -1
"""The lease number of a slot whose acceptor is gone."""

READ_BYTES = 64 * 1024
"""What is read at a time. One such piece may be in memory beyond ``response_memory`` for each slow client."""


MAX_INTERIM = 20
"""Interim responses before the final one; a service has no use for more, and each one is relayed."""


class State(Enum):
    """Where a slot is; the table is in the module's docstring."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    TUNNEL = "tunnel"
    CLOSED = "closed"


_IDLE, _HEAD, _BODY, _TUNNEL, _CLOSED = State


@implementer(IHalfCloseableProtocol)
class LeasedSlot(Protocol):
    """One slot. Owns the adopted transport; belongs to a Pool."""

    def __init__(self, pool: Pool, lease: int, service: str) -> None:
        self.pool = pool
        self.lease = lease
        self.service = service
        self.service_counts = pool.service_counts(service)
        self.deadline = NEVER
        self.exchange: Optional[Exchange] = None
        self.state = State.IDLE
        self._buffer = b""
        self.body: Optional[BodyReader] = None
        self._reusable = False
        self.began_at = 0.0
        self._interim = 0
        self._switch: Optional[Tuple[ResponseHead, bytes]] = None
        """A 101, and what came behind it, before the whole request was sent."""
        self._paused = False
        self._open = True

    def connectionMade(self) -> None:
        """Adopted."""
        self.transport: Any = self.transport
        self._inlet = Inlet(self.transport, self.dataReceived, READ_BYTES)
        self._bypass = Bypass(self, self._inlet)
        self.outlet = Outlet(self.transport, self, self.pool.limits.request_memory)
        self.pool.sweep.add(self)

    # -- the request

    def seems_alive(self) -> bool:
        """Whether neither EOF nor bytes wait unread: asked before a request that may not be sent twice."""
        return unread(self.transport.getHandle()) is None

    def begin(self, exchange: Exchange, now: float) -> bool:
        """Put ``exchange`` on this idle slot; False when the slot is found dead, and closed: nothing was sent."""
        if exchange.method not in IDEMPOTENT and not self.seems_alive():
            self.close()
            return False
        pool = self.pool
        self.exchange = exchange
        exchange.slot = self
        exchange.attempts += 1
        exchange.answered = False
        self.state = _HEAD
        if self.lease != ORPHAN:
            pool.board[self.lease] = 1
        self.began_at = now
        pool.counts.queue_seconds.observe(now - exchange.arrival)
        pool.counts.began()
        self.service_counts.began()
        self.outlet.send(exchange.message)
        if exchange.body is not None:
            self.outlet.send_body(exchange.body)
        self._expect_head(exchange, now)
        if exchange.streaming and not self.outlet.draining:
            exchange.drained()  # What came while it waited may have been enough to stop reading.
        return True

    def _expect_head(self, exchange: Exchange, now: float) -> None:
        """The service has its time from here on; but it can't be late while we wait for the client, who has a deadline too."""
        waiting_for_client = exchange.streaming and not self.outlet.draining
        self.deadline = NEVER if waiting_for_client else now + exchange.response_timeout

    def send_more(self, data: bytes) -> bool:
        """More of a streaming request or of a tunnel; False when the sender should wait until it is drained."""
        if data:
            self.outlet.send(data)
        exchange = self.exchange
        if exchange is not None and self.state is _HEAD:
            self._expect_head(exchange, self.pool.monotonic())
            self._switch_if_sent(exchange)
        return not self.outlet.draining

    def outlet_progress(self) -> None:
        """The service took something: it is not silent."""
        exchange = self.exchange
        if exchange is not None and self.state is _HEAD:
            self._expect_head(exchange, self.pool.monotonic())

    def outlet_drained(self) -> None:
        """The service took everything."""
        self.outlet_progress()
        exchange = self.exchange
        if exchange is not None:
            self._switch_if_sent(exchange)
            exchange.drained()

    # -- the response

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the service."""
        exchange = self.exchange
        if exchange is None:
            self.close()
            return
        try:
            if self.state is _HEAD:
                self._head_received(exchange, data)
            elif self.state is _BODY:
                self._body_received(exchange, data)
            elif exchange.tunnel is not None:
                exchange.tunnel.received(data)
        except BadMessage as error:
            self._fail(ServiceFailed(error.reason), "bad-response")

    def _head_received(self, exchange: Exchange, data: bytes) -> None:
        exchange.answered = True
        if self._switch is not None:  # The client took something, so reading went on.
            self._switch = (self._switch[0], self._switch[1] + data)
            self.pause()
            return
        if self._buffer:
            data = self._buffer + data
        while True:
            end = head_end(data, self.pool.response_limits)
            if not end:
                self._buffer = data
                return
            head = parse_response_head(data[:end], self.pool.response_limits)
            data = data[end:]
            if head.status >= 200:
                break
            if head.status == 101:
                self._upgraded(exchange, head, data)
                return
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise BadMessage(502, "too-many-interim-responses")
            if head.status != 100 and exchange.caller is not None:
                exchange.caller.response_hint(head)
        self._buffer = b""
        if head.slot_closing and head.status == 503:
            self._closing(exchange)
            return
        body = response_body(head, exchange.method, self.pool.response_limits)
        self._reusable = head.keep_alive
        if body is None:
            content, rest = b"", data
        else:
            content, ended = body.feed(data)
            if ended is None:
                exchange.began = True
                self.state = _BODY
                self.body = body
                self.deadline = self.pool.monotonic() + exchange.response_timeout
                if exchange.caller is not None:
                    exchange.caller.response_began(head, content, body, False)
                    self._bypass.begin_if_long(exchange, self.body)
                else:
                    exchange.discarded += len(content)
                    self._discard_checked(exchange)
                return
            rest = ended
        exchange.began = True
        self._done(exchange, not rest)
        if exchange.caller is not None:
            exchange.caller.response_began(head, content, body, True)

    def _body_received(self, exchange: Exchange, data: bytes) -> None:
        assert self.body is not None
        content, rest = self.body.feed(data)
        if rest is None:
            self.deadline = self.pool.monotonic() + exchange.response_timeout
        else:
            self._done(exchange, not rest)
        if exchange.caller is not None:
            if content or rest is not None:
                exchange.caller.response_more(content, rest is not None)
            if rest is None:
                self._bypass.begin_if_long(exchange, self.body)
        elif rest is None:
            exchange.discarded += len(data)
            self._discard_checked(exchange)

    def spliced(self, exchange: Exchange, remaining: int) -> None:
        """Some of the body went past us (see ``bypass``)."""
        if remaining:
            self.deadline = self.pool.monotonic() + exchange.response_timeout
        else:
            self._done(exchange, self.seems_alive())

    def client_lost(self) -> None:
        """The body can't be written past us any more, and some of it is lost."""
        exchange = self.exchange
        assert exchange is not None
        self._done(exchange, False)
        if exchange.caller is not None:
            exchange.caller.response_cut_off("client-lost")

    def abandoned(self) -> None:
        """The exchange's caller has left."""
        exchange = self.exchange
        assert exchange is not None
        self.resume()
        if self.state is _TUNNEL:
            self._done(exchange, False)
        else:
            self._discard_checked(exchange)

    def _discard_checked(self, exchange: Exchange) -> None:
        """Read on for nobody only while little is missing, and never for a request whose body will not come."""
        limit = self.pool.limits.discard
        remaining = getattr(self.body, "remaining", 0)
        if exchange.streaming or exchange.discarded + remaining > limit:
            self._leave(exchange)
            exchange.close()
            self.close()

    def _done(self, exchange: Exchange, clean: bool) -> None:
        """The exchange is off this slot: first the slot is used again, then the caller gets the end of its answer."""
        pool = self.pool
        now = pool.monotonic()
        self.exchange = exchange.slot = None
        self.deadline = NEVER
        self.body = None
        self._interim = 0
        if self._bypass.used:
            self._bypass.over()
        if self.lease != ORPHAN:
            pool.board[self.lease] = 0
        pool.counts.ended()
        self.service_counts.ended()
        pool.counts.response_seconds.observe(now - self.began_at)
        if exchange.began:
            pool.counts.served += 1
            self.service_counts.served += 1
        if exchange.body is not None:
            exchange.close()
        if clean and self._reusable and not exchange.streaming and not self.outlet.draining:
            self.state = _IDLE
            if self._paused:
                self.resume()
            pool.freed(self, now)
        else:
            self.close()

    # -- when it goes wrong

    def _closing(self, exchange: Exchange) -> None:
        """The service will serve nothing more on this slot, and did not serve this request."""
        self._leave(exchange)
        self.close()
        exchange.slot_failed(ServiceFailed("slot-closing"), True, "slot-closing")

    def _leave(self, exchange: Exchange) -> None:
        """Take the exchange off without a response."""
        self.exchange = exchange.slot = None
        self.deadline = NEVER
        if self.lease != ORPHAN:
            self.pool.board[self.lease] = 0
        self.pool.counts.ended()
        self.service_counts.ended()

    def _fail(self, error: ExchangeError, reason: str, unread: bool = False) -> None:
        exchange = self.exchange
        if exchange is not None:
            self._leave(exchange)
        self.close()
        if exchange is not None:
            exchange.slot_failed(error, unread, reason)

    def deadline_passed(self, now: float) -> None:
        """The service was silent for too long, unless it still takes the request."""
        if self.state is _HEAD and self.outlet.draining and self.outlet.moved():
            self.outlet_progress()
            return
        self._fail(ServiceSilent("response-timeout" if self.state is _HEAD else "body-timeout"), "timeout")

    def readConnectionLost(self) -> None:
        """EOF from the service."""
        exchange = self.exchange
        if self.state is _TUNNEL and exchange is not None and exchange.tunnel is not None:
            exchange.tunnel.service_ended(True)
        else:
            self._ended(exchange, clean=True)

    def writeConnectionLost(self) -> None:
        """Our own half-close is done."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, by the service or by us."""
        self._open = False
        self._inlet.close()
        self._ended(self.exchange, clean=bool(reason.check(ConnectionDone)))
        self.outlet.close()

    def _ended(self, exchange: Optional[Exchange], clean: bool) -> None:
        if self.state is _CLOSED:
            return
        if exchange is None:
            self.close()
        elif self.state is _TUNNEL:
            tunnel = exchange.tunnel
            self._done(exchange, False)
            if tunnel is not None:
                tunnel.service_ended(False)
        elif self.state is _BODY and isinstance(self.body, CloseBody) and clean:
            self._done(exchange, False)
            if exchange.caller is not None:
                exchange.caller.response_more(b"", True)
        else:
            self._fail(ServiceFailed("slot-lost"), "slot-lost")

    # -- tunnels

    def _upgraded(self, exchange: Exchange, head: ResponseHead, rest: bytes) -> None:
        check_switch(head.fields.upgrade, exchange.upgrade)
        if exchange.caller is None:
            raise BadMessage(502, "client-lost")
        if exchange.streaming or self.outlet.draining:
            # The client's request goes first: what follows it on this connection belongs to the tunnel.
            self._switch = (head, rest)
            self.pause()
            return
        self.state = _TUNNEL
        exchange.began = True
        self.deadline = NEVER
        self._buffer = b""
        exchange.caller.response_upgraded(head, rest)

    def _switch_if_sent(self, exchange: Exchange) -> None:
        """The service has switched protocols, and the rest of the request may have been sent meanwhile."""
        if self._switch is not None and not exchange.streaming and not self.outlet.draining:
            head, rest = self._switch
            self._switch = None
            self.resume()
            try:
                self._upgraded(exchange, head, rest)
            except BadMessage as error:
                self._fail(ServiceFailed(error.reason), "bad-response")

    def end_tunnel(self, half: bool) -> None:
        """The client closed its side of the tunnel (``half``), or is gone."""
        if half:
            self.outlet.end_sending()
        elif self.exchange is not None:
            self._done(self.exchange, False)

    # -- reading, and the end

    def pause(self) -> None:
        """Read nothing: the caller is full."""
        if not self._paused and self.state is not _CLOSED:
            self._paused = True
            self.deadline = NEVER
            self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if self._paused and self.state is not _CLOSED:
            self._paused = False
            if self._bypass.active:
                self._bypass.resumed()
            if self.exchange is not None and self.state is not _TUNNEL:
                self.deadline = self.pool.monotonic() + self.exchange.response_timeout
            self.transport.resumeProducing()

    def stop(self) -> None:
        """The proxy stops: nobody gets anything any more."""
        self._fail(Busy("stopping"), "stopping")

    def close(self) -> None:
        """The slot is not good any more: shut the socket down, which all copies of its descriptor share; tell the acceptor."""
        if self.state is _CLOSED:
            return
        self.state = _CLOSED
        self.deadline = NEVER
        if self._open:
            try:
                self.transport.getHandle().shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # ENOTCONN: the service was faster.
            self.transport.abortConnection()
        self.pool.lost(self)

    def give_back(self) -> None:
        """The lease is over and the slot is clean: close our descriptor, but not the connection, which the acceptor keeps."""
        self.state = _CLOSED
        self.pool.sweep.discard(self)
        # Twisted shuts a socket down before it closes it, for all copies; it has this one switch to leave that out.
        self.transport._shouldShutdown = False
        self.transport.stopReading()
        self.transport.connectionLost(connectionDone)
