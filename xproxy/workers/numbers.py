"""The numbers of workers, and how they add up.

A worker tells a tree: dicts by name, lists for histograms, whole numbers and seconds at the leaves. The tree is made of
``metrics.ProxyCounts`` and of what ``/status`` says of pools, whatever counts these have: a count that is added there is in
the tree by itself, and adds up. Numbers that are momentary, and maxima, are known by their names. Pure.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, Dict, Iterable, Mapping

from ..metrics import Histogram, PoolCounts, ProxyCounts

Tree = Dict[str, Any]

MOMENTARY = frozenset(("connections", "in_flight", "queue_length", "held", "slots", "spools"))
"""Numbers of one moment: a worker that is gone has none of them. All others only rise."""

MAXIMA = frozenset(("most_in_flight",))
"""Numbers that do not add up; see ``added``."""

_ALIASES = frozenset(("served_waits", "services"))
"""Attributes of a PoolCounts that repeat others, or that ``/status`` shows in its own way."""

_NAMED = frozenset(("pools", "services", "status"))
"""Dicts whose keys are names that others have chosen."""

_WHOLE_NUMBERS = frozenset(("codes", "routeless"))
"""Dicts by whole numbers, which JSON writes as texts."""


def told(counts: ProxyCounts, status: Mapping[str, Any], lost_lines: Mapping[str, int]) -> Tree:
    """The tree of a worker."""
    return {"counts": _plain(counts), "status": dict(status), "lost_lines": dict(lost_lines)}


def _slots(counts: Any) -> Iterable[str]:
    return (name for name in type(counts).__slots__ if name[0] != "_" and name not in _ALIASES)


def _plain(value: Any) -> Any:
    if isinstance(value, Histogram):
        return {"counts": list(value.counts), "sum": value.sum}
    if isinstance(value, (ProxyCounts, PoolCounts)):
        return {name: _plain(getattr(value, name)) for name in _slots(value)}
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return value


def counts_of(tree: Tree) -> ProxyCounts:
    """The counts that a tree was made of."""
    counts = ProxyCounts()
    _fill(counts, tree)
    return counts


def _fill(counts: Any, tree: Tree) -> None:
    for name in _slots(counts):
        value, current = tree.get(name), getattr(counts, name)
        if value is None:
            continue
        if name == "pools":
            for pool, entry in value.items():
                _fill(counts.pool(pool), entry)
        elif isinstance(current, Histogram):
            _fill_histogram(current, value)
        elif isinstance(current, dict) and any(isinstance(entry, Histogram) for entry in current.values()):
            for key, entry in value.items():
                _fill_histogram(current.setdefault(key, Histogram()), entry)
        elif isinstance(current, dict):
            setattr(counts, name, {int(key) if name in _WHOLE_NUMBERS else key: entry for key, entry in value.items()})
        else:
            setattr(counts, name, value)


def _fill_histogram(histogram: Histogram, tree: Tree) -> None:
    histogram.counts[:] = tree["counts"]
    histogram.sum = tree["sum"]


def added(trees: Iterable[Tree]) -> Tree:
    """The sum of trees. A maximum is the largest of the trees' maxima, or the sum of the momentary number that it is about,
    where that is larger: so many have just been seen."""
    total: Tree = {}
    for tree in trees:
        total = _sum(total, tree, "")
    _raise_maxima(total)
    return total


def _sum(one: Any, other: Any, name: str) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        both = {**one, **other}
        return {key: _sum(one[key], other[key], key) if key in one and key in other else both[key] for key in both}
    if isinstance(one, list) and isinstance(other, list):
        return [left + right for left, right in zip_longest(one, other, fillvalue=0)]
    return max(one, other) if name in MAXIMA else one + other


def _raise_maxima(tree: Tree) -> None:
    for name, value in tree.items():
        if isinstance(value, dict):
            _raise_maxima(value)
        elif name in MAXIMA:
            tree[name] = max(value, tree.get(name[len("most_") :], 0))


def settled(tree: Tree) -> Tree:
    """The numbers of a worker that is gone: its tree without the momentary ones."""
    return {key: _settled(value, key in _NAMED) for key, value in tree.items() if key not in MOMENTARY}


def _settled(value: Any, named: bool) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _settled(entry, False) for key, entry in value.items()} if named else settled(value)
