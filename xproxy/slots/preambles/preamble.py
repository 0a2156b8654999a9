"""What the parsers of preambles (PROXY protocol, mxproxy) have in common: the error, addresses, texts that may be shown.

A preamble is what a connection brings before the bytes that it is for. Everything in it was written by a stranger: a parser
returns either checked values or a PreambleError whose reason is one of a few, so that it can label a metric.
"""

from __future__ import annotations

import ipaddress
from typing import Tuple, Union

Address = Tuple[str, int]
"""Host (an IP address in its canonical text) and port."""

IPAddress = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

REASONS = frozenset(
    {
        "signature",  # these bytes begin no preamble that is expected here
        "unexpected",  # no preamble was expected, and bytes came
        "too_long",
        "grammar",  # a text line is not put together as it should be
        "version",
        "command",
        "family",  # unknown, or it does not agree with the addresses or their length
        "length",  # a length that cannot hold what it must
        "address",
        "port",
        "tlv",  # a TLV does not fill its place, or must not be there twice
        "checksum",
        "pool",
        "instance",
        "token",
    }
)
"""All that ``PreambleError.reason`` can be."""


class PreambleError(ValueError):
    """A preamble is wrong: the connection is to be closed.

    :ivar reason: one of REASONS, for a metric's label.
    The message is one printable line, for the log; it never holds a token.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def begins(buffer: bytes, signature: bytes) -> bool:
    """Whether ``buffer`` has, as far as it goes, this signature at its beginning."""
    return buffer[: len(signature)] == signature[: len(buffer)]


def shown(value: bytes) -> str:
    """Foreign bytes for a log line: printable and short."""
    return repr(value[:48])[1:] + ("..." if len(value) > 48 else "")


def ip_text(address: IPAddress) -> str:
    """The canonical text; an IPv4-mapped address is written alike on every version of Python (3.13 changed it)."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return f"::ffff:{address.ipv4_mapped}"
    return str(address)


def packed_ip(host: str) -> bytes:
    """An IP address for the wire, 4 or 16 bytes. Raises PreambleError."""
    try:
        return ipaddress.ip_address(host).packed
    except ValueError:
        raise PreambleError("address", f"{host!r} is not an IP address") from None


def check_port(port: int) -> int:
    """The port. Raises PreambleError when it is none."""
    if not 0 <= port <= 65535:
        raise PreambleError("port", f"{port!r} is not a port")
    return port
