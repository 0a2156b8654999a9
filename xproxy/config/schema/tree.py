"""The whole tree, and how each of its sections is headed in the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

import attr

from ..lines import Source
from .guards import GuardConfig
from .limits import LimitsConfig, TimeoutsConfig
from .listening import AcceptorConfig, CertificateConfig, ProxyConfig
from .pools import DEFAULT_POOL, DEFAULT_SLOTS, PoolConfig
from .routes import RouteConfig

SECTIONS: Mapping[str, type[Any]] = {
    "proxy": ProxyConfig,
    "acceptor": AcceptorConfig,
    "limits": LimitsConfig,
    "timeouts": TimeoutsConfig,
}
"""The sections that are there once. ``pools``, ``guards`` and ``routes`` are tables of tables and lists of tables."""

HEADINGS: Mapping[str, type[Any]] = {
    "[proxy]": ProxyConfig,
    "[[proxy.certificates]]": CertificateConfig,
    "[acceptor]": AcceptorConfig,
    "[[acceptor.certificates]]": CertificateConfig,
    "[pools.NAME]": PoolConfig,
    "[[routes]]": RouteConfig,
    "[guards.NAME]": GuardConfig,
    "[limits]": LimitsConfig,
    "[timeouts]": TimeoutsConfig,
}
"""How each section is written, in the order of the reference."""


def default_pools() -> Mapping[str, PoolConfig]:
    """The pools of a configuration that names none."""
    return {DEFAULT_POOL: PoolConfig(DEFAULT_POOL, slots=DEFAULT_SLOTS, shares=True)}


@attr.frozen
class Config:
    """The whole tree, checked."""

    proxy: ProxyConfig = attr.field(factory=ProxyConfig)
    acceptor: AcceptorConfig = attr.field(factory=AcceptorConfig)
    limits: LimitsConfig = attr.field(factory=LimitsConfig)
    timeouts: TimeoutsConfig = attr.field(factory=TimeoutsConfig)
    pools: Mapping[str, PoolConfig] = attr.field(factory=default_pools)
    routes: tuple[RouteConfig, ...] = (RouteConfig(),)
    guards: Mapping[str, GuardConfig] = attr.field(factory=dict)
    file: Optional[str] = None
    """Where it was read from: an absolute path."""
    source: Source = attr.field(factory=Source, eq=False, repr=False)
    """The same for messages about it."""
