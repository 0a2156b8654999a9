"""What xproxy is meant to reach, and whether it did: ratios only, each to another contestant of the same run."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Dict, List, Optional, Sequence

from benchmarks.contestants import BASELINE, PAPER_BASELINE
from benchmarks.rounds import Results, cpu, rate
from benchmarks.special import Table

IDLE_BYTES = 8 * 1024


@dataclass(frozen=True)
class Target:
    """One aim.

    :ivar of: whose figure ours is divided by; empty: the figure itself.
    :ivar at_least: for rates, which should be large; costs should be small.
    """

    rows: Sequence[str]
    who: str
    what: str
    of: str
    bound: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Verdict:
    """A target and what came of it."""

    row: str
    target: Target
    value: Optional[float]
    """None: not measured in this run."""


_DOWNLOADS = ("1m", "100m")
_TLS = ("tls-handshake", "tls-keep-alive")
_CLOSING = ("ab-c4", "ab-c32")
_BOTH = ("xproxy", "xproxy-pypy")

TARGETS: List[Target] = [
    Target(("keep-alive",), "xproxy", "CPU per request", BASELINE, 2.0),
    Target(("keep-alive",), "xproxy-pypy", "CPU per request", BASELINE, 1.0),
    Target(_CLOSING, "xproxy", "requests/s", PAPER_BASELINE, 1.0, True),
    Target(_CLOSING, "xproxy-pypy", "requests/s", PAPER_BASELINE, 1.5, True),
    *(Target(_DOWNLOADS, who, "CPU per request", BASELINE, 0.4) for who in _BOTH),
    *(Target(_DOWNLOADS, who, "CPU per request", "haproxy-splice", 1.2) for who in _BOTH),
    *(Target(("upload",), who, "CPU per request", BASELINE, 1.0) for who in _BOTH),
    *(Target(_TLS, who, "CPU per request", BASELINE, 1.5) for who in _BOTH),
]


def verdicts(results: Sequence[Results], tables: Sequence[Table], titles: Dict[str, str]) -> List[Verdict]:
    """Every target, with its value when the run had its row."""
    by_name = {result.row.name: result for result in results}
    found: List[Verdict] = []
    for target in TARGETS:
        for row in target.rows:
            if row in by_name:
                ratios = by_name[row].ratios(target.who, rate if target.at_least else cpu, target.of)
                found.append(Verdict(row, target, median(ratios) if ratios else None))
    for table in tables:
        if table.name == "idle":
            each = {line[0]: line[-1] for line in table.lines}
            for who in _BOTH:
                value = each.get(titles[who])
                aim = Target(("idle",), who, "bytes", "", IDLE_BYTES)
                found.append(Verdict("idle", aim, None if value is None else float(value)))
    for result in results:
        ratios = result.ratios("xproxy", cpu, "envoy")
        if ratios:
            found.append(
                Verdict(result.row.name, Target((result.row.name,), "xproxy", "CPU per request", "envoy", 1.0), median(ratios))
            )
    return found
