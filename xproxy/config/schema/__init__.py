"""The schema: one frozen tree of plain values, whose attribute names are the TOML keys, and all that is said of each key.

Times are in seconds, sizes in bytes. A key stands here only when something heeds it. To add one, add one field to the class of
its section::

    drain_delay: float = attr.field(
        default=0.0, metadata=entry(seconds(low=0.0), "How long /readyz says 503 before ...", source="...")
    )

and run ``make reference``, which writes docs/configuration.md and etc/xproxy.toml. Reading, bounds, hints and the values from
files and the environment follow from the field. What two keys have to do with each other is in ``config.rules``.
"""

from ..networks import EVERYWHERE, LOOPBACK, Network, Networks, networks
from .guards import GuardConfig
from .key import Key, Table, entry, keys_of
from .limits import LimitsConfig, TimeoutsConfig
from .listening import AcceptorConfig, CertificateConfig, ProxyConfig
from .pools import DEFAULT_POOL, DEFAULT_SLOTS, PoolConfig
from .routes import BODILESS_STATUSES, ROUTE_KEYS_OF_POOLS, RedirectConfig, RespondConfig, RouteConfig
from .tree import HEADINGS, SECTIONS, Config, default_pools

__all__ = [
    "BODILESS_STATUSES",
    "DEFAULT_POOL",
    "DEFAULT_SLOTS",
    "EVERYWHERE",
    "HEADINGS",
    "LOOPBACK",
    "ROUTE_KEYS_OF_POOLS",
    "SECTIONS",
    "AcceptorConfig",
    "CertificateConfig",
    "Config",
    "GuardConfig",
    "Key",
    "LimitsConfig",
    "Network",
    "Networks",
    "PoolConfig",
    "ProxyConfig",
    "RedirectConfig",
    "RespondConfig",
    "RouteConfig",
    "Table",
    "TimeoutsConfig",
    "default_pools",
    "entry",
    "keys_of",
    "networks",
]
