"""Checks of names: networks, hosts, pools, methods, paths of files and of URLs."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from typing import Union
from urllib.parse import quote

from ...http1.paths import equivalent_path
from ...slots.preambles.registration import MAX_TOKEN_BYTES, is_pool_name
from ..errors import Unfit, shown
from ..networks import Network, UnixPeers, networks
from .check import Check, of_text
from .endpoints import MAX_SOCKET_PATH_BYTES

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 section 5.6.2."""

_FILE_MODE = re.compile(r"0?6[0246][0246]")

_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")

_HOST = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*|\*")

_SERVICE_HOST = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")

_SERVICE_URI = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9._~%!$&'()+,;=:@/-]+")
"""RFC 3986, without query and fragment: as SPIFFE IDs are."""

_HOST_AND_PORT = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""The common ones, for hints."""

NOT_ROUTED = ("CONNECT", "TRACE")
"""Answered with 405 before any route is asked."""


def _matching(pattern: re.Pattern[str], given: str, allowed: str, hint: str = "") -> str:
    if pattern.fullmatch(given) is None:
        raise Unfit(f"must be {allowed}", given, hint=hint)
    return given


@of_text("a network such as 10.0.0.0/8, or one address", "network")
def cidr(given: str) -> Network:
    """A network."""
    try:
        return networks(given)[0]
    except ValueError as mistake:
        hint = ""
        try:
            hint = f'did you mean "{ipaddress.ip_network(given, strict=False)}"?'
        except ValueError:
            if given.lower() in ("*", "all", "any"):
                hint = 'everybody is ["0.0.0.0/0", "::/0"]'
            elif given.lower() in ("localhost", "loopback"):
                hint = 'this host is ["127.0.0.0/8", "::1/128"]'
        raise Unfit("must be a network in CIDR notation", given, " ".join(str(mistake).split()), hint) from mistake


@of_text('a network such as 10.0.0.0/8, one address, or "unix:"', "network")
def network_or_unix(given: str) -> Union[Network, UnixPeers]:
    """A network, or everybody on a UNIX socket."""
    return UnixPeers() if given == "unix:" else cidr(given)


cidr = Check(cidr.allowed, cidr.brief, cidr.parse, str, of_text=True)


@of_text("the path of a file", "file")
def path(given: str) -> str:
    """A path, made absolute, since twistd may change the directory before it is used."""
    if not given:
        raise Unfit("must not be empty")
    if given.startswith("~"):
        raise Unfit("must be the path of a file", given, hint="~ is not replaced: write the whole path")
    return os.path.abspath(given)


@of_text("the path of a directory", "directory")
def directory(given: str) -> str:
    """A directory; whether it is there is seen at the start."""
    return path(given)


@of_text(f"the path of a socket, at most {MAX_SOCKET_PATH_BYTES} bytes long", "path")
def socket_path(given: str) -> str:
    """Where a UNIX socket is or will be."""
    if given.startswith("unix:"):
        raise Unfit("must be the path of a socket", given, hint=f'did you mean "{given[5:].partition(":")[0]}"?')
    absolute = path(given)
    length = len(os.fsencode(absolute))
    if length > MAX_SOCKET_PATH_BYTES:
        raise Unfit(
            f"must be the path of a socket, at most {MAX_SOCKET_PATH_BYTES} bytes long", absolute, f"it has {length} bytes"
        )
    return absolute


@of_text('a mode in octal, such as "0660"', "mode")
def file_mode(given: str) -> str:
    """Who may use a socket, as chmod(1) takes it: its owner reads and writes, and nobody executes."""
    return _matching(_FILE_MODE, given, 'a mode in octal that lets the owner read and write, such as "0660"')


@of_text("the name or number of a group", "group")
def group(given: str) -> str:
    """A group of users; whether there is one is seen at the start."""
    return _matching(_GROUP, given, "the name or number of a group")


@of_text('a path, "-" for standard output, or "none"', 'file, "-", "none"')
def log_target(given: str) -> str:
    """Where a log goes."""
    if given in ("off", "no", "false"):
        raise Unfit('must be a path, "-" or "none"', given, hint='did you mean "none"?')
    return given if given in ("-", "none") else path(given)


@of_text("a word without spaces or separators", "word")
def token(given: str) -> str:
    """A word of HTTP (RFC 9110 section 5.6.2): a field's name, a pseudonym."""
    return _matching(_TOKEN, given, "a word without spaces or separators")


@of_text("a method, such as GET", "method")
def method(given: str) -> str:
    """A method that a route can take. Methods are case-sensitive (RFC 9110 section 9.1)."""
    close = difflib.get_close_matches(given.strip().upper(), METHODS, n=1)
    hint = f'did you mean "{close[0]}"?' if close else ""
    _matching(_TOKEN, given, "a word without spaces or separators", hint)
    if given in NOT_ROUTED:
        raise Unfit("must be a method that is routed", given, "it is answered with 405, whatever the routes say")
    if given not in METHODS and given.upper() in METHODS:
        raise Unfit("must be a method as clients write it", given, "methods are case-sensitive", hint)
    return given


@of_text("1 to 64 letters, digits, dots, dashes or underscores, the first a letter or digit", "pool")
def pool_name(given: str) -> str:
    """What a pool may be called: what a registration can name."""
    if not is_pool_name(given):
        raise Unfit("must be 1 to 64 letters, digits, dots, dashes or underscores, the first a letter or digit", given)
    return given


@of_text(f"a text of at most {MAX_TOKEN_BYTES} bytes", "text", MAX_TOKEN_BYTES)
def slot_token(given: str) -> str:
    """What slots must bring: no longer than what they can bring."""
    return given


_BEARER = re.compile(r"[A-Za-z0-9._~+/-]{16,256}=*")
BEARER = "16 to 256 letters, digits, dots, dashes, underscores, tildes, slashes or plus signs"


@of_text(BEARER, "text")
def bearer_token(given: str) -> str:
    """What may come in ``Authorization: Bearer`` (RFC 6750 section 2.1), and can't be guessed."""
    return _matching(_BEARER, given, BEARER)


_PLUGIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@of_text("1 to 64 letters, digits, dots, dashes or underscores", "name")
def plugin_name(given: str) -> str:
    """What a plugin, or what is made by one, may be called."""
    return _matching(_PLUGIN_NAME, given, "1 to 64 letters, digits, dots, dashes or underscores")


HOST = 'a host name without port, "*.example.com" or "*"'


@of_text(HOST, "host")
def host(given: str) -> str:
    """Which hosts a route takes, as those of requests are compared: in lower case, without the dot of the root."""
    lowered = given.lower()
    bare = lowered[:-1] if lowered.endswith(".") and lowered not in (".", "*.") else lowered
    if bare.startswith("[") or bare.count(":") > 1:
        return _ipv6(bare, given)
    name, colon, port = bare.rpartition(":")
    if colon and port.isdigit() and _HOST.fullmatch(name):
        raise Unfit(f"must be {HOST}", given, hint=f'did you mean "{name}"?')
    if not bare.isascii():
        raise Unfit(f"must be {HOST}", given, hint=_in_ascii(bare))
    return _matching(_HOST, bare, HOST)


def _ipv6(bare: str, given: str) -> str:
    """An address as clients send it: between brackets, and in the usual way of writing (RFC 5952)."""
    try:
        address = ipaddress.IPv6Address(bare.strip("[]"))
    except ValueError as mistake:
        raise Unfit(f"must be {HOST}", given, " ".join(str(mistake).split())) from mistake
    if not (bare.startswith("[") and bare.endswith("]")):
        raise Unfit(f"must be {HOST}", given, hint=f'did you mean "[{address}]"?')
    return bare if "." in bare else f"[{address}]"


def _in_ascii(name: str) -> str:
    """A hint at the name that clients send instead of one with other letters (RFC 5890)."""
    try:
        return f'clients send it as "{name.encode("idna").decode("ascii")}"'
    except UnicodeError:
        return ""


@of_text("a host name without wildcard, or a URI", "host, URI")
def service_name(given: str) -> str:
    """A name in a service's certificate: a host name, or a URI like ``spiffe://example.com/web``; no wildcard, no address."""
    if "://" in given:
        return _matching(_SERVICE_URI, given, "a URI without wildcard, query and fragment")
    return _matching(_SERVICE_HOST, given.lower().rstrip("."), "a host name without wildcard, or a URI")


@of_text("a host name, with or without a port", "host")
def host_and_port(given: str) -> str:
    """What a Host field may say (RFC 9110 section 7.2)."""
    bare = re.sub(r"^https?://|/$", "", given)
    hint = f'did you mean "{bare}"?' if bare != given and _HOST_AND_PORT.fullmatch(bare) else ""
    return _matching(_HOST_AND_PORT, given, "a host name, with or without a port", hint)


URL_PATH = 'a path that begins with "/"'


@of_text(URL_PATH, "path")
def url_path(given: str) -> str:
    """The beginning of a path that a route takes, or takes away: put into the form in which paths of requests are compared.

    See ``http1.paths``. What no request could ever match is refused.
    """
    if not given.startswith("/"):
        bare = re.sub(r"^[a-z]+://[^/]*", "", given).rstrip("*")
        hint = f'did you mean "{bare if bare.startswith("/") else "/" + bare}"?' if re.fullmatch(r"[\w./:*-]+", given) else ""
        raise Unfit(f"must be {URL_PATH}", given, hint=hint)
    if given.endswith("*"):
        bare = given.rstrip("*").rstrip("/") or "/"
        raise Unfit("must be the beginning of a path", given, "a route takes all that is below its path", f'write "{bare}"')
    refused = (
        ("?", "a query is not matched"),
        ("#", "write %23"),
        (" ", "write %20"),
        ("\\", "write %5C"),
        (";", "parameters are not matched"),
    )
    for character, instead in refused:
        if character in given:
            raise Unfit(f"must have no {shown(character)}", given, hint=instead)
    if _BROKEN_ESCAPE.search(given):
        raise Unfit("must have two hexadecimal digits behind each %", given, hint="a percent sign itself is %25")
    written = quote(given, safe="%!\"$&'()*+,/:;<=>@[]^_`{|}~-.").encode("ascii")
    matched = re.sub("(?:/|%2F)+", "/", equivalent_path(written).decode("ascii"))
    segments = re.sub("%2e", ".", given, flags=re.IGNORECASE).split("/")
    if "." in segments or ".." in segments:
        raise Unfit("must have no dot segments", given, "requests are matched without them", f'did you mean "{matched}"?')
    return matched


@of_text("a URL without spaces, in ASCII", "URL")
def location(given: str) -> str:
    """A Location (RFC 9110 section 10.2.2) with ``{host}`` and ``{target}`` as its only variables."""
    if not given or " " in given or not given.isascii():
        raise Unfit("must be a URL without spaces, in ASCII", given)
    for name in re.findall(r"\{(.*?)\}", given):
        if name not in ("host", "target"):
            raise Unfit("can have {host} and {target} in it", f"{{{name}}}")
    for variable in ("$host", "$request_uri", "$uri", "$http_host", "$scheme"):
        if variable in given:
            raise Unfit("can have {host} and {target} in it", variable, hint="write {host} and {target}")
    return given
