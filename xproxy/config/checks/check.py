"""What a check is: from what TOML or a command line gave to the value that the tree holds, and back.

A check takes any object and returns the value to keep, or raises ``Unfit``. The same checks serve the file and the options of a
command, so that a mistake reads the same wherever it was made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Optional, TypeVar

import attr

from ..errors import Unfit, shown

T = TypeVar("T")

MAX_TEXT_BYTES = 4096
"""Long enough for a Location or a path; everything longer is a mistake."""


def as_it_is(value: Any) -> object:
    """For checks whose values are TOML's own."""
    return value


@attr.frozen
class Check(Generic[T]):
    """A check of one value."""

    allowed: str
    """What the value may be, as the end of a sentence that begins with "must be"."""
    brief: str
    """The same in a word or two, for the reference."""
    parse: Callable[[Any], T]
    """Raises Unfit."""
    to_toml: Callable[[Any], object] = as_it_is
    """From the value that the tree holds to what TOML can write."""
    of_text: bool = False
    """Whether the value is written as a text, which can also come from a file or the environment."""
    entry: Optional[Check[Any]] = None
    """The check of each entry, where the value is a list."""

    def __call__(self, value: object) -> T:
        """The value to keep. Raises Unfit."""
        return self.parse(value)


def of_text(allowed: str, brief: str, longest: int = MAX_TEXT_BYTES) -> Callable[[Callable[[str], T]], Check[T]]:
    """Makes a check of a function that takes a text on one line.

    :param longest: in bytes of UTF-8.
    """

    def decorate(parse: Callable[[str], T]) -> Check[T]:
        return Check(allowed, brief, lambda value: parse(one_line(value, allowed, longest)), of_text=True)

    return decorate


def one_line(value: object, allowed: str, longest: int = MAX_TEXT_BYTES) -> str:
    """A text without control characters. Raises Unfit."""
    if not isinstance(value, str):
        quoted = shown(str(value).lower() if isinstance(value, bool) else str(value)).replace("'", '"')
        number = isinstance(value, (int, float))
        raise Unfit(f"must be {allowed}", value, hint=f"a text needs quotes: {quoted}" if number else "")
    if len(value.encode("utf-8", "replace")) > longest:
        raise Unfit(f"is longer than {longest} bytes")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise Unfit("must not contain control characters")
    return value


def list_of(check: Check[T], least: int = 0) -> Check[tuple[T, ...]]:
    """A check of lists; a mistake says which entry it is."""
    allowed = "a list in square brackets"

    def parse(value: object) -> tuple[T, ...]:
        if not isinstance(value, (list, tuple)):
            raise Unfit(f"must be {allowed}", value, hint="" if isinstance(value, dict) else "write [ and ] around it")
        if len(value) < least:
            raise Unfit("must not be empty" if least == 1 else f"needs at least {least} entries")
        entries = []
        for number, entry in enumerate(value):
            try:
                entries.append(check(entry))
            except Unfit as mistake:
                raise mistake.at(number) from mistake
        return tuple(entries)

    def to_toml(value: Any) -> object:
        return [check.to_toml(entry) for entry in value]

    return Check(f"a list, each entry {check.allowed}", f"list: {check.brief}", parse, to_toml, entry=check)
