"""Heads on their way out: the request as the service gets it, the response as the client gets it."""

from __future__ import annotations

import re
from typing import List

import attr

from xproxy.http1.fields import Fields
from xproxy.http1.grammar import is_token
from xproxy.http1.names import BELIEVED, FOLD
from xproxy.http1.response import ResponseHead

_request_id = re.compile(rb"[!#-\[\]-~]{1,128}").fullmatch


@attr.frozen
class Marks:
    """The fields that the proxy adds to a request."""

    style: str = "x-forwarded"
    """In which fields the service is told where a request came from: ``x-forwarded``, ``forwarded`` (RFC 7239), ``both``,
    ``none``."""
    via: bytes = b"xproxy"
    """The pseudonym in Via (RFC 9110 section 7.6.3); empty: no Via."""
    request_id: bool = True
    """Whether X-Request-ID is ours to write."""
    subject_field: bytes = b""
    """The field that names the subject of a client's certificate: ours to write, so one that a client sends goes no further;
    empty: there is none."""


def forwarding_block(
    fields: Fields,
    peer: bytes,
    scheme: bytes,
    host: bytes,
    minor: int,
    trusted: bool,
    marks: Marks,
    set_host: bytes = b"",
    subject: bytes = b"",
    version: bytes = b"",
) -> bytes:
    """The part of the outgoing header block that is the same for all requests with these fields on this connection.

    ``TE: trailers`` goes on (RFC 9110 section 10.1.4), since trailers are passed on to clients that can take them. Not beside
    an offer to switch protocols, which needs Connection for itself: some servers look at one line of it.

    :param peer: the client's address, without a port; IPv6 without brackets; empty when it has none (UNIX).
    :param scheme: ``http`` or ``https``, as the client came.
    :param host: the effective authority.
    :param minor: of the version received, for Via.
    :param trusted: the client's own X-Forwarded-* and Forwarded are believed and continued, else replaced.
    :param set_host: the Host for the service instead of ``host``, which the service then finds in X-Forwarded-Host or
        Forwarded.
    :param subject: of the client's certificate; empty: the client has shown none.
    :param version: of the request, when that is not HTTP/1.x.
    """
    special = fields.special
    lines: List[bytes] = [b"Host: " + (set_host or host)]
    believed = {name: value for name, value in special.items() if _vouched(name)} if trusted and len(special) > 1 else {}
    if marks.style in ("x-forwarded", "both"):
        source = peer or b"unknown"
        before = believed.pop(b"x-forwarded-for", b"")
        lines.append(b"X-Forwarded-For: " + (before + b", " + source if before else source))
        lines.append(b"X-Forwarded-Proto: " + (believed.pop(b"x-forwarded-proto", b"") or scheme))
        original = believed.pop(b"x-forwarded-host", b"") or host
        if original:
            lines.append(b"X-Forwarded-Host: " + original)
    if marks.style in ("forwarded", "both"):
        before = believed.pop(b"forwarded", b"")
        element = _forwarded(peer, scheme, host)
        lines.append(b"Forwarded: " + (before + b", " + element if before else element))
    lines.extend(name.title() + b": " + value for name, value in believed.items())
    if not marks.request_id and b"x-request-id" in special:
        lines.append(b"X-Request-ID: " + special[b"x-request-id"])
    passed_on = fields.passed_on
    if marks.subject_field:
        passed_on = without_field(passed_on, marks.subject_field)
        if subject:
            lines.append(marks.subject_field + b": " + subject)
    via = b"Via: %b %b\r\n" % (version or b"1.%d" % minor, marks.via) if marks.via else b""
    te = b"Connection: TE\r\nTE: trailers\r\n" if fields.takes_trailers and minor and not fields.upgrade else b""
    return b"\r\n".join(lines) + b"\r\n" + passed_on + via + te


def without_field(lines: bytes, name: bytes) -> bytes:
    """Header or trailer lines without those of one name, and of names that CGI and WSGI take for that (see
    ``Names.look_up``)."""
    folded = name.lower().translate(FOLD)
    kept = (line for line in lines.splitlines(keepends=True) if line.partition(b":")[0].lower().translate(FOLD) != folded)
    return b"".join(kept)


def _vouched(name: bytes) -> bool:
    return name[:12] == b"x-forwarded-" or name in BELIEVED


def _forwarded(peer: bytes, scheme: bytes, host: bytes) -> bytes:
    """One element (RFC 7239 section 4): IPv6 in brackets and quotes, a host with a port in quotes."""
    source = b'"[' + peer.partition(b"%")[0] + b']"' if b":" in peer else peer or b"unknown"
    element = b"for=" + source + b";proto=" + scheme
    if host:
        element += b";host=" + (host if is_token(host) else b'"' + host + b'"')
    return element


def received_request_id(fields: Fields) -> bytes:
    """The client's own X-Request-ID when it is a sound one: one line of at most 128 visible characters.

    An id is taken from any client, trusted or not: it only lets the client find its request in the logs.
    """
    value = fields.special.get(b"x-request-id")
    return value if value is not None and _request_id(value) else b""


def request_head(
    method: bytes,
    path: bytes,
    block: bytes,
    length: int = -1,
    chunked: bool = False,
    request_id: bytes = b"",
    upgrade: bytes = b"",
) -> bytes:
    """The finished head for the service.

    :param block: from ``forwarding_block``.
    :param length: of the body; -1: there is no body, or a chunked one.
    :param request_id: empty: none is added.
    :param upgrade: the protocols that the service is offered to switch to; empty: none.
    """
    head = method + b" " + path + b" HTTP/1.1\r\n" + block
    if chunked:
        head += b"Transfer-Encoding: chunked\r\n"
    elif length >= 0:
        head += b"Content-Length: %d\r\n" % length
    if request_id:
        head += b"X-Request-ID: " + request_id + b"\r\n"
    if upgrade:
        head += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade
    return head + b"\r\n"


def client_head(
    head: ResponseHead,
    minor: int,
    keep_alive: bool,
    length: int = -1,
    chunked: bool = False,
    date: bytes = b"",
    via: bytes = b"xproxy",
) -> bytes:
    """The finished head for the client, always HTTP/1.1 (RFC 9110 section 2.5).

    :param minor: of the client's request.
    :param keep_alive: whether the client's connection goes on.
    :param length: Content-Length, -1: none (no body, chunked, or ended by close).
    :param date: the value of Date, for a response that came without (RFC 9110 section 6.6.1).
    :param via: our pseudonym; empty: no Via.
    """
    variant = (length, minor, keep_alive, chunked, via)
    last = head.last_variant
    if last is not None and last[0] == variant:
        block = last[1]
    else:
        block = _client_block(head, minor, keep_alive, length, chunked, via)
        head.last_variant = (variant, block)
    if date and b"date" not in head.fields.special and head.status >= 200:
        return b"%bDate: %b\r\n\r\n" % (block, date)
    return block + b"\r\n"


def _client_block(head: ResponseHead, minor: int, keep_alive: bool, length: int, chunked: bool, via: bytes) -> bytes:
    """Everything but Date and the empty line."""
    status = head.status
    block = b"HTTP/1.1 %d %b\r\n%b" % (status, head.reason, head.fields.passed_on)
    if via:
        block += b"Via: 1.%d %b\r\n" % (head.minor, via)
    if status >= 200 and status != 204:
        if chunked:
            block += b"Transfer-Encoding: chunked\r\n"
        elif length >= 0:
            block += b"Content-Length: %d\r\n" % length
    if head.fields.upgrade and status in (101, 426):
        tokens = b"Upgrade" if keep_alive or status == 101 else b"Upgrade, close"
        return block + b"Connection: %b\r\nUpgrade: %b\r\n" % (tokens, head.fields.upgrade)
    if status >= 200 and not keep_alive:
        return block + b"Connection: close\r\n"
    if status >= 200 and not minor:
        return block + b"Connection: keep-alive\r\n"
    return block
