"""The rest of a response whose client has left: read on for nobody, while that is worth the slot.

Closing the slot at once would be simple, but each client that gives up would cost a redial, and one that does so for a living
would keep services dialling. So a response that is nearly whole may end: it has LEFT_S seconds and ``limits.discard`` bytes.
What is known to be longer, or has no end that can be told (events, a body that ends with the connection), ends at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exchange import Exchange
    from .leased_slot import LeasedSlot

LEFT_S = 1.0
"""How long a response may go on when its client has left. What takes longer costs more than the redial that ending it costs; a
service that counts on seeing its client leave sees it a second later. nginx ends the connection at once
(proxy_ignore_client_abort off), HAProxy lets the response run out (option abortonclose off)."""


def worth_reading(slot: LeasedSlot, exchange: Exchange, discarded: int = 0) -> bool:
    """Whether little is missing of the response, as far as anybody can say, and the slot can be used again after it.

    Not for a request that the client had not sent whole: its end will not come.
    """
    if exchange.streaming:
        return False
    response = slot.response
    if response.body is None:
        return True  # Only the head will tell.
    missing = discarded + response.missing_bytes
    return response.reusable and not response.endless and missing <= slot.pool.limits.discard


class Leftover:
    """The rest of one response. It belongs to the slot, which gives it what comes."""

    __slots__ = ("_slot", "_exchange", "_discarded")

    def __init__(self, slot: LeasedSlot, exchange: Exchange) -> None:
        self._slot = slot
        self._exchange = exchange
        self._discarded = 0

    def received(self, data: bytes) -> None:
        """More of the response. Raises BadMessage."""
        slot, exchange = self._slot, self._exchange
        response = slot.response
        read_bytes = len(data)
        self._discarded += read_bytes
        if response.body is not None:
            _, rest = response.body.feed(data)
        else:
            found = response.begin(data, exchange.method, exchange.hint)
            if found is None:
                return
            head, _, rest = found
            if head.status == 101 or head.slot_closing:
                slot.give_up()
                return
            exchange.responding = True
        if rest is not None:
            slot.done(exchange, not rest, read_bytes)
        elif not worth_reading(slot, exchange, self._discarded):
            slot.give_up()
