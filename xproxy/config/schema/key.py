"""What the schema says of a key, and how a class of the tree says it.

Each section of the file is a frozen attrs class, each key one of its fields, whose metadata is made by ``entry``: the check,
which has the type and the bounds, one sentence for the reference, and where its number comes from. Everything else (reading,
hints, docs/configuration.md, etc/xproxy.toml) is made from these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Union

import attr

from ..checks import Check

KIB, MIB, GIB = 1024, 1024**2, 1024**3
PIB = 1024**5


@attr.frozen
class Table:
    """A key whose value is a table with keys of its own, such as ``redirect = { ... }``."""

    shape: type[Any]
    """Its class in the tree."""
    many: bool = False
    """Whether the value is a list of such tables."""


@attr.frozen
class Key:
    """A key of the configuration."""

    check: Union[Check[Any], Table]
    meaning: str
    """One sentence, or two, in Markdown."""
    source: str = ""
    """Where the default comes from."""
    unset: str = ""
    """What happens without the key, in a word or two, where the default is no value that could be written."""
    written: str = ""
    """The default in TOML, where it is not that of the field."""
    example: str = ""
    """A value to show, in TOML, where there is no default to show."""
    secret: bool = False
    """Whether the value may be shown to nobody."""
    at_start: Union[bool, Callable[[Any, Any], bool]] = False
    """Whether the value holds from the start on: a reload names it where it is another one, and goes on with the old one. Where
    that depends on both: a function of them."""
    name: str = ""
    default: Any = attr.field(factory=lambda: attr.NOTHING)

    @property
    def needed(self) -> bool:
        """Whether the key must be there."""
        return self.default is attr.NOTHING


def entry(check: Union[Check[Any], Table], meaning: str, **more: Any) -> dict[str, Key]:
    """The metadata of a field that is a key; the parameters are those of ``Key``."""
    return {"key": Key(check, meaning, **more)}


_known: dict[Any, Mapping[str, Key]] = {}


def keys_of(shape: type[Any]) -> Mapping[str, Key]:
    """The keys of a section or table, by name, in the order of the reference."""
    if shape not in _known:
        _known[shape] = {
            field.name: attr.evolve(field.metadata["key"], name=field.name, default=field.default)
            for field in attr.fields(shape)
            if "key" in field.metadata
        }
    return _known[shape]
