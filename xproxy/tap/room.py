"""How many clients and slots there are descriptors for, and the complaint when they are fewer than the configuration allows.

A client takes a descriptor, and another one while some of its request or answer waits in a file. A slot takes one where it is
registered, and one in the proxy that leases it; over TLS two more. What else takes some is bounded and small: the standard
streams, logs, listening sockets, the reactor, the admin endpoint.
"""

from __future__ import annotations

import resource

import attr

from ..config import Config, LimitsConfig, PoolConfig

OTHERS = 48
"""Descriptors for everything that is neither a client nor a slot. A proxy with an acceptor has some 20 when it is idle."""

CLIENTS_PER_FILE = 8
"""One of so many clients has a request or an answer in a file, at the same moment."""

FEW = 1024
"""Room for fewer clients than that is worth a warning, even where ``limits.connections`` is the default."""


@attr.frozen
class Room:
    """How many clients and files a process has descriptors for.

    :ivar clients: how many there can be at once.
    :ivar files: how many requests and answers can be in files beside them.
    :ivar complaint: one line, where that is less than the configuration allows; else empty.
    :ivar is_serious: the configuration has a limit that does not fit, or the room is for fewer than FEW.
    """

    clients: int
    files: int
    complaint: str = ""
    is_serious: bool = False


def hard_limit() -> int:
    """How many descriptors this process may have (getrlimit(2))."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 2**31 if limit == resource.RLIM_INFINITY else limit


def room_for(config: Config, limit: int, accepts_slots: bool, takes_clients: bool = True) -> Room:
    """The room in a process that may have ``limit`` descriptors. Where they are too few, clients and slots get one half each.

    :param accepts_slots: services register in this process.
    :param takes_clients: requests come in this process.
    """
    pools = config.pools.values()
    slots = sum(pool.max_slots * _descriptors_of_slot(pool, accepts_slots, takes_clients) for pool in pools)
    clients = config.limits.connections if takes_clients else 0
    left = limit - OTHERS
    if clients + clients // CLIENTS_PER_FILE + slots <= left:
        return Room(clients, left - clients - slots)
    usual = LimitsConfig().connections, PoolConfig("").max_slots
    written = any((config.limits.connections, pool.max_slots) != usual for pool in pools)
    max_slots = sum(pool.max_slots for pool in pools)
    beside = f"{limit} descriptors (ulimit -Hn, LimitNOFILE=) and up to {slots} of them for {max_slots} slots (max_slots)"
    if not takes_clients:
        return Room(0, 0, f"not every slot can be registered: there are {beside}", written)
    room = max(1, min(clients, left // 2 * CLIENTS_PER_FILE // (CLIENTS_PER_FILE + 1)))
    complaint = f"there is room for {room} clients at once, and not for {clients} (limits.connections): there are {beside}"
    return Room(room, max(1, room // CLIENTS_PER_FILE), complaint, written or room < FEW)


def _descriptors_of_slot(pool: PoolConfig, accepts_slots: bool, takes_clients: bool) -> int:
    here = (3 if pool.slots_tls else 1) if accepts_slots else 0
    return here + (1 if takes_clients else 0)
