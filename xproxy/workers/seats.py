"""The states of a worker's seat. Pure. The table is in docs/architecture/workers.md."""

from __future__ import annotations

from enum import Enum
from typing import Dict, Tuple


class SeatState(Enum):
    """The state of a seat, which is also that of its worker."""

    WAITING = "waiting"
    """The seat is empty; a worker will be started."""
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    """The seat is given up, and its worker has been told to drain."""
    OVER = "over"


class SeatEvent(Enum):
    """An event that changes the state of a seat."""

    START = "a worker is started"
    READY = "it lets clients in"
    ENDED = "it is gone"
    STOP = "the whole ends"


_S, _E = SeatState, SeatEvent

_NEXT: Dict[Tuple[SeatState, SeatEvent], SeatState] = {
    (_S.WAITING, _E.START): _S.STARTING,
    (_S.WAITING, _E.STOP): _S.OVER,
    (_S.STARTING, _E.READY): _S.SERVING,
    (_S.STARTING, _E.ENDED): _S.WAITING,
    (_S.STARTING, _E.STOP): _S.DRAINING,  # Its orders come first, so it serves who waits at its sockets.
    (_S.SERVING, _E.START): _S.STARTING,  # A successor; who sat there drains beside it.
    (_S.SERVING, _E.ENDED): _S.WAITING,
    (_S.SERVING, _E.STOP): _S.DRAINING,
    (_S.DRAINING, _E.READY): _S.DRAINING,
    (_S.DRAINING, _E.ENDED): _S.OVER,
    (_S.DRAINING, _E.STOP): _S.DRAINING,
    (_S.OVER, _E.STOP): _S.OVER,
}


def next_state(state: SeatState, event: SeatEvent) -> SeatState:
    """The state of a seat after an event. Raises KeyError for an event that can't be in this state."""
    return _NEXT[state, event]
