"""A leased slot in the proxy: one exchange at a time on the connection of a service.

The states are in ``slot_states``; the bytes come from ``slot_connection``; what becomes of a free slot is the pool's to say. A
slot goes on to the next request only clean (a complete response, nothing after it, neither side said close) and quiet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from ...http1.body import CloseBody
from ...http1.errors import BadMessage
from ...http1.upgrade import check_switch
from ...net.outlet import Outlet
from ...net.sweep import NEVER
from ...slots.preambles.registration import begins_preamble
from .bypass import Bypass
from .errors import Busy, ExchangeError, ServiceFailed, ServiceSilent
from .exchange import Exchange
from .incoming_response import IncomingResponse
from .lease import Lease
from .leftover import LEFT_S, Leftover, worth_reading
from .slot_connection import READ_BYTES, SlotConnection
from .slot_states import TABLE, Do, LeasedSlotState, SlotInput

if TYPE_CHECKING:
    from .pool import Pool

_H = ord("H")
"""How every response begins, and no preamble."""

_IDLE, _HEAD, _SWITCHING, _BODY, _LEFT, _TUNNEL, _CLOSED = LeasedSlotState
# What every request comes by, looked up once: a look into the table hashes two members of an Enum.
_BEGUN, _ = TABLE[_IDLE, SlotInput.BEGIN]
_FREED, _ = TABLE[_HEAD, SlotInput.WHOLE]


class LeasedSlot:
    """One slot. Owns its lease and its connection; belongs to a Pool.

    :ivar exchange: the exchange that is on it.
    :ivar response: what has come of the answer to it.
    """

    connection: SlotConnection
    transport: Any
    outlet: Outlet
    _bypass: Bypass

    def __init__(self, pool: Pool, lease: Lease) -> None:
        self.pool = pool
        self.lease = lease
        self.service = lease.service
        self.counts = pool.counts.service(lease.service)
        self.deadline = NEVER
        self.exchange: Optional[Exchange] = None
        self.state = LeasedSlotState.IDLE
        self.response = IncomingResponse(pool.response_limits)
        self.began_at = 0.0
        self._readiness = pool.readiness
        self._waits = pool.counts.served_waits
        self._unseen = False  # The request was sent without a look at the socket.
        self._emptied_in = -1
        """The turn of the reactor in which the socket was read to the end; -1: it was not, at its last read."""
        self._begun_in = 0
        self._leftover: Optional[Leftover] = None
        self._paused = False

    def adopted(self, connection: SlotConnection) -> None:
        """The descriptor has become a connection."""
        self.connection = connection
        self.transport = connection.transport
        self._descriptor: int = self.transport.fileno()
        self.outlet = connection.outlet
        self._bypass = Bypass(self, connection.inlet)
        self.pool.sweep.add(self)

    # -- the request

    def begin(self, exchange: Exchange, now: float) -> bool:
        """Put ``exchange`` on this idle slot; False when the slot is found over, and closed: nothing was sent.

        The slot is looked at where it is not known that nothing waits on it, after responses that services get wrong, and for
        requests that may not be sent twice or were sent already.
        """
        response, readiness = self.response, self._readiness
        turn = readiness.turn
        # That costs no system call: the poll that began this turn of the reactor has listed every descriptor with something to
        # read, and who was read in this turn has been read to the end.
        quiet = readiness.known and (self._emptied_in == turn or self._descriptor not in readiness.readable)
        # Said before the look: an acceptor for which this process does not turn its loop ends leases that are not in use.
        self.lease.busy()
        if exchange.wary or response.bodiless or not quiet:
            if self.connection.holds_something():
                self.lease.free()
                self.close()
                return False
            self._unseen = response.bodiless = False
        else:
            self._unseen = True
        self.state = _BEGUN if self.state is _IDLE else TABLE[self.state, SlotInput.BEGIN][0]
        self.exchange = exchange
        exchange.slot = self
        exchange.attempts += 1
        exchange.heard = False
        self._begun_in = turn
        self.began_at = now
        self.counts.took_slot()
        if exchange.attempts == 1:
            self._waits.observe(now - exchange.arrival)
        self.outlet.send(exchange.message)
        if exchange.body is not None:
            self.outlet.send_body(exchange.body)
        if exchange.streaming:
            self.outlet_progress()
            if not self.outlet.draining:
                exchange.drained()  # What came while it waited may have been enough to stop reading.
        else:
            self.deadline = now + exchange.response_timeout
        return True

    def send_more(self, data: bytes) -> bool:
        """More of a streaming request or of a tunnel; False when the sender should wait until it is drained."""
        if data:
            self.outlet.send(data)
        self.outlet_progress()
        self._switch_if_sent()
        return not self.outlet.draining

    def outlet_progress(self) -> None:
        """The service took something: it has its time from here on. It can't be late while we wait for the client, who has a
        deadline too."""
        exchange = self.exchange
        if exchange is not None and (self.state is _HEAD or self.state is _SWITCHING):
            waiting_for_client = exchange.streaming and not self.outlet.draining
            self.deadline = NEVER if waiting_for_client else self.pool.monotonic() + exchange.response_timeout

    def outlet_drained(self) -> None:
        """The service took everything."""
        self.outlet_progress()
        self._switch_if_sent()
        if self.exchange is not None:
            self.exchange.drained()

    # -- the response

    def received(self, data: bytes) -> None:
        """Bytes from the service."""
        exchange = self.exchange
        if exchange is None:
            # After a request a preamble is no introduction: a stranger may choose the content of an answer.
            if self.lease.orphaned or (self.began_at and begins_preamble(data)):
                self._shut(SlotInput.GARBAGE)
                return
            self.state, _ = TABLE[self.state, SlotInput.SPOKE]
            self.connection.let_go()
            self.pool.lost(self, data)
            return
        try:
            if self.state is _HEAD:
                self._head_received(exchange, data)
            elif self.state is _BODY:
                self._body_received(exchange, data)
            elif self._leftover is not None:
                self._leftover.received(data)
            elif exchange.tunnel is not None:
                exchange.tunnel.received(data)
            elif self.response.switch is not None:  # The client took something, so reading went on.
                head, rest = self.response.switch
                self.response.switch = head, rest + data
                self.pause()
        except BadMessage as error:
            self._fail(SlotInput.GARBAGE, ServiceFailed(error.reason), "bad-response")

    def _head_received(self, exchange: Exchange, data: bytes) -> None:
        if data[0] != _H and not exchange.heard and begins_preamble(data):
            # The slot was taken for raw, and its registration has come after all. The service may read the request yet, so it
            # is tried elsewhere only where that is safe; but it was no attempt.
            self._fail(SlotInput.GARBAGE, ServiceFailed("late-preamble"), "late-preamble", attempted=False)
            return
        exchange.heard = True
        response = self.response
        found = response.begin(data, exchange.method, exchange.hint)
        if found is None:
            return
        head, content, rest = found
        status = head.status
        if status == 101:
            check_switch(head.fields.upgrade, exchange.upgrade)
            response.switch = head, rest or b""
            self.state, _ = TABLE[self.state, SlotInput.SWITCHED]
            self.pause()
            self.outlet_progress()
            self._switch_if_sent()
            return
        if status == 503 and head.slot_closing:
            error = ServiceFailed("slot-closing")
            self._fail(SlotInput.GOODBYE, error, "slot-closing", unread=True, attempted=False)
            return
        body = response.body
        exchange.responding = True
        if rest is not None:
            self.done(exchange, not rest, len(data))
            if exchange.caller is not None:
                exchange.caller.response_began(head, content, body, True)
            return
        self.state, _ = TABLE[self.state, SlotInput.HEAD]
        self.deadline = self.pool.monotonic() + exchange.response_timeout
        if exchange.caller is not None:
            exchange.caller.response_began(head, content, body, False)
            self._bypass.begin_if_long(exchange, body)

    def _body_received(self, exchange: Exchange, data: bytes) -> None:
        body = self.response.body
        assert body is not None
        content, rest = body.feed(data)
        if rest is None:
            self.deadline = self.pool.monotonic() + exchange.response_timeout
        else:
            self.done(exchange, not rest, len(data))
        if exchange.caller is not None:
            if content or rest is not None:
                exchange.caller.response_more(content, rest is not None)
            if rest is None:
                self._bypass.begin_if_long(exchange, body)

    def done(self, exchange: Exchange, clean: bool, read_bytes: int = READ_BYTES) -> None:
        """The response is over, and the exchange off this slot: first the slot is used again, then the caller gets the end.

        :param clean: nothing came after the response.
        :param read_bytes: how much the last read brought: less than it could have, when it has emptied the socket.
        """
        pool, response = self.pool, self.response
        now = pool.monotonic()
        self.exchange = exchange.slot = None
        self._leftover = None
        self.deadline = NEVER
        response.body = None
        if self._bypass.used:
            self._bypass.over()
        self.lease.free()
        self.counts.left_slot(exchange.responding)
        pool.counts.response_seconds.observe(now - self.began_at)
        if exchange.body is not None:
            exchange.close()
        if clean and response.reusable and not exchange.streaming and not self.outlet.draining:
            self.state = _FREED if self.state is _HEAD else TABLE[self.state, SlotInput.WHOLE][0]
            self._emptied_in = self._readiness.turn if read_bytes < READ_BYTES else -1
            if self._paused:
                self.resume()
            if response.bodiless:
                self.connection.acknowledge()
            pool.freed(self, now)
        else:
            self._shut(SlotInput.LAST)

    # -- the client leaves

    def abandoned(self) -> None:
        """The exchange's caller has left."""
        exchange = self.exchange
        assert exchange is not None
        if self.state is _TUNNEL:
            self.done(exchange, False)
        elif self.state is not _SWITCHING and worth_reading(self, exchange):
            self.state, _ = TABLE[self.state, SlotInput.LEFT]
            self._leftover = Leftover(self, exchange)
            self.resume()
            self.deadline = self.pool.monotonic() + LEFT_S
        else:
            self.give_up()

    def give_up(self) -> None:
        """Nobody wants the rest of the response any more."""
        self._fail(SlotInput.GIVEN_UP, ServiceFailed("client-left"), "client-left")

    # -- when it goes wrong

    def _leave(self, exchange: Exchange) -> None:
        """Take the exchange off without a response."""
        self.exchange = exchange.slot = None
        self._leftover = None
        self.response.body = None
        self.lease.free()
        self.counts.left_slot(False)

    def _fail(self, what: SlotInput, error: ExchangeError, reason: str, unread: bool = False, attempted: bool = True) -> None:
        """Close the slot; what becomes of the exchange is its own to say (see ``Exchange.slot_failed``)."""
        exchange = self.exchange
        error.service = self.service
        if exchange is not None:
            self._leave(exchange)
        do = self._shut(what)
        if exchange is not None:
            if do is Do.FAIL:
                exchange.slot_failed(error, reason, unread, attempted)
            else:
                exchange.close()

    def deadline_passed(self, now: float) -> None:
        """The service was silent for too long, unless it still takes the request."""
        early = self.state in (_HEAD, _SWITCHING)
        if early and self.outlet.draining and self.outlet.moved():
            self.outlet_progress()
            return
        reason = "response-timeout" if early else "body-timeout"
        self._fail(SlotInput.SILENT, ServiceSilent(reason), "timeout")

    def connection_over(self, how: SlotInput, clean: bool) -> None:
        """The service has ended its side (END), or the connection is gone (LOST).

        :param clean: not by a reset or another error.
        """
        exchange = self.exchange
        if exchange is None:
            self._shut(how)
        elif self.state is _TUNNEL:
            tunnel = exchange.tunnel
            if how is SlotInput.END:
                self.state, _ = TABLE[self.state, how]
            else:
                self.done(exchange, False)
            if tunnel is not None:
                tunnel.service_ended(how is SlotInput.END)
        elif self.state is _BODY and isinstance(self.response.body, CloseBody) and clean:
            self.done(exchange, False)
            if exchange.caller is not None:
                exchange.caller.response_more(b"", True)
        else:
            # Over at the first look after the request was sent: it was before, and nobody had looked. That is no attempt.
            missed = self._unseen and not exchange.heard and self._readiness.turn - self._begun_in <= 1
            self._fail(how, ServiceFailed("slot-lost"), "slot-lost", attempted=not missed)

    # -- tunnels

    def _switch_if_sent(self) -> None:
        """The service may have switched protocols while the request was still sent: the tunnel begins behind its last byte."""
        exchange, switch = self.exchange, self.response.switch
        if switch is None or exchange is None or exchange.streaming or self.outlet.draining:
            return
        self.response.switch = None
        self.resume()
        self.state, _ = TABLE[self.state, SlotInput.SENT]
        exchange.responding = True
        self.deadline = NEVER
        assert exchange.caller is not None  # It has not left: that would have ended the slot.
        exchange.caller.response_upgraded(*switch)

    def end_tunnel(self, half: bool) -> None:
        """The client closed its side of the tunnel (``half``), or is gone."""
        if half:
            self.outlet.end_sending()
        elif self.exchange is not None:
            self.done(self.exchange, False)

    # -- reading, and the end

    def pause(self) -> None:
        """Read nothing: the caller is full."""
        if not self._paused and self.state is not _CLOSED:
            self._paused = True
            self.deadline = NEVER
            self.connection.pause()

    def resume(self) -> None:
        """Read on."""
        if self._paused and self.state is not _CLOSED:
            self._paused = False
            if self._bypass.active:
                self._bypass.resumed()
            if self.exchange is not None and self.state is not _TUNNEL:
                self.deadline = self.pool.monotonic() + self.exchange.response_timeout
            self.connection.resume()

    def stop(self) -> None:
        """The proxy stops: nobody gets anything any more."""
        self._fail(SlotInput.STOPPED, Busy("stopping"), "stopping")

    def close(self) -> None:
        """The idle slot is not good any more. What has come on one that was never used here is for the acceptor to judge."""
        if not self.began_at and not self.lease.orphaned and self.connection.waits():
            self.pool.give_back(self)
        else:
            self._shut(SlotInput.OVER)

    def _shut(self, what: SlotInput) -> Do:
        """Go where ``what`` leads, which is CLOSED; the first time the connection is ended, and the acceptor is told."""
        was = self.state
        self.state, do = TABLE[was, what]
        if was is not _CLOSED:
            self.deadline = NEVER
            self.connection.shut()
            self.pool.lost(self)
        return do

    def give_back(self) -> None:
        """The lease is over and the slot is clean: somebody else may have it."""
        self.state, _ = TABLE[self.state, SlotInput.RECALLED]
        self.connection.let_go()
        self.lease.give_back()
