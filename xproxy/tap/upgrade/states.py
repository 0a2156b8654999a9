"""How a program replaces itself by a new one, as a table: what may happen to it, and what comes of that. Pure.

The table in docs/architecture/upgrade.md is this one; a test compares them. A pair that is not there is a mistake of ours.
"""

from __future__ import annotations

from enum import Enum
from typing import Dict, Tuple


class Stage(Enum):
    """Where a program is."""

    SETTLED = "settled"
    """It serves, and nothing is under way."""
    WAITING = "waiting"
    """A new one was asked for, and will be started when the former one is gone."""
    STARTING = "starting"
    """A new one starts; this one serves."""
    REPLACED = "replaced"
    """The new one serves; this one drains."""
    ENDING = "ending"
    """It was told to stop."""


class Event(Enum):
    """What can happen to it."""

    ASKED = "asked"
    """A new one is asked for."""
    ASKED_EARLY = "asked early"
    """The same, while the former one still drains."""
    FORMER_GONE = "former gone"
    FAILED = "failed"
    """The new one has not come to serve."""
    TOOK_OVER = "took over"
    STOPPED = "stopped"


_S, _E = Stage, Event

NEXT: Dict[Tuple[Stage, Event], Stage] = {
    (_S.SETTLED, _E.ASKED): _S.STARTING,
    (_S.SETTLED, _E.ASKED_EARLY): _S.WAITING,
    (_S.SETTLED, _E.FORMER_GONE): _S.SETTLED,
    (_S.SETTLED, _E.STOPPED): _S.ENDING,
    (_S.WAITING, _E.ASKED_EARLY): _S.WAITING,
    (_S.WAITING, _E.FORMER_GONE): _S.STARTING,
    (_S.WAITING, _E.STOPPED): _S.ENDING,
    (_S.STARTING, _E.ASKED): _S.STARTING,
    (_S.STARTING, _E.FAILED): _S.SETTLED,
    (_S.STARTING, _E.TOOK_OVER): _S.REPLACED,
    (_S.STARTING, _E.STOPPED): _S.ENDING,
    (_S.REPLACED, _E.ASKED): _S.REPLACED,
    (_S.REPLACED, _E.STOPPED): _S.REPLACED,
    (_S.ENDING, _E.ASKED): _S.ENDING,
    (_S.ENDING, _E.ASKED_EARLY): _S.ENDING,
    (_S.ENDING, _E.FORMER_GONE): _S.ENDING,
    (_S.ENDING, _E.FAILED): _S.ENDING,
    (_S.ENDING, _E.STOPPED): _S.ENDING,
}
