"""Who may register a slot: the peer's address, the token, and whether an endpoint may be open at all."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Optional

from twisted.internet.interfaces import IAddress, IListeningPort

from ..config import LOOPBACK, PoolConfig
from ..slots.access import allowed
from ..startup import StartupError


def peer_host(peer: Optional[IAddress]) -> Optional[str]:
    """The address of a peer, without the port; None for a UNIX socket, where the mode of the file says who may connect.

    An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) is given as the IPv4 address.
    """
    host = getattr(peer, "host", None)
    if not isinstance(host, str):
        return None
    try:
        mapped = getattr(ipaddress.ip_address(host.partition("%")[0]), "ipv4_mapped", None)
    except ValueError:
        return host
    return host if mapped is None else str(mapped)


def token_matches(pool: PoolConfig, token: bytes) -> bool:
    """Whether the slot brought the pool's token, when it has one; compared in constant time."""
    return not pool.token or hmac.compare_digest(pool.token.encode(), token)


def check_exposure(pool: PoolConfig, description: str, port: IListeningPort) -> None:
    """Whoever can register a slot is sent requests: so nobody listens to the world without having said who may come.

    :raises StartupError: the endpoint is reachable from other hosts, and the pool has neither an allow-list nor a token.
    """
    if pool.token or (pool.allow_given and pool.allow):
        return
    host = peer_host(port.getHost())
    if host is not None and not allowed(host, LOOPBACK):
        raise StartupError(
            f"pool {pool.name}: {description} can be reached from other hosts: say who may register"
            f" (allow in [pools.{pool.name}] or --allow CIDR), set a token, or use slots_tls"
        )
