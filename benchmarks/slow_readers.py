"""Slow readers cost no slot: 1,000 clients that read an answer of 100 kB at 1 kB/s, beside fast clients of the same pool.

    python -m benchmarks.slow_readers

The service works 10 ms for each answer, so that the slots, and not a processor, decide the rate of the fast clients: 32 slots
over 10 ms. That rate is measured without and with the slow readers, in turn. While only the slow readers are there, the proxy
is asked how many requests are in flight: their slots were busy for the service's time, not for the 100 s that reading takes.
It exits with status 1 when the rate changes by 5 % or more, or when a slow reader holds a slot.
"""

from __future__ import annotations

import argparse
import sys
from statistics import median
from typing import List

from benchmarks.checks import keep_alive_bytes
from benchmarks.configs import SLOTS
from benchmarks.contestants import Contestant, Field, Xproxy
from benchmarks.loads import Outcome, Target, wrk
from benchmarks.measure import memory_bytes
from benchmarks.places import add_options, places, say
from benchmarks.service import SIZES
from benchmarks.slow_clients import Crowd

READERS = 1_000
BYTES_PER_S = 1_000
SERVICE_MS = 10
FAST = 2 * SLOTS
"""Fast clients: enough that somebody always waits for a slot."""

MOST_CHANGE = 0.05


class Experiment:
    """One contestant's."""

    def __init__(self, contestant: Contestant, target: Target, seconds: float) -> None:
        self.contestant = contestant
        self._target = target
        self._seconds = seconds
        self.changes: List[float] = []
        self.served_s: List[float] = []
        self.in_flight: List[int] = []
        self.memory: List[float] = []
        self.wrong: List[str] = []

    def _fast(self) -> Outcome:
        return wrk(self._target, f"/256/{SERVICE_MS}", FAST, self._seconds)

    def round(self) -> None:
        """The fast clients without, then with the slow ones."""
        pids = self.contestant.pids()
        without = self._fast()
        before = memory_bytes(pids)
        with Crowd(self._target.core, "read", self._target.http, f"/100k/{SERVICE_MS}", READERS, BYTES_PER_S) as crowd:
            if isinstance(self.contestant, Xproxy):
                self.in_flight.append(self.contestant.status()["in_flight"])
            self.memory.append((memory_bytes(pids) - before) / READERS)
            beside = self._fast()
        self.served_s.append(crowd.began_s)
        self.changes.append(beside.requests / beside.seconds / (without.requests / without.seconds) - 1)
        if list(crowd.said["answers"]) != ["HTTP/1.1 200 OK"] or crowd.said["over"]:
            self.wrong.append(f"not every slow reader was served: {crowd.said}")
        elif crowd.said["most_read"] > SIZES["100k"] / 2:
            self.wrong.append("the slow readers were not slow: the run was too long for this experiment")
        say(f"{self.contestant.name}: {without.requests / without.seconds:,.0f}/s, with slow readers {self.changes[-1]:+.1%}")

    def report(self) -> bool:
        """Say how it went; returns whether it went well."""
        change = median(self.changes)
        ideal = READERS * SERVICE_MS / 1000 / SLOTS
        say(f"\n{self.contestant.title}, {READERS:,} clients reading 100 kB at 1 kB/s")
        say(f"  rate of the fast clients      {change:+.1%} (median of {', '.join(f'{each:+.1%}' for each in self.changes)})")
        say(f"  slow clients answered in    {median(self.served_s):.1f} s; the slots' time: {ideal:.1f} s, reading takes 100 s")
        if self.in_flight:
            say(f"  slots they hold afterwards    {max(self.in_flight)}")
        say(f"  memory of the proxy for each  {median(self.memory) / 1000:.0f} kB")
        for wrong in self.wrong:
            say(f"  {wrong}")
        return abs(change) < MOST_CHANGE and not any(self.in_flight) and not self.wrong


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.slow_readers", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    add_options(parser)
    parser.set_defaults(contestants="xproxy")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    with places(given) as here:
        field = Field(here, given.contestants.split(","), say)
        try:
            field.start()
            fine = bool(field.contestants)
            for contestant in field.contestants:
                fine = run(contestant, here.directory, here.load_core, given.rounds, given.seconds) and fine
        finally:
            field.stop()
    sys.exit(0 if fine else 1)


def run(contestant: Contestant, directory: str, core: int, rounds: int, seconds: float) -> bool:
    """All rounds of one contestant."""
    path = f"/256/{SERVICE_MS}"
    sizes = {path: keep_alive_bytes(contestant.ports.http, "/256")}
    experiment = Experiment(contestant, Target(contestant.ports.http, 0, core, directory, sizes), seconds)
    for _ in range(rounds):
        experiment.round()
    return experiment.report()


if __name__ == "__main__":
    main()
