"""``python -m benchmarks``: xproxy beside its peers, on this machine. See docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import List, Sequence

from benchmarks.contestants import BASELINE, Field
from benchmarks.places import add_options, places, say
from benchmarks.plot import svg
from benchmarks.proxies import proxies_table
from benchmarks.publish import OUTPUT
from benchmarks.report import Run, as_json, markdown
from benchmarks.rounds import Match, Results
from benchmarks.rows import ROWS, Row, Scale
from benchmarks.special import Table, idle_table, leases_table, slots_table

SPECIAL = ("slots", "leases", "proxies", "idle")
"""The rows in ``special``, in the order in which they are run; idle comes last, for it starts everybody anew."""

SLOTS_REQUESTS = 10_000


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="xproxy beside its peers, on this machine")
    parser.add_argument("--quick", action="store_true", help="a few rows, two rounds: about two minutes")
    parser.add_argument("--rows", default="", help="only these, with commas: " + ", ".join([*(r.name for r in ROWS), *SPECIAL]))
    parser.add_argument("--rounds", type=int, help="default: 3")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a load that lasts a time; default: 1")
    parser.add_argument(
        "--part", type=float, default=1.0, help="of the requests of a load that has a number of them; default: 1"
    )
    parser.add_argument("--output", default=OUTPUT, help="where results.md, .json and .svg go; default: build/benchmarks")
    add_options(parser)
    return parser


def chosen(given: argparse.Namespace) -> Sequence[str]:
    """The names of the rows to run. Exits when one is unknown."""
    known = [*(row.name for row in ROWS), *SPECIAL]
    names = [name for name in given.rows.split(",") if name]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"there is no row {', '.join(unknown)}; there are {', '.join(known)}")
    if names:
        return names
    return [*(row.name for row in ROWS if row.quick), "slots"] if given.quick else known


def measure(
    match: Match, rows: Sequence[Row], names: Sequence[str], rounds: int, seconds: float
) -> tuple[List[Results], List[Table]]:
    """Run everything."""
    tables: List[Table] = []
    match.warm_up(rows)
    results = [match.run(row, rounds) for row in rows]
    if "slots" in names:
        tables.append(slots_table(match, SLOTS_REQUESTS))
    if "leases" in names:
        tables.append(leases_table(match))
    if "proxies" in names:
        tables.append(proxies_table(match, seconds))
    if "idle" in names:
        tables.append(idle_table(match))
    return results, tables


def save(run: Run, directory: str) -> None:
    """Write the report three ways."""
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "results.md"), "w") as file:
        file.write(markdown(run))
    with open(os.path.join(directory, "results.json"), "w") as file:
        json.dump(as_json(run), file, indent=1)
    with open(os.path.join(directory, "results.svg"), "w") as file:
        file.write(svg(run))


def main() -> None:
    """Run what the command line asks for."""
    given = options().parse_args()
    names = chosen(given)
    rows = [row for row in ROWS if row.name in names]
    rounds = given.rounds or (2 if given.quick else 3)
    contestants = [name for name in given.contestants.split(",") if name]
    if contestants and BASELINE not in contestants:
        say(f"without {BASELINE} there are no ratios, and the figures alone mean nothing")
    with places(given) as here:
        field = Field(here, contestants, say)
        began = time.monotonic()
        try:
            field.start()
            match = Match(field, Scale(given.seconds, given.part), say)
            titles = {contestant.name: contestant.title for contestant in field.contestants}
            results, tables = measure(match, rows, names, rounds, given.seconds)
        finally:
            field.stop()
    took = time.monotonic() - began
    run = Run(titles, field.versions, field.missing, rounds, given.seconds, took, results, tables)
    save(run, given.output)
    sys.stdout.write(markdown(run))
    say(f"took {took:.0f} s; saved in {given.output}")


if __name__ == "__main__":
    main()
