"""Networks, and the two that mean something by themselves."""

from __future__ import annotations

import ipaddress
from typing import Union

import attr

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Networks = tuple[Network, ...]


def networks(*texts: str) -> Networks:
    """Parse CIDR texts; raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)


@attr.frozen
class UnixPeers:
    """Whoever comes over a UNIX socket, where a network may stand too: the mode of the socket says who that is."""

    def __str__(self) -> str:
        return "unix:"


Trusted = tuple[Union[Network, UnixPeers], ...]

LOOPBACK = networks("127.0.0.0/8", "::1/128")

EVERYWHERE = networks("0.0.0.0/0", "::/0")
