"""What the tree must be as a whole: what one key has to do with another, by the role that the configuration is for.

Each rule is a function of the tree that yields what breaks it. All that a start refuses, short of reading files and listening,
is here or in a key's own check, so that ``--check`` refuses it too.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterator
from enum import Enum
from typing import Optional

from ..dispatch import find_dispatch
from ..slots.access import allowed
from ..slots.tides import PLACES
from .checks import BALANCED, Place, place_of
from .errors import Mistake, Path, key_of, shown
from .networks import LOOPBACK
from .schema import BODILESS_STATUSES, DEFAULT_POOL, Config, PoolConfig, RouteConfig


class Role(Enum):
    """What a configuration is for."""

    EMBEDDED = "a proxy with an acceptor of its own"
    PROXY = "a proxy behind the acceptor of another process"
    ACCEPTOR = "an acceptor alone"


def broken_rules(config: Config, role: Role) -> list[Mistake]:
    """Everything that is wrong with the tree."""
    rules = [_certificates_of_slots, _routes, _dispatches, _too_many]
    if role is not Role.ACCEPTOR:
        rules += [_shareable, _balancers, _certificates_of_clients, _subject_field]
    if role is not Role.PROXY:
        rules += [_endpoints_of_pools, _registrations, _nobody, _exposed]
    found = [mistake for rule in rules for mistake in rule(config)]
    if role is not Role.ACCEPTOR:
        found += _reached(config, role)
    return found or list(_clashes(config, role))


# -- clients


def _balancers(config: Config) -> Iterator[Mistake]:
    """PROXY headers are believed from somebody."""
    proxy = config.proxy
    if proxy.trusted_proxies:
        return
    if proxy.proxy_protocol:
        yield Mistake(("proxy", "proxy_protocol"), "needs trusted_proxies: nobody else's PROXY headers are believed")
    for name, descriptions in (("http", proxy.http), ("https", proxy.https)):
        for number, description in enumerate(descriptions):
            if description.startswith(BALANCED):
                message = f"{shown(description)} needs trusted_proxies: nobody else's PROXY headers are believed"
                yield Mistake(("proxy", name, number), message)


SHAREABLE = ("tcp", "tcp6", "unix", "systemd")
"""Kinds of endpoints that are one socket, which processes can have together."""


def _shareable(config: Config) -> Iterator[Mistake]:
    """Workers can have the endpoints together."""
    proxy = config.proxy
    if proxy.workers == 1:
        return
    for name, descriptions in (("http", proxy.http), ("https", proxy.https)):
        for number, description in enumerate(descriptions):
            kind = description.removeprefix(BALANCED).partition(":")[0].lower()
            if kind not in SHAREABLE:
                message = f"{shown(description)} can't be shared by workers: it must be one of {', '.join(SHAREABLE)}"
                yield Mistake(("proxy", name, number), message)


def _certificates_of_clients(config: Config) -> Iterator[Mistake]:
    """HTTPS has a certificate to show."""
    proxy = config.proxy
    if proxy.https and not proxy.certificates and not proxy.self_signed:
        yield Mistake(("proxy", "https"), "needs a certificate: [[proxy.certificates]], or --self-signed to try it out")


_OURS = frozenset(
    [
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "via",
        "forwarded",
        "expect",
        "date",
        "content-type",
        "cookie",
        "authorization",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "max-forwards",
    ]
)
"""Fields that mean something else: a subject in one of them would take its place."""


def _subject_field(config: Config) -> Iterator[Mistake]:
    """The subject of a client's certificate stands in a field of its own."""
    name = config.proxy.client_subject_header
    if config.proxy.client_ca and name.lower() in _OURS:
        yield Mistake(
            ("proxy", "client_subject_header"), f"must be a field of its own, not {shown(name)}, which means something else"
        )


# -- slots


def _certificates_of_slots(config: Config) -> Iterator[Mistake]:
    """Slots over TLS need a certificate of ours, and somebody to let in."""
    for name, pool in config.pools.items():
        path: Path = ("pools", name, "slots_tls")
        if not pool.slots_tls:
            if pool.service_names:
                yield Mistake(("pools", name, "service_names"), "does nothing without slots_tls")
            continue
        if not config.acceptor.certificates:
            yield Mistake(path, "needs a certificate to show to services: [[acceptor.certificates]] with chain and key")
        if not config.acceptor.client_ca:
            yield Mistake(path, "needs the CAs of the services' certificates: client_ca in [acceptor]")
        if not pool.service_names:
            yield Mistake(path, "needs service_names: the names in the certificates that may join this pool")


def _endpoints_of_pools(config: Config) -> Iterator[Mistake]:
    """Services can register in each pool."""
    for name, pool in config.pools.items():
        if not pool.slots and not pool.slots_tls:
            yield Mistake(
                ("pools", name), "no endpoint leads to this pool, so no service can register in it: give it slots or slots_tls"
            )


def shared_endpoints(config: Config) -> Iterator[tuple[str, str, list[PoolConfig]]]:
    """Each endpoint where services register: the key it is in, its description, and the pools that share it."""
    for key in ("slots", "slots_tls"):
        found: dict[str, list[PoolConfig]] = {}
        for pool in config.pools.values():
            for description in dict.fromkeys(getattr(pool, key)):
                found.setdefault(description, []).append(pool)
        for description, pools in found.items():
            yield key, description, pools


def _registrations(config: Config) -> Iterator[Mistake]:
    """Pools that share an endpoint are told apart by the registration, in the one way that the endpoint knows."""
    for key, description, (first, *others) in shared_endpoints(config):
        for pool in others:
            if pool.registration != first.registration:
                message = f"{shown(description)} is shared with the pool {shown(first.name)}, whose registration is"
                yield Mistake(("pools", pool.name, "registration"), f'{message} "{first.registration}"')
            elif key == "slots" and pool.registration in SILENT:
                message = f"shares {shown(description)} with the pool {shown(first.name)}, and a slot that registers by"
                yield Mistake(
                    ("pools", pool.name, key), f'{message} "{pool.registration}" names no pool: give it an endpoint of its own'
                )


SILENT = ("raw", "mxproxy")
"""Registrations that bring neither a pool's name nor a token."""


def _nobody(config: Config) -> Iterator[Mistake]:
    """Somebody can register in each pool."""
    for name, pool in config.pools.items():
        if pool.token and pool.registration in SILENT:
            message = f'no slot that registers by "{pool.registration}" brings one: registration must be "auto" or "proxy"'
            yield Mistake(("pools", name, "token"), message)
        if not pool.allow:
            for key in ("slots", "slots_tls"):
                for description in getattr(pool, key):
                    place = place_of(description)
                    if place is not None and place.kind != "unix":
                        yield Mistake(("pools", name, "allow"), f"is empty: nobody could register at {shown(description)}")


def exposure(pool: PoolConfig, description: str) -> str:
    """What to say of an endpoint of ``slots`` that other hosts can reach; empty: somebody has said who may come."""
    if pool.token or (pool.allow_given and pool.allow):
        return ""
    return (
        f"{description} can be reached from other hosts: say who may register"
        f" (allow in [pools.{pool.name}] or --allow CIDR), set a token, or use slots_tls"
    )


def _exposed(config: Config) -> Iterator[Mistake]:
    """Whoever can register a slot is sent requests: so nobody listens to the world without having said who may come."""
    for name, pool in config.pools.items():
        for number, description in enumerate(pool.slots):
            place = place_of(description)
            if place is not None and place.kind != "unix" and not _is_loopback(place.address):
                message = exposure(pool, description)
                if message:
                    yield Mistake(("pools", name, "slots", number), message)


def _is_loopback(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return allowed(address, LOOPBACK)


# -- routes


def _too_many(config: Config) -> Iterator[Mistake]:
    """There is a row for each pool in the tide table."""
    if len(config.pools) >= PLACES:
        yield Mistake(("pools",), f"there are {len(config.pools)} pools, and room for {PLACES - 1}")


def _dispatches(config: Config) -> Iterator[Mistake]:
    """Each pool's dispatch is there."""
    for name, pool in config.pools.items():
        try:
            find_dispatch(pool.dispatch)
        except LookupError as mistake:
            yield Mistake(("pools", name, "dispatch"), str(mistake.args[0]))


def _routes(config: Config) -> Iterator[Mistake]:
    """Each route leads somewhere, and takes something that no other takes."""
    taken: dict[tuple[str, str, str], int] = {}
    for number, route in enumerate(config.routes):
        yield from _route(route, number, config)
        for place, guard in enumerate(route.guards):
            if guard not in config.guards:
                near = difflib.get_close_matches(guard, config.guards, n=1)
                hint = f'; did you mean "{near[0]}"?' if near else f"; it needs a section [guards.{guard}]"
                yield Mistake(("routes", number, "guards", place), f"there is no guard {shown(guard)}{hint}")
        for method in route.methods or ("",):
            before = taken.setdefault((route.host, route.path, method), number)
            if before != number:
                yield Mistake(("routes", number), f"takes the same host, path and method as routes[{before}]")
                break


def _route(route: RouteConfig, number: int, config: Config) -> Iterator[Mistake]:
    if route.redirect is not None or route.respond is not None:
        if route.redirect is not None and route.respond is not None:
            yield Mistake(("routes", number), "can redirect or respond, not both")
        if route.respond is not None and route.respond.body and route.respond.status in BODILESS_STATUSES:
            message = f"a response with status {route.respond.status} has none"
            yield Mistake(("routes", number, "respond", "body"), message)
        return
    if route.pool not in config.pools:
        yield Mistake(("routes", number, "pool"), _no_such_pool(route, config))
    if route.strip_prefix and not _below(route.path, route.strip_prefix):
        yield Mistake(
            ("routes", number, "strip_prefix"),
            f"must be the beginning of path, {shown(route.path)}, not {shown(route.strip_prefix)}",
        )


def _no_such_pool(route: RouteConfig, config: Config) -> str:
    names = ", ".join(f'"{name}"' for name in config.pools)
    if route.pool == DEFAULT_POOL:
        return f'there is no pool "{DEFAULT_POOL}": say which one this route leads to ({names}), or add [pools.{DEFAULT_POOL}]'
    close = difflib.get_close_matches(route.pool, list(config.pools), n=1)
    hint = f'did you mean "{close[0]}"?' if close else f"there are {names}; another one needs a section [pools.{route.pool}]"
    return f"there is no pool {shown(route.pool)}; {hint}"


def _below(path: str, prefix: str) -> bool:
    """Whether ``prefix`` is the beginning of ``path`` and ends where a segment does."""
    bare = prefix.rstrip("/")
    return path in (prefix, bare) or path.startswith(bare + "/")


def _reached(config: Config, role: Role) -> Iterator[Mistake]:
    """Requests reach each pool: what no route leads to has been forgotten, or its name is not what it was meant to be.

    With a handoff socket, the routes of another proxy may lead there.
    """
    if not config.routes:
        message = f'missing: with several pools and none called "{DEFAULT_POOL}", say what goes where'
        yield Mistake(("routes",), message)
        return
    if role is Role.EMBEDDED and config.acceptor.handoff:
        return
    reached = {route.pool for route in config.routes if route.redirect is None and route.respond is None}
    if not reached <= set(config.pools):
        return  # One of those may be meant, and that is told already.
    for name, pool in config.pools.items():
        if pool.given and name not in reached:
            yield Mistake(("pools", name), f'no route leads to this pool: add [[routes]] with pool = "{name}", or remove it')


# -- listening


def _clashes(config: Config, role: Role) -> Iterator[Mistake]:
    """No two endpoints listen at one place."""
    taken: list[tuple[Place, str, Path]] = []
    for description, path in listened(config, role):
        place = place_of(description)
        if place is None:
            continue
        same = next(((text, other) for known, text, other in taken if known.clashes_with(place)), None)
        if same is None:
            taken.append((place, description, path))
        elif not (same[0] == description and path[0] == same[1][0] == "pools" and path[2] == same[1][2]):
            yield Mistake(path, f"{shown(description)} is the same place as {shown(same[0])} in {key_of(same[1])}")


def listened(config: Config, role: Role) -> Iterator[tuple[str, Path]]:
    """All that is listened on: descriptions, that of the handoff socket among them, and where they stand."""
    if role is not Role.ACCEPTOR:
        for key, descriptions in (("http", config.proxy.http), ("https", config.proxy.https)):
            for number, description in enumerate(descriptions):
                yield description, ("proxy", key, number)
    admin: Optional[str] = config.acceptor.admin if role is Role.ACCEPTOR else config.proxy.admin
    if admin != "none":
        yield str(admin), ("acceptor" if role is Role.ACCEPTOR else "proxy", "admin")
    if role is not Role.PROXY:
        if config.acceptor.handoff:
            escaped = config.acceptor.handoff.replace("\\", "\\\\").replace(":", "\\:")
            yield f"unix:{escaped}", ("acceptor", "handoff")
        for name, pool in config.pools.items():
            for key in ("slots", "slots_tls"):
                for number, description in enumerate(getattr(pool, key)):
                    yield description, ("pools", name, key, number)
