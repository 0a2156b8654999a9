"""Heads on their way out: the request as the service gets it, the response as the client gets it."""

from __future__ import annotations

import re
from typing import List

import attr

from xproxy.http1.fields import Fields
from xproxy.http1.grammar import token
from xproxy.http1.response import ResponseHead

_request_id = re.compile(rb"[!#-\[\]-~]{1,128}").fullmatch


@attr.frozen
class Marks:
    """What the proxy adds to a request."""

    style: str = "x-forwarded"
    """How it says where a request came from: ``x-forwarded``, ``forwarded`` (RFC 7239), ``both`` or ``none``."""
    via: bytes = b"xproxy"
    """The pseudonym in Via (RFC 9110 section 7.6.3); empty: no Via."""
    request_id: bool = True
    """Whether X-Request-ID is ours to write."""


def forwarding_block(
    fields: Fields, peer: bytes, scheme: bytes, host: bytes, minor: int, trusted: bool, marks: Marks
) -> bytes:
    """The part of the outgoing header block that is the same for all requests with these fields on this connection.

    :param peer: the client's address, without a port; IPv6 without brackets; empty when it has none (UNIX).
    :param scheme: ``http`` or ``https``, as the client came.
    :param host: the effective authority.
    :param minor: of the version received, for Via.
    :param trusted: what the client says about where the request came from is believed and continued, else replaced.
    """
    special = fields.special
    lines: List[bytes] = [b"Host: " + host]
    believed = {name: value for name, value in special.items() if trusted and _vouched(name)}
    if marks.style in ("x-forwarded", "both"):
        source = peer or b"unknown"
        before = believed.pop(b"x-forwarded-for", b"")
        lines.append(b"X-Forwarded-For: " + (before + b", " + source if before else source))
        lines.append(b"X-Forwarded-Proto: " + (believed.pop(b"x-forwarded-proto", b"") or scheme))
        lines.append(b"X-Forwarded-Host: " + (believed.pop(b"x-forwarded-host", b"") or host))
    if marks.style in ("forwarded", "both"):
        before = believed.pop(b"forwarded", b"")
        element = _forwarded(peer, scheme, host)
        lines.append(b"Forwarded: " + (before + b", " + element if before else element))
    lines.extend(name.title() + b": " + value for name, value in believed.items())
    if not marks.request_id and b"x-request-id" in special:
        lines.append(b"X-Request-ID: " + special[b"x-request-id"])
    via = b"Via: 1.%d %b\r\n" % (minor, marks.via) if marks.via else b""
    return b"\r\n".join(lines) + b"\r\n" + fields.passed_on + via


def _vouched(name: bytes) -> bool:
    return name.startswith(b"x-forwarded-") or name in (b"forwarded", b"x-real-ip")


def _forwarded(peer: bytes, scheme: bytes, host: bytes) -> bytes:
    """One element (RFC 7239 section 4): IPv6 in brackets and quotes, a host with a port in quotes."""
    source = b'"[' + peer + b']"' if b":" in peer else peer or b"unknown"
    element = b"for=" + source + b";proto=" + scheme
    if host:
        element += b";host=" + (host if token(host) else b'"' + host + b'"')
    return element


def received_request_id(fields: Fields, trusted: bool) -> bytes:
    """The client's own X-Request-ID when it may be kept: from a trusted client, one line of at most 128 visible characters."""
    value = fields.special.get(b"x-request-id", b"") if trusted else b""
    return value if _request_id(value) else b""


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
    :param length: of the body; -1: the request has none, or it is chunked.
    :param request_id: empty: none is added.
    :param upgrade: ``Fields.upgrade`` when the switch of protocols is passed on.
    """
    head = b"%b %b HTTP/1.1\r\n%b" % (method, path, block)
    if chunked:
        head += b"Transfer-Encoding: chunked\r\n"
    elif length >= 0:
        head += b"Content-Length: %d\r\n" % length
    if request_id:
        head += b"X-Request-ID: %b\r\n" % request_id
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
    head_block = b"HTTP/1.1 %d %b\r\n%b" % (head.status, head.reason, head.fields.passed_on)
    if via:
        head_block += b"Via: 1.%d %b\r\n" % (head.minor, via)
    if chunked:
        head_block += b"Transfer-Encoding: chunked\r\n"
    elif length >= 0:
        head_block += b"Content-Length: %d\r\n" % length
    if head.fields.upgrade and head.status in (101, 426):
        head_block += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.fields.upgrade
    elif not keep_alive:
        head_block += b"Connection: close\r\n"
    elif not minor:
        head_block += b"Connection: keep-alive\r\n"
    if b"date" not in head.fields.special and date:
        head_block += b"Date: %b\r\n" % date
    return head_block + b"\r\n"
