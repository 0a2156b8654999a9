"""What a command line says instead of the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attr

from .errors import ConfigError, Mistake
from .networks import Networks
from .schema import DEFAULT_POOL, Config, PoolConfig


@attr.frozen
class Overrides:
    """Values that win over those of the file."""

    proxy: Mapping[str, Any] = attr.field(factory=dict)
    """Fields of ``ProxyConfig``."""
    acceptor: Mapping[str, Any] = attr.field(factory=dict)
    """Fields of ``AcceptorConfig``."""
    slots: tuple[str, ...] = ()
    """``--slots``: where services register, of the pool ``default`` or the only one, and of those that share its endpoints."""
    allow: Networks = ()
    """``--allow``: who may register there."""

    def over(self, config: Config) -> Config:
        """``config`` with these values in it. Raises ConfigError."""
        return attr.evolve(
            config,
            proxy=attr.evolve(config.proxy, **self.proxy),
            acceptor=attr.evolve(config.acceptor, **self.acceptor),
            pools=self._pools(config) if self.slots or self.allow else config.pools,
        )

    def _pools(self, config: Config) -> Mapping[str, PoolConfig]:
        first = DEFAULT_POOL if DEFAULT_POOL in config.pools or len(config.pools) != 1 else next(iter(config.pools))
        pools = {name: self._changed(pool, first) for name, pool in config.pools.items()}
        if pools == config.pools and first not in pools:
            option = "--slots" if self.slots else "--allow"
            message = f'is about the pool "{DEFAULT_POOL}", which the configuration does not have'
            raise ConfigError("", [Mistake((option,), message)])
        return pools

    def _changed(self, pool: PoolConfig, first: str) -> PoolConfig:
        if pool.name != first and not pool.shares:
            return pool
        if self.slots:
            pool = attr.evolve(pool, slots=self.slots)
        if self.allow and (pool.name == first or not pool.allow_given):
            pool = attr.evolve(pool, allow=self.allow, allow_given=True)
        return pool
