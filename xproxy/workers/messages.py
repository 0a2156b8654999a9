"""The messages between a parent and a worker, as values, and as boxes. The table is in docs/architecture/workers.md.

A box is that of ``handoff.boxes``: the command, its arguments as JSON and, with Configure, bytes; both are cut into as many
values as they need. Every argument is checked here. A descriptor travels beside the bytes; the box has its ordinal.
Pure.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Type, Union, get_args

import attr
from attr.validators import and_, ge, in_, instance_of, le, max_len

from ..handoff.boxes import MAX_VALUE_BYTES, Box
from ..handoff.messages import COMMAND, MalformedMessage

MAX_TEXT = 16 * 1024
"""Letters of a line for the log, or of a reason: a traceback has fewer. A longer text is cut by its sender."""

MAX_NUMBER = 2**53
"""JSON's integers are exact up to here."""

LEVELS = ("debug", "info", "warn", "error", "critical")
"""The levels of a line for the log, by their names in ``twisted.logger``."""


def _number() -> Any:
    return attr.field(validator=and_(instance_of(int), ge(0), le(MAX_NUMBER)))


def _text() -> Any:
    return attr.field(validator=and_(instance_of(str), max_len(MAX_TEXT)))


def _word(*words: str) -> Any:
    return attr.field(validator=and_(instance_of(str), in_(words)))


# From the parent.


@attr.frozen
class Share:
    """The page on which each worker writes how many clients it has (``page``). Brings its descriptor."""

    page: int = _number()


@attr.frozen
class Listen:
    """The listening socket of an endpoint, by the description. Brings its descriptor."""

    description: str = _text()
    socket: int = _number()


@attr.frozen
class Configure:
    """Be a proxy by these orders: see ``orders``."""

    orders: bytes = attr.field(validator=instance_of(bytes), repr=False)
    generation: int = _number()


@attr.frozen
class Connect:
    """A connection to the acceptor, which the worker has asked for by Dial. Brings its descriptor."""

    handoff: int = _number()


@attr.frozen
class Tell:
    """What are your numbers? Told is the answer."""

    question: int = _number()


@attr.frozen
class Reopen:
    """Open the files of logs again: they were moved away."""


@attr.frozen
class Drain:
    """Finish what runs, take nothing new, then end."""


# From a worker.


@attr.frozen
class Hello:
    """The first message of a worker: the version of its program."""

    version: str = _text()


@attr.frozen
class Configured:
    """The orders of a generation are in force; with a mistake they are not, and the worker goes on as before."""

    generation: int = _number()
    mistake: str = _text()


@attr.frozen
class Ready:
    """Clients are accepted."""


@attr.frozen
class Dial:
    """The worker wants a connection to the acceptor; Connect is the answer."""


@attr.frozen
class Told:
    """The numbers of this worker: see ``numbers``."""

    numbers: Dict[str, Any] = attr.field(validator=instance_of(dict), repr=False)
    question: int = _number()


@attr.frozen
class Drained:
    """Nothing runs any more; these are the last numbers, and the worker ends."""

    numbers: Dict[str, Any] = attr.field(validator=instance_of(dict), repr=False)


@attr.frozen
class Said:
    """A line for the log."""

    level: str = _word(*LEVELS)
    text: str = _text()


@attr.frozen
class Leave:
    """SIGTERM came to this worker: it wants to be replaced."""


@attr.frozen
class Failed:
    """The worker can't go on, and ends."""

    reason: str = _text()


FromParent = Union[Share, Listen, Configure, Connect, Tell, Reopen, Drain]
FromWorker = Union[Hello, Configured, Ready, Dial, Told, Drained, Said, Leave, Failed]
Message = Union[FromParent, FromWorker]

_FROM_PARENT: Dict[bytes, Type[Any]] = {kind.__name__.encode(): kind for kind in get_args(FromParent)}
_FROM_WORKER: Dict[bytes, Type[Any]] = {kind.__name__.encode(): kind for kind in get_args(FromWorker)}

_BYTES = "orders"
"""The one argument that is bytes, and not in the JSON."""


def encode(message: Message) -> Box:
    """A message as a box."""
    kind = type(message)
    fields = {field.name: getattr(message, field.name) for field in attr.fields(kind)}
    box: Box = {COMMAND: kind.__name__.encode()}
    data = fields.pop(_BYTES, None)
    if data is not None:
        _put(box, b"bytes%d", data)
    if fields:
        _put(box, b"json%d", json.dumps(fields, separators=(",", ":")).encode())
    return box


def from_parent(box: Box) -> FromParent:
    """The message of a parent. Raises MalformedMessage."""
    message: FromParent = _decode(box, _FROM_PARENT)
    return message


def from_worker(box: Box) -> FromWorker:
    """The message of a worker. Raises MalformedMessage."""
    message: FromWorker = _decode(box, _FROM_WORKER)
    return message


def _decode(box: Box, kinds: Dict[bytes, Type[Any]]) -> Any:
    kind = kinds.get(box.get(COMMAND, b""))
    if kind is None:
        raise MalformedMessage("no command that is known here")
    names = {field.name for field in attr.fields(kind)}
    text = _taken(box, b"json%d")
    try:
        fields = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        raise MalformedMessage(f"{kind.__name__}: its arguments are not JSON") from None
    if _BYTES in names:
        fields = {**fields, _BYTES: _taken(box, b"bytes%d")} if isinstance(fields, dict) else fields
    if not isinstance(fields, dict) or set(fields) != names:
        raise MalformedMessage(f"{kind.__name__} without the arguments it has")
    try:
        return kind(**fields)
    except (TypeError, ValueError):
        raise MalformedMessage(f"{kind.__name__} with an argument that can't be") from None


def _put(box: Box, name: bytes, data: bytes) -> None:
    for number, start in enumerate(range(0, len(data), MAX_VALUE_BYTES)):
        box[name % number] = data[start : start + MAX_VALUE_BYTES]


def _taken(box: Box, name: bytes) -> bytes:
    parts: List[bytes] = []
    while name % len(parts) in box:
        parts.append(box[name % len(parts)])
    return b"".join(parts)
