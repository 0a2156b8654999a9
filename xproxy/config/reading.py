"""Reading the configuration file: TOML in, ``tree.Config`` out, or one ``ConfigError`` with everything that is wrong.

The file's vocabulary is in ``keys``: a key that is not there is refused, with a hint where it may belong. The types and
ranges of values are ``checks``' business.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

import attr

from . import checks as check
from .keys import (
    BODILESS_STATUSES,
    CERTIFICATE,
    POOL,
    REDIRECT,
    REDIRECT_STATUSES,
    RESPOND,
    ROUTE,
    ROUTE_KEYS_OF_POOLS,
    SECTIONS,
    SHAPES,
    Keys,
)
from .tree import (
    DEFAULT_POOL,
    DEFAULT_SLOTS,
    AcceptorConfig,
    CertificateConfig,
    Config,
    LimitsConfig,
    PoolConfig,
    ProxyConfig,
    RedirectConfig,
    RespondConfig,
    RouteConfig,
    TimeoutsConfig,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_FILE_BYTES = 16 * 1024 * 1024
"""A configuration is written by hand or by a small program; what is larger is not one."""


@attr.frozen
class Mistake:
    """One thing that is wrong."""

    key: str
    """The path of the key, such as ``pools.default.queue_limit``; empty: the file as a whole."""
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


class ConfigError(Exception):
    """A configuration that cannot be used. Its text has one line for each mistake, and each line names the file."""

    def __init__(self, file: str, mistakes: Sequence[Mistake]) -> None:
        super().__init__(file, tuple(mistakes))
        self.file = file
        self.mistakes = tuple(mistakes)

    def __str__(self) -> str:
        return "\n".join(f"{self.file}: {mistake}" for mistake in self.mistakes)

    def line(self) -> str:
        """The same on one line: the first mistake, and how many follow."""
        rest = len(self.mistakes) - 1
        first = f"{self.file}: {self.mistakes[0]}"
        return f"{first} (and {rest} more; --check lists all)" if rest else first


def load(path: str) -> Config:
    """Read and check one file.

    :raises ConfigError: when it cannot be read, is not TOML, or says something that is not understood.
    """
    return from_toml(_read(path), path)


def from_toml(source: str, file: str) -> Config:
    """Check the text of a configuration; ``file`` is its name for messages.

    :raises ConfigError: with every mistake found.
    """
    try:
        tables = tomllib.loads(source)
    except (tomllib.TOMLDecodeError, RecursionError) as mistake:
        said = "nested too deeply" if isinstance(mistake, RecursionError) else str(mistake)
        raise ConfigError(file, [Mistake("", f"not TOML: {said}")]) from mistake
    reading = _Reading()
    config = reading.config(tables)
    if reading.mistakes:
        raise ConfigError(file, reading.mistakes)
    return attr.evolve(config, file=os.path.abspath(file))


def _read(path: str) -> str:
    """The file's text, of which no more than the limit is read."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as mistake:
        reason = mistake.strerror if isinstance(mistake, OSError) else str(mistake)
        raise ConfigError(path, [Mistake("", f"cannot be read: {reason}")]) from mistake
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(path, [Mistake("", f"is larger than {MAX_FILE_BYTES} bytes")])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as mistake:
        raise ConfigError(path, [Mistake("", f"is not UTF-8: byte {mistake.start} cannot be read")]) from mistake


class _Reading:
    """One pass over a parsed file, which notes mistakes and goes on."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []

    def wrong(self, key: str, message: str) -> None:
        self.mistakes.append(Mistake(key, message))

    def config(self, tables: Mapping[str, Any]) -> Config:
        """The whole tree; of use only when no mistake was noted."""
        for name in tables:
            if name not in SECTIONS and name not in ("pools", "routes"):
                self.wrong(_joined("", name), "unknown section" + _near(name, [*SECTIONS, "pools", "routes"]))
        values = {name: self.section(tables.get(name, {}), name, keys) for name, keys in SECTIONS.items()}
        pools = self.pools(tables.get("pools"))
        acceptor = self.acceptor(values["acceptor"])
        for name, pool in pools.items():
            self.check_slots_tls(acceptor, pool, _joined("pools", name))
        return Config(
            proxy=self.proxy(values["proxy"]),
            acceptor=acceptor,
            limits=LimitsConfig(**values["limits"]),
            timeouts=TimeoutsConfig(**values["timeouts"]),
            pools=pools,
            routes=self.routes(tables.get("routes"), pools),
        )

    def section(self, table: object, where: str, keys: Keys) -> dict[str, Any]:
        """The checked values of one table."""
        if not isinstance(table, dict):
            self.wrong(where, f"must be a table, not {check.shown(table)}")
            return {}
        values = {}
        for name, value in table.items():
            key = _joined(where, name)
            if name not in keys:
                self.wrong(key, "unknown key" + (_elsewhere(name) or _near(name, keys)))
                continue
            try:
                values[name] = keys[name](value)
            except ValueError as mistake:
                self.wrong(key, str(mistake))
        return values

    def proxy(self, values: dict[str, Any]) -> ProxyConfig:
        """Where clients arrive, with the certificates."""
        proxy = ProxyConfig(certificates=self.certificates(values.pop("certificates", []), "proxy.certificates"), **values)
        if proxy.proxy_protocol and not proxy.trusted_proxies:
            self.wrong("proxy.proxy_protocol", "needs trusted_proxies: nobody else's PROXY headers are believed")
        return proxy

    def acceptor(self, values: dict[str, Any]) -> AcceptorConfig:
        """Where services register, with the certificates."""
        return AcceptorConfig(certificates=self.certificates(values.pop("certificates", []), "acceptor.certificates"), **values)

    def check_slots_tls(self, acceptor: AcceptorConfig, pool: PoolConfig, where: str) -> None:
        """Slots over TLS need a certificate of ours, and somebody to let in."""
        if not pool.slots_tls:
            if pool.service_names:
                self.wrong(_joined(where, "service_names"), "does nothing without slots_tls")
            return
        key = _joined(where, "slots_tls")
        if not acceptor.certificates:
            self.wrong(key, "needs a certificate to show to services: [[acceptor.certificates]] with chain and key")
        if not acceptor.client_ca:
            self.wrong(key, "needs the CAs of the services' certificates: client_ca in [acceptor]")
        if not pool.service_names:
            self.wrong(key, "needs service_names: the names in the certificates that may join this pool")

    def certificates(self, tables: object, where: str) -> tuple[CertificateConfig, ...]:
        """A list of certificates."""
        if not isinstance(tables, list):
            self.wrong(where, f"must be tables, each [[{where}]]")
            return ()
        found = [self.certificate(table, f"{where}[{number}]") for number, table in enumerate(tables)]
        return tuple(filter(None, found))

    def certificate(self, table: object, where: str) -> Optional[CertificateConfig]:
        """A certificate's files."""
        values = self.section(table, where, CERTIFICATE)
        for name in CERTIFICATE:
            if isinstance(table, dict) and name not in table:
                self.wrong(_joined(where, name), "missing")
        return CertificateConfig(**values) if len(values) == len(CERTIFICATE) else None

    def pools(self, tables: object) -> dict[str, PoolConfig]:
        """The pools by name: those the file names, or the default one."""
        if tables is None:
            return dict(Config().pools)
        if not isinstance(tables, dict) or not tables:
            self.wrong("pools", "must be tables, each [pools.NAME]")
            return {}
        pools = {}
        for name, table in tables.items():
            key = _joined("pools", name)
            try:
                check.pool_name(name)
            except ValueError as mistake:
                self.wrong(key, f"a pool's name {mistake}")
            values = self.section(table, key, POOL)
            if name == DEFAULT_POOL and not values.get("slots_tls"):
                values.setdefault("slots", DEFAULT_SLOTS)
            pools[name] = PoolConfig(name=name, allow_given="allow" in values, **values)
        return pools

    def routes(self, tables: object, pools: Mapping[str, PoolConfig]) -> tuple[RouteConfig, ...]:
        """The routes in the file's order; without any, everything goes to the default pool, or to the only one."""
        if tables is None:
            if DEFAULT_POOL in pools or not pools:
                return Config().routes
            if len(pools) > 1:
                self.wrong("routes", f'missing: with several pools and none called "{DEFAULT_POOL}", say what goes where')
            return (RouteConfig(pool=next(iter(pools))),)
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self.wrong("routes", "must be tables, each [[routes]]")
            return ()
        routes: list[RouteConfig] = []
        taken: dict[tuple[str, str, str], str] = {}
        for number, table in enumerate(tables):
            key = f"routes[{number}]"
            route = self.route(table, key, pools)
            for method in route.methods or ("",):
                before = taken.setdefault((route.host, route.path, method), key)
                if before != key:
                    self.wrong(key, f"takes the same host, path and method as {before}")
                    break
            routes.append(route)
        return tuple(routes)

    def route(self, table: dict[str, Any], where: str, pools: Mapping[str, PoolConfig]) -> RouteConfig:
        """One route."""
        values = self.section(table, where, ROUTE)
        actions = [name for name in ("redirect", "respond") if name in values]
        if len(actions) > 1:
            self.wrong(where, "can redirect or respond, not both")
        for name in ROUTE_KEYS_OF_POOLS if actions else ():
            if name in table:
                self.wrong(_joined(where, name), f"does nothing in a route with {actions[0]}")
        if "redirect" in values:
            values["redirect"] = self.redirect(values["redirect"], _joined(where, "redirect"))
        if "respond" in values:
            values["respond"] = self.respond(values["respond"], _joined(where, "respond"))
        route = RouteConfig(**values)
        if not actions and route.pool not in pools and (pools or "pool" in values):
            key = _joined(where, "pool")
            self.wrong(key, f"there is no pool {check.shown(route.pool)}{_near(route.pool, pools)}")
        if route.strip_prefix and not _below(route.path, route.strip_prefix):
            self.wrong(_joined(where, "strip_prefix"), f"{check.shown(route.path)} does not begin with it")
        return route

    def redirect(self, table: object, where: str) -> Optional[RedirectConfig]:
        """Where a route sends the client."""
        values = self.section(table, where, REDIRECT)
        if values.get("status", 302) not in REDIRECT_STATUSES:
            self.wrong(_joined(where, "status"), f"must be one of {', '.join(map(str, REDIRECT_STATUSES))}")
        if isinstance(table, dict) and "location" not in table:
            self.wrong(_joined(where, "location"), "missing")
        return RedirectConfig(**values) if "location" in values else None

    def respond(self, table: object, where: str) -> RespondConfig:
        """What a route answers by itself."""
        respond = RespondConfig(**self.section(table, where, RESPOND))
        if respond.body and respond.status in BODILESS_STATUSES:
            self.wrong(_joined(where, "body"), f"a response with status {respond.status} has none")
        return respond


def _joined(where: str, name: str) -> str:
    """A key's path; a part that TOML would quote is quoted, so that it stays on one line."""
    part = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else check.shown(name)
    return f"{where}.{part}" if where else part


def _near(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """A hint at the name that was probably meant."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _elsewhere(name: str) -> str:
    """A hint at the sections that know this key."""
    places = list(_places(name))
    return f"; it belongs in {' or '.join(places)}" if places else ""


def _places(name: str) -> Iterator[str]:
    return (place for place, keys in SHAPES.items() if name in keys)


def _below(path: str, prefix: str) -> bool:
    """Whether ``prefix`` is the beginning of ``path`` and ends where a segment does."""
    bare = prefix.rstrip("/")
    return path in (prefix, bare) or path.startswith(bare + "/")
