"""Messages as AMP boxes: how their fields are written, and read and checked: what comes out is of the right type and bounded.

A message is an attrs class whose fields are made by the functions here; a Vocabulary knows those of one conversation. Pure.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Generic, Iterable, Tuple, Type, TypeVar

import attr

from .boxes import Box

COMMAND = b"_command"
QUESTION = b"_ask"

MAX_NAME_BYTES = 255
"""A pool's or service's name, in UTF-8."""

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


def _from_number(value: int) -> bytes:
    return b"%d" % value


def _from_name(value: str) -> bytes:
    return value.encode("utf-8")


def _field(read: Callable[[bytes], Any], write: Callable[[Any], bytes], default: Any = attr.NOTHING) -> Any:
    return attr.field(metadata={"read": read, "write": write}, default=default)


def number_field(default: Any = attr.NOTHING, most: int = 10**MAX_NUMBER_DIGITS) -> Any:
    """A number up to ``most``. The default is for whoever makes a message; on the wire each field is there."""

    def read(value: bytes) -> int:
        number = _number(value)
        if number > most:
            raise MalformedMessage("a number is too large")
        return number

    return _field(read, _from_number, default)


def name_field() -> Any:
    """A pool's or service's name."""
    return _field(_name, _from_name)


def bytes_field(most: int) -> Any:
    """Bytes, at most so many."""

    def read(value: bytes) -> bytes:
        if len(value) > most:
            raise MalformedMessage("too many bytes")
        return value

    return _field(read, bytes)


MessageT = TypeVar("MessageT")


class Vocabulary(Generic[MessageT]):
    """The messages of one conversation.

    :param kinds: their classes.
    :param questions: those that ask for an answer.
    """

    def __init__(self, kinds: Iterable[Type[Any]], questions: Tuple[Type[Any], ...] = ()) -> None:
        self._fields: Dict[Type[Any], Tuple[Tuple[str, bytes, Callable[[bytes], Any], Callable[[Any], bytes]], ...]] = {
            kind: tuple((f.name, f.name.encode(), f.metadata["read"], f.metadata["write"]) for f in attr.fields(kind))
            for kind in kinds
        }
        self._kinds: Dict[bytes, Type[Any]] = {kind.__name__.encode(): kind for kind in self._fields}
        self._questions = questions

    def encode(self, message: MessageT, tag: bytes = b"") -> Box:
        """A message as a box; ``tag`` names a question, so that the answer can be told."""
        kind = type(message)
        box = {COMMAND: kind.__name__.encode()}
        for name, key, _, write in self._fields[kind]:
            box[key] = write(getattr(message, name))
        if tag:
            box[QUESTION] = tag
        return box

    def decode(self, box: Box) -> MessageT:
        """The message in a box. Raises MalformedMessage. Keys that are not known are left alone."""
        kind = self._kinds.get(box.get(COMMAND, b""))
        if kind is None:
            raise MalformedMessage("no command that is known here")
        fields: Dict[str, Any] = {}
        for name, key, read, _ in self._fields[kind]:
            value = box.get(key)
            if value is None:
                raise MalformedMessage(f"{kind.__name__} without {name}")
            fields[name] = read(value)
        if (QUESTION in box) is not (kind in self._questions):
            raise MalformedMessage(f"{kind.__name__}: an answer is asked for, or not, against the protocol")
        message: MessageT = kind(**fields)
        return message
