"""The states of a stream (RFC 9113 section 5.1), and the effect of each input in each of them.

Seen from a server that pushes nothing, and that has no more use for a request once the answer is sent: then the server resets
the rest of the stream (section 8.1), so half-closed (local) is never a state that lasts::

                    HEADERS                     END_STREAM
            idle ────────────▶ open ──────────────────────▶ half-closed (remote)
                                 │ │                             │        │
         we reset it, or have    │ │ RST_STREAM                  │        │ we have answered; RST_STREAM
         answered: RST_STREAM    │ └────────────▶ closed ◀───────│────────┘
                                 ▼                  ▲            │ we reset it
                               reset ───────────────┘◀───────────┘
                                      RST_STREAM, forgotten

In *reset* frames may still be under way that were sent before the client knew: such frames are dropped. In *closed* there are
none.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Dict, Tuple


class StreamState(IntEnum):
    """Where a stream is."""

    IDLE = 0
    OPEN = 1
    HALF_CLOSED = 2
    """The client has ended its side."""
    RESET = 3
    """We have reset the stream."""
    CLOSED = 4


class Input(IntEnum):
    """What happens to a stream: frames that come, and steps of our own."""

    HEADERS = 0
    DATA = 1
    END = 2
    """END_STREAM, with either of the two."""
    RST_STREAM = 3
    WINDOW_UPDATE = 4
    ANSWERED = 5
    """We have sent END_STREAM."""
    CANCEL = 6
    """We give the stream up."""


class Reaction(Enum):
    """The answer to an input."""

    TAKE = "take it for what it is"
    DROP = "drop it: it was under way"
    RESET = "send RST_STREAM"
    STREAM_CLOSED = "a stream error of type STREAM_CLOSED"
    CONNECTION_STREAM_CLOSED = "a connection error of type STREAM_CLOSED"
    CONNECTION_PROTOCOL = "a connection error of type PROTOCOL_ERROR"


_S, _I, _R = StreamState, Input, Reaction

TABLE: Dict[Tuple[StreamState, Input], Tuple[StreamState, Reaction]] = {
    (_S.IDLE, _I.HEADERS): (_S.OPEN, _R.TAKE),
    (_S.IDLE, _I.DATA): (_S.IDLE, _R.CONNECTION_PROTOCOL),
    (_S.IDLE, _I.RST_STREAM): (_S.IDLE, _R.CONNECTION_PROTOCOL),
    (_S.IDLE, _I.WINDOW_UPDATE): (_S.IDLE, _R.CONNECTION_PROTOCOL),
    (_S.IDLE, _I.CANCEL): (_S.RESET, _R.RESET),  # Refused before it was opened: its HEADERS were malformed, or one too many.
    (_S.OPEN, _I.HEADERS): (_S.OPEN, _R.TAKE),
    (_S.OPEN, _I.DATA): (_S.OPEN, _R.TAKE),
    (_S.OPEN, _I.END): (_S.HALF_CLOSED, _R.TAKE),
    (_S.OPEN, _I.RST_STREAM): (_S.CLOSED, _R.TAKE),
    (_S.OPEN, _I.WINDOW_UPDATE): (_S.OPEN, _R.TAKE),
    (_S.OPEN, _I.ANSWERED): (_S.RESET, _R.RESET),
    (_S.OPEN, _I.CANCEL): (_S.RESET, _R.RESET),
    (_S.HALF_CLOSED, _I.HEADERS): (_S.HALF_CLOSED, _R.STREAM_CLOSED),
    (_S.HALF_CLOSED, _I.DATA): (_S.HALF_CLOSED, _R.STREAM_CLOSED),
    (_S.HALF_CLOSED, _I.RST_STREAM): (_S.CLOSED, _R.TAKE),
    (_S.HALF_CLOSED, _I.WINDOW_UPDATE): (_S.HALF_CLOSED, _R.TAKE),
    (_S.HALF_CLOSED, _I.ANSWERED): (_S.CLOSED, _R.TAKE),
    (_S.HALF_CLOSED, _I.CANCEL): (_S.RESET, _R.RESET),
    (_S.RESET, _I.HEADERS): (_S.RESET, _R.DROP),
    (_S.RESET, _I.DATA): (_S.RESET, _R.DROP),
    (_S.RESET, _I.RST_STREAM): (_S.CLOSED, _R.DROP),
    (_S.RESET, _I.WINDOW_UPDATE): (_S.RESET, _R.DROP),
    (_S.CLOSED, _I.HEADERS): (_S.CLOSED, _R.CONNECTION_STREAM_CLOSED),
    (_S.CLOSED, _I.DATA): (_S.CLOSED, _R.CONNECTION_STREAM_CLOSED),
    (_S.CLOSED, _I.RST_STREAM): (_S.CLOSED, _R.DROP),
    (_S.CLOSED, _I.WINDOW_UPDATE): (_S.CLOSED, _R.DROP),
}
"""An input that is missing in a state can't come in it: END is looked at when HEADERS or DATA were taken, the last two are ours
and come once. PRIORITY is allowed in every state and changes none (section 5.1), so it is no input."""


class OpenStream:
    """One stream in OPEN or HALF_CLOSED: its state and windows, in bytes. The owner of the connection keeps more in a subclass.

    :ivar send_window: how much the client lets us send; negative when the client has made its windows smaller (section 6.9.2).
    :ivar receive_window: how much the client may send.
    :ivar taken: how much of that was used and not yet given back.
    :ivar length_left: how much is missing of the announced content, -1 when no length was announced.
    :ivar opened_at: when the head came (monotonic seconds); set by the connection.
    """

    __slots__ = ("stream_id", "state", "send_window", "receive_window", "taken", "length_left", "opened_at")

    opened_at: float

    def __init__(self, stream_id: int, state: StreamState, send_window: int, receive_window: int, length: int) -> None:
        self.stream_id = stream_id
        self.state = state
        self.send_window = send_window
        self.receive_window = receive_window
        self.taken = 0
        self.length_left = length
