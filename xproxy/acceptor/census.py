"""The acceptor's counts of each pool, for ``/status`` and ``/metrics``.

A slot with a free lease at a proxy is as idle as one that nobody leases: idle means here that nothing runs on it, as far as the
boards of the proxies and the trackers of the loans tell. So idle + leased = slots, and leased slots are busy.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Dict, Set, Tuple

if TYPE_CHECKING:
    from .acceptor import Acceptor


def census(acceptor: Acceptor) -> Dict[str, Dict[str, Any]]:
    """What is where, by pool, and of each pool the slots of each service."""
    busy = _busy(acceptor)
    services: Dict[str, Dict[str, Dict[str, Any]]] = {name: {} for name in acceptor.books}
    totals: Dict[str, Dict[str, Any]] = {name: {"slots": 0, "idle": 0, "leased": 0} for name in acceptor.books}
    for slot in acceptor.slots.values():
        of_pool = services.get(slot.pool)
        if of_pool is None or slot.book.retired:
            continue
        row = of_pool.get(slot.service)
        if row is None:
            row = of_pool[slot.service] = {"name": slot.service, "slots": 0, "idle": 0, "leased": 0}
        state = "leased" if slot.number in busy else "idle"
        for counts in (row, totals[slot.pool]):
            counts["slots"] += 1
            counts[state] += 1
    return {
        name: {
            **totals[name],
            "in_flight": totals[name]["leased"],
            "waiting": book.waiting_now,
            "lease_moves": book.moves,
            "services": list(services[name].values()),
            "registrations": _of_pool(acceptor.registrations, name),
            "closings": _of_pool(acceptor.closings, name),
        }
        for name, book in acceptor.books.items()
    }


def _busy(acceptor: Acceptor) -> Set[int]:
    """The numbers of the slots on which something runs."""
    busy = {loan.slot.number for loan in acceptor.lending.loans if loan.running}
    for holding in acceptor.holdings:
        busy.update(holding.leases[lease].number for lease in holding.in_flight())
    return busy


def _of_pool(counts: Counter[Tuple[str, str]], name: str) -> Dict[str, int]:
    return {label: number for (pool, label), number in sorted(counts.items()) if pool == name}
