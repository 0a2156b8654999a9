"""The seat of a worker: what becomes of it, and of who sits there. Pure. The table is in docs/architecture/workers.md."""

from __future__ import annotations

from enum import Enum
from typing import Dict, Tuple


class SeatState(Enum):
    """What is the matter with a seat."""

    WAITING = "waiting"
    """Nobody sits there; somebody will."""
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    """The whole ends, and who sits there has been told."""
    OVER = "over"


class SeatEvent(Enum):
    """What happens."""

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
    """What a seat is after an event. Raises KeyError for what can't be."""
    return _NEXT[state, event]
