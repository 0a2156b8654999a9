"""The outcome of a run as Markdown and as JSON."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from statistics import median
from typing import Any, Dict, List, Sequence

from benchmarks.contestants import BASELINE, PAPER_BASELINE
from benchmarks.rounds import Figure, Results, cpu, rate
from benchmarks.special import Table, Value
from benchmarks.targets import Verdict, verdicts

QUIET = 0.1
"""The share of the proxies' core that others may use before a run is called disturbed."""


COLUMNS = [
    "",
    "CPU ÷ nginx",
    "requests/s ÷ nginx",
    "requests/s ÷ nginx, connecting",
    "CPU µs/request",
    "requests/s",
    "core used",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
]


@dataclass
class Run:
    """Everything that is reported.

    :ivar titles: of the contestants that ran, by name, in their order.
    :ivar versions: what they are, by name.
    """

    titles: Dict[str, str]
    versions: Dict[str, str]
    missing: Dict[str, str]
    rounds: int
    seconds: float
    took_s: float
    results: List[Results]
    tables: List[Table]

    def disturbance(self) -> float:
        """The share of the proxies' core that others used, the median of all measurements."""
        shares = [figure.cost.foreign for result in self.results for figures in result.figures.values() for figure in figures]
        return median(shares) if shares else 0.0

    def verdicts(self) -> List[Verdict]:
        """The targets."""
        return verdicts(self.results, self.tables, {"xproxy": "", "xproxy-pypy": "", **self.titles})


def machine() -> Dict[str, str]:
    """Where it ran."""
    model = "unknown"
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"processor": model, "cores": str(os.cpu_count()), "kernel": platform.release(), "python": platform.python_version()}


def number(value: float) -> str:
    """Three figures are more than such a measurement is worth."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> List[str]:
    """A Markdown table whose first column is text."""
    out = ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    return out + ["| " + " | ".join(line) + " |" for line in lines] + [""]


def _range(ratios: Sequence[float]) -> str:
    if not ratios:
        return "-"
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _overview(run: Run) -> List[str]:
    lines = []
    for result in run.results:
        cells = []
        for name in run.titles:
            ratios = result.ratios(name, cpu)
            cells.append(f"{median(ratios):.2f}" if ratios else "-")
        lines.append([result.row.title, *cells])
    return [
        "CPU time of the proxy per request, as a multiple of that of nginx with upstream keep-alive; less is better.",
        "",
        *table(["", *run.titles.values()], lines),
    ]


def _latency(result: Results, name: str, part: str) -> str:
    values = [figure.latency_ms[part] for figure in result.figures[name] if part in figure.latency_ms]
    return number(median(values)) if values else "-"


def _row(run: Run, result: Results) -> List[str]:
    lines = []
    for name in run.titles:
        if name in result.figures:
            lines.append(
                [
                    run.titles[name],
                    _range(result.ratios(name, cpu)),
                    _range(result.ratios(name, rate)),
                    _range(result.ratios(name, rate, PAPER_BASELINE)),
                    number(result.middle(name, cpu)),
                    number(result.middle(name, rate)),
                    f"{result.middle(name, _busy):.0%}",
                    *(_latency(result, name, part) for part in ("p50", "p99", "p99.9")),
                ]
            )
    columns = [
        "",
        "CPU ÷ nginx",
        "requests/s ÷ nginx",
        "requests/s ÷ nginx, connecting",
        "CPU µs/request",
        "requests/s",
        "core used",
    ]
    out = [f"### {result.row.title}", "", *table([*columns, "p50 ms", "p99 ms", "p99.9 ms"], lines)]
    return out + _left_out({name: why for name, why in result.left_out.items() if name not in run.missing})


def _busy(figure: Figure) -> float:
    return figure.cost.busy


def _left_out(left_out: Dict[str, str]) -> List[str]:
    if not left_out:
        return []
    return ["Left out: " + "; ".join(f"{name} ({why})" for name, why in left_out.items()) + ".", ""]


def _cell(value: Value) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) else value


def _special(run: Run, special: Table) -> List[str]:
    lines = [[_cell(value) for value in line] for line in special.lines]
    out = [f"### {special.title}", "", *table(special.columns, lines), special.note, ""]
    return out + _left_out({name: why for name, why in special.left_out.items() if name not in run.missing})


def _targets(run: Run) -> List[str]:
    lines = []
    for verdict in run.verdicts():
        target = verdict.target
        of = f" ÷ {target.of}" if target.of else ""
        aim = f"{'≥' if target.at_least else '≤'} {target.bound:,g}"
        value = "not measured" if verdict.value is None else number(verdict.value)
        met = "-" if verdict.value is None else "yes" if target.met(verdict.value) else "**no**"
        lines.append([verdict.row, target.who, target.what + of, aim, value, met])
    return ["### Aims", "", *table(["row", "who", "what", "aim", "measured", "met"], lines)] if lines else []


def markdown(run: Run) -> str:
    """The whole report."""
    where = machine()
    shares = run.disturbance()
    calm = "" if shares <= QUIET else " That is too much: these figures are no good for quoting."
    out = [
        f"Measured on {datetime.now(timezone.utc):%Y-%m-%d}: {where['processor']}, {where['cores']} cores, "
        f"Linux {where['kernel']}; {run.rounds} interleaved rounds of {run.seconds:g} s, medians, least and greatest ratio in "
        f"brackets. Other programs used {shares:.0%} of the proxies' core.{calm}",
        "",
        "Contestants: " + "; ".join(f"{run.titles[name]}: {run.versions[name]}" for name in run.titles) + ".",
        "",
        *_left_out(run.missing),
        *_overview(run),
        *_targets(run),
    ]
    for special in run.tables:
        out += _special(run, special)
    for result in run.results:
        out += _row(run, result)
    return "\n".join(out).rstrip() + "\n"


def as_json(run: Run) -> Dict[str, Any]:
    """The same with every single measurement."""
    return {
        "machine": machine(),
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "contestants": {name: {"title": run.titles[name], "version": run.versions[name]} for name in run.titles},
        "missing": run.missing,
        "baseline": BASELINE,
        "foreign_share": round(run.disturbance(), 3),
        "rows": [
            {
                "name": result.row.name,
                "title": result.row.title,
                "figures": {name: [asdict(figure) for figure in figures] for name, figures in result.figures.items()},
                "left_out": result.left_out,
            }
            for result in run.results
        ],
        "tables": [asdict(special) for special in run.tables],
        "targets": [
            {"row": v.row, "who": v.target.who, "what": v.target.what, "of": v.target.of, "bound": v.target.bound,
             "at_least": v.target.at_least, "value": v.value} for v in run.verdicts()
        ],
    }  # fmt: skip
