"""Checks of single configuration values: from what TOML or a command line gave to the value that ``tree`` holds.

A check takes any object and returns the value to keep, or raises ``ValueError`` whose text goes after "FILE: key: ". They serve
``reading`` and ``tap.options`` alike, so that a mistake reads the same wherever it was made.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.endpoints import serverFromString

from .tree import Network, networks

T = TypeVar("T")

Check = Callable[[object], Any]

MAX_SECONDS = 31 * 24 * 3600.0
"""No timeout of ours is longer than a month: a larger number is a mistyped one."""

MAX_SOCKET_PATH_BYTES = 107
"""``sun_path`` has 108 bytes on Linux, one of them the closing NUL (unix(7))."""

MAX_TEXT_BYTES = 4096
"""Long enough for a Location or a path; everything longer is a mistake."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 section 5.6.2."""

_POOL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_HOST = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*|\[[0-9a-f:.]+\]|\*")

_SERVICE_HOST = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")

_SERVICE_URI = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9._~%!$&'()+,;=:@/-]+")
"""RFC 3986, without query and fragment: as SPIFFE IDs are."""

_HOST_AND_PORT = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

_PORT = re.compile(r"(?:^|:)(?:tcp6?|ssl|tls):(?:port=)?(-?[0-9]+)(?::|$)")


def text(value: object) -> str:
    """A text on one line, perhaps empty."""
    if not isinstance(value, str):
        raise ValueError(f"must be a text in quotes, not {shown(value)}")
    if len(value.encode("utf-8", "replace")) > MAX_TEXT_BYTES:
        raise ValueError(f"is longer than {MAX_TEXT_BYTES} bytes")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("must not contain control characters")
    return value


def whole_number(low: int, high: int) -> Callable[[object], int]:
    """A check for whole numbers from ``low`` to ``high``, both included."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be a whole number, not {shown(value)}")
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}, not {value}")
        return value

    return check


def seconds(low: float = 0.001, high: float = MAX_SECONDS) -> Callable[[object], float]:
    """A check for times in seconds."""

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"must be a number of seconds, not {shown(value)}")
        if math.isnan(value) or not low <= value <= high:
            raise ValueError(f"must be from {low:g} to {high:g} seconds, not {value}")
        return float(value)

    return check


def one_of(*words: str) -> Callable[[object], str]:
    """A check for one of a few words."""

    def check(value: object) -> str:
        if value not in words:
            choice = ", ".join(f'"{word}"' for word in words[:-1]) + f' or "{words[-1]}"'
            raise ValueError(f"must be {choice}, not {shown(value)}")
        return str(value)

    return check


def true_or_false(value: object) -> bool:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {shown(value)}")
    return value


def https_port(value: object) -> int:
    """``true``, ``false``, or the port that clients find HTTPS at."""
    if isinstance(value, bool):
        return 443 if value else 0
    return int(whole_number(1, 65535)(value))


def on_off(value: object) -> bool:
    """``"on"`` or ``"off"``."""
    return one_of("on", "off")(value) == "on"


def list_of(check: Callable[[object], T], least: int = 0) -> Callable[[object], tuple[T, ...]]:
    """A check for lists; the text of a mistake says which entry it is."""

    def check_all(value: object) -> tuple[T, ...]:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"must be a list in square brackets, not {shown(value)}")
        if len(value) < least:
            raise ValueError("must not be empty" if least == 1 else f"needs at least {least} entries")
        entries = []
        for number, entry in enumerate(value, 1):
            try:
                entries.append(check(entry))
            except ValueError as mistake:
                place = "" if len(value) == 1 else f"entry {number}: "
                raise ValueError(f"{place}{mistake}") from mistake
        return tuple(entries)

    return check_all


def cidr(value: object) -> Network:
    """A network such as ``10.0.0.0/8``, or one address."""
    given = text(value)
    try:
        return networks(given)[0]
    except ValueError as mistake:
        raise ValueError(f"{shown(given)} is not a network in CIDR notation: {_reason(mistake)}") from mistake


def endpoint(value: object) -> str:
    """A Twisted server endpoint description, parsed but not listened on.

    A descriptor that systemd is to pass need not be there yet, so that a configuration can be checked outside its unit.
    """
    description = text(value)
    if not description:
        raise ValueError("an endpoint description must not be empty")
    try:
        # None: endpoints keep their reactor for the moment when they listen, and nobody listens here.
        serverFromString(None, description)
    except (IndexError, KeyError) as missing:
        if not description.startswith("systemd:"):
            raise ValueError(f"{shown(description)} is not a server endpoint description: {_reason(missing)}") from missing
    except Exception as mistake:  # a plugin's parser may raise anything
        raise ValueError(f"{shown(description)} is not a server endpoint description: {_reason(mistake)}") from mistake
    port = _PORT.search(description)
    if port is not None and not 0 <= int(port.group(1)) <= 65535:
        raise ValueError(f"{shown(description)} has a port that is not from 0 to 65535")
    return description


def plain_endpoint(value: object) -> str:
    """An endpoint description whose connections begin without TLS."""
    given = text(value)
    if given.startswith(("ssl:", "tls:", "haproxy:ssl:", "haproxy:tls:")):
        raise ValueError(f'{shown(given)} brings TLS of its own; write "tcp:", the certificates have keys of their own')
    return endpoint(given)


def endpoint_or_none(value: object) -> str:
    """An endpoint description, or ``"none"``."""
    return "none" if value == "none" else endpoint(value)


def path(value: object) -> str:
    """A path, made absolute, since twistd may change the directory before it is used."""
    given = text(value)
    if not given:
        raise ValueError("must not be empty")
    return os.path.abspath(given)


def socket_path(value: object) -> str:
    """Where a UNIX socket is or will be."""
    absolute = path(value)
    length = len(os.fsencode(absolute))
    if length > MAX_SOCKET_PATH_BYTES:
        raise ValueError(f"{shown(absolute)} is {length} bytes long, a socket's path has at most {MAX_SOCKET_PATH_BYTES}")
    return absolute


def directory(value: object) -> str:
    """A directory that is there."""
    absolute = path(value)
    if not os.path.isdir(absolute):
        raise ValueError(f"{shown(absolute)} is not a directory")
    return absolute


def log_target(value: object) -> str:
    """A path, ``"-"`` for standard output or ``"none"``."""
    return str(value) if value in ("-", "none") else path(value)


def token(value: object) -> str:
    """A word of HTTP (RFC 9110 section 5.6.2): a method, a pseudonym."""
    return _matching(_TOKEN, value, "a word without spaces or separators")


def pool_name(value: object) -> str:
    """What a pool may be called."""
    return _matching(_POOL_NAME, value, "1 to 64 letters, digits, dots, dashes or underscores")


def host(value: object) -> str:
    """Which hosts a route takes."""
    given = text(value).lower()
    return _matching(_HOST, given, 'a host name without port, "*.example.com" or "*"')


def service_name(value: object) -> str:
    """A name in a service's certificate: a host name, or a URI like ``spiffe://example.com/web``; no wildcard, no address."""
    given = text(value)
    if "://" in given:
        return _matching(_SERVICE_URI, given, "a URI without wildcard, query and fragment")
    return _matching(_SERVICE_HOST, given.lower().rstrip("."), "a host name without wildcard, or a URI")


def host_and_port(value: object) -> str:
    """What a Host field may say (RFC 9110 section 7.2)."""
    return _matching(_HOST_AND_PORT, value, "a host name, with or without a port")


def url_path(value: object) -> str:
    """The beginning of a path that a route takes, or takes away."""
    given = text(value)
    if not given.startswith("/") or any(character in given for character in "?# "):
        raise ValueError(f'must begin with "/" and have no "?", "#" or space, not {shown(given)}')
    return given


def location(value: object) -> str:
    """A Location (RFC 9110 section 10.2.2) with ``{host}`` and ``{target}`` as its only variables."""
    given = text(value)
    if not given or " " in given or not given.isascii():
        raise ValueError("must be a URL without spaces, in ASCII")
    for name in re.findall(r"\{(.*?)\}", given):
        if name not in ("host", "target"):
            raise ValueError(f"knows {{host}} and {{target}}, not {{{name}}}")
    return given


def field_value(value: object) -> str:
    """What can stand in a header field: ASCII on one line."""
    given = text(value)
    if not given or not given.isascii() or given != given.strip():
        raise ValueError("must be ASCII text without spaces around it")
    return given


def content(value: object) -> bytes:
    """A body written as text, sent as UTF-8."""
    if not isinstance(value, str):
        raise ValueError(f"must be a text in quotes, not {shown(value)}")
    return value.encode("utf-8")


def shown(value: object) -> str:
    """A value for a message: on one line and short."""
    written = str(value).lower() if isinstance(value, bool) else repr(value)
    if isinstance(value, dict):
        written = "a table"
    return written if len(written) <= 80 else written[:77] + "..."


def _matching(pattern: re.Pattern[str], value: object, meaning: str) -> str:
    given = text(value)
    if pattern.fullmatch(given) is None:
        raise ValueError(f"must be {meaning}, not {shown(given)}")
    return given


def _reason(mistake: Exception) -> str:
    """An exception's text on one line, without the name of the function that Python puts in front of an argument mistake."""
    if isinstance(mistake, KeyError):
        return f"nothing is called {mistake}"
    said = " ".join(str(mistake).split()) or type(mistake).__name__
    return re.sub(r"^[\w.<>]+\(\) ", "", said)
