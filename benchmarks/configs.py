"""What the contestants are told: the texts of their configuration files.

The same for all, as far as each can: forwarding headers, limits and timeouts on, access log off, one worker, keep-alive of
clients without end, no bound on clients, SLOTS requests at the service at once where that can be said.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

SLOTS = 32
"""Connections to the service: the slots of xproxy, what the others keep alive or allow."""

CLIENTS = 12_000
"""Client connections at once: more than any row opens."""

BACKLOG = 4096
"""Connections not accepted yet: 2,000 that come at once must not be turned away."""

BODY_BYTES = 1 << 30


@dataclass(frozen=True)
class Ports:
    """Where a contestant listens and where it finds the service."""

    http: int
    https: int
    service: int
    slots: int
    admin: int


@dataclass(frozen=True)
class Tls:
    """The certificate of the benchmark: paths."""

    chain: str
    key: str
    both: str
    """Chain and key in one file."""


_NGINX = """
worker_processes 1;
worker_rlimit_nofile {descriptors};
daemon off;
{user}
pid {directory}/nginx.pid;
error_log {directory}/nginx.log warn;
events {{ worker_connections {descriptors}; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 75s;
    client_header_timeout 60s;
    client_body_timeout 60s;
    send_timeout 60s;
    client_max_body_size {body};
    upstream service {{ server 127.0.0.1:{service}; {keepalive} }}
    server {{
        listen 127.0.0.1:{http} backlog={backlog};
        {tls}
        location / {{
            proxy_pass http://service;
            {proxy}
            proxy_connect_timeout 60s;
            proxy_read_timeout 60s;
            proxy_send_timeout 60s;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
        }}
    }}
}}
"""

_NGINX_TLS = """
        listen 127.0.0.1:{https} ssl http2 backlog={backlog};
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:tls:10m;
        http2_max_requests 1000000000;
"""


def nginx(ports: Ports, directory: str, tls: Optional[Tls], keep_alive: bool, root: bool, descriptors: int) -> str:
    """nginx, which by its own defaults connects to the service for each request; or, told so, keeps connections."""
    return _NGINX.format(
        directory=directory,
        user="user root;" if root else "",
        descriptors=min(descriptors, CLIENTS + 1000),
        body=BODY_BYTES,
        backlog=BACKLOG,
        http=ports.http,
        service=ports.service,
        keepalive=f"keepalive {SLOTS}; keepalive_requests 1000000000;" if keep_alive else "",
        proxy='proxy_http_version 1.1; proxy_set_header Connection "";' if keep_alive else "",
        tls="" if tls is None else _NGINX_TLS.format(https=ports.https, backlog=BACKLOG, chain=tls.chain, key=tls.key),
    )


_HAPROXY = """
global
    nbthread 1
    maxconn {clients}
    no strict-limits
defaults
    mode http
    timeout connect 60s
    timeout client 75s
    timeout server 60s
    timeout queue 30s
    timeout http-request 60s
    timeout http-keep-alive 75s
    option http-keep-alive
    http-reuse always
    {splice}
frontend clients
    maxconn {clients}
    bind 127.0.0.1:{http} backlog {backlog}
    {tls}
    option forwardfor
    http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
    default_backend service
backend service
    server service 127.0.0.1:{service} maxconn {slots}
"""


def haproxy(ports: Ports, tls: Optional[Tls], splice: bool) -> str:
    """HAProxy; its maxconn bounds what runs at the service and lets the rest wait, as slots do."""
    bind = "" if tls is None else f"bind 127.0.0.1:{ports.https} backlog {BACKLOG} ssl crt {tls.both} alpn h2,http/1.1"
    return _HAPROXY.format(
        clients=CLIENTS,
        backlog=BACKLOG,
        slots=SLOTS,
        http=ports.http,
        service=ports.service,
        tls=bind,
        splice="option splice-request\n    option splice-response" if splice else "",
    )


def envoy(ports: Ports, tls: Optional[Tls]) -> str:
    """Envoy, as JSON, which it reads like YAML; its circuit breaker bounds what runs at the service, the rest waits."""
    listeners = [_envoy_listener(ports.http, None)]
    if tls is not None:
        listeners.append(_envoy_listener(ports.https, tls))
    endpoint = {"endpoint": {"address": _envoy_address(ports.service)}}
    cluster = {
        "name": "service",
        "type": "STATIC",
        "connect_timeout": "60s",
        "circuit_breakers": {
            "thresholds": [{"max_connections": SLOTS, "max_pending_requests": CLIENTS, "max_requests": CLIENTS}]
        },
        "load_assignment": {"cluster_name": "service", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return json.dumps({"static_resources": {"listeners": listeners, "clusters": [cluster]}}, indent=1)


def _envoy_address(port: int) -> Dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _envoy_listener(port: int, tls: Optional[Tls]) -> Dict[str, Any]:
    types = "type.googleapis.com/envoy.extensions"
    # One of the headers that it adds has as many digits as a time has: answers would differ in length.
    router = {"@type": f"{types}.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    http = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "clients",
        "use_remote_address": True,
        "http_protocol_options": {"accept_http_10": True},
        "common_http_protocol_options": {"idle_timeout": "75s"},
        "request_headers_timeout": "60s",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "service", "timeout": "60s"}}],
                }
            ]
        },
        "http_filters": [{"name": "router", "typed_config": router}],
    }
    chain: Dict[str, Any] = {"filters": [{"name": "http", "typed_config": http}]}
    if tls is not None:
        certificate = {"certificate_chain": {"filename": tls.chain}, "private_key": {"filename": tls.key}}
        context = {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [certificate]}
        kind = f"{types}.transport_sockets.tls.v3.DownstreamTlsContext"
        chain["transport_socket"] = {"name": "tls", "typed_config": {"@type": kind, "common_tls_context": context}}
    return {"address": _envoy_address(port), "tcp_backlog_size": BACKLOG, "filter_chains": [chain]}


_CADDY = """
{{
    admin off
    auto_https off
    grace_period 1s
    log {{
        level ERROR
    }}
    servers {{
        protocols h1 h2
        timeouts {{
            read_header 60s
            idle 75s
        }}
    }}
}}
(service) {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{service} {{
        transport http {{
            keepalive_idle_conns_per_host {slots}
            max_conns_per_host {slots}
            dial_timeout 60s
            response_header_timeout 60s
        }}
    }}
}}
http://:{http} {{
    import service
}}
{tls}
"""


def caddy(ports: Ports, tls: Optional[Tls]) -> str:
    """Caddy, as a Caddyfile; what comes beyond max_conns_per_host waits."""
    site = "" if tls is None else f"https://:{ports.https} {{\n    tls {tls.chain} {tls.key}\n    import service\n}}"
    return _CADDY.format(service=ports.service, http=ports.http, slots=SLOTS, tls=site)


def xproxy(ports: Ports, tls: Optional[Tls]) -> str:
    """xproxy: embedded acceptor, raw slots."""
    lines: List[str] = [
        "[proxy]",
        f'http = ["tcp:{ports.http}:interface=127.0.0.1:backlog={BACKLOG}"]',
        f'admin = "tcp:{ports.admin}:interface=127.0.0.1"',
        'access_log = "none"',
    ]
    if tls is not None:
        lines += [
            f'https = ["tcp:{ports.https}:interface=127.0.0.1:backlog={BACKLOG}"]',
            "[[proxy.certificates]]",
            f'chain = "{tls.chain}"',
            f'key = "{tls.key}"',
        ]
    lines += [
        "[pools.default]",
        f'slots = ["tcp:{ports.slots}:interface=127.0.0.1"]',
        'registration = "raw"',
        f"queue_limit = {CLIENTS}",
        "[limits]",
        f"connections = {CLIENTS}",
    ]
    return "\n".join(lines) + "\n"
