"""The whole vocabulary of the configuration file: which keys each section knows, and the check of each value.

``reading`` reads by these tables; a key that is not in them is refused. A key stands here only when something heeds it.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import checks as check

Keys = Mapping[str, check.Check]

_MEBIBYTE = 1024 * 1024
_PEBIBYTE = 1024**5

PROXY: Keys = {
    "http": check.list_of(check.endpoint, least=1),
    "https": check.list_of(check.plain_endpoint),
    "certificates": lambda value: value,
    "http2": check.true_or_false,
    "client_ca": check.path,
    "client_certificates": check.one_of("required", "optional"),
    "client_subject_header": check.token,
    "proxy_protocol": check.true_or_false,
    "admin": check.endpoint_or_none,
    "access_log": check.log_target,
    "access_log_format": check.one_of("combined", "json"),
    "trusted_proxies": check.list_of(check.cidr),
    "forwarded": check.one_of("x-forwarded", "forwarded", "both", "none"),
    "error_pages": check.directory,
    "drain_timeout": check.seconds(low=0.0),
    "name": check.token,
}

ACCEPTOR: Keys = {
    "handoff": check.socket_path,
    "admin": check.endpoint_or_none,
    "registration_timeout": check.seconds(),
    "certificates": lambda value: value,
    "client_ca": check.path,
}

LIMITS: Keys = {
    "request_line": check.whole_number(64, _MEBIBYTE),
    "header": check.whole_number(64, _MEBIBYTE),
    "head": check.whole_number(64, 16 * _MEBIBYTE),
    "header_count": check.whole_number(1, 10_000),
    "body": check.whole_number(0, _PEBIBYTE),
    "trailers": check.whole_number(0, _MEBIBYTE),
    "request_memory": check.whole_number(0, 1024 * _MEBIBYTE),
    "bodies_memory": check.whole_number(0, 1024 * _MEBIBYTE),
    "response_memory": check.whole_number(0, 1024 * _MEBIBYTE),
    "response_file": check.whole_number(0, _PEBIBYTE),
    "discard": check.whole_number(0, _PEBIBYTE),
    "connections": check.whole_number(1, 10_000_000),
    "max_attempts": check.whole_number(1, 10),
}

CERTIFICATE: Keys = {"chain": check.path, "key": check.path}

TIMEOUTS: Keys = {name: check.seconds() for name in ("head", "body", "keep_alive", "write", "handshake", "tunnel")}

POOL: Keys = {
    "slots": check.list_of(check.endpoint),
    "slots_tls": check.list_of(check.plain_endpoint),
    "service_names": check.list_of(check.service_name),
    "registration": check.one_of("auto", "raw", "mxproxy", "proxy"),
    "allow": check.list_of(check.cidr),
    "token": check.text,
    "queue_limit": check.whole_number(0, 1_000_000),
    "queue_timeout": check.seconds(),
    "response_timeout": check.seconds(),
    "max_slots": check.whole_number(1, 1_000_000),
}

ROUTE: Keys = {
    "host": check.host,
    "path": check.url_path,
    "methods": check.list_of(check.token, least=1),
    "pool": check.pool_name,
    "strip_prefix": check.url_path,
    "set_host": check.host_and_port,
    "redirect": lambda value: value,
    "respond": lambda value: value,
    "response_timeout": check.seconds(),
    "body_limit": check.whole_number(0, _PEBIBYTE),
    "buffering": check.on_off,
    "redirect_https": check.https_port,
    "hsts": check.field_value,
}

REDIRECT: Keys = {"status": check.whole_number(300, 399), "location": check.location}

RESPOND: Keys = {"status": check.whole_number(200, 599), "body": check.content, "content_type": check.field_value}

REDIRECT_STATUSES = (301, 302, 303, 307, 308)

BODILESS_STATUSES = (204, 205, 304)
"""RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5."""

ROUTE_KEYS_OF_POOLS = ("strip_prefix", "set_host", "response_timeout", "body_limit", "buffering", "pool")
"""What a route that answers by itself has no use for."""

SECTIONS: Mapping[str, Keys] = {"proxy": PROXY, "acceptor": ACCEPTOR, "limits": LIMITS, "timeouts": TIMEOUTS}

SHAPES: Mapping[str, Keys] = {
    "[proxy]": PROXY,
    "[[proxy.certificates]]": CERTIFICATE,
    "[acceptor]": ACCEPTOR,
    "[[acceptor.certificates]]": CERTIFICATE,
    "[pools.NAME]": POOL,
    "[[routes]]": ROUTE,
    "[limits]": LIMITS,
    "[timeouts]": TIMEOUTS,
}
"""How each section is written, for the hint that says where a misplaced key belongs."""
