"""``python -m tests.endure``: everything happens to a loaded xproxy, many times in a row, and nothing may fail."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from typing import Callable, Dict, List, Sequence
from unittest import TestResult

from twisted.trial.unittest import SynchronousTestCase

from tests.endure.arrangement import Arrangement
from tests.endure.arrangements import Apart, Whole
from tests.endure.run import Row, Run

ARRANGEMENTS: Dict[str, Callable[[SynchronousTestCase], Arrangement]] = {"apart": Apart, "whole": Whole}

SHOWN = 20
"""Lines of what went wrong."""

HEAD = (
    f"{'':18}  {'':24} {'times':>6} {'requests':>9} {'failed':>7} {'refused':>8} {'lost':>5} {'p99 ms':>8} {'longest ms':>11}"
)


class Endurance(SynchronousTestCase):
    """What the programs belong to: whatever happens, they are ended, and their logs are looked through.

    :ivar wrong: what may not be.
    """

    wrong: Sequence[str] = ()

    def __init__(self, arrangement: Callable[[SynchronousTestCase], Arrangement], times: int) -> None:
        super().__init__("endure")
        self._arrangement = arrangement
        self._times = times

    def endure(self) -> None:
        """All events."""
        self.wrong = Run(self._arrangement(self), self._times, show).run()


def show(row: Row) -> None:
    """A line of the table."""
    tally = row.tally
    numbers = f"{row.times:6} {tally.requests:9} {len(tally.failures):7} {tally.refused:8} {len(tally.lost):5}"
    waits = f"{tally.percentile_ms(0.99):8.0f} {tally.percentile_ms(1):11.0f}"
    print(f"{row.arrangement:18}  {row.event:24} {numbers} {waits}", flush=True)


def main(arguments: List[str]) -> int:
    """Gives the exit status: 1 when something failed that may not."""
    parser = argparse.ArgumentParser(prog="make endure ARGS=...", description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="how often each event happens in a row (20)")
    parser.add_argument("--only", choices=sorted(ARRANGEMENTS), help="one arrangement (both)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # What was started is ended on the way out.
    wrong: List[str] = []
    print(HEAD, flush=True)
    for name, arrangement in ARRANGEMENTS.items():
        if options.only in (None, name):
            case, result = Endurance(arrangement, options.times), TestResult()
            case.run(result)
            wrong += [*case.wrong, *(text for _, text in [*result.failures, *result.errors])]
    for line in wrong[:SHOWN]:
        print(line)
    print(f"{len(wrong)} wrong" if wrong else "nothing failed that may not")
    return 1 if wrong else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="xproxy-endure-") as directory:
        os.chdir(directory)  # Where tests make their files.
        status = main(sys.argv[1:])
    sys.exit(status)
