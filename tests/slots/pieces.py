"""Feeding a preamble parser in every way the network may cut the bytes."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Iterator, List, Optional, Tuple, Union

from xproxy.slots.preambles.preamble import REASONS, PreambleError

Outcome = Union[str, Tuple[Any, bytes], None]
"""The reason of the error; or what was read and what followed it; or None when more bytes are needed."""


def ways_to_cut(data: bytes) -> Iterator[List[bytes]]:
    """Whole, byte by byte, and in two at every place."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(len(data) + 1):
        yield [data[:at], data[at:]]


def outcome(make: Callable[[], Any], pieces: Iterable[bytes]) -> Outcome:
    """What a new parser makes of the pieces. Any exception but PreambleError comes out."""
    parser = make()
    found: Optional[Tuple[Any, bytes]] = None
    for piece in pieces:
        if found is not None:
            found = (found[0], found[1] + piece)
            continue
        try:
            found = parser.feed(piece)
        except PreambleError as error:
            assert error.reason in REASONS, error.reason
            assert str(error).isprintable() and len(str(error)) < 300, str(error)
            return error.reason
    return found


def outcome_of_all_cuts(make: Callable[[], Any], data: bytes) -> Outcome:
    """The outcome, which must not depend on the cuts."""
    expected = outcome(make, [data])
    for pieces in ways_to_cut(data):
        found = outcome(make, pieces)
        assert found == expected, (pieces, found, expected)
    return expected
