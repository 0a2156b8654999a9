"""How idle slots are dealt out to the holders ahead of need, and levelled afterwards.

A proxy should have a free lease of every service before a request comes: the first request then asks nobody, and each proxy can
use the services in turn. What counts is how many of a service's slots a holder has *free*: one that is busy wants more than one
that is not. Two moves, made again and again while nobody waits:

- an idle slot goes to the holder that has fewest free leases of its service;
- of a service of which one holder has at least two free leases more than another, or at least two where another has none at
  all, one lease is asked back, to be dealt out by the first move. One at a time: it may be on its way to a request already.

Pure, a part of ``slots.book``.
"""

from __future__ import annotations

from collections import Counter
from typing import Collection, Container, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import attr

from xproxy.slots.ring import Ring

DEAL_AT_ONCE = 256
"""Slots dealt out in one turn, over all holders: what is not dealt now is dealt at the next look."""

DEAL_INTERVAL_S = 0.1
"""Between two looks at what is idle. A slot that a one-byte client brings back may be wanted by the next one at once; and a
proxy that finds none free asks for one meanwhile."""

CALM_LOOKS = 10
"""While nothing is to be dealt, and nothing idle, only each tenth look counts what the holders have."""


@attr.define
class Share:
    """What one holder has.

    :ivar slots: its leases.
    :ivar room: how many more grants may be on their way to it.
    """

    slots: Collection[int]
    busy: Container[int]
    room: int
    held: Dict[str, int] = attr.field(factory=dict, init=False)
    """How many leases of each service."""
    free: Dict[str, int] = attr.field(factory=dict, init=False)
    """How many of them are free."""

    def count(self, services: Mapping[int, str]) -> None:
        """Count by service."""
        self.held = Counter(services[slot] for slot in self.slots)
        self.free = Counter(services[slot] for slot in self.slots if slot not in self.busy)


@attr.frozen
class Deal:
    """What is to be done. Holders are named by their place in the list of shares."""

    granted: List[Tuple[int, int]]
    """Holder and slot, which was taken from the ring."""
    asked_back: List[Tuple[int, int]]
    """Holder and slot."""


def deal(ring: Ring[int], shares: Sequence[Share], services: Mapping[int, str], keep: bool) -> Deal:
    """Take idle slots from the ring and say who gets them; see the module's docstring.

    :param services: whose each slot is.
    :param keep: the ring has a share too: others come to it for slots.
    """
    for share in shares:
        share.count(services)
    granted = list(_dealt(ring, shares, services, keep))
    level = None if granted or len(shares) < 2 else _uneven(shares, services)
    return Deal(granted, [] if level is None else [level])


def _dealt(ring: Ring[int], shares: Sequence[Share], services: Mapping[int, str], keep: bool) -> Iterable[Tuple[int, int]]:
    kept: List[int] = []
    totals = [len(share.slots) for share in shares]
    for _ in range(min(len(ring), DEAL_AT_ONCE)):
        slot = ring.take()
        service = services[slot]
        best: Optional[Tuple[int, int, int, int]] = None
        for number, share in enumerate(shares):
            if share.room > 0:
                place = (share.free.get(service, 0), share.held.get(service, 0), totals[number], number)
                if best is None or place < best:
                    best = place
        if best is None or (keep and ring.of(service) + _count(kept, service, services) <= best[0]):
            kept.append(slot)
            continue
        share = shares[best[3]]
        share.free[service] = share.free.get(service, 0) + 1
        share.held[service] = share.held.get(service, 0) + 1
        share.room -= 1
        totals[best[3]] += 1
        yield best[3], slot
    for slot in kept:
        ring.put(slot, services[slot])


def _count(slots: Iterable[int], service: str, services: Mapping[int, str]) -> int:
    return sum(services[slot] == service for slot in slots)


def _uneven(shares: Sequence[Share], services: Mapping[int, str]) -> Optional[Tuple[int, int]]:
    """A lease to ask back: of a service that somebody has none of, else of the one of which the free leases differ most."""
    best: Optional[Tuple[bool, int, int, str]] = None
    for service in dict.fromkeys(service for share in shares for service in share.held):
        free = [share.free.get(service, 0) for share in shares]
        held = [share.held.get(service, 0) for share in shares]
        donor = max(range(len(shares)), key=free.__getitem__)
        none = min(held) == 0 and held[donor] >= 2 and free[donor] > 0
        surplus = free[donor] - min(free)
        if (none or surplus >= 2) and (best is None or (none, surplus) > best[:2]):
            best = (none, surplus, donor, service)
    if best is None:
        return None
    share = shares[best[2]]
    return best[2], next(slot for slot in share.slots if services[slot] == best[3] and slot not in share.busy)
