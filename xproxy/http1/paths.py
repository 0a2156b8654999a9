"""The path of a request as routes see it, and the other ways in which servers read the same bytes.

What is forwarded is what was received; a route is found by what it means. RFC 3986 knows two spellings of one path (escapes of
unreserved characters, dot segments), and servers know more: many take ``//`` for ``/``, ``%2F`` for ``/``, ``\\`` for ``/``,
``/admin;x`` for ``/admin`` (RFC 3986 section 3.3), some decode twice or stop at a NUL. So a route that protects something has
to be found by every reading that a service may make, and ``readings`` gives them all.
"""

from __future__ import annotations

import re
from typing import Callable, List, Tuple

from xproxy.http1.errors import BadMessage

_tangled = re.compile(rb"[%;\\]|//|/\.").search
_tangles = re.compile(rb"[%;\\]|//|/\.").finditer
_harmless = re.compile(rb"%((?!2[5EeFf]|3[Bb]|5[Cc]|00)[0-9A-Fa-f]{2})")
"""Escapes but those of ``%``, ``.``, ``/``, ``;``, ``\\`` and NUL."""

_escape = re.compile(rb"%([0-9A-Fa-f]{2})")
_slashes = re.compile(rb"/{2,}")
_parameters = re.compile(rb";[^/]*")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_to_escape = re.compile(rb"[^A-Za-z0-9/:@!$&'()*+,=._~-]")
"""What needs an escape in a path (RFC 3986 section 3.3), and ``;``: an escaped one begins no parameter."""


def is_tangled(path: bytes) -> bool:
    """Whether servers may read this path (without its query) in more than one way."""
    return _tangled(path) is not None


def _unescape(match: re.Match[bytes]) -> bytes:
    code = int(match[1], 16)
    return bytes((code,)) if code in _UNRESERVED else match[0].upper()


def _decoded(path: bytes) -> bytes:
    return _escape.sub(lambda match: bytes((int(match[1], 16),)), path)


def _without_dots(path: bytes) -> bytes:
    """RFC 3986 section 5.2.4."""
    if b"/." not in path:
        return path
    kept: List[bytes] = []
    segments = path.split(b"/")
    for segment in segments[1:]:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def equivalent_path(path: bytes) -> bytes:
    """The path with unreserved characters decoded and dot segments removed: what RFC 3986 section 6.2.2 calls the same.

    Slashes are left as they are, escaped or repeated, and so is an escape that is none. It can be sent on.
    """
    return _without_dots(_escape.sub(_unescape, path) if b"%" in path else path)


def resolved_path(path: bytes) -> bytes:
    """The path as a strict server resolves it: without parameters, decoded once, slashes merged, dot segments removed.

    As nginx does (``merge_slashes``), and servlet containers. Its bytes are the decoded ones: nothing to be sent on.
    """
    if not is_tangled(path):
        return path
    return _without_dots(_slashes.sub(b"/", _decoded(_parameters.sub(b"", path))))


def escaped_path(path: bytes) -> bytes:
    """A resolved path in the form in which it can be sent."""
    return _to_escape.sub(lambda match: b"%%%02X" % ord(match[0]), path)


def _same(path: bytes) -> bytes:
    return path


_Step = Tuple[Callable[[bytes], bytes], ...]

_STEPS: Tuple[_Step, ...] = (
    (_same, lambda path: _parameters.sub(b"", path)),
    (_same, _decoded, lambda path: _decoded(_decoded(path))),
    (_same, lambda path: _parameters.sub(b"", path)),
    (_same, lambda path: path.replace(b"\\", b"/"), lambda path: path.partition(b"\0")[0]),
    (_same, lambda path: _slashes.sub(b"/", path)),
    (_same, _without_dots),
)
"""In the order in which servers take them; each is done or left out."""

MAX_TANGLES = 64
"""Places of a path at which readings can part. No honest path has that many; each reading costs a look at all of them."""


def readings(path: bytes) -> List[bytes]:
    """Every way in which a server may read this path (without its query), each once; ``resolved_path`` is among them.

    Parameters are cut off before or after decoding or not at all, escapes are decoded not at all, once or twice, a backslash
    is a slash or not, a NUL is the end or not, slashes are merged or not, dot segments are removed or not. Escapes of bytes
    that mean nothing to any of this are decoded in all of them.

    :raises BadMessage: 400, the path has more than MAX_TANGLES places at which readings part.
    """
    path = _harmless.sub(lambda match: bytes((int(match[1], 16),)), path)
    if sum(1 for _ in _tangles(path)) > MAX_TANGLES:
        raise BadMessage(400, "ambiguous-path")
    found = [path]
    for step in _STEPS:
        found = list(dict.fromkeys(then(read) for read in found for then in step))
    return found
