"""Who may: addresses against networks."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Tuple, Union

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


@lru_cache(maxsize=4096)
def allowed(host: str, networks: Tuple[Network, ...]) -> bool:
    """Whether ``host`` lies in one of ``networks``; IPv4 mapped into IPv6 counts as IPv4. What is no address lies in none."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address.version == network.version and address in network for network in networks)
