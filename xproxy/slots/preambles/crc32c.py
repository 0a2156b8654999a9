"""CRC-32C (Castagnoli), which PROXY protocol version 2 may carry; the standard library has only the other polynomial."""

from __future__ import annotations

from typing import Tuple

POLYNOMIAL = 0x82F63B78
"""Bit-reversed, as RFC 3720 section 12.1 uses it."""


def _table() -> Tuple[int, ...]:
    entries = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ (POLYNOMIAL if entry & 1 else 0)
        entries.append(entry)
    return tuple(entries)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The checksum of ``data``, 0 to 2**32 - 1."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
