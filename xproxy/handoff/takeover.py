"""The messages between an acceptor and its successor, as values and as boxes. See docs/architecture/takeover.md.

They are said on the handoff socket too, behind a first byte of their own. Pure.
"""

from __future__ import annotations

from typing import Union, get_args

import attr

from .fields import Vocabulary, bytes_field, name_field, number_field

FIRST_BYTE = 0x01
"""What a successor's connection begins with: neither a proxy's nor a one-byte client's."""

VERSION = 1
"""Of these messages. An acceptor that speaks another one says so, and carries on."""

WINDOW = 64
"""How many things may be on their way: descriptors that nobody has received count against what a user may have (unix(7))."""

MAX_REASON_BYTES = 4096

# From the successor.


@attr.frozen
class TakeOver:
    """First of all."""

    version: int = number_field()


@attr.frozen
class Took:
    """So many things have been received so far."""

    number: int = number_field()


@attr.frozen
class Ready:
    """All is here, and everything that is needed to serve."""


# From the acceptor.


@attr.frozen
class Giving:
    """It will. From here on it grants nothing."""


@attr.frozen
class ListeningGiven:
    """Something that listens. Brings a descriptor."""

    kind: str = name_field()
    """``slots``, ``slots_tls``, ``handoff``, or what the program calls it."""
    description: bytes = bytes_field(4096)
    """The endpoint's, or the path; UTF-8."""
    socket: int = number_field()


@attr.frozen
class SlotGiven:
    """A slot. Brings a descriptor."""

    pool: str = name_field()
    service: str = name_field()
    state: str = name_field()
    """``idle``; ``leased``: a proxy has it, and will offer it; ``staying``: the same, but it can't move."""
    endpoint: bytes = bytes_field(4096)
    """Where it has registered."""
    raw: int = number_field(most=1)
    """1: it said nothing; a preamble may come yet."""
    slot: int = number_field()


@attr.frozen
class ProxyGiven:
    """Said after Yours: a proxy that can't dial by itself. Brings a descriptor of the connection that it has."""

    connection: int = number_field()


@attr.frozen
class Given:
    """That was all: so many things."""

    number: int = number_field()


@attr.frozen
class Yours:
    """It has let everything go: the successor serves."""


@attr.frozen
class Aborted:
    """It carries on itself. Whatever was given is not the successor's."""

    reason: bytes = bytes_field(MAX_REASON_BYTES)


IDLE, LEASED, STAYING = "idle", "leased", "staying"
"""The states of a SlotGiven."""

Message = Union[TakeOver, Took, Ready, Giving, ListeningGiven, SlotGiven, ProxyGiven, Given, Yours, Aborted]

_WORDS: Vocabulary[Message] = Vocabulary(get_args(Message))
encode, decode = _WORDS.encode, _WORDS.decode
