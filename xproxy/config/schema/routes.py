"""``[[routes]]``: which requests go to which pool, elsewhere (``redirect``) or nowhere (``respond``)."""

from __future__ import annotations

from typing import Optional

import attr

from .. import checks
from ..checks import list_of, one_number_of, seconds, whole_number
from .key import PIB, Table, entry
from .pools import DEFAULT_POOL

BODILESS_STATUSES = (204, 205, 304)
"""RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5."""

ROUTE_KEYS_OF_POOLS = ("strip_prefix", "set_host", "response_timeout", "body_limit", "buffering", "pool", "guards")
"""What a route that answers by itself has no use for."""


@attr.frozen
class RedirectConfig:
    """An answer that sends the client elsewhere. ``redirect = { status = ..., location = ... }`` in a route."""

    location: str = attr.field(
        metadata=entry(
            checks.location,
            "The `Location` (RFC 9110 section 10.2.2); `{host}` in it becomes the request's host without its port, `{target}`"
            " its path and query as received.",
            example='"https://www.example.com{target}"',
        )
    )
    status: int = attr.field(default=302, metadata=entry(one_number_of(301, 302, 303, 307, 308), "The status code."))


@attr.frozen
class RespondConfig:
    """An answer that no service is asked for. ``respond = { status = ..., body = ..., content_type = ... }`` in a route."""

    status: int = attr.field(
        default=200, metadata=entry(whole_number(200, 599), "The status code; 204, 205 and 304 have no body.")
    )
    body: bytes = attr.field(default=b"", metadata=entry(checks.content, "Written as text, sent as UTF-8."))
    content_type: str = attr.field(
        default="text/plain; charset=utf-8", metadata=entry(checks.field_value, "The `Content-Type`.")
    )


@attr.frozen
class RouteConfig:
    """Which requests go where. ``[[routes]]``."""

    host: str = attr.field(
        default="*",
        metadata=entry(checks.host, "A host name without port, `*.example.com` (any name below it) or `*`."),
    )
    path: str = attr.field(
        default="/",
        metadata=entry(
            checks.url_path,
            "The beginning of the path, on a segment boundary: `/api` takes `/api` and `/api/x`, not `/apix`. Escapes and other"
            " letters than ASCII are compared as those of requests are: `/café` and `/caf%c3%a9` are the same.",
        ),
    )
    methods: tuple[str, ...] = attr.field(
        default=(),
        metadata=entry(
            list_of(checks.method, least=1), "A list of methods, case-sensitive.", unset="all", example='["GET", "HEAD"]'
        ),
    )
    pool: str = attr.field(default=DEFAULT_POOL, metadata=entry(checks.pool_name, "Where it goes; the pool must exist."))
    guards: tuple[str, ...] = attr.field(
        default=(),
        metadata=entry(
            list_of(checks.plugin_name),
            "Who is asked, in this order, whether a request may pass: names of `[guards.NAME]`.",
            unset="nobody",
            example='["office"]',
        ),
    )
    strip_prefix: str = attr.field(
        default="",
        metadata=entry(
            checks.url_path,
            "Taken off the path before the request is sent on; `path` must begin with it.",
            unset="none",
            example='"/api"',
        ),
    )
    set_host: str = attr.field(
        default="",
        metadata=entry(
            checks.host_and_port, "The `Host` that the service sees.", unset="as received", example='"inner.example.com"'
        ),
    )
    redirect: Optional[RedirectConfig] = attr.field(
        default=None,
        metadata=entry(
            Table(RedirectConfig),
            "Answer with a redirect instead.",
            unset="none",
            example='{ status = 308, location = "https://www.example.com{target}" }',
        ),
    )
    respond: Optional[RespondConfig] = attr.field(
        default=None,
        metadata=entry(
            Table(RespondConfig), "Answer with this instead.", unset="none", example='{ status = 200, body = "ok\\n" }'
        ),
    )
    response_timeout: Optional[float] = attr.field(
        default=None, metadata=entry(seconds(), "Instead of the pool's.", unset="the pool's", example="300.0")
    )
    body_limit: Optional[int] = attr.field(
        default=None,
        metadata=entry(whole_number(0, PIB), "Instead of `limits.body`.", unset="that of limits", example="10485760"),
    )
    buffering: bool = attr.field(
        default=True,
        metadata=entry(checks.on_off, '`"off"`: bodies are streamed both ways, and the slot is held while they are.'),
    )
    redirect_https: int = attr.field(
        default=0,
        metadata=entry(
            checks.https_port,
            "`true`, or the port of HTTPS as clients see it: what comes without TLS is answered with a redirect to the same"
            " host and target with TLS (301; 308 for methods other than GET and HEAD).",
        ),
    )
    hsts: str = attr.field(
        default="",
        metadata=entry(
            checks.field_value,
            "The value of `Strict-Transport-Security` (RFC 6797), added to answers that go out with TLS.",
            unset="none",
            example='"max-age=31536000; includeSubDomains"',
        ),
    )
