"""Which lists of fields are messages at all (RFC 9113 sections 8.2 and 8.3).

A list that is no message is *malformed*: a stream error. A message meets the rules of HTTP itself afterwards, in ``http1``.
"""

from __future__ import annotations

import re
from typing import Dict, List, Optional, Tuple

from .errors import malformed

FieldLines = List[Tuple[bytes, bytes]]

PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path"))
"""Those of a request (section 8.3.1). ``:protocol`` (RFC 8441) would have to be allowed by a setting."""

CONNECTION_SPECIFIC = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
"""Section 8.2.2."""

MOST_LENGTH_DIGITS = 18
"""The bound of ``http1.fields``."""

_name = re.compile(rb"[!-9;-@\[-~]+").fullmatch
"""Section 8.2.1: visible ASCII but upper case and the colon. ``http1`` wants a token."""
_value = re.compile(rb"(?:[^\0\n\r\t ](?:[^\0\n\r]*[^\0\n\r\t ])?)?").fullmatch
"""The same section: no NUL, LF or CR, no whitespace at either end."""


def check_request(fields: FieldLines) -> int:
    """Check the fields of a request; returns the Content-Length, -1 when there is none. Raises StreamFault."""
    pseudo: Dict[bytes, bytes] = {}
    host: Optional[bytes] = None
    length = -1
    regular = False
    for name, value in fields:
        if name[:1] == b":":
            if regular or name in pseudo or name not in PSEUDO:
                raise malformed("pseudo-field")
            pseudo[name] = value
        else:
            regular = True
            if _name(name) is None:
                raise malformed("field-name")
            if name == b"content-length":
                if length >= 0:
                    raise malformed("repeated-content-length")
                length = _length(value)
            elif name == b"host":
                if host is not None:
                    raise malformed("repeated-host")
                host = value
            elif name in CONNECTION_SPECIFIC or (name == b"te" and value.lower() != b"trailers"):
                raise malformed("connection-specific-field")
        if _value(value) is None:
            raise malformed("field-value")
    _check_pseudo(pseudo, host)
    return length


def other_path(fields: FieldLines, before: FieldLines) -> bytes:
    """The path of a request that differs only there from one that was checked; empty: elsewhere too, or nowhere.

    Raises StreamFault.
    """
    path = b""
    if len(fields) != len(before):
        return path
    for field, other in zip(fields, before):
        if field is not other and field != other:
            if path or field[0] != b":path" or other[0] != b":path":
                return b""
            path = field[1]
            if not path or _value(path) is None:
                raise malformed("path")
    return path


def _check_pseudo(pseudo: Dict[bytes, bytes], host: Optional[bytes]) -> None:
    if pseudo.get(b":method") == b"CONNECT":  # Section 8.5.
        if pseudo.keys() != {b":method", b":authority"}:
            raise malformed("pseudo-field")
    elif not (pseudo.get(b":method") and pseudo.get(b":scheme") and pseudo.get(b":path")):
        raise malformed("pseudo-field")
    authority = pseudo.get(b":authority")
    if authority is not None and host is not None and not _same_entity(authority, host, pseudo.get(b":scheme", b"")):
        raise malformed("host")


DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


def _same_entity(authority: bytes, host: bytes, scheme: bytes) -> bool:
    """Whether ``:authority`` and Host name the same server, as far as RFC 9113 section 8.3.1 asks a proxy to look: in upper or
    lower case, with the port of the scheme or without it (RFC 3986 section 6.2.3). Only ``:authority`` goes on.
    """
    if authority == host:
        return True
    port = DEFAULT_PORTS.get(scheme.lower(), b":")
    return _bare(authority.lower(), port) == _bare(host.lower(), port)


def _bare(authority: bytes, port: bytes) -> bytes:
    """Without the default port, and without the colon of a port that is empty."""
    return authority[: -len(port)] if authority.endswith(port) else authority[:-1] if authority.endswith(b":") else authority


def check_trailers(fields: FieldLines) -> None:
    """Check the fields of a trailer section. Raises StreamFault."""
    for name, value in fields:
        if _name(name) is None:  # A pseudo-field has a colon.
            raise malformed("trailer-name")
        if name in CONNECTION_SPECIFIC:
            raise malformed("connection-specific-field")
        if _value(value) is None:
            raise malformed("trailer-value")


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > MOST_LENGTH_DIGITS:
        raise malformed("content-length")
    return int(value)
