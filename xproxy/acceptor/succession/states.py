"""How an acceptor gives everything to its successor, as tables of states and inputs, one for each of the two. Pure.

The tables in docs/architecture/takeover.md are these; a test compares them. A pair that is not there is refused where the other
end has caused it, and is a mistake of ours otherwise.
"""

from __future__ import annotations

from enum import Enum
from typing import Dict, Tuple


class Giving(Enum):
    """The state of the acceptor that gives."""

    PARTING = "parting"
    """The acceptor grants nothing, and its proxies hang up."""
    SENDING = "sending"
    SENT = "sent"
    """The successor has everything, and gets ready."""
    GONE = "gone"
    """The acceptor has let go: the successor serves."""
    ABORTED = "aborted"
    """The acceptor serves on."""


class GiverInput(Enum):
    """What can happen to the acceptor that gives."""

    PARTED = "parted"
    """Every proxy has hung up, or has had its time."""
    ALL = "all"
    """Everything was sent."""
    READY = "ready"
    FAILED = "failed"
    """The successor is gone, late, or does what it may not; a descriptor can't be had."""


class Taking(Enum):
    """The state of the successor."""

    ASKED = "asked"
    RECEIVING = "receiving"
    READY = "ready"
    SERVING = "serving"
    FAILED = "failed"


class TakerInput(Enum):
    """What can happen to the successor."""

    GIVING = "giving"
    """The acceptor gives."""
    PREPARED = "prepared"
    """Everything is here, and the endpoints that did not come are listened on."""
    UNFIT = "unfit"
    """The successor can't serve, or not in time, or stops."""
    YOURS = "yours"
    DIED = "died"
    """The connection ended without a word: so did the acceptor."""
    ABORTED = "aborted"


_G, _I = Giving, GiverInput
_T, _J = Taking, TakerInput

GIVER: Dict[Tuple[Giving, GiverInput], Giving] = {
    (_G.PARTING, _I.PARTED): _G.SENDING,
    (_G.PARTING, _I.FAILED): _G.ABORTED,
    (_G.SENDING, _I.ALL): _G.SENT,
    (_G.SENDING, _I.FAILED): _G.ABORTED,
    (_G.SENT, _I.READY): _G.GONE,
    (_G.SENT, _I.FAILED): _G.ABORTED,
}

TAKER: Dict[Tuple[Taking, TakerInput], Taking] = {
    (_T.ASKED, _J.GIVING): _T.RECEIVING,
    (_T.ASKED, _J.ABORTED): _T.FAILED,
    (_T.ASKED, _J.DIED): _T.FAILED,
    (_T.ASKED, _J.UNFIT): _T.FAILED,
    (_T.RECEIVING, _J.PREPARED): _T.READY,
    (_T.RECEIVING, _J.ABORTED): _T.FAILED,
    (_T.RECEIVING, _J.UNFIT): _T.FAILED,
    (_T.RECEIVING, _J.DIED): _T.SERVING,
    (_T.READY, _J.YOURS): _T.SERVING,
    (_T.READY, _J.ABORTED): _T.FAILED,
    (_T.READY, _J.UNFIT): _T.FAILED,
    (_T.READY, _J.DIED): _T.SERVING,
}
