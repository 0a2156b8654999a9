"""The messages on the handoff socket, as values, and as AMP boxes. The table is in docs/architecture/handoff.md.

Every field is checked here, so that what comes out of ``decode`` is of the right type and bounded. Pure.

A descriptor travels beside the bytes; what the box has is its ordinal, how many descriptors its sender had sent on this
connection before (as ``amp.Descriptor``).
"""

from __future__ import annotations

import json
import struct
from math import isfinite
from typing import Any, Callable, Dict, List, Optional, Tuple, Type, Union, get_args

import attr

from ..interfaces import MAX_MORE
from ..slots.book import ASK_WINDOW
from .boxes import MAX_VALUE_BYTES, Box

VERSION = 3
"""Of these messages. An acceptor answers another one with an error, and closes."""

COMMAND = b"_command"
QUESTION = b"_ask"
ANSWER = b"_answer"
ERROR = b"_error"
ERROR_CODE = b"_error_code"
ERROR_DESCRIPTION = b"_error_description"

MAX_NAME_BYTES = 255
"""A pool's or service's name, in UTF-8."""

MAX_SPOKEN_BYTES = 2048
"""What is passed on of what nobody asked for: no preamble and no goodbye of a service of ours is longer."""

MAX_NUMBER_DIGITS = 18
"""So that every number fits 64 bits, and none takes long to read."""


class MalformedMessage(ValueError):
    """A box that is none of our messages. The text says why."""


def _number(value: bytes) -> int:
    if not value.isdigit() or len(value) > MAX_NUMBER_DIGITS:
        raise MalformedMessage("not a number")
    return int(value)


def _name(value: bytes) -> str:
    if len(value) > MAX_NAME_BYTES:
        raise MalformedMessage("a name is too long")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedMessage("a name is not UTF-8") from None


def _arrivals(value: bytes) -> Tuple[float, ...]:
    number, rest = divmod(len(value), 8)
    if rest or number > ASK_WINDOW:
        raise MalformedMessage("not a list of arrivals")
    arrivals = struct.unpack(f">{number}d", value)
    if not all(map(isfinite, arrivals)):
        raise MalformedMessage("an arrival is no time")
    return arrivals


def _from_number(value: int) -> bytes:
    return b"%d" % value


def _from_name(value: str) -> bytes:
    return value.encode("utf-8")


def _from_arrivals(value: Tuple[float, ...]) -> bytes:
    return struct.pack(f">{len(value)}d", *value)


def _field(read: Callable[[bytes], Any], write: Callable[[Any], bytes], default: Any = attr.NOTHING) -> Any:
    return attr.field(metadata={"read": read, "write": write}, default=default)


def _number_field(default: Any = attr.NOTHING, most: int = 10**MAX_NUMBER_DIGITS) -> Any:
    """A number up to ``most``. The default is for whoever makes a message; on the wire each field is there."""

    def read(value: bytes) -> int:
        number = _number(value)
        if number > most:
            raise MalformedMessage("a number is too large")
        return number

    return _field(read, _from_number, default)


def _name_field() -> Any:
    return _field(_name, _from_name)


def _arrivals_field() -> Any:
    return _field(_arrivals, _from_arrivals)


def _bytes_field(most: int) -> Any:
    def read(value: bytes) -> bytes:
        if len(value) > most:
            raise MalformedMessage("too many bytes")
        return value

    return _field(read, bytes)


# From a proxy.


@attr.frozen
class Hello:
    """First of all. Brings a descriptor, the board; asks for an answer."""

    version: int = _number_field()
    board: int = _number_field()


@attr.frozen
class Ask:
    """Its standing ask in a pool."""

    pool: str = _name_field()
    arrivals: Tuple[float, ...] = _arrivals_field()
    seen: int = _number_field()
    more: int = _number_field(0, MAX_MORE)
    question: int = _number_field(0)


@attr.frozen
class GiveBack:
    """The lease is over, the slot is clean."""

    lease: int = _number_field()


@attr.frozen
class LeaseClosed:
    """The lease is over, the slot is not good any more."""

    lease: int = _number_field()


@attr.frozen
class SlotSpoke:
    """The lease is over, and the slot, on which nothing ran, has sent this; nothing: it hung up."""

    lease: int = _number_field()
    data: bytes = _bytes_field(MAX_SPOKEN_BYTES)


@attr.frozen
class RecallDone:
    """What could be was given back for the recall with this number."""

    pool: str = _name_field()
    number: int = _number_field()


@attr.frozen
class Census:
    """What does the acceptor count? Asks for an answer."""


# From the acceptor; the names are those of ILeaseHolder's methods.


@attr.frozen
class LeaseGranted:
    """A lease. Brings a descriptor, the slot."""

    pool: str = _name_field()
    lease: int = _number_field()
    service: str = _name_field()
    slot: int = _number_field()


@attr.frozen
class LeasesRecalled:
    """What others wait for in a pool."""

    pool: str = _name_field()
    arrivals: Tuple[float, ...] = _arrivals_field()
    more: int = _number_field(0, MAX_MORE)
    number: int = _number_field(0)
    """Not 0: RecallDone is the answer."""


@attr.frozen
class LeaseAskedBack:
    """This lease is wanted elsewhere, if it is free."""

    pool: str = _name_field()
    lease: int = _number_field()


@attr.frozen
class AskAnswered:
    """All that the asks up to this question could bring was granted."""

    pool: str = _name_field()
    question: int = _number_field()


@attr.frozen
class ServiceRegistered:
    """Whether (1 or 0) any slot of a pool is registered."""

    pool: str = _name_field()
    registered: int = _number_field(most=1)


# From both.


@attr.frozen
class Ping:
    """Is anybody there?"""


@attr.frozen
class Pong:
    """Yes."""


FromProxy = Union[Hello, Ask, GiveBack, LeaseClosed, SlotSpoke, RecallDone, Census]
FromAcceptor = Union[LeaseGranted, LeasesRecalled, LeaseAskedBack, AskAnswered, ServiceRegistered]
Message = Union[FromProxy, FromAcceptor, Ping, Pong]

_FIELDS: Dict[Type[Any], Tuple[Tuple[str, bytes, Callable[[bytes], Any], Callable[[Any], bytes]], ...]] = {
    kind: tuple((f.name, f.name.encode(), f.metadata["read"], f.metadata["write"]) for f in attr.fields(kind))
    for kind in get_args(Message)
}

_KINDS: Dict[bytes, Type[Any]] = {kind.__name__.encode(): kind for kind in _FIELDS}

ASKS_FOR_ANSWER = (Hello, Census)


def encode(message: Message, tag: bytes = b"") -> Box:
    """A message as a box; ``tag`` names a question, so that the answer can be told."""
    kind = type(message)
    box = {COMMAND: kind.__name__.encode()}
    for name, key, _, write in _FIELDS[kind]:
        box[key] = write(getattr(message, name))
    if tag:
        box[QUESTION] = tag
    return box


def decode(box: Box) -> Message:
    """The message in a box. Raises MalformedMessage. Keys that are not known are left alone."""
    kind = _KINDS.get(box.get(COMMAND, b""))
    if kind is None:
        raise MalformedMessage("no command that is known here")
    fields: Dict[str, Any] = {}
    for name, key, read, _ in _FIELDS[kind]:
        value = box.get(key)
        if value is None:
            raise MalformedMessage(f"{kind.__name__} without {name}")
        fields[name] = read(value)
    if (QUESTION in box) is not (kind in ASKS_FOR_ANSWER):
        raise MalformedMessage(f"{kind.__name__}: an answer is asked for, or not, against the protocol")
    message: Message = kind(**fields)
    return message


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
