"""The configuration: one frozen tree of plain values, whose attribute names are the TOML keys.

Times are in seconds, sizes in bytes. ``reading.load`` makes the tree from TOML; ``tap.options`` changes it by the command
line.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Optional, Union

import attr

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Networks = tuple[Network, ...]


def networks(*texts: str) -> Networks:
    """Parse CIDR texts; raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)


LOOPBACK = networks("127.0.0.0/8", "::1/128")

EVERYWHERE = networks("0.0.0.0/0", "::/0")

DEFAULT_POOL = "default"
"""The pool that is there when the configuration names none, and that ``--slots`` and ``--allow`` are about."""

DEFAULT_SLOTS = ("tcp:9999:interface=127.0.0.1",)
"""Where services of the default pool register unless something else is said."""


@attr.frozen
class LimitsConfig:
    """What a client or a service may ask of us. ``[limits]``."""

    request_line: int = 8192
    """RFC 9112 section 3 recommends at least 8,000 octets; nginx large_client_header_buffers 8k. Past it: 414."""
    header: int = 8192
    """One header field line, as nginx's large_client_header_buffers. Past it: 431."""
    head: int = 32768
    """All header lines, as nginx's 4 buffers of 8k. Past it: 431."""
    header_count: int = 100
    """As HAProxy's tune.http.maxhdr (101). Past it: 431."""
    body: int = 1024 * 1024 * 1024
    """A whole request body; past it: 413. 1 GiB; nginx's client_max_body_size is 1 MiB, HAProxy sets none."""
    trailers: int = 8192
    """All trailer lines, as one header line. Past it: 431 to a client, 502 from a service."""
    request_memory: int = 65536
    """What one request body may hold in memory (nginx client_body_buffer_size 8k or 16k); the rest goes to an unlinked file."""
    bodies_memory: int = 32 * 1024 * 1024
    """What long request bodies may hold in memory together beyond that, a quarter of it each, before they go to files. Enough
    for 32 bodies of 1 MiB, nginx's client_max_body_size, in each worker process."""
    response_memory: int = 65536
    """What one response may hold in memory for a slow client (nginx proxy_buffers 8 x 8k); the rest goes to a file."""
    response_file: int = 1024 * 1024 * 1024
    """nginx proxy_max_temp_file_size 1024m; past it the slot is read at the client's speed."""
    discard: int = 1024 * 1024
    """How much of a response is read on for a client that left, so that the slot stays good; past it the slot is closed."""
    connections: int = 16384
    """Client connections at once; one more is closed at once."""
    max_attempts: int = 3
    """How often one request may be sent, the first time included; HAProxy retries 3."""


@attr.frozen
class TimeoutsConfig:
    """How long a client may take. ``[timeouts]``."""

    head: float = 60.0
    """From the first byte of a head to its end; nginx client_header_timeout 60s. Past it: 408."""
    body: float = 60.0
    """Between two reads of a body; nginx client_body_timeout 60s. Past it: 408."""
    keep_alive: float = 75.0
    """Idle between requests; nginx keepalive_timeout 75s."""
    write: float = 60.0
    """A client that takes no byte for this long is cut off; nginx send_timeout 60s."""
    handshake: float = 10.0
    """A PROXY header, and the TLS handshake after it. nginx gives a handshake 60 s; less will do, since a client has to do
    nothing for it but arithmetic."""
    tunnel: float = 3600.0
    """An upgraded connection with no byte either way; HAProxy's timeout tunnel is 1h in its examples."""


@attr.frozen
class PoolConfig:
    """The slots of one service. ``[pools.NAME]``."""

    name: str
    slots: tuple[str, ...] = ()
    """Twisted server endpoint descriptions where services register."""
    slots_tls: tuple[str, ...] = ()
    """The same for services that register over TLS, without TLS in their description: the TLS is ours."""
    service_names: tuple[str, ...] = ()
    """Who may register there: host names or URIs, one of which a service's certificate must have."""
    registration: str = "auto"
    """auto, raw, mxproxy or proxy."""
    allow: Networks = LOOPBACK
    """Who may register. Empty: nobody was named, which only a loopback or UNIX endpoint, a token or TLS makes acceptable."""
    allow_given: bool = False
    """Whether ``allow`` was written by the operator (a non-loopback endpoint needs that, a token or TLS). Where it was not, it
    does not hold for ``slots_tls``: there the certificate says who may come."""
    token: str = ""
    """When set, a slot must bring it."""
    queue_limit: int = 1024
    """Waiting requests; one more is refused with 503 at once."""
    queue_timeout: float = 30.0
    """A longer wait ends with 503."""
    response_timeout: float = 60.0
    """No response head in this time: 504, and the slot is closed. nginx proxy_read_timeout 60s."""
    max_slots: int = 16384
    """Registered slots at once; one more is refused."""


@attr.frozen
class RedirectConfig:
    """An answer that sends the client elsewhere. ``redirect = { status = ..., location = ... }`` in a route."""

    location: str
    """The Location field (RFC 9110 section 10.2.2). ``{host}`` in it becomes the request's host without its port, ``{target}``
    its path and query as received."""
    status: int = 302
    """301, 302, 303, 307 or 308."""


@attr.frozen
class RespondConfig:
    """An answer that no service is asked for. ``respond = { status = ..., body = ..., content_type = ... }`` in a route."""

    status: int = 200
    """200 to 599; 204, 205 and 304 have no body."""
    body: bytes = b""
    """Written as text, sent as UTF-8."""
    content_type: str = "text/plain; charset=utf-8"


@attr.frozen
class RouteConfig:
    """Which requests go where: to a pool, elsewhere (``redirect``) or nowhere (``respond``). ``[[routes]]``."""

    host: str = "*"
    """A name, ``*.example.com`` (any name below it) or ``*``, in lower case, without a port."""
    path: str = "/"
    """A prefix that ends on a segment boundary: ``/api`` takes ``/api`` and ``/api/x``, not ``/apix``."""
    methods: tuple[str, ...] = ()
    """Empty: every method. Methods are case-sensitive (RFC 9110 section 9.1)."""
    pool: str = "default"
    """Of no meaning when ``redirect`` or ``respond`` is set."""
    strip_prefix: str = ""
    """Taken off the front of the path before the request is sent on; ``path`` begins with it."""
    set_host: str = ""
    """The Host that the service sees; empty: as received."""
    redirect: Optional[RedirectConfig] = None
    respond: Optional[RespondConfig] = None
    response_timeout: Optional[float] = None
    """Instead of the pool's; None: the pool's."""
    body_limit: Optional[int] = None
    """Instead of ``limits.body``; None: that."""
    buffering: bool = True
    """``buffering = "on"`` or ``"off"``; off: bodies are streamed both ways and the slot is held while they are."""
    redirect_https: int = 0
    """A request that came without TLS is sent to ``https`` on this port; 0: it is served. ``redirect_https = true`` is 443."""
    hsts: str = ""
    """Strict-Transport-Security (RFC 6797) of the answers to requests that came with TLS; empty: none."""


@attr.frozen
class CertificateConfig:
    """A certificate and its key, both PEM. ``[[proxy.certificates]]``, ``[[acceptor.certificates]]``."""

    chain: str
    """The path of the certificate and, after it, those between it and the CA."""
    key: str
    """The path of the certificate's private key, not encrypted."""


@attr.frozen
class ProxyConfig:
    """Where clients arrive. ``[proxy]``."""

    http: tuple[str, ...] = ("tcp:8080:interface=127.0.0.1",)
    https: tuple[str, ...] = ()
    """Endpoints without TLS in their description (``tcp:8443``): the TLS is ours."""
    certificates: tuple[CertificateConfig, ...] = ()
    """Chosen by the name that a client asks for (SNI); the first is the default."""
    self_signed: bool = False
    """Make a certificate at the start, for trying out. ``--self-signed`` only."""
    http2: bool = True
    """Whether HTTP/2 is offered on ``https`` endpoints."""
    client_ca: str = ""
    """A file with the CAs (PEM) of client certificates; empty: clients are not asked for one."""
    client_certificates: str = "required"
    """With ``client_ca``: required or optional. One that is given must be good in any case."""
    client_subject_header: str = "X-Client-Subject"
    """With ``client_ca``: the field in which services see the subject of a client's certificate (RFC 4514)."""
    proxy_protocol: bool = False
    """Whether ``trusted_proxies`` begin each connection to ``http`` and ``https`` endpoints with a PROXY header."""
    admin: str = "tcp:9901:interface=127.0.0.1"
    """"none" switches it off."""
    access_log: str = "-"
    """A path, "-" (standard output) or "none"."""
    access_log_format: str = "combined"
    """combined or json."""
    trusted_proxies: Networks = ()
    """Whose X-Forwarded-* and PROXY headers are believed."""
    forwarded: str = "x-forwarded"
    """What tells the service who asked: x-forwarded (X-Forwarded-For, -Proto, -Host), forwarded (RFC 7239), both or none."""
    error_pages: str = ""
    """A directory with pages of one's own, by status (``502.html``, ``.json``, ``.txt``); empty: none."""
    drain_timeout: float = 30.0
    """How long requests that run may go on once a stop was asked for."""
    name: str = "xproxy"
    """The pseudonym in Via (RFC 9110 section 7.6.3)."""


@attr.frozen
class AcceptorConfig:
    """Where services register. ``[acceptor]``."""

    handoff: str = ""
    """The path of the handoff socket; empty: none."""
    admin: str = "none"
    registration_timeout: float = 5.0
    """A slot that began a preamble must end it in this time."""
    certificates: tuple[CertificateConfig, ...] = ()
    """What services are shown at ``slots_tls`` endpoints, chosen by the name they ask for (SNI); the first is the default."""
    client_ca: str = ""
    """A file with the CAs (PEM) of the certificates that services show there."""


@attr.frozen
class Config:
    """The whole tree, checked: every route names a pool that exists."""

    proxy: ProxyConfig = ProxyConfig()
    acceptor: AcceptorConfig = AcceptorConfig()
    limits: LimitsConfig = LimitsConfig()
    timeouts: TimeoutsConfig = TimeoutsConfig()
    pools: Mapping[str, PoolConfig] = attr.field(factory=lambda: {DEFAULT_POOL: PoolConfig(DEFAULT_POOL, slots=DEFAULT_SLOTS)})
    routes: tuple[RouteConfig, ...] = (RouteConfig(),)
    file: Optional[str] = None
    """Where it was read from, for messages."""
