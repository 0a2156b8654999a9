"""Switching protocols (RFC 9110 section 7.8): what a client's offer becomes, and which answers to it are sound."""

from __future__ import annotations

from typing import List

from xproxy.http1.errors import BadMessage
from xproxy.http1.grammar import is_token

WEBSOCKET = b"websocket"
"""RFC 6455."""

CARRIERS = frozenset((b"h2c", b"h2", b"http", b"tls"))
"""Protocols that carry requests of HTTP, which no rule of ours would see inside a tunnel: HTTP/2 ("h2c Smuggling: Request
Smuggling Via HTTP/2 Cleartext", Bishop Fox, 2020), HTTP itself, and TLS with HTTP in it (RFC 2817). They are not offered on."""


def protocols(value: bytes) -> List[bytes]:
    """The protocols that a value of Upgrade names, in lower case, without empty members; empty: it is no list of protocols."""
    found = [item for item in (item.strip(b" \t").lower() for item in value.split(b",")) if item]
    for protocol in found:
        name, slash, version = protocol.partition(b"/")
        if not is_token(name) or (slash and not is_token(version)):
            return []
    return found


def passable(value: bytes) -> bytes:
    """What goes on of a value of Upgrade: the protocols but the CARRIERS, as they were written; empty: none."""
    kept = [item.strip(b" \t") for item in value.split(b",")] if protocols(value) else []
    return b", ".join(item for item in kept if item and item.lower().partition(b"/")[0] not in CARRIERS)


def offer_with(offer: bytes, start: bytes) -> bytes:
    """What is offered of ``offer`` with a request whose body has a Content-Length and begins with ``start``: all or nothing.

    Some servers take what follows the head of such a request for the next protocol, and, when they do not switch, for the next
    request (llhttp where it is used as httptools does). So the body must not begin as a request could (RFC 9112 section 2.2):
    with a token, or with what may be skipped before one. JSON, as of ``docker exec``, does not; chunks don't either.

    :param start: empty: not known.
    """
    return offer if start and is_token(start[:1]) is None and start[:1] not in b"\r\n\t " else b""


def check_switch(upgrade: bytes, offered: bytes) -> None:
    """Check a 101: every protocol in it has to be one that the client has offered (RFC 9110 section 7.8).

    :param upgrade: ``Fields.upgrade`` of the response: empty when it has no Upgrade or its Connection does not name it.
    :param offered: what the service was offered; empty: nothing.
    :raises BadMessage: the status means nothing here, the caller answers 502.
    """
    if not offered:
        raise BadMessage(502, "upgrade-not-asked-for")
    chosen = protocols(upgrade)
    if not chosen:
        raise BadMessage(502, "upgrade-to-nothing")
    if not set(chosen) <= set(protocols(offered)):
        raise BadMessage(502, "upgrade-not-offered")
