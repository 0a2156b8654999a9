"""The states of a leased slot, as data: what each input does in each state. Pure.

``LeasedSlot`` goes by this table, docs/architecture/exchange.md shows it, a test compares the two. A pair that is not here is a
bug: looking it up raises KeyError.
"""

from __future__ import annotations

from enum import Enum
from typing import Dict, Tuple


class LeasedSlotState(Enum):
    """Where a slot is. There is an exchange on it in all states but the first and the last."""

    IDLE = "idle"
    HEAD = "head"
    """The request is on its way, and the head of the response has not come."""
    SWITCHING = "switching"
    """A 101 has come, and the request is still on its way: what follows it on the connection belongs to the tunnel."""
    BODY = "body"
    """The head of the response was passed on."""
    LEFT = "left"
    """The client has left; the rest of the response is read for nobody."""
    TUNNEL = "tunnel"
    CLOSED = "closed"

    __hash__ = object.__hash__  # Enum's own is a call of a Python function.


class SlotInput(Enum):
    """What can happen to a slot."""

    BEGIN = "begin"
    """An exchange is put on it."""
    OVER = "over"
    """Found to have ended, or to have said something unasked, or to be an orphan that nobody needs any more."""
    RECALLED = "recalled"
    """Somebody else has more need of it."""
    HEAD = "head"
    """The head of the final response, and more of it is to come."""
    WHOLE = "whole"
    """The end of the response: nothing came after it, and nobody has said that the connection ends."""
    LAST = "last"
    """The end of the response, or of the tunnel, and the slot is not good for another exchange."""
    SWITCHED = "switched"
    """101 to a protocol that was offered."""
    SENT = "sent"
    """The whole request was sent, to a service that has switched protocols."""
    GOODBYE = "goodbye"
    """``503`` with ``Xproxy-Slot: closing``: the request was not served."""
    SPOKE = "spoke"
    """Bytes that nobody asked for, for the acceptor to judge: a goodbye, or a late introduction."""
    GARBAGE = "garbage"
    """What is not HTTP; what nobody asked for, and nobody is there to judge, or could be taken for an introduction."""
    END = "end"
    """End of file."""
    LOST = "lost"
    """The connection is gone."""
    SILENT = "silent"
    """Nothing came in time."""
    LEFT = "left"
    """The client has left, and the response may be whole soon."""
    GIVEN_UP = "given up"
    """The client has left, and the response is too long, or has no end that can be told, or has not come in time."""
    STOPPED = "stopped"
    """The proxy stops."""

    __hash__ = object.__hash__


class Do(Enum):
    """What is done about it."""

    SEND = "send the request"
    ANSWER = "pass the answer on"
    HOLD = "read no more until the request is sent"
    FREE = "serve the next request, keep the slot or give it back"
    GIVE_BACK = "close the descriptor, not the connection"
    PASS_ON = "the same; the acceptor is told what came, and judges it"
    RELAY = "relay bytes both ways"
    DISCARD = "read on for nobody"
    TELL = "tell the other side of the tunnel"
    CLOSE = "close the slot"
    FAIL = "close the slot; try the request elsewhere where that is safe, else it has failed"
    NOTHING = "nothing"

    __hash__ = object.__hash__


_S, _I, _D = LeasedSlotState, SlotInput, Do

TABLE: Dict[Tuple[LeasedSlotState, SlotInput], Tuple[LeasedSlotState, Do]] = {
    (_S.IDLE, _I.BEGIN): (_S.HEAD, _D.SEND),
    (_S.IDLE, _I.RECALLED): (_S.CLOSED, _D.GIVE_BACK),
    (_S.IDLE, _I.OVER): (_S.CLOSED, _D.CLOSE),
    (_S.IDLE, _I.SPOKE): (_S.CLOSED, _D.PASS_ON),
    (_S.IDLE, _I.GARBAGE): (_S.CLOSED, _D.CLOSE),
    (_S.IDLE, _I.END): (_S.CLOSED, _D.CLOSE),
    (_S.IDLE, _I.LOST): (_S.CLOSED, _D.CLOSE),
    (_S.IDLE, _I.STOPPED): (_S.CLOSED, _D.CLOSE),
    (_S.HEAD, _I.HEAD): (_S.BODY, _D.ANSWER),
    (_S.HEAD, _I.WHOLE): (_S.IDLE, _D.FREE),
    (_S.HEAD, _I.LAST): (_S.CLOSED, _D.CLOSE),
    (_S.HEAD, _I.SWITCHED): (_S.SWITCHING, _D.HOLD),
    (_S.HEAD, _I.GOODBYE): (_S.CLOSED, _D.FAIL),
    (_S.HEAD, _I.GARBAGE): (_S.CLOSED, _D.FAIL),
    (_S.HEAD, _I.END): (_S.CLOSED, _D.FAIL),
    (_S.HEAD, _I.LOST): (_S.CLOSED, _D.FAIL),
    (_S.HEAD, _I.SILENT): (_S.CLOSED, _D.FAIL),
    (_S.HEAD, _I.LEFT): (_S.LEFT, _D.DISCARD),
    (_S.HEAD, _I.GIVEN_UP): (_S.CLOSED, _D.CLOSE),
    (_S.HEAD, _I.STOPPED): (_S.CLOSED, _D.FAIL),
    (_S.SWITCHING, _I.SENT): (_S.TUNNEL, _D.RELAY),
    (_S.SWITCHING, _I.END): (_S.CLOSED, _D.FAIL),
    (_S.SWITCHING, _I.LOST): (_S.CLOSED, _D.FAIL),
    (_S.SWITCHING, _I.SILENT): (_S.CLOSED, _D.FAIL),
    (_S.SWITCHING, _I.GIVEN_UP): (_S.CLOSED, _D.CLOSE),
    (_S.SWITCHING, _I.STOPPED): (_S.CLOSED, _D.FAIL),
    (_S.BODY, _I.WHOLE): (_S.IDLE, _D.FREE),
    (_S.BODY, _I.LAST): (_S.CLOSED, _D.CLOSE),
    (_S.BODY, _I.GARBAGE): (_S.CLOSED, _D.FAIL),
    (_S.BODY, _I.END): (_S.CLOSED, _D.FAIL),
    (_S.BODY, _I.LOST): (_S.CLOSED, _D.FAIL),
    (_S.BODY, _I.SILENT): (_S.CLOSED, _D.FAIL),
    (_S.BODY, _I.LEFT): (_S.LEFT, _D.DISCARD),
    (_S.BODY, _I.GIVEN_UP): (_S.CLOSED, _D.CLOSE),
    (_S.BODY, _I.STOPPED): (_S.CLOSED, _D.FAIL),
    (_S.LEFT, _I.WHOLE): (_S.IDLE, _D.FREE),
    (_S.LEFT, _I.LAST): (_S.CLOSED, _D.CLOSE),
    (_S.LEFT, _I.GIVEN_UP): (_S.CLOSED, _D.CLOSE),
    (_S.LEFT, _I.GARBAGE): (_S.CLOSED, _D.CLOSE),
    (_S.LEFT, _I.END): (_S.CLOSED, _D.CLOSE),
    (_S.LEFT, _I.LOST): (_S.CLOSED, _D.CLOSE),
    (_S.LEFT, _I.SILENT): (_S.CLOSED, _D.CLOSE),
    (_S.LEFT, _I.STOPPED): (_S.CLOSED, _D.CLOSE),
    (_S.TUNNEL, _I.END): (_S.TUNNEL, _D.TELL),
    (_S.TUNNEL, _I.LAST): (_S.CLOSED, _D.CLOSE),
    (_S.TUNNEL, _I.STOPPED): (_S.CLOSED, _D.FAIL),
    (_S.CLOSED, _I.END): (_S.CLOSED, _D.NOTHING),
    (_S.CLOSED, _I.LOST): (_S.CLOSED, _D.NOTHING),
}
"""(state, input) to (state, what to do)."""
