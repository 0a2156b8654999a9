"""Checks of endpoints: Twisted server endpoint descriptions, with the one that was meant where an address was written."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from typing import Optional

import attr
from twisted.internet.endpoints import serverFromString

from ..errors import Unfit, shown
from .check import Check, one_line

DESCRIPTION = "an endpoint description such as tcp:8080:interface=127.0.0.1"

MAX_SOCKET_PATH_BYTES = 107
"""``sun_path`` has 108 bytes on Linux, one of them the closing NUL (unix(7))."""

BALANCED = "haproxy:"
"""In front of an endpoint: balancers begin its connections with a PROXY header. Twisted's own ``haproxy:`` decides on the first
chunk it gets, which may be a part of one; ours takes its place."""

_PORT = re.compile(r"(?:^|:)(?:tcp6?|ssl|tls):(?:port=)?(-?[0-9]+)(?::|$)")

_ADDRESS = re.compile(
    r"(?:tcp[46]?:(?://)?|https?://)?(?:(?P<host>\*|\[[^\]]*\]|[A-Za-z0-9._-]*):)?(?P<port>[0-9]{1,5})(?:/tcp)?/?"
)
"""What other programs take for an address: ``80``, ``:80``, ``localhost:80``, ``[::1]:80``, ``http://host:80/``, ``*:80``."""

_URL = re.compile(r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)/?.*")

_UNIX = re.compile(r"(?:unix[:/@]*(?=/)|unix:)?(?P<path>(?:\.{0,2}/)[^:]*)(?::.*)?")


@attr.frozen
class Place:
    """Where an endpoint listens, as far as its description tells."""

    kind: str
    """tcp, tcp6 or unix."""
    address: str
    """The interface, empty for all of them; or the path of a UNIX socket."""
    port: int = 0
    """0: any free one, or a UNIX socket."""

    def clashes_with(self, other: Place) -> bool:
        """Whether not both can be listened on."""
        if self.kind != other.kind or self.port != other.port or (self.kind != "unix" and not self.port):
            return False
        return self.address == other.address or (self.kind != "unix" and "" in (self.address, other.address))


def parts_of(description: str) -> tuple[list[str], dict[str, str]]:
    """The arguments of a description, those by place (the first is the kind) and those by name.

    A backslash takes the special meaning from the colon or equals sign behind it.
    """
    by_place: list[str] = []
    by_name: dict[str, str] = {}
    name, written = "", ""
    letters = iter(description + ":")
    for letter in letters:
        if letter == "\\":
            written += next(letters)
        elif letter == "=" and not name:
            name, written = written, ""
        elif letter != ":":
            written += letter
        else:
            if name:
                by_name[name] = written
            else:
                by_place.append(written)
            name, written = "", ""
    return by_place, by_name


def place_of(description: str) -> Optional[Place]:
    """Where an endpoint listens; None when only the endpoint itself knows, as with sockets that systemd passes."""
    if description.startswith(BALANCED):
        return place_of(description[len(BALANCED) :])
    by_place, by_name = parts_of(description)
    kind, by_place = by_place[0].lower(), by_place[1:]
    names = {
        "tcp": ["port", "interface"],
        "tcp6": ["port", "backlog", "interface"],
        "ssl": ["port"],
        "unix": ["address"],
    }.get(kind)  # fmt: skip
    if names is None:
        return None
    values = {**dict(zip(names, by_place)), **by_name}
    if kind == "unix":
        return Place("unix", os.path.abspath(values.get("address", "")))
    try:
        port = int(values.get("port", ""))
    except ValueError:
        return None
    interface = values.get("interface", "")
    return Place("tcp6" if kind == "tcp6" or ":" in interface else "tcp", _canonical(interface), port)


def _canonical(interface: str) -> str:
    """An address in one way of writing; empty for all interfaces."""
    if interface.lower() == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(interface.partition("%")[0])
    except ValueError:
        return interface
    return "" if address.is_unspecified else str(address)


def waits_for_systemd(description: str) -> bool:
    """Whether the socket is passed by systemd, which it does only to the unit itself."""
    return description.removeprefix(BALANCED).startswith("systemd:")


def _parsed(description: str) -> str:
    # None: endpoints keep their reactor for the moment when they listen, and nobody listens here.
    serverFromString(None, description)
    return description


def _parse(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        raise Unfit(f"must be {DESCRIPTION}", value, hint=_meant(str(value)))
    description = one_line(value, DESCRIPTION)
    if not description:
        raise Unfit("an endpoint description must not be empty")
    plain = description[len(BALANCED) :] if description.startswith(BALANCED) else description
    if plain.partition(":")[0].lower() == "slots":
        raise Unfit(f"must be {DESCRIPTION}", description, hint="slots: is what a service listens on, not what it dials")
    if waits_for_systemd(description):
        _check_systemd(plain)
        return description
    try:
        _parsed(plain)
    except Exception as mistake:  # a plugin's parser may raise anything
        meant = _meant(plain)
        raise Unfit(f"must be {DESCRIPTION}", description, "" if meant else _reason(mistake), meant) from mistake
    port = _PORT.search(plain)
    if port is not None and not 0 <= int(port.group(1)) <= 65535:
        raise Unfit(f"must be {DESCRIPTION}", description, "the port must be from 0 to 65535")
    _check_path(plain)
    return description


def _check_systemd(description: str) -> None:
    """A socket that systemd passes need not be there yet, so that a configuration can be checked outside its unit."""
    _, by_name = parts_of(description)
    domain, which = by_name.pop("domain", ""), [name for name in by_name if name in ("index", "name")]
    if len(which) != 1 or len(by_name) != 1 or parts_of(description)[0] != ["systemd"]:
        reason = "it needs domain= and one of name= and index="
    elif not hasattr(socket, f"AF_{domain}"):
        reason = f"there is no domain {shown(domain)}; INET, INET6 and UNIX are common"
    elif which == ["index"] and not by_name["index"].isdigit():
        reason = "index must be a number from 0"
    else:
        return
    raise Unfit(f"must be {DESCRIPTION}", description, reason, 'such as "systemd:domain=INET:name=http"')


def _check_path(description: str) -> None:
    place = place_of(description)
    if place is not None and place.kind == "unix":
        length = len(os.fsencode(place.address))
        if length > MAX_SOCKET_PATH_BYTES:
            raise Unfit("has a path that is too long", description, f"{length} bytes, at most {MAX_SOCKET_PATH_BYTES}")


def _reason(mistake: Exception) -> str:
    """An exception's text on one line, without the name of the function that Python puts in front of an argument mistake."""
    if isinstance(mistake, (KeyError, IndexError)):
        return f"nothing is called {mistake}"
    said = " ".join(str(mistake).split()) or type(mistake).__name__
    if "invalid literal for int()" in said:
        return f"{said.rpartition(': ')[2]} is not a number"
    said = re.sub(r"^[\w.<>]+\(\) ", "", said)
    said = re.sub(r"missing \d+ required positional arguments?: ", "it lacks ", said)
    return re.sub(r"got an unexpected keyword argument ", "it knows no ", said)


def _meant(given: str) -> str:
    """A hint at the description that was probably meant."""
    if "$" in given:
        return 'variables are not replaced: { env = "NAME" } takes a whole text from the environment'
    found = _suggestion(given.strip())
    if found:
        return f"did you mean '{found}'?"
    return "the port is missing" if _is_address(given.strip("[]")) else ""


def _suggestion(given: str) -> str:
    match = _UNIX.fullmatch(given)
    if match is not None:
        return f"unix:{match['path']}"
    match = _ADDRESS.fullmatch(given)
    if match is not None and match["host"] not in ("ssl", "tls", "unix", "systemd") and int(match["port"]) <= 65535:
        return _tcp(match["host"] or "", match["port"])
    match = _URL.fullmatch(given)
    if match is not None:
        return _tcp(match["host"], "443" if match["scheme"] == "https" else "80")
    address, colon, port = given.rpartition(":")
    if colon and port.isdigit() and int(port) <= 65535 and _is_address(address):
        return _tcp(f"[{address}]", port)
    return ""


def client_meant(given: str) -> str:
    """A hint at the client endpoint description that was probably meant; empty: there is no guess."""
    match = _UNIX.fullmatch(given)
    if match is not None:
        return f"did you mean 'unix:{match['path']}'?"
    match = _ADDRESS.fullmatch(given)
    if match is None or int(match["port"]) > 65535 or (match["host"] or "").startswith("["):
        return ""
    host = match["host"] if match["host"] not in (None, "", "*", "0.0.0.0", "localhost") else "127.0.0.1"
    return f"did you mean 'tcp:{host}:{match['port']}'?"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _tcp(host: str, port: str) -> str:
    """The description of a TCP port; a host that is no address of ours to name (``example.com``) is left out."""
    host = host.strip("[]")
    if host.lower() == "localhost":
        host = "127.0.0.1"
    if ":" in host:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return ""
        return f"tcp6:{port}" if address.is_unspecified else f"tcp6:{port}:interface=" + str(address).replace(":", r"\:")
    if not _is_address(host) or ipaddress.ip_address(host).is_unspecified:
        return f"tcp:{port}"
    return f"tcp:{port}:interface={host}"


def _parse_plain(value: object) -> str:
    given = _parse(value) if not isinstance(value, str) else value
    kind = given.removeprefix(BALANCED).partition(":")[0].lower()
    if kind in ("ssl", "tls"):
        port = place_of(given)
        meant = f"did you mean '{_tcp(port.address, str(port.port))}'?" if port is not None else ""
        raise Unfit(f"must be {PLAIN}", given, "it brings TLS of its own, the certificates have keys of their own", meant)
    return _parse(given)


def _parse_or_none(value: object) -> str:
    return "none" if value == "none" else _parse(value)


PLAIN = "an endpoint description without TLS, such as tcp:8443"

endpoint = Check(DESCRIPTION, "endpoint", _parse, of_text=True)
"""A Twisted server endpoint description, parsed but not listened on."""

plain_endpoint = Check(PLAIN, "endpoint", _parse_plain, of_text=True)
"""One whose connections begin without TLS."""

endpoint_or_none = Check('an endpoint description or "none"', 'endpoint, "none"', _parse_or_none, of_text=True)
