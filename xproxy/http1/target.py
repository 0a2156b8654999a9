"""Request targets (RFC 9112 section 3.2), hosts (RFC 3986 section 3.2.2)."""

from __future__ import annotations

import ipaddress
import re
from typing import Tuple

from xproxy.http1.errors import BadMessage

_common_host = re.compile(rb"[A-Za-z0-9._~-]{1,255}(?::[1-9][0-9]{0,3})?").fullmatch
_host = re.compile(rb"([A-Za-z0-9._~-]{1,255}|\[([0-9A-Fa-f:.]{2,45})\])(?::(?:0*([0-9]{1,5}))?)?").fullmatch
_origin_form = re.compile(rb"/[!-\"$->@-\[\]-~]*(?:\?[!-\"$-~]*)?").fullmatch
_absolute_form = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)(.*)").fullmatch


def checked_host(host: bytes) -> bytes:
    """A Host or the authority of a target, when it is a name or an address with or without a port.

    Stricter than RFC 3986: no user (RFC 9110 section 4.2.4), no percent-encoding or sub-delims in a name, no empty name, no
    zone in an IPv6 address.

    :returns: the same, without the colon of an empty port and without zeros before a port (RFC 3986 section 6.2.3).
    :raises BadMessage: 400.
    """
    if _common_host(host):
        return host
    match = _host(host)
    if match is None:
        raise BadMessage(400, "host")
    name, address, port = match.groups()
    if address is not None:
        try:
            ipaddress.IPv6Address(address.decode("ascii"))
        except ValueError:
            raise BadMessage(400, "host") from None
    if port is None:
        return bytes(name)
    if int(port) > 65535:
        raise BadMessage(400, "host")
    return b"%b:%d" % (name, int(port))


def local_host(address: str, port: int, scheme: bytes) -> bytes:
    """The Host for a request of HTTP/1.0 that names none: where the request came in (RFC 9112 section 3.3).

    :param address: of our end of the client's connection; empty: it has none (UNIX).
    :param port: of our end; left out when it is the scheme's own.
    """
    if not address:
        return b"localhost"
    name = address.partition("%")[0].encode("ascii")
    if b":" in name:
        name = b"[%b]" % name
    return name if port == (443 if scheme == b"https" else 80) else b"%b:%d" % (name, port)


def split_target(method: bytes, target: bytes, host: bytes) -> Tuple[bytes, bytes]:
    """The effective authority and the origin-form of a target in any of the four forms.

    :param host: the Host received, which only an authority in the target overrules (RFC 9112 section 3.2.2).
    :returns: (authority, path with query); the path is ``*`` for the asterisk-form and empty for CONNECT.
    :raises BadMessage: 400.
    """
    if method == b"CONNECT":
        authority = checked_host(target)
        if authority.endswith(b"]") or b":" not in authority:
            raise BadMessage(400, "target")
        return authority, b""
    if _origin_form(target):
        return host, target
    if target == b"*" and method == b"OPTIONS":
        return host, target
    absolute = _absolute_form(target)
    if absolute is None:
        raise BadMessage(400, "target")
    rest = absolute[2]
    if not rest and method == b"OPTIONS":
        path = b"*"
    elif rest[:1] == b"/":
        path = rest
    else:
        path = b"/" + rest
    if path != b"*" and not _origin_form(path):
        raise BadMessage(400, "target")
    return checked_host(absolute[1]), path
