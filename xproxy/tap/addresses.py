"""Addresses as people and endpoint descriptions write them."""

from __future__ import annotations

import os

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a program that listens on all addresses is reached."""


def url(address: IAddress, scheme: str = "http") -> str:
    """The URL of a listening address, as a browser would be given it."""
    if isinstance(address, IPv4Address):
        return f"{scheme}://{_ANY.get(address.host, address.host)}:{address.port}/"
    if isinstance(address, IPv6Address):
        return f"{scheme}://[{_ANY.get(address.host, address.host)}]:{address.port}/"
    return plain(address)


def plain(address: IAddress) -> str:
    """The address itself, on one line."""
    if isinstance(address, IPv4Address):
        return f"{address.host}:{address.port}"
    if isinstance(address, IPv6Address):
        return f"[{address.host}]:{address.port}"
    if isinstance(address, UNIXAddress) and address.name is not None:
        return os.fsdecode(address.name)
    return str(address)


def client_description(address: IAddress) -> str:
    """The description of a client endpoint that connects to a listening address.

    :raises ValueError: no endpoint can.
    """
    if isinstance(address, (IPv4Address, IPv6Address)):
        return f"tcp:{_quoted(_ANY.get(address.host, address.host))}:{address.port}"
    if isinstance(address, UNIXAddress) and address.name is not None:
        return f"unix:{_quoted(os.fsdecode(address.name))}"
    raise ValueError(f"nothing can connect to {address}")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:").replace("=", "\\=")
