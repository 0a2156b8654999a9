"""PROXY protocol, versions 1 and 2: what a balancer says about a connection before the connection's own bytes.

Services register with it, and clients may come through a layer-4 balancer that sends it. The specification is HAProxy's
``proxy-protocol.txt`` (section 2.1 version 1, section 2.2 version 2); "section" below means its sections. Whom to believe is
the caller's business: this only reads. Nothing is guessed: a header that two readers could take for different things is an
error.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import Iterable, List, Optional, Tuple

import attr

from xproxy.slots.preambles.crc32c import crc32c
from xproxy.slots.preambles.preamble import Address, IPAddress, PreambleError, begins, check_port, ip_text, packed_ip, shown

V1_PREFIX = b"PROXY "
V1_MAX_BYTES = 107
"""The longest line, CRLF included (section 2.1)."""
V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V2_FIXED_BYTES = 16
MAX_BLOCK_BYTES = 4096
"""Addresses and TLVs of version 2. The specification allows 65,535; AF_UNIX takes 216, a TLV of ours at most 256."""

TLV_CRC32C = 0x03
TLV_UNIQUE_ID = 0x05

_LOCAL, _PROXY = 0, 1
_ADDRESS_BYTES = {0: 0, 1: 12, 2: 36, 3: 216}
"""By the upper half of the family byte: unspecified, IPv4, IPv6, UNIX."""
_FAMILIES = frozenset({0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32})
"""The family bytes of section 2.2; any other must be refused."""
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")

Tlv = Tuple[int, bytes]
"""Type and value."""


@attr.frozen
class ProxyHeader:
    """A header that was read.

    :ivar version: 1 or 2.
    :ivar local: UNKNOWN or LOCAL: it says nothing about the connection, whose own addresses are true.
    :ivar source: where the connection came from; None when the header does not say it as an IP address and a port.
    :ivar destination: what it was made to; None together with ``source``.
    :ivar tlvs: all of them, as they came, padding and checksum too. Not shown by repr: one of them may be a secret.
    """

    version: int
    local: bool
    source: Optional[Address] = None
    destination: Optional[Address] = None
    tlvs: Tuple[Tlv, ...] = attr.field(default=(), repr=False)

    def tlv(self, kind: int) -> Optional[bytes]:
        """The value of the one TLV of this type, None when there is none. Raises PreambleError when there are more."""
        values = [value for found, value in self.tlvs if found == kind]
        if len(values) > 1:
            raise PreambleError("tlv", f"TLV {kind:#04x} comes {len(values)} times")
        return values[0] if values else None


class ProxyHeaderParser:
    """Reads one header from bytes that come in pieces. At most 107 bytes (version 1) or 4,112 (version 2) are kept."""

    __slots__ = ("_buffer", "_over")

    def __init__(self) -> None:
        self._buffer = b""
        self._over = False

    def feed(self, data: bytes) -> Optional[Tuple[ProxyHeader, bytes]]:
        """The header and what came after it, as soon as the header is whole, else None.

        :raises PreambleError: as soon as it is certain that this is no header.
        :raises RuntimeError: when there was a result or an error already.
        """
        if self._over:
            raise RuntimeError("this parser has read its header")
        buffer = self._buffer + data
        self._over = True
        found = read_proxy_header(buffer)
        if found is None:
            self._buffer = buffer
            self._over = False
            return None
        header, end = found
        self._buffer = b""
        return header, buffer[end:]


def read_proxy_header(buffer: bytes) -> Optional[Tuple[ProxyHeader, int]]:
    """The header at the beginning of ``buffer`` and its length, None when more bytes are needed. Raises PreambleError."""
    if begins(buffer, V1_PREFIX):
        return _read_v1(buffer)
    if begins(buffer, V2_SIGNATURE):
        return _read_v2(buffer)
    raise PreambleError("signature", f"no PROXY header begins with {shown(buffer)}")


def _read_v1(buffer: bytes) -> Optional[Tuple[ProxyHeader, int]]:
    line, crlf, _ = buffer[:V1_MAX_BYTES].partition(b"\r\n")
    if not crlf and line.endswith(b"\r"):
        line = line[:-1]
    if b"\r" in line or b"\n" in line:
        raise PreambleError("grammar", "a PROXY line ends with CR and LF, which stand nowhere else")
    if crlf:
        return _parse_v1(line), len(line) + 2
    if len(buffer) >= V1_MAX_BYTES:
        raise PreambleError("too_long", f"a PROXY line has at most {V1_MAX_BYTES} bytes")
    return None


def _parse_v1(line: bytes) -> ProxyHeader:
    """Section 2.1. What follows UNKNOWN is to be ignored, says the specification."""
    fields = line.split(b" ")
    if fields[1] == b"UNKNOWN":
        return ProxyHeader(1, local=True)
    if fields[1] not in (b"TCP4", b"TCP6"):
        raise PreambleError("family", f"{shown(fields[1])} is not TCP4, TCP6 or UNKNOWN")
    if len(fields) != 6:
        raise PreambleError("grammar", "a PROXY line has two addresses and two ports, one space before each")
    source, destination = (_v1_ip(fields[1], text) for text in fields[2:4])
    return ProxyHeader(1, False, (source, _v1_port(fields[4])), (destination, _v1_port(fields[5])))


def _v1_ip(family: bytes, text: bytes) -> str:
    try:
        decoded = text.decode("ascii")
        address: IPAddress = ipaddress.IPv4Address(decoded) if family == b"TCP4" else ipaddress.IPv6Address(decoded)
    except ValueError:
        raise PreambleError("address", f"{shown(text)} is not a {family.decode()} address") from None
    # Older versions of Python let leading zeros pass, which others take for octal; a zone is no part of an address here.
    if (family == b"TCP4" and str(address) != decoded) or "%" in decoded:
        raise PreambleError("address", f"{shown(text)} is not a {family.decode()} address")
    return ip_text(address)


def _v1_port(text: bytes) -> int:
    if not _PORT.fullmatch(text):
        raise PreambleError("port", f"{shown(text)} is not a port")
    return check_port(int(text))


def _read_v2(buffer: bytes) -> Optional[Tuple[ProxyHeader, int]]:
    """Section 2.2: signature, version and command, family, length of the block; then the block, addresses before TLVs."""
    if len(buffer) < V2_FIXED_BYTES:
        return None
    version_command, family, length = struct.unpack_from("!BBH", buffer, len(V2_SIGNATURE))
    if version_command >> 4 != 2:
        raise PreambleError("version", f"version {version_command >> 4} instead of 2")
    command = version_command & 0x0F
    if command not in (_LOCAL, _PROXY):
        raise PreambleError("command", f"command {command} is neither LOCAL nor PROXY")
    if command == _PROXY and family not in _FAMILIES:
        raise PreambleError("family", f"unknown family {family:#04x}")
    if length > MAX_BLOCK_BYTES:
        raise PreambleError("too_long", f"a block of {length} bytes, more than {MAX_BLOCK_BYTES}")
    if command == _PROXY and length < _ADDRESS_BYTES[family >> 4]:
        raise PreambleError("length", f"{length} bytes cannot hold the addresses of family {family:#04x}")
    end = V2_FIXED_BYTES + length
    if len(buffer) < end:
        return None
    return _parse_v2(buffer[:end], command, family), end


def _parse_v2(header: bytes, command: int, family: int) -> ProxyHeader:
    first_tlv = V2_FIXED_BYTES + _ADDRESS_BYTES.get(family >> 4, 0)
    if command == _LOCAL:
        # "The receiver must [...] discard the protocol block including the family which is ignored": so no family is an error.
        # Only where the family says how long the addresses are can TLVs be found behind them.
        known = family in _FAMILIES and first_tlv <= len(header)
        return ProxyHeader(2, True, tlvs=_parse_tlvs(header, first_tlv) if known else ())
    tlvs = _parse_tlvs(header, first_tlv)
    if family >> 4 == 1:
        return ProxyHeader(2, False, *_v2_ends(header, "!4s4sHH"), tlvs)
    if family >> 4 == 2:
        return ProxyHeader(2, False, *_v2_ends(header, "!16s16sHH"), tlvs)
    return ProxyHeader(2, False, None, None, tlvs)


def _v2_ends(header: bytes, layout: str) -> Tuple[Address, Address]:
    source, destination, source_port, destination_port = struct.unpack_from(layout, header, V2_FIXED_BYTES)
    hosts = [ip_text(ipaddress.ip_address(packed)) for packed in (source, destination)]
    return (hosts[0], source_port), (hosts[1], destination_port)


def _parse_tlvs(header: bytes, position: int) -> Tuple[Tlv, ...]:
    """Section 2.2.7: type (1 byte), length (2 bytes), value, up to the end of the header."""
    tlvs: List[Tlv] = []
    checksum_at = None
    while position < len(header):
        start = position + 3
        if start > len(header):
            raise PreambleError("tlv", "the last TLV is cut off")
        kind, length = struct.unpack_from("!BH", header, position)
        position = start + length
        if position > len(header):
            raise PreambleError("tlv", f"TLV {kind:#04x} is longer than the header")
        if kind == TLV_CRC32C:
            if checksum_at is not None or length != 4:
                raise PreambleError("tlv", "a header has one checksum of 4 bytes")
            checksum_at = start
        tlvs.append((kind, header[start:position]))
    if checksum_at is not None and not _checksum_is_right(header, checksum_at):
        raise PreambleError("checksum", "the CRC32C does not agree with the header")
    return tuple(tlvs)


def _checksum_is_right(header: bytes, at: int) -> bool:
    """Section 2.2.3: the checksum is that of the whole header with zeros in the checksum's place."""
    return crc32c(header[:at] + bytes(4) + header[at + 4 :]) == int.from_bytes(header[at : at + 4], "big")


def build_v1(source: Optional[Address], destination: Optional[Address]) -> bytes:
    """A line of version 1; UNKNOWN without addresses. Raises PreambleError for what no reader would take."""
    if source is None or destination is None:
        return b"PROXY UNKNOWN\r\n"
    family, _, _ = _pack_ends(source, destination)
    hosts = [ip_text(ipaddress.ip_address(host)) for host in (source[0], destination[0])]
    return f"PROXY TCP{4 if family == 0x11 else 6} {hosts[0]} {hosts[1]} {source[1]} {destination[1]}\r\n".encode("ascii")


def build_v2(
    source: Optional[Address],
    destination: Optional[Address],
    tlvs: Iterable[Tlv] = (),
    *,
    local: bool = False,
    checksum: bool = False,
) -> bytes:
    """A header of version 2.

    :param source: None (then ``destination`` too): addresses are not said.
    :param local: LOCAL instead of PROXY: the connection is the sender's own.
    :param checksum: add a CRC32C behind the other TLVs.
    :raises PreambleError: for what no reader would take.
    """
    family, addresses = 0x00, b""
    if source is not None and destination is not None:
        family, packed, ports = _pack_ends(source, destination)
        addresses = packed + ports
    elif source is not None or destination is not None:
        raise PreambleError("address", "either both addresses are said or none")
    block = addresses + b"".join(_build_tlv(kind, value) for kind, value in tlvs)
    if checksum:
        block += _build_tlv(TLV_CRC32C, bytes(4))
    if len(block) > MAX_BLOCK_BYTES:
        raise PreambleError("too_long", f"a block of {len(block)} bytes, more than {MAX_BLOCK_BYTES}")
    header = V2_SIGNATURE + struct.pack("!BBH", 0x20 | (_LOCAL if local else _PROXY), family, len(block)) + block
    return header[:-4] + crc32c(header).to_bytes(4, "big") if checksum else header


def _pack_ends(source: Address, destination: Address) -> Tuple[int, bytes, bytes]:
    """Family byte, both IP addresses, both ports."""
    hosts = packed_ip(source[0]), packed_ip(destination[0])
    if len(hosts[0]) != len(hosts[1]):
        raise PreambleError("family", f"{source[0]} and {destination[0]} are of different families")
    ports = struct.pack("!HH", check_port(source[1]), check_port(destination[1]))
    return (0x11 if len(hosts[0]) == 4 else 0x21), b"".join(hosts), ports


def _build_tlv(kind: int, value: bytes) -> bytes:
    if not 0 <= kind <= 0xFF or len(value) > MAX_BLOCK_BYTES:
        raise PreambleError("tlv", f"TLV {kind!r} of {len(value)} bytes")
    return struct.pack("!BH", kind, len(value)) + value
