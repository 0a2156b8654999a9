"""Networks, and the two that mean something by themselves."""

from __future__ import annotations

import ipaddress
from typing import Union

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Networks = tuple[Network, ...]


def networks(*texts: str) -> Networks:
    """Parse CIDR texts; raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)


LOOPBACK = networks("127.0.0.0/8", "::1/128")

EVERYWHERE = networks("0.0.0.0/0", "::/0")
