"""The configuration: one frozen tree of plain values, and how it is read from TOML, the environment and a command line.

``schema`` says what keys there are, in one entry each (how to add one is said there); ``checks`` what a value may be;
``reading`` makes the tree; ``rules`` is what keys have to do with each other; ``reference`` writes the documentation.
"""

from .changes import settled
from .errors import ConfigError, Mistake, Unfit
from .networks import EVERYWHERE, LOOPBACK, Network, Networks, Trusted, UnixPeers, networks
from .overrides import Overrides
from .reading import from_toml, load
from .rules import Role
from .schema import (
    DEFAULT_POOL,
    DEFAULT_SLOTS,
    AcceptorConfig,
    CertificateConfig,
    Config,
    GuardConfig,
    LimitsConfig,
    PoolConfig,
    ProxyConfig,
    RedirectConfig,
    RespondConfig,
    RouteConfig,
    TimeoutsConfig,
)

__all__ = [
    "DEFAULT_POOL",
    "DEFAULT_SLOTS",
    "EVERYWHERE",
    "LOOPBACK",
    "AcceptorConfig",
    "CertificateConfig",
    "Config",
    "ConfigError",
    "GuardConfig",
    "LimitsConfig",
    "Mistake",
    "Network",
    "Networks",
    "Overrides",
    "PoolConfig",
    "ProxyConfig",
    "RedirectConfig",
    "RespondConfig",
    "Role",
    "RouteConfig",
    "TimeoutsConfig",
    "Trusted",
    "Unfit",
    "UnixPeers",
    "from_toml",
    "load",
    "networks",
    "settled",
]
