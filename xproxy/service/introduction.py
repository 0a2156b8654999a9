"""The introduction of a slot, the first bytes that a service sends on it: who registers, for which pool.

The bytes are made by ``slots.registration``. Which of the three kinds is said by ``registration=``: ``proxy`` (PROXY protocol
v2 with TLVs, which alone carries a pool, an instance and a token), ``mxproxy`` (the paper's preamble: an address and a port)
or ``raw`` (nothing).
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import socket
from typing import Any, Callable

from xproxy.slots.preambles.registration import build_mxproxy, build_registration

Introduction = Callable[[Any], bytes]
"""From a connected transport to the bytes that are sent first on it."""

KINDS = ("proxy", "mxproxy", "raw")


def new_instance() -> str:
    """A name for one endpoint of one process: host, process id and six random hexadecimal digits."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64]  # RFC 1123 is obeyed by most.
    return f"{host}:{os.getpid()}:{secrets.token_hex(3)}"


def make_introduction(kind: str, pool: str, instance: str, token: str) -> Introduction:
    """The introduction of an endpoint's slots.

    :param kind: one of ``KINDS``.
    :param pool: empty: none is named, which means the first pool of the acceptor's endpoint.
    :param instance: empty: one is made.
    :raises ValueError: unknown kind; a value that cannot be sent, or that this kind cannot carry.
    """
    if kind not in KINDS:
        raise ValueError(f"registration={kind} is unknown: use {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    if kind == "proxy":
        registration = build_registration(pool, instance or new_instance(), token)
        return lambda transport: registration
    for name, value in (("pool", pool), ("instance", instance), ("token", token)):
        if value:
            raise ValueError(f"registration={kind} carries no {name}: leave {name}= out, or use registration=proxy")
    return _mxproxy if kind == "mxproxy" else _raw


def _raw(transport: Any) -> bytes:
    return b""


def _mxproxy(transport: Any) -> bytes:
    """The service's own end of the connection. A UNIX socket has no address, so it is this host's."""
    here = transport.getHost()
    try:
        address = ipaddress.ip_address(str(getattr(here, "host", "")).partition("%")[0])
    except ValueError:
        return build_mxproxy("127.0.0.1", 0)
    return build_mxproxy(str(address), here.port)
