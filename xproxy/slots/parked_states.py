"""The states of a slot at the acceptor, as a table: what may happen in each, and what comes of it. Pure.

The table in docs/architecture/slots.md is this one; a test compares them. A pair that is not in it cannot happen: asking for it
raises, and is a mistake in the acceptor.
"""

from __future__ import annotations

from enum import Enum
from typing import Dict, Tuple


class SlotState(Enum):
    """Where a slot is."""

    REGISTERING = "registering"
    """Connected; its preamble is awaited, or read."""
    IDLE = "idle"
    """In the ring: the acceptor reads from it, to notice its end."""
    LEASED = "leased"
    """A proxy has it, and a copy of its descriptor."""
    LENT = "lent"
    """A one-byte client has one end of a socket pair; the acceptor carries the bytes."""
    CLOSED = "closed"
    """Over."""


class SlotEvent(Enum):
    """What happens to a slot."""

    ADMITTED = "admitted"
    """It may join the pool that it wants."""
    GRANTED = "granted"
    """A proxy gets it: it asked, or idle slots are dealt out."""
    LENT = "lent"
    """A one-byte client gets it."""
    GIVEN_BACK = "given back"
    """Whoever had it has it no more, and it is clean."""
    INTRODUCED = "introduced"
    """It was taken for raw, and its preamble has come after all: it registers anew."""
    ENDED = "ended"
    """It is not good any more: refused, closed by either side, dirty, of a pool that is given up."""


_REGISTERING, _IDLE, _LEASED, _LENT, _CLOSED = SlotState

TRANSITIONS: Dict[Tuple[SlotState, SlotEvent], SlotState] = {
    (_REGISTERING, SlotEvent.ADMITTED): _IDLE,
    (_REGISTERING, SlotEvent.ENDED): _CLOSED,
    (_IDLE, SlotEvent.GRANTED): _LEASED,
    (_IDLE, SlotEvent.LENT): _LENT,
    (_IDLE, SlotEvent.INTRODUCED): _REGISTERING,
    (_IDLE, SlotEvent.ENDED): _CLOSED,
    (_LEASED, SlotEvent.GIVEN_BACK): _IDLE,
    (_LEASED, SlotEvent.INTRODUCED): _REGISTERING,
    (_LEASED, SlotEvent.ENDED): _CLOSED,
    (_LENT, SlotEvent.GIVEN_BACK): _IDLE,
    (_LENT, SlotEvent.INTRODUCED): _REGISTERING,
    (_LENT, SlotEvent.ENDED): _CLOSED,
}


class ImpossibleTransition(RuntimeError):
    """This cannot happen to a slot in this state."""


def after(state: SlotState, event: SlotEvent) -> SlotState:
    """The state after ``event``. Raises ImpossibleTransition."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ImpossibleTransition(f"a slot that is {state.value} can't be {event.value}") from None
