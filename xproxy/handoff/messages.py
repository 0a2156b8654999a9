"""The messages on the handoff socket, as values, and as AMP boxes. The table is in docs/architecture/handoff.md.

Every field is checked here, so that what comes out of ``decode`` is of the right type and bounded. Pure.

A descriptor travels beside the bytes; what the box has is its ordinal, how many descriptors its sender had sent on this
connection before (as ``amp.Descriptor``).
"""

from __future__ import annotations

import json
from typing import Any, List, Optional, Union, get_args

import attr

from ..interfaces import MAX_WAITING
from ..slots.tides import NOWHERE, PLACES
from .boxes import MAX_VALUE_BYTES, Box
from .fields import COMMAND, QUESTION, MalformedMessage, Vocabulary, bytes_field, name_field, number_field

__all__ = ["COMMAND", "QUESTION", "MalformedMessage"]

VERSION = 5
"""Of these messages. An acceptor answers another one with an error, and closes."""

ANSWER = b"_answer"
ERROR = b"_error"
ERROR_CODE = b"_error_code"
ERROR_DESCRIPTION = b"_error_description"

MAX_SPOKEN_BYTES = 2048
"""What is passed on of what nobody asked for: no preamble and no goodbye of a service of ours is longer."""

# From a proxy.


@attr.frozen
class Hello:
    """First of all. Brings a descriptor, the board; asks for an answer."""

    version: int = number_field()
    board: int = number_field()


@attr.frozen
class Ask:
    """Its standing ask in a pool."""

    pool: str = name_field()
    waiting: int = number_field(most=MAX_WAITING)
    seen: int = number_field()
    question: int = number_field(0)


@attr.frozen
class GiveBack:
    """The lease is over, the slot is clean."""

    lease: int = number_field()


@attr.frozen
class LeaseClosed:
    """The lease is over, the slot is not good any more."""

    lease: int = number_field()


@attr.frozen
class SlotSpoke:
    """The lease is over, and the slot, on which nothing ran, has sent this; nothing: it hung up."""

    lease: int = number_field()
    data: bytes = bytes_field(MAX_SPOKEN_BYTES)


@attr.frozen
class RecallDone:
    """What could be was given back for the recall with this number."""

    pool: str = name_field()
    number: int = number_field()


@attr.frozen
class Offer:
    """A slot that it has from an acceptor that is gone. Brings a descriptor, the slot."""

    pool: str = name_field()
    lease: int = number_field()
    service: str = name_field()
    slot: int = number_field()


@attr.frozen
class Census:
    """What does the acceptor count? Asks for an answer."""


# From the acceptor; the names are those of ILeaseHolder's methods.


@attr.frozen
class LeaseGranted:
    """A lease. Brings a descriptor, the slot."""

    pool: str = name_field()
    lease: int = number_field()
    service: str = name_field()
    slot: int = number_field()


@attr.frozen
class Moving:
    """Another acceptor takes over: finish what you say, hang up, dial again. Nothing more comes."""


@attr.frozen
class OfferRefused:
    """This lease, which was offered, is not wanted here: it is none."""

    pool: str = name_field()
    lease: int = number_field()


@attr.frozen
class LeasesRecalled:
    """So many requests wait at others in a pool."""

    pool: str = name_field()
    waiting: int = number_field()
    number: int = number_field(0)
    """Not 0: RecallDone is the answer."""


@attr.frozen
class LeaseAskedBack:
    """This lease is wanted elsewhere, if it is free."""

    pool: str = name_field()
    lease: int = number_field()


@attr.frozen
class AskAnswered:
    """All that the asks up to this question could bring was granted."""

    pool: str = name_field()
    question: int = number_field()


@attr.frozen
class ServiceRegistered:
    """Whether (1 or 0) any slot of a pool is registered, and which row of the tide table is the pool's."""

    pool: str = name_field()
    registered: int = number_field(most=1)
    place: int = number_field(NOWHERE, PLACES - 1)


# From both.


@attr.frozen
class Ping:
    """Is anybody there?"""


@attr.frozen
class Pong:
    """Yes."""


FromProxy = Union[Hello, Ask, GiveBack, LeaseClosed, SlotSpoke, RecallDone, Offer, Census]
FromAcceptor = Union[LeaseGranted, Moving, OfferRefused, LeasesRecalled, LeaseAskedBack, AskAnswered, ServiceRegistered]
Message = Union[FromProxy, FromAcceptor, Ping, Pong]

ASKS_FOR_ANSWER = (Hello, Census)

_WORDS: Vocabulary[Message] = Vocabulary(get_args(Message), ASKS_FOR_ANSWER)
encode, decode = _WORDS.encode, _WORDS.decode


# Answers carry JSON: it is cut into as many values as it needs, for one has 65,535 bytes at most.

_PART = b"json%d"


def encode_answer(tag: bytes, answer: Any) -> Box:
    """The answer to the question named ``tag``."""
    text = json.dumps(answer, separators=(",", ":")).encode()
    box = {ANSWER: tag}
    for number, start in enumerate(range(0, len(text), MAX_VALUE_BYTES)):
        box[_PART % number] = text[start : start + MAX_VALUE_BYTES]
    return box


def decode_answer(box: Box) -> Any:
    """What ``encode_answer`` was given. Raises MalformedMessage."""
    parts: List[bytes] = []
    while True:
        part = box.get(_PART % len(parts))
        if part is None:
            break
        parts.append(part)
    try:
        return json.loads(b"".join(parts))
    except (ValueError, RecursionError):
        raise MalformedMessage("an answer is not JSON") from None


def encode_error(tag: bytes, code: bytes, description: str) -> Box:
    """The question named ``tag`` has no answer."""
    return {ERROR: tag, ERROR_CODE: code, ERROR_DESCRIPTION: description.encode()[:MAX_VALUE_BYTES]}


def error_text(box: Box) -> Optional[str]:
    """What an error box says; None when it is none."""
    if ERROR not in box:
        return None
    return box.get(ERROR_DESCRIPTION, b"").decode("utf-8", "replace")
