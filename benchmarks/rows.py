"""The rows of the table: what is done to every contestant, and how much of it.

A row's ``run`` gets the target and the scale of the run; amounts are for contestants of ordinary speed, and those that are much
slower get less by ``SLOW``, so that a round stays short: costs are per request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Tuple

from benchmarks.loads import Outcome, Target, ab, client, h2load, wrk
from benchmarks.service import SIZES

SLOW: Dict[str, float] = {"twisted": 0.2}
"""Contestants that get this part of a fixed amount of requests."""

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Scale:
    """How much is done.

    :ivar seconds: of a load that lasts a time.
    :ivar part: of the requests of a load that has a number of them.
    """

    seconds: float
    part: float

    def of(self, requests: int, least: int = 1) -> int:
        """So many requests, at this scale."""
        return max(least, round(requests * self.part))


Load = Callable[[Target, Scale], Outcome]


@dataclass(frozen=True)
class Row:
    """One row.

    :ivar tls: it needs HTTPS; who has none is left out of it.
    :ivar without: contestants for which it makes no sense, and why.
    """

    name: str
    title: str
    run: Load
    tls: bool = False
    quick: bool = False
    only: Tuple[str, ...] = ()


def _wrk(path: str, connections: int, tls: bool = False, browser: bool = False) -> Load:
    return lambda target, scale: wrk(target, path, connections, scale.seconds, tls, browser)


def _ab(connections: int, keep_alive: bool, requests: int = 10_000, tls: bool = False) -> Load:
    def run(target: Target, scale: Scale) -> Outcome:
        return ab(target, "/256", connections, scale.of(requests, 200), keep_alive, tls)

    return run


def _client(kind: str, path: str, size: int, connections: int, requests: int) -> Load:
    def run(target: Target, scale: Scale) -> Outcome:
        return client(target, kind, path, size, connections, scale.of(requests, connections))

    return run


def _h2load(connections: int, streams: int, requests: int) -> Load:
    return lambda target, scale: h2load(target, "/256", connections, streams, scale.of(requests, 200))


ROWS = [
    Row("keep-alive", "256 B, keep-alive, 32 connections (wrk)", _wrk("/256", 32), quick=True),
    Row(
        "browser",
        "256 B, keep-alive, 32 connections, a browser's headers, 5,000 targets and cookies (wrk)",
        _wrk("/256", 32, browser=True),
    ),
    Row("ab-c4", "256 B, a connection per request, -c 4 (ab)", _ab(4, False)),
    Row("ab-c32", "256 B, a connection per request, -c 32 (ab)", _ab(32, False), quick=True),
    Row("ab-k-c4", "256 B, keep-alive, -c 4 (ab -k)", _ab(4, True)),
    Row("ab-k-c32", "256 B, keep-alive, -c 32 (ab -k)", _ab(32, True)),
    Row("16k", "16 kB, keep-alive, 32 connections (wrk)", _wrk("/16k", 32)),
    Row("1m", "1 MB downloads, 8 connections", _client("download", "/1m", SIZES["1m"], 8, 600), quick=True),
    Row("100m", "100 MB downloads, 2 connections", _client("download", "/100m", SIZES["100m"], 2, 8)),
    Row("upload", "1 MB uploads, 8 connections", _client("upload", "/upload", MEBIBYTE, 8, 400)),
    Row("tls-handshake", "TLS, a handshake per request, -c 32 (ab)", _ab(32, False, 1_000, tls=True), tls=True),
    Row("tls-keep-alive", "TLS, 256 B, keep-alive, 32 connections (wrk)", _wrk("/256", 32, tls=True), tls=True),
    Row("http2", "HTTP/2, 256 B, 4 connections, 16 streams each (h2load)", _h2load(4, 16, 10_000), tls=True),
    Row("c256", "256 B, keep-alive, 256 connections on 32 slots (wrk)", _wrk("/256", 256)),
    Row("c2000", "256 B, keep-alive, 2,000 connections on 32 slots (wrk)", _wrk("/256", 2000)),
]
"""The rows whose figures are costs per request; the others are in ``special``."""
