"""Who may register a slot: the peer's address, the token, and whether an endpoint may be open at all."""

from __future__ import annotations

import hmac

from twisted.internet.interfaces import IListeningPort

from ..config import LOOPBACK, PoolConfig
from ..config.rules import exposure
from ..net.peers import peer_host
from ..slots.access import allowed
from ..startup import StartupError


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
