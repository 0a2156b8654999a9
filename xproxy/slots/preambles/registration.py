"""Registrations: what a service sends first on a slot, read here at the acceptor and built here for the service's side.

Three kinds (docs/architecture/slots.md, "Registration"): raw sends nothing; mxproxy says an address; the PROXY protocol says an
address too and, with version 2, the pool, the instance and the token as TLVs. Whether the slot may join is decided elsewhere:
what is here was only said, not proved.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import Dict, List, Optional, Tuple, Union

import attr

from xproxy.slots.preambles.preamble import Address, PreambleError, begins, check_port, ip_text, packed_ip, shown
from xproxy.slots.preambles.proxy_header import (
    TLV_UNIQUE_ID,
    V1_PREFIX,
    V2_SIGNATURE,
    ProxyHeader,
    Tlv,
    build_v2,
    read_proxy_header,
)

AUTO_RAW_S = 1.0
"""A service that has sent nothing for this long is taken for raw: on a loaded host the preamble of one in five comes more than
100 ms after its connection. What comes even later is recognised yet (``begins_preamble``). Only ``auto`` waits."""

MXPROXY_SIGNATURE = b"\r\n\r\nMXPROXY\n"
MXPROXY_FIXED_BYTES = 16

TLV_POOL = 0xE0
"""PP2_TYPE_MIN_CUSTOM, the first of the types that applications may use as they like."""
TLV_TOKEN = 0xE1
MAX_TOKEN_BYTES = 256

RAW, MXPROXY, PROXY, AUTO = "raw", "mxproxy", "proxy", "auto"
MODES = (AUTO, RAW, MXPROXY, PROXY)

_SIGNATURES: Dict[str, Tuple[bytes, ...]] = {
    RAW: (),
    MXPROXY: (MXPROXY_SIGNATURE,),
    PROXY: (V1_PREFIX, V2_SIGNATURE),
    AUTO: (MXPROXY_SIGNATURE, V1_PREFIX, V2_SIGNATURE),
}
_POOL = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_INSTANCE = re.compile(rb"[A-Za-z0-9._:@/+=,#~\[\]-]{1,128}")
"""The specification's limit for UNIQUE_ID is 128 bytes (section 2.2.5)."""


@attr.frozen
class Registration:
    """What a slot said about itself.

    :ivar kind: "raw", "mxproxy" or "proxy".
    :ivar pool: the pool it wants to join, None when it did not say. Letters, digits, ``._-``; at most 64.
    :ivar address: where the service is, as it or a balancer before it says; None when nobody said.
    :ivar instance: which process of the service it is. Printable, without spaces and quotes; at most 128.
    :ivar token: any bytes, 1 to 256: not shown, and to be compared in constant time.
    """

    kind: str
    pool: Optional[str] = None
    address: Optional[Address] = None
    instance: Optional[str] = None
    token: Optional[bytes] = attr.field(default=None, repr=False)


class RegistrationParser:
    """Reads the registration of one slot from bytes that come in pieces.

    :ivar immediate: the registration when none is to be waited for (mode "raw"), else None. Bytes are then an error.
    """

    __slots__ = ("immediate", "_mode", "_buffer", "_over")

    def __init__(self, mode: str) -> None:
        if mode not in _SIGNATURES:
            raise ValueError(f"{mode!r} is none of {', '.join(MODES)}")
        self.immediate = Registration(RAW) if mode == RAW else None
        self._mode = mode
        self._buffer = b""
        self._over = False

    def feed(self, data: bytes) -> Optional[Tuple[Registration, bytes]]:
        """The registration and what came after it, as soon as it is whole, else None.

        :raises PreambleError: as soon as it is certain that this is no registration of the expected kind.
        :raises RuntimeError: when there was a result or an error already.
        """
        if self._over:
            raise RuntimeError("this parser has read its registration")
        buffer = self._buffer + data
        self._over = True
        found = self._read(buffer)
        if found is None:
            self._buffer = buffer
            self._over = False
            return None
        registration, end = found
        self._buffer = b""
        return registration, buffer[end:]

    def silent(self) -> Optional[Registration]:
        """Nothing more came for AUTO_RAW_S: a raw registration, or None when a preamble has begun or must come."""
        if self._mode == RAW or (self._mode == AUTO and not self._buffer and not self._over):
            self._over = True
            return Registration(RAW)
        return None

    def _read(self, buffer: bytes) -> Optional[Tuple[Registration, int]]:
        if not buffer:
            return None
        for signature in _SIGNATURES[self._mode]:
            if begins(buffer, signature):
                break
        else:
            if self._mode == RAW:
                raise PreambleError("unexpected", f"a raw slot sent {shown(buffer)} before any request")
            raise PreambleError("signature", f"no registration of kind {self._mode} begins with {shown(buffer)}")
        if len(buffer) < len(signature):
            return None
        if signature == MXPROXY_SIGNATURE:
            return _read_mxproxy(buffer)
        found = read_proxy_header(buffer)
        return None if found is None else (_from_proxy_header(found[0]), found[1])


def begins_preamble(data: bytes) -> bool:
    """Whether these first bytes of a slot are those of a preamble, as far as they go.

    No HTTP response begins so, and nothing else that a slot may say: what does is a registration that comes late.
    """
    return bool(data) and any(begins(data, signature) for signature in _SIGNATURES[AUTO])


def is_pool_name(name: str) -> bool:
    """Whether a pool can be called this: letters, digits, ``._-``, 1 to 64 of them, the first a letter or digit."""
    return name.isascii() and _POOL.fullmatch(name.encode("ascii")) is not None


def build_mxproxy(address: str, port: int) -> bytes:
    """The mxproxy preamble: 22 bytes for an IPv4 address, 34 for IPv6. Raises PreambleError."""
    packed = packed_ip(address)
    family = 0x11 if len(packed) == 4 else 0x21
    return MXPROXY_SIGNATURE + struct.pack("!BBH", 0x21, family, len(packed) + 2) + packed + struct.pack("!H", check_port(port))


def build_registration(
    pool: Optional[str] = None,
    instance: Optional[str] = None,
    token: Union[str, bytes, None] = None,
    source: Optional[Address] = None,
    destination: Optional[Address] = None,
) -> bytes:
    """A PROXY protocol version 2 header with our TLVs; LOCAL when no addresses are given.

    What is None or empty is left out; a text token is sent as UTF-8. Raises PreambleError for what an acceptor would refuse.
    """
    tlvs: List[Tlv] = []
    for kind, value in ((TLV_POOL, pool), (TLV_UNIQUE_ID, instance), (TLV_TOKEN, token)):
        if value:
            tlvs.append((kind, value.encode("utf-8") if isinstance(value, str) else value))
    _from_proxy_header(ProxyHeader(2, local=True, tlvs=tuple(tlvs)))
    return build_v2(source, destination, tlvs, local=source is None)


def _read_mxproxy(buffer: bytes) -> Optional[Tuple[Registration, int]]:
    """Version and command, family, length, address, port.

    The acceptor that this comes from looks at the length alone, so services may send anything before it. We take what can be
    read in one way only: the versions that the format had (1) and was modelled on (2), both commands, because the address is
    always there, and a family that says nothing or agrees with the length.
    """
    if len(buffer) < MXPROXY_FIXED_BYTES:
        return None
    version_command, family, length = struct.unpack_from("!BBH", buffer, len(MXPROXY_SIGNATURE))
    if version_command >> 4 not in (1, 2):
        raise PreambleError("version", f"version {version_command >> 4} is neither 1 nor 2")
    if version_command & 0x0F not in (0, 1):
        raise PreambleError("command", f"command {version_command & 0x0F} is neither 0 nor 1")
    if family >> 4 > 2 or family & 0x0F > 2:
        raise PreambleError("family", f"unknown family {family:#04x}")
    if length not in (6, 18):
        raise PreambleError("length", f"{length} bytes are no address and port, which take 6 or 18")
    if family >> 4 not in (0, 1 if length == 6 else 2):
        raise PreambleError("family", f"family {family:#04x} does not agree with {length} bytes")
    end = MXPROXY_FIXED_BYTES + length
    if len(buffer) < end:
        return None
    address = ip_text(ipaddress.ip_address(buffer[MXPROXY_FIXED_BYTES : end - 2]))
    return Registration(MXPROXY, address=(address, int.from_bytes(buffer[end - 2 : end], "big"))), end


def _from_proxy_header(header: ProxyHeader) -> Registration:
    pool, instance, token = header.tlv(TLV_POOL), header.tlv(TLV_UNIQUE_ID), header.tlv(TLV_TOKEN)
    if pool is not None and not _POOL.fullmatch(pool):
        raise PreambleError("pool", f"{shown(pool)} cannot be a pool's name")
    if instance is not None and not _INSTANCE.fullmatch(instance):
        raise PreambleError("instance", f"{shown(instance)} cannot be an instance's name")
    if token is not None and not 1 <= len(token) <= MAX_TOKEN_BYTES:
        raise PreambleError("token", f"a token of {len(token)} bytes; 1 to {MAX_TOKEN_BYTES} are possible")
    return Registration(
        PROXY,
        None if pool is None else pool.decode("ascii"),
        header.source,
        None if instance is None else instance.decode("ascii"),
        token,
    )
