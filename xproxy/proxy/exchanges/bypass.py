"""The rest of a long response body on its way past us: from the slot's socket to the client's, as long as the client keeps up.

A client that takes nothing for a moment is waited for, with the slot not being read: what the kernel holds costs nothing, what
is read has to be copied into a spool. But slots are for services, not for slow clients, so that waiting is bounded for each
response; after that the body is read at the service's speed and spooled like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall

from ...http1.body import BodyReader, LengthBody
from ...net.bodies.splice import MIN_BYTES
from ...net.inlet import Inlet
from .errors import ExchangeError

if TYPE_CHECKING:
    from .exchange import Exchange
    from .leased_slot import LeasedSlot

GRACE_S = 0.02
"""How long a slot may wait for the client of one response: some turns of a busy client, nothing beside a service's own time."""

GRACE_SHARE = 0.25
"""And this share of the time that the response has taken so far."""


class Bypass:
    """The bypass of one slot.

    :ivar active: it is reading in place of the slot.
    :ivar used: it has, for this response.
    """

    __slots__ = ("active", "used", "_slot", "_inlet", "_waited_s", "_stalled_at", "_patience")

    def __init__(self, slot: LeasedSlot, inlet: Inlet) -> None:
        self.active = self.used = False
        self._slot = slot
        self._inlet = inlet
        self._waited_s = 0.0
        self._stalled_at = 0.0
        self._patience: Optional[IDelayedCall] = None

    def begin_if_long(self, exchange: Exchange, body: Optional[BodyReader]) -> None:
        """Take over if there is enough to come, of known length, and the client has taken everything so far."""
        slot, caller = self._slot, exchange.caller
        if slot.pool.splicer is None or not isinstance(body, LengthBody) or body.remaining < MIN_BYTES:
            return
        if slot.exchange is exchange and not self.active and caller is not None and caller.splice_target() is not None:
            self.active = self.used = True
            self._inlet.lend(self._read)

    def over(self) -> None:
        """The response is: the next one's client is another one."""
        self.used = False
        self._waited_s = 0.0
        if self.active:
            self.end()

    def end(self) -> None:
        """The slot reads for itself again."""
        self.active = False
        self._stop_waiting()
        self._inlet.open()

    def _read(self) -> Any:
        """Stands in for the transport's ``doRead``: move what is there to the client."""
        slot = self._slot
        exchange, body, splicer = slot.exchange, slot.response.body, slot.pool.splicer
        caller = exchange.caller if exchange is not None else None
        target = caller.splice_target() if caller is not None else None
        if exchange is None or caller is None or target is None or splicer is None or not isinstance(body, LengthBody):
            return self._hand_back()
        try:
            taken, left = splicer.move(slot.transport.fileno(), target, body.remaining)
        except BlockingIOError:
            return None
        except ConnectionLost:
            # It can't be written past us any more, and some of it is lost.
            slot.done(exchange, False)
            caller.response_cut_off(ExchangeError("client-lost"))
            return None
        except OSError:
            return self._hand_back()
        if not taken:
            return self._hand_back()
        body.remaining -= taken
        if body.remaining:
            slot.deadline = slot.pool.monotonic() + exchange.response_timeout
        else:
            slot.done(exchange, not slot.connection.holds_something())
        caller.response_spliced(taken - len(left))
        if left or not body.remaining:
            caller.response_more(left, not body.remaining)
        if left and body.remaining and caller.splice_target() is None:
            self._wait()
        return None

    def _hand_back(self) -> Any:
        """Read the ordinary way, and now: it knows what to make of an end or an error."""
        self.end()
        return self._slot.transport.doRead()

    # -- the client's turn

    def _wait(self) -> None:
        """The client is behind: wait for it, or, when it was waited for enough, go on without."""
        slot = self._slot
        if slot.exchange is None or not self.active:
            return  # It has left meanwhile.
        now = slot.pool.monotonic()
        patience_s = GRACE_S + GRACE_SHARE * (now - slot.began_at) - self._waited_s
        if patience_s <= 0:
            self.end()
            return
        self._stalled_at = now
        slot.pause()
        self._patience = slot.pool.reactor.callLater(patience_s, self._lose_patience)

    def resumed(self) -> None:
        """The client has taken what waited for it."""
        if self._patience is not None:
            self._waited_s += self._slot.pool.monotonic() - self._stalled_at
            self._stop_waiting()

    def _lose_patience(self) -> None:
        self._patience = None
        self.end()
        self._slot.resume()

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
