"""The states of an HTTP/1.1 client's connection, and what each input does in each of them: data, for code, tests and docs.

``connection.ClientConnection`` feeds the inputs and does what the table says; docs/architecture/exchange.md shows it.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Dict, Tuple


class State(IntEnum):
    """Where a connection is."""

    IDLE = 0
    """Nothing of a request is here."""
    HEAD = 1
    """Some of a head is here."""
    BODY = 2
    """The head is here; the body still comes."""
    EXCHANGE = 3
    """The request is whole; its answer is waited for, or on its way."""
    DRAINING = 4
    """The answer is whole; the client still has to take some of it before the next request is looked at."""
    TUNNEL = 5
    """Bytes are relayed, both ways."""
    CLOSING = 6
    """The last answer is whole; the connection is closed when the client has taken it."""
    REFUSING = 7
    """The same, while the client still sends what nobody will read."""
    LINGERING = 8
    """It has taken that, and our side is ended. A reset now would keep it from reading our answer (RFC 9112 section 9.6)."""
    CLOSED = 9
    """Nothing more is sent or understood."""


class Input(IntEnum):
    """What happens to a connection."""

    BYTES = 0
    """Bytes from the client."""
    BEGUN = 1
    """What is buffered is some of a head."""
    REQUEST = 2
    """A whole head, and no body."""
    REQUEST_WITH_BODY = 3
    """A whole head, and a body that follows."""
    BODY_WHOLE = 4
    """The last of the body."""
    ANSWERED = 5
    """The whole answer is sent; the connection goes on."""
    ANSWER_WAITS = 6
    """The same, but the client has not taken all of it."""
    LAST_ANSWERED = 7
    """The whole answer is sent; the connection ends with it, or where it was cut off."""
    LAST_WAITS = 8
    """The same, but the client has not taken all of it."""
    REFUSED = 9
    """The last answer is sent, while the client may still be sending."""
    REFUSAL_WAITS = 10
    """The same, but the client has not taken all of it."""
    SWITCHED = 11
    """101."""
    TAKEN = 12
    """The client has taken everything that waited for it."""
    EOF = 13
    """The client has ended its side: nothing comes after what is buffered."""
    DEADLINE = 14
    """It was too slow."""
    DRAIN = 15
    """The proxy takes no further requests."""
    ABORT = 16
    """The answer can't be completed, and only a reset says so."""


class Do(Enum):
    """What to do about an input, once the connection is in its new state."""

    __hash__ = object.__hash__  # Enum's own is written in Python.

    NOTHING = "nothing"
    PARSE = "look for a head"
    FEED = "give them to the request"
    HOLD = "keep them for later, up to a bound"
    RELAY = "pass them on"
    PASS_END_ON = "pass that on"
    DROP = "throw them away"
    DROP_A_WHILE = "throw them away, for a while"
    BEGIN = "begin the request"
    AWAIT = "wait for the answer"
    NEXT = "look for the next request"
    GO_ON = "send on what the service has"
    LATE = "answer 408"
    LOOK = "close, unless something has moved"
    WATCH = "answer what it has sent; look whether it has left"
    LINGER = "end our side"
    CLOSE = "close"
    RESET = "reset"


_S, _I, _D = State, Input, Do

TABLE: Dict[Tuple[State, Input], Tuple[State, Do]] = {
    (_S.IDLE, _I.BYTES): (_S.IDLE, _D.PARSE),
    (_S.IDLE, _I.BEGUN): (_S.HEAD, _D.NOTHING),
    (_S.IDLE, _I.REQUEST): (_S.EXCHANGE, _D.BEGIN),
    (_S.IDLE, _I.REQUEST_WITH_BODY): (_S.BODY, _D.BEGIN),
    (_S.IDLE, _I.REFUSED): (_S.LINGERING, _D.LINGER),
    (_S.IDLE, _I.REFUSAL_WAITS): (_S.REFUSING, _D.NOTHING),
    (_S.IDLE, _I.EOF): (_S.CLOSED, _D.CLOSE),
    (_S.IDLE, _I.DEADLINE): (_S.CLOSED, _D.CLOSE),
    (_S.IDLE, _I.DRAIN): (_S.CLOSED, _D.CLOSE),
    (_S.HEAD, _I.BYTES): (_S.HEAD, _D.PARSE),
    (_S.HEAD, _I.BEGUN): (_S.HEAD, _D.NOTHING),
    (_S.HEAD, _I.REQUEST): (_S.EXCHANGE, _D.BEGIN),
    (_S.HEAD, _I.REQUEST_WITH_BODY): (_S.BODY, _D.BEGIN),
    (_S.HEAD, _I.REFUSED): (_S.LINGERING, _D.LINGER),
    (_S.HEAD, _I.REFUSAL_WAITS): (_S.REFUSING, _D.NOTHING),
    (_S.HEAD, _I.EOF): (_S.CLOSED, _D.CLOSE),
    (_S.HEAD, _I.DEADLINE): (_S.HEAD, _D.LATE),
    (_S.HEAD, _I.DRAIN): (_S.HEAD, _D.NOTHING),
    (_S.BODY, _I.BYTES): (_S.BODY, _D.FEED),
    (_S.BODY, _I.BODY_WHOLE): (_S.EXCHANGE, _D.AWAIT),
    (_S.BODY, _I.LAST_ANSWERED): (_S.CLOSED, _D.CLOSE),
    (_S.BODY, _I.LAST_WAITS): (_S.CLOSING, _D.NOTHING),
    (_S.BODY, _I.REFUSED): (_S.LINGERING, _D.LINGER),
    (_S.BODY, _I.REFUSAL_WAITS): (_S.REFUSING, _D.NOTHING),
    (_S.BODY, _I.TAKEN): (_S.BODY, _D.GO_ON),
    (_S.BODY, _I.EOF): (_S.CLOSED, _D.CLOSE),
    (_S.BODY, _I.DEADLINE): (_S.BODY, _D.LATE),
    (_S.BODY, _I.DRAIN): (_S.BODY, _D.NOTHING),
    (_S.BODY, _I.ABORT): (_S.CLOSED, _D.RESET),
    (_S.EXCHANGE, _I.BYTES): (_S.EXCHANGE, _D.HOLD),
    (_S.EXCHANGE, _I.ANSWERED): (_S.IDLE, _D.NEXT),
    (_S.EXCHANGE, _I.ANSWER_WAITS): (_S.DRAINING, _D.NOTHING),
    (_S.EXCHANGE, _I.LAST_ANSWERED): (_S.CLOSED, _D.CLOSE),
    (_S.EXCHANGE, _I.LAST_WAITS): (_S.CLOSING, _D.NOTHING),
    (_S.EXCHANGE, _I.REFUSED): (_S.LINGERING, _D.LINGER),
    (_S.EXCHANGE, _I.REFUSAL_WAITS): (_S.REFUSING, _D.NOTHING),
    (_S.EXCHANGE, _I.SWITCHED): (_S.TUNNEL, _D.NOTHING),
    (_S.EXCHANGE, _I.TAKEN): (_S.EXCHANGE, _D.GO_ON),
    (_S.EXCHANGE, _I.EOF): (_S.EXCHANGE, _D.WATCH),
    (_S.EXCHANGE, _I.DEADLINE): (_S.EXCHANGE, _D.LOOK),
    (_S.EXCHANGE, _I.DRAIN): (_S.EXCHANGE, _D.NOTHING),
    (_S.EXCHANGE, _I.ABORT): (_S.CLOSED, _D.RESET),
    (_S.DRAINING, _I.BYTES): (_S.DRAINING, _D.HOLD),
    (_S.DRAINING, _I.TAKEN): (_S.IDLE, _D.NEXT),
    (_S.DRAINING, _I.EOF): (_S.DRAINING, _D.NOTHING),
    (_S.DRAINING, _I.DEADLINE): (_S.DRAINING, _D.LOOK),
    (_S.DRAINING, _I.DRAIN): (_S.DRAINING, _D.NOTHING),
    (_S.DRAINING, _I.ABORT): (_S.CLOSED, _D.RESET),
    (_S.TUNNEL, _I.BYTES): (_S.TUNNEL, _D.RELAY),
    (_S.TUNNEL, _I.LAST_ANSWERED): (_S.CLOSED, _D.CLOSE),
    (_S.TUNNEL, _I.LAST_WAITS): (_S.CLOSING, _D.NOTHING),
    (_S.TUNNEL, _I.TAKEN): (_S.TUNNEL, _D.GO_ON),
    (_S.TUNNEL, _I.EOF): (_S.TUNNEL, _D.PASS_END_ON),
    (_S.TUNNEL, _I.DEADLINE): (_S.TUNNEL, _D.LOOK),
    (_S.TUNNEL, _I.DRAIN): (_S.TUNNEL, _D.NOTHING),
    (_S.TUNNEL, _I.ABORT): (_S.CLOSED, _D.RESET),
    (_S.CLOSING, _I.BYTES): (_S.CLOSING, _D.DROP),
    (_S.CLOSING, _I.TAKEN): (_S.CLOSED, _D.CLOSE),
    (_S.CLOSING, _I.EOF): (_S.CLOSING, _D.NOTHING),
    (_S.CLOSING, _I.DEADLINE): (_S.CLOSING, _D.LOOK),
    (_S.CLOSING, _I.DRAIN): (_S.CLOSING, _D.NOTHING),
    (_S.CLOSING, _I.ABORT): (_S.CLOSED, _D.RESET),
    (_S.REFUSING, _I.BYTES): (_S.REFUSING, _D.DROP),
    (_S.REFUSING, _I.TAKEN): (_S.LINGERING, _D.LINGER),
    (_S.REFUSING, _I.EOF): (_S.CLOSING, _D.NOTHING),
    (_S.REFUSING, _I.DEADLINE): (_S.REFUSING, _D.LOOK),
    (_S.REFUSING, _I.DRAIN): (_S.REFUSING, _D.NOTHING),
    (_S.REFUSING, _I.ABORT): (_S.CLOSED, _D.RESET),
    (_S.LINGERING, _I.BYTES): (_S.LINGERING, _D.DROP_A_WHILE),
    (_S.LINGERING, _I.EOF): (_S.CLOSED, _D.CLOSE),
    (_S.LINGERING, _I.DEADLINE): (_S.CLOSED, _D.RESET),
    (_S.LINGERING, _I.DRAIN): (_S.LINGERING, _D.NOTHING),
    (_S.CLOSED, _I.BYTES): (_S.CLOSED, _D.DROP),
    (_S.CLOSED, _I.SWITCHED): (_S.CLOSED, _D.NOTHING),
    (_S.CLOSED, _I.TAKEN): (_S.CLOSED, _D.NOTHING),
    (_S.CLOSED, _I.EOF): (_S.CLOSED, _D.NOTHING),
    (_S.CLOSED, _I.DEADLINE): (_S.CLOSED, _D.RESET),
    (_S.CLOSED, _I.DRAIN): (_S.CLOSED, _D.NOTHING),
    (_S.CLOSED, _I.ABORT): (_S.CLOSED, _D.NOTHING),
}
"""A missing entry can't come and is a bug; it raises KeyError. Answers come once for a request, and none comes once the
connection is closed."""


def on(event: Input) -> Dict[State, Tuple[State, Do]]:
    """What one input does, by the state: the hot path looks no further."""
    return {state: result for (state, input_), result in TABLE.items() if input_ is event}
