"""Who may register a slot: the peer's address, the token, and whether an endpoint may be open at all."""

from __future__ import annotations

import hmac
from typing import Tuple

import attr
from twisted.internet.interfaces import IListeningPort

from ..config import EVERYWHERE, LOOPBACK, Config, PoolConfig
from ..config.rules import exposure
from ..net.peers import peer_host
from ..slots.access import allowed
from ..startup import StartupError


def pools_at(config: Config, description: str, secure: bool) -> Tuple[PoolConfig, ...]:
    """The pools whose services register at this endpoint, in the order of the configuration.

    At an endpoint over TLS the certificate says who may come, so nothing else has to: not even an address, unless the
    operator asked for it.

    :param secure: the endpoint is one of ``slots_tls``.
    """
    if not secure:
        return tuple(pool for pool in config.pools.values() if description in pool.slots)
    pools = [pool for pool in config.pools.values() if description in pool.slots_tls]
    return tuple(pool if pool.allow_given else attr.evolve(pool, allow=EVERYWHERE) for pool in pools)


def token_matches(pool: PoolConfig, token: bytes) -> bool:
    """Whether the slot brought the pool's token, when it has one; compared in constant time."""
    return not pool.token or hmac.compare_digest(pool.token.encode(), token)


def check_exposure(pool: PoolConfig, description: str, port: IListeningPort) -> None:
    """Whoever can register a slot is sent requests: so nobody listens to the world without having said who may come.

    :raises StartupError: the endpoint is reachable from other hosts, and the pool has neither an allow-list nor a token.
    """
    host = peer_host(port.getHost())
    message = exposure(pool, description) if host and not allowed(host, LOOPBACK) else ""
    if message:
        raise StartupError(f"pool {pool.name}: {message}")
