"""One request and its response: what is sent, who gets the answer, and whether it may be tried again.

Made by a caller (``front``, ``resource``) once the request is ready to go, given to a ``Pool``, put on a ``Slot``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional, Protocol

from ...http1.body import BodyReader
from ...http1.request import IDEMPOTENT
from ...http1.response import ResponseHead
from ...net.bodies.spool import Spool
from .errors import Busy, ExchangeError, ServiceFailed

if TYPE_CHECKING:
    from .leased_slot import LeasedSlot
    from .pool import Pool


MAX_MISSES = 1000
"""How many slots may say goodbye to one request, or be over when it is sent, before it fails. Each of them is closed then: a
bound against services that dial and say goodbye for ever, and more than what ends together while one request is on its way."""


class Caller(Protocol):
    """Who wants the answer. The calls come in this order: hints, then (began, more*) or failed; cut_off ends either early."""

    def client(self) -> str:
        """Who asks, by address, as far as that is known and believed: for the client's share of a line."""

    def response_hint(self, head: ResponseHead) -> None:
        """An interim response (1xx other than 100 and 101; RFC 9110 section 15.2)."""

    def response_began(self, head: ResponseHead, content: bytes, body: Optional[BodyReader], complete: bool) -> None:
        """The final response's head and the first of its content; ``complete``: there is no more.

        :param body: the reader of the response's body, None when there is none (its trailers are there when it is complete).
        """

    def response_more(self, content: bytes, complete: bool) -> None:
        """More of the content."""

    def splice_target(self) -> Optional[int]:
        """The descriptor that content may be written to directly at this moment, None when it has to go through us."""

    def response_spliced(self, size: int) -> None:
        """``size`` bytes of content were written to it."""

    def response_failed(self, error: ExchangeError) -> None:
        """There will be no response; the caller makes one."""

    def response_cut_off(self, error: ExchangeError) -> None:
        """The response broke off after its head."""

    def response_upgraded(self, head: ResponseHead, content: bytes) -> None:
        """The service switched protocols (101): from here on ``Exchange.tunnel``, which must be set now, is told."""

    def request_drained(self) -> None:
        """The service took all that was sent so far: a caller that streams its request may read on."""


class FramedCaller:
    """What callers share whose answers go out in frames of another kind: nothing goes past us, and no tunnel is offered."""

    __slots__ = ()

    def splice_target(self) -> Optional[int]:
        """See Caller: never."""
        return None

    def response_spliced(self, size: int) -> None:
        """See Caller: never."""
        raise AssertionError("content was written past its frames")

    def response_upgraded(self, head: ResponseHead, content: bytes) -> None:
        """See Caller: never, because no Upgrade is passed on."""
        raise AssertionError("an upgrade that nobody asked for")


class TunnelEnd(Protocol):
    """Who is told what comes through a tunnel."""

    def received(self, data: bytes) -> None:
        """The service sent ``data``."""

    def service_ended(self, half: bool) -> None:
        """The service closed its side (``half``), or the whole connection."""

    def request_drained(self) -> None:
        """The service took all that was sent so far."""


class Exchange:
    """A request that asks for a slot.

    :param message: the outgoing head, and the body too when that is small.
    :param body: the rest of the body when it is not, whole; the exchange closes it.
    :param streaming: the body is still being received: more follows by ``request_more``.
    :param upgrade: the protocols that the service is offered to switch to (``RequestHead.upgrade``), empty: none.
    :param arrival: when the request arrived (monotonic seconds): its place in the line.
    """

    __slots__ = (
        "caller",
        "pool",
        "method",
        "message",
        "body",
        "streaming",
        "repeatable",
        "upgrade",
        "arrival",
        "attempts",
        "response_timeout",
        "slot",
        "heard",
        "responding",
        "wary",
        "tunnel",
        "share",
    )

    def __init__(
        self,
        caller: Caller,
        pool: Pool,
        method: bytes,
        message: bytes,
        arrival: float,
        body: Optional[Spool] = None,
        streaming: bool = False,
        upgrade: bytes = b"",
        response_timeout: Optional[float] = None,
    ) -> None:
        self.caller: Optional[Caller] = caller
        self.pool = pool
        self.method = method
        self.message = message
        self.body = body
        self.streaming = streaming
        self.repeatable = True
        """``message`` and ``body`` are all that was sent: it can be sent again."""
        self.upgrade = upgrade
        self.arrival = arrival
        self.response_timeout = pool.config.response_timeout if response_timeout is None else response_timeout
        self.attempts = 0
        self.slot: Optional[LeasedSlot] = None
        self.heard = False
        """Some byte of a response was seen on this attempt: the service has acted on the request."""
        self.responding = False
        """The caller has the final response's head."""
        self.wary: int = method not in IDEMPOTENT
        """Not 0: a slot is looked at before this is put on it, as it may not be sent twice, or so many slots have failed it."""
        self.tunnel: Optional[TunnelEnd] = None
        """Set once the service has switched protocols."""
        self.share: Optional[str] = None
        """The client whose share of the line this takes, while it waits."""

    def request_more(self, data: bytes, complete: bool) -> bool:
        """More of a streaming request's body; False when the caller should wait for ``request_drained``."""
        if complete:
            self.streaming = False
        if self.slot is None:
            self.message += data
            return len(self.message) < self.pool.limits.request_memory
        self.repeatable = False
        return self.slot.send_more(data)

    def abandon(self) -> None:
        """The caller has left: leave the line, or let the response run out."""
        self.caller = None
        self.tunnel = None
        if self.slot is not None:
            self.slot.abandoned()
        else:
            self.pool.leave(self)
            self.close()

    def hint(self, head: ResponseHead) -> None:
        """An interim response."""
        if self.caller is not None:
            self.caller.response_hint(head)

    def stream_response(self) -> None:
        """The response goes to the client piece by piece: the service may be silent for as long as streams may."""
        self.response_timeout = self.pool.config.stream_timeout
        if self.slot is not None:
            self.slot.deadline = self.pool.monotonic() + self.response_timeout

    def pause(self) -> None:
        """The caller has more than it can keep: read no more of the response for now."""
        if self.slot is not None:
            self.slot.pause()

    def resume(self) -> None:
        """The caller can take more."""
        if self.slot is not None:
            self.slot.resume()

    @property
    def sending(self) -> bool:
        """Whether something that was given to the slot waits for the service to take it."""
        return self.slot is not None and self.slot.outlet.draining

    @property
    def endless(self) -> bool:
        """Whether the caller is being given a response of which nobody can tell when it ends: a stream of events, say."""
        slot = self.slot
        return slot is not None and slot.response.body is not None and slot.response.endless

    def drained(self) -> None:
        """The service took all that was sent so far."""
        waiting = self.tunnel or self.caller
        if waiting is not None:
            waiting.request_drained()

    def close(self) -> None:
        """Drop the body. Done once the exchange is over, whichever way."""
        if self.body is not None:
            self.body.clear()
            self.body = None

    def refused(self, error: Busy) -> None:
        """No slot: the line is full or the wait was too long."""
        self.close()
        if self.caller is not None:
            self.caller.response_failed(error)

    def slot_failed(self, error: ExchangeError, reason: str, unread: bool, attempted: bool) -> None:
        """The slot is gone, or has said that it will not serve: try again if that is safe (design rule 7), else give up.

        :param reason: the label under which another attempt is counted.
        :param unread: the service certainly did not act on the request.
        :param attempted: False: the slot was over when the request was sent, so that this was no attempt.
        """
        self.slot = None
        self.wary += 1
        if not attempted:
            self.attempts -= 1
        if self.caller is None:
            self.close()
        elif self.responding:
            self.close()
            self._tell("pool {pool}: a response of {service} broke off: {reason}", error)
            self.caller.response_cut_off(error)
        elif self._may_try_again(unread) and isinstance(error, ServiceFailed):
            if self.body is not None:
                self.body.rewind()
            self.pool.counts.retried(reason)
            self.pool.resubmit(self)
        else:
            self.close()
            self._tell("pool {pool}: no response of {service}: {reason}", error)
            self.caller.response_failed(error)

    def _tell(self, what: str, error: ExchangeError) -> None:
        """Say what a service did wrong, in the log, seldom."""
        if error.source == "service":
            self.pool.failures.say(what, pool=self.pool.config.name, service=error.service or "a service", reason=error.reason)

    def _may_try_again(self, unread: bool) -> bool:
        if self.streaming or not self.repeatable or self.wary > MAX_MISSES:
            return False
        if self.attempts >= self.pool.limits.max_attempts:
            return False
        return unread or (not self.heard and self.method in IDEMPOTENT)
