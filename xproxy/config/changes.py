"""From the configuration in force to another one: what of it can be changed while the program runs, and what can't."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attr

from .errors import Path
from .schema import SECTIONS, Config, Key, PoolConfig, keys_of


def settled(before: Config, after: Config) -> tuple[Config, tuple[Path, ...]]:
    """``after`` as far as it can be put in force while ``before`` is.

    :returns: ``after``, in which keys that hold from the start (``Key.at_start``) are as they were; and those of them that it
        would have otherwise.
    """
    kept: list[Path] = []
    sections = {
        name: _settled(shape, getattr(before, name), getattr(after, name), (name,), kept) for name, shape in SECTIONS.items()
    }
    pools: Mapping[str, PoolConfig] = {
        name: _settled(PoolConfig, before.pools[name], pool, ("pools", name), kept) if name in before.pools else pool
        for name, pool in after.pools.items()
    }
    return attr.evolve(after, **sections, pools=pools), tuple(kept)


def _holds(key: Key, before: Any, after: Any) -> bool:
    """Whether a key stays what it is as long as the program runs."""
    return key.at_start if isinstance(key.at_start, bool) else key.at_start(before, after)


def _settled(shape: type[Any], before: Any, after: Any, path: Path, kept: list[Path]) -> Any:
    fixed = {
        name: getattr(before, name)
        for name, key in keys_of(shape).items()
        if getattr(before, name) != getattr(after, name) and _holds(key, getattr(before, name), getattr(after, name))
    }
    kept.extend((*path, name) for name in fixed)
    return attr.evolve(after, **fixed) if fixed else after
