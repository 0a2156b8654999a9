"""Reading the configuration: TOML in, a ``Config`` out, or one ``ConfigError`` with everything that is wrong.

``load`` is a function of the file, the environment, what the command line says instead (``Overrides``) and the command's role:
it can be called again at any time and changes nothing. What keys there are, and what each may be, is in ``schema``; what the
tree must be as a whole is in ``rules``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Optional

import attr

from .checks import plugin_name, pool_name
from .errors import ConfigError, Mistake, Path, Unfit, shown
from .files import read_most
from .lines import Lines, Source
from .overrides import Overrides
from .rules import Role, broken_rules
from .schema import (
    DEFAULT_POOL,
    DEFAULT_SLOTS,
    ROUTE_KEYS_OF_POOLS,
    SECTIONS,
    Config,
    GuardConfig,
    Key,
    PoolConfig,
    RouteConfig,
    Table,
    default_pools,
    keys_of,
)
from .suggestions import SECTION_NAMES, for_key, for_key_outside, for_section
from .syntax import not_toml
from .values import any_text, is_elsewhere

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_FILE_BYTES = 16 * 1024 * 1024
"""A configuration is written by hand or by a small program; what is larger is not one."""


def load(
    path: Optional[str],
    overrides: Optional[Overrides] = None,
    role: Role = Role.EMBEDDED,
    environment: Optional[Mapping[str, str]] = None,
) -> Config:
    """Read and check one file, with the options of a command on top.

    :param path: None: there is no file, the defaults hold.
    :param role: what the configuration is for.
    :param environment: where ``{ env = ... }`` looks; None: this process' own.
    :raises ConfigError: when it cannot be read, is not TOML, or says something that is not understood or cannot be done.
    """
    if path is None:
        return _whole(Config(), overrides, role)
    return from_toml(_read(path), path, overrides, role, environment)


def from_toml(
    source: str,
    file: str,
    overrides: Optional[Overrides] = None,
    role: Role = Role.EMBEDDED,
    environment: Optional[Mapping[str, str]] = None,
) -> Config:
    """The same from the text of a configuration; ``file`` is its name for messages.

    :raises ConfigError: with every mistake found: first those that a key has by itself, and when there is none, those of the
        tree as a whole.
    """
    try:
        tables = tomllib.loads(source)
    except RecursionError as mistake:
        raise ConfigError(file, [Mistake((), "not TOML: nested too deeply")]) from mistake
    except tomllib.TOMLDecodeError as mistake:
        raise ConfigError(file, [not_toml(str(mistake), source)]) from mistake
    place = Source(file, Lines(source))
    reading = _Reading(os.environ if environment is None else environment)
    config = reading.config(tables)
    if reading.mistakes:
        raise place.error(reading.mistakes)
    return _whole(attr.evolve(config, file=os.path.abspath(file), source=place), overrides, role)


def _whole(config: Config, overrides: Optional[Overrides], role: Role) -> Config:
    """The tree with the options on top, when it holds together."""
    if overrides is not None:
        config = overrides.over(config)
    broken = broken_rules(config, role)
    if broken:
        raise config.source.error(broken)
    return config


def _read(path: str) -> str:
    """The file's text, of which no more than the limit is read."""
    try:
        content = read_most(path, MAX_FILE_BYTES)
    except (OSError, ValueError) as mistake:
        reason = mistake.strerror if isinstance(mistake, OSError) else str(mistake)
        raise ConfigError(path, [Mistake((), f"cannot be read: {reason}")]) from mistake
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(path, [Mistake((), f"is larger than {MAX_FILE_BYTES} bytes")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as mistake:
        line = content.count(b"\n", 0, mistake.start) + 1
        raise ConfigError(path, [Mistake((), f"is not UTF-8: byte {mistake.start} cannot be read", line)]) from mistake


class _Reading:
    """One pass over a parsed file, which notes mistakes and goes on."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.mistakes: list[Mistake] = []
        self._environment = environment

    def wrong(self, path: Path, message: str) -> None:
        """Note a mistake."""
        self.mistakes.append(Mistake(path, message))

    def config(self, tables: Mapping[str, Any]) -> Config:
        """The whole tree; of use only when no mistake was noted."""
        for name, value in tables.items():
            if name not in SECTION_NAMES:
                if isinstance(value, (dict, list)):
                    self.wrong((name,), _with_hint("unknown section", for_section(name)))
                else:
                    self.wrong((name,), _with_hint("unknown key outside of a section", for_key_outside(name)))
        sections = {name: self.table(shape, tables.get(name, {}), (name,)) for name, shape in SECTIONS.items()}
        pools = self.pools(tables.get("pools"))
        return Config(
            **{name: section for name, section in sections.items() if section is not None},
            pools=pools,
            routes=self.routes(tables.get("routes"), pools),
            guards=self.guards(tables.get("guards", {})),
        )

    def table(self, shape: type[Any], table: object, path: Path, **more: Any) -> Any:
        """One table as an instance of its class; None when something that it needs is missing or wrong.

        :param more: fields that are no keys.
        """
        if not isinstance(table, dict):
            self.wrong(path, f"must be a table, not {shown(table)}")
            return None
        keys = keys_of(shape)
        values = dict(more)
        for name, value in table.items():
            if name in keys:
                self.value(keys[name], value, (*path, name), values)
            else:
                self.wrong((*path, name), _with_hint("unknown key", for_key(name, keys)))
        complete = True
        for name, key in keys.items():
            if key.needed and name not in values:
                complete = False
                if name not in table:
                    self.wrong((*path, name), "missing")
        return shape(**values) if complete else None

    def value(self, key: Key, value: object, path: Path, values: dict[str, Any]) -> None:
        """Check one value, and keep it when it is good."""
        if isinstance(key.check, Table):
            read = self.tables(key.check, value, path)
            if read is not None:
                values[key.name] = read
            return
        entries = key.check.entry
        textual = key.check.of_text or (entries is not None and entries.of_text)
        try:
            if textual:
                value = any_text(value, self._environment, key.secret, entries is not None)
            elif is_elsewhere(value):
                raise Unfit(f"must be {key.check.allowed}; only texts can come from a file or the environment")
            values[key.name] = key.check(value)
        except Unfit as mistake:
            inside = () if mistake.inside is None else (mistake.inside,)
            self.wrong((*path, *inside), mistake.said if key.secret else str(mistake))

    def tables(self, table: Table, value: object, path: Path) -> Any:
        """The value of a key that has tables."""
        if not table.many:
            return self.table(table.shape, value, path)
        if not isinstance(value, list):
            self.wrong(path, f"must be tables, each [[{'.'.join(map(str, path))}]]")
            return None
        read = [self.table(table.shape, entry, (*path, number)) for number, entry in enumerate(value)]
        return tuple(entry for entry in read if entry is not None)

    def pools(self, tables: object) -> Mapping[str, PoolConfig]:
        """The pools by name, ``default`` first: those the file names, or the default one.

        A pool that says nothing of endpoints shares those of the pool ``default``; a slot that names no pool joins the first
        one of its endpoint.
        """
        if tables is None:
            return default_pools()
        if not isinstance(tables, dict) or not tables:
            self.wrong(("pools",), "must be tables, each [pools.NAME]")
            return {}
        pools: dict[str, PoolConfig] = {}
        for name, table in sorted(tables.items(), key=lambda item: item[0] != DEFAULT_POOL):
            path = ("pools", name)
            try:
                pool_name(name)
            except Unfit as mistake:
                self.wrong(path, f"a pool's name {mistake}")
            written = table if isinstance(table, dict) else {}
            pool = self.table(PoolConfig, table, path, name=name, given=True, allow_given="allow" in written)
            if pool is not None:
                pools[name] = attr.evolve(pool, shares="slots" not in written and not written.get("slots_tls"))
        default = pools.get(DEFAULT_POOL)
        shared = DEFAULT_SLOTS if default is None or default.shares else default.slots
        return {name: attr.evolve(pool, slots=shared) if pool.shares else pool for name, pool in pools.items()}

    def guards(self, tables: object) -> Mapping[str, GuardConfig]:
        """The guards by name."""
        if not isinstance(tables, dict):
            self.wrong(("guards",), "must be tables, each [guards.NAME]")
            return {}
        guards: dict[str, GuardConfig] = {}
        for name, table in tables.items():
            path = ("guards", name)
            try:
                plugin_name(name)
            except Unfit as mistake:
                self.wrong(path, f"a guard's name {mistake}")
            guard = self.table(GuardConfig, table, path, name=name)
            if guard is not None:
                guards[name] = guard
        return guards

    def routes(self, tables: object, pools: Mapping[str, PoolConfig]) -> tuple[RouteConfig, ...]:
        """The routes in the file's order; without any, everything goes to the default pool, or to the only one."""
        if tables is None:
            if DEFAULT_POOL in pools:
                return (RouteConfig(),)
            return (RouteConfig(pool=next(iter(pools))),) if len(pools) == 1 else ()
        if not isinstance(tables, list):
            self.wrong(("routes",), "must be tables, each [[routes]]")
            return ()
        return tuple(filter(None, (self.route(table, ("routes", number)) for number, table in enumerate(tables))))

    def route(self, table: object, path: Path) -> Optional[RouteConfig]:
        """One route."""
        route: Optional[RouteConfig] = self.table(RouteConfig, table, path)
        written = table if isinstance(table, dict) else {}
        for action in ("redirect", "respond"):
            for name in ROUTE_KEYS_OF_POOLS if action in written else ():
                if name in written:
                    self.wrong((*path, name), f"does nothing in a route with {action}")
        return route


def _with_hint(said: str, hint: str) -> str:
    return f"{said}; {hint}" if hint else said
