"""The answers that no service gives: errors, redirects, fixed responses.

This is the one place that turns an error into what a client reads: HTML, JSON or text, as it accepts, or the operator's own
page. The front writes an Answer as HTTP/1.1, the resource through twisted.web.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, Optional, Tuple

import attr

from ...config import RedirectConfig, RespondConfig, RouteConfig
from ...http1.phrases import phrase
from ...http1.request import RequestHead

HTML, JSON, TEXT = "html", "json", "txt"

CONTENT_TYPES = {
    HTML: b"text/html; charset=utf-8",
    JSON: b"application/json",
    TEXT: b"text/plain; charset=utf-8",
}

MAX_PAGE_BYTES = 1024 * 1024
"""A larger own page is refused at start: it is kept in memory."""


ALLOWED_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
"""What a 405 names (RFC 9110 section 10.2.1): every method but CONNECT and TRACE goes through; these are the common ones."""


@attr.frozen
class Answer:
    """A whole answer. ``fields`` is without Date, Connection and Content-Length, which the way out knows best."""

    status: int
    fields: Tuple[Tuple[bytes, bytes], ...] = ()
    content: bytes = b""

    @property
    def has_content(self) -> bool:
        """Whether such an answer has a body at all, and so a length (RFC 9110 section 6.4.1)."""
        return self.status >= 200 and self.status not in (204, 304)


def http1_answer(answer: Answer, date: bytes, minor: int, keep_alive: bool, with_content: bool) -> bytes:
    """An answer of our own as bytes of HTTP/1.1.

    :param minor: of the client's request.
    :param keep_alive: whether its connection goes on.
    :param with_content: False for HEAD.
    """
    lines = [b"HTTP/1.1 %d %b" % (answer.status, phrase(answer.status).encode()), b"Date: " + date]
    lines.extend(name + b": " + value for name, value in answer.fields)
    if answer.has_content:
        lines.append(b"Content-Length: %d" % len(answer.content))
    if not keep_alive:
        lines.append(b"Connection: close")
    elif not minor:
        lines.append(b"Connection: keep-alive")
    lines.append(b"\r\n" + answer.content if with_content else b"\r\n")
    return b"\r\n".join(lines)


def preferred(accept: bytes) -> str:
    """Which of the three a client would rather read (RFC 9110 section 12.5.1, by presence and order, not by weight)."""
    accept = accept.lower()
    html = accept.find(b"text/html")
    json_at = min((at for at in (accept.find(b"application/json"), accept.find(b"+json")) if at >= 0), default=-1)
    if html >= 0 and (json_at < 0 or html < json_at):
        return HTML
    return JSON if json_at >= 0 else TEXT


class Pages:
    """The error pages.

    :param directory: own pages, ``502.html`` and so on, read once; empty: none.
    :raises OSError: the directory or a page can't be read.
    :raises ValueError: a page is larger than MAX_PAGE_BYTES.
    """

    def __init__(self, directory: str = "") -> None:
        self._own: Dict[Tuple[int, str], bytes] = {}
        if directory:
            for path in sorted(Path(directory).iterdir()):
                if path.stem.isdigit() and len(path.stem) == 3 and path.suffix[1:] in CONTENT_TYPES:
                    if path.stat().st_size > MAX_PAGE_BYTES:
                        raise ValueError(f"{path}: an error page may have {MAX_PAGE_BYTES} bytes at most")
                    self._own[int(path.stem), path.suffix[1:]] = path.read_bytes()

    def page(self, status: int, reason: str, accept: bytes) -> Tuple[bytes, bytes]:
        """The content type and the content for an error.

        :param reason: the short label of the cause.
        """
        kind = preferred(accept)
        own = self._own.get((status, kind))
        if own is None:
            kind, own = next(((k, self._own[status, k]) for k in CONTENT_TYPES if (status, k) in self._own), (kind, None))
        if own is not None:
            return CONTENT_TYPES[kind], own
        title = f"{status} {phrase(status)}"
        if kind == HTML:
            text = f"<!doctype html><title>{title}</title><h1>{title}</h1><p>{reason}</p>\n"
        elif kind == JSON:
            text = json.dumps({"status": status, "error": phrase(status), "reason": reason}) + "\n"
        else:
            text = f"{title}: {reason}\n"
        return CONTENT_TYPES[kind], text.encode()

    def error(self, status: int, reason: str, accept: bytes, retry_after_s: Optional[int] = None) -> Answer:
        """The answer for an error.

        :param retry_after_s: for Retry-After (RFC 9110 section 10.2.3).
        """
        kind, content = self.page(status, reason, accept)
        fields = [(b"Content-Type", kind)]
        if retry_after_s is not None:
            fields.append((b"Retry-After", b"%d" % retry_after_s))
        if status == 405:
            fields.append((b"Allow", ALLOWED_METHODS))
        return Answer(status, tuple(fields), content)


HSTS = b"Strict-Transport-Security"


def without_service(route: RouteConfig, head: RequestHead, secure: bool) -> Optional[Answer]:
    """The answer that needs no service, None when one is needed.

    :param secure: the request came with TLS.
    """
    if route.redirect_https and not secure:
        return to_https(route.redirect_https, head)
    if route.redirect is not None:
        return redirect(route.redirect, head)
    if route.respond is not None:
        return respond(route.respond)
    if head.method == b"OPTIONS" and head.fields.max_forwards == 0:
        # RFC 9110 section 7.6.2: we are the final recipient; section 9.3.7: which says what it allows.
        return Answer(200, ((b"Allow", ALLOWED_METHODS),))
    return None


def _bare_host(host: bytes) -> bytes:
    """A host without its port."""
    return host.partition(b"]")[0] + b"]" if host[:1] == b"[" else host.partition(b":")[0]


def to_https(port: int, head: RequestHead) -> Answer:
    """The same host and target with TLS. 308, lest a client turn another method into GET (RFC 9110 section 15.4)."""
    if not head.host:
        return Answer(400)
    authority = _bare_host(head.host) + (b"" if port == 443 else b":%d" % port)
    status = 301 if head.method in (b"GET", b"HEAD") else 308
    return Answer(status, ((b"Location", b"https://" + authority + (b"" if head.path == b"*" else head.path)),))


def add_hsts(head: bytes, hsts: bytes) -> bytes:
    """A finished head with Strict-Transport-Security (empty: without), unless the service has one (RFC 6797 section 8.1)."""
    if not hsts or b"\r\n" + HSTS.lower() + b":" in head.lower():
        return head
    return b"%b%b: %b\r\n\r\n" % (head[:-2], HSTS, hsts)


def redirect(rule: RedirectConfig, head: RequestHead) -> Answer:
    """The answer of a route that sends clients elsewhere: 400 when the location needs the host and the client named none."""
    host = _bare_host(head.host)
    if not host and "{host}" in rule.location:
        return Answer(400)
    location = rule.location.encode("latin-1").replace(b"{host}", host).replace(b"{target}", head.path)
    return Answer(rule.status, ((b"Location", location),))


def respond(rule: RespondConfig) -> Answer:
    """The answer of a route that needs no service. A 205 has a body of no bytes (RFC 9110 section 15.3.6)."""
    content = b"" if rule.status == 205 else rule.body
    return Answer(rule.status, ((b"Content-Type", rule.content_type.encode("latin-1")),), content)
