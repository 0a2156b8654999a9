"""Slow attacks leave the others alone: 5,000 connections that send their heads, send their bodies or read their answers slowly.

    python -m benchmarks.attacks

Each attack is beside an ordinary client whose latency is measured without and with it, in turn. The proxy's memory must be
bounded by what one connection may hold, and its descriptors must be gone soon after the attackers are. It exits with status 1
when one of that is not so.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import Dict, List

from benchmarks.configs import SLOTS
from benchmarks.contestants import Contestant, Field
from benchmarks.loads import Target, client
from benchmarks.measure import memory_bytes, open_descriptors
from benchmarks.places import add_options, places, say
from benchmarks.slow_clients import Crowd

ATTACKERS = 5_000
CLIENTS, REQUESTS = 4, 4_000
MOST_GROWTH = {"p50": 1.5, "p99": 2.0}
"""How many times the latency without the attack it may be."""

RELEASE_S = 5.0
"""How long after an attack its connections may still be there."""

SPARE_MS = 10.0
"""And so much more: a scheduler's turn, on a core that others use as well."""


@dataclass(frozen=True)
class Attack:
    """One kind.

    :ivar most_bytes: what one connection may cost the proxy's own memory, by its limits.
    """

    kind: str
    title: str
    path: str
    rate: int
    most_bytes: int


ATTACKS = [
    Attack("head", "slow heads (a byte a second)", "/256", 1, 16 * 1024),
    Attack("body", "slow bodies (a byte a second)", "/upload", 1, 16 * 1024),
    # limits.response_memory of the answer may wait in memory, the rest is in a file.
    Attack("read", "slow readers (100 kB, a byte a second)", "/100k", 1, 96 * 1024),
]


class Latencies:
    """What an ordinary client sees, round by round."""

    def __init__(self) -> None:
        self.rounds: List[Dict[str, float]] = []

    def measure(self, target: Target) -> None:
        """One round."""
        self.rounds.append(client(target, "download", "/256", 256, CLIENTS, REQUESTS).latency_ms)

    def middle(self, part: str) -> float:
        """The median of the rounds."""
        return median(each[part] for each in self.rounds)


def wait_for_release(pids: List[int], descriptors: int) -> bool:
    """Whether no more descriptors are open than before, soon after the attackers have left."""
    deadline = time.monotonic() + RELEASE_S
    while time.monotonic() < deadline:
        if open_descriptors(pids) <= descriptors:
            return True
        time.sleep(0.05)
    return False


def attack(contestant: Contestant, target: Target, kind: Attack, attackers: int, rounds: int) -> bool:
    """Measure one attack; returns whether the proxy stood it."""
    without, beside = Latencies(), Latencies()
    pids = contestant.pids()
    memory: List[float] = []
    over, released = 0, True
    for _ in range(rounds):
        without.measure(target)
        before, descriptors = memory_bytes(pids), open_descriptors(pids) + SLOTS  # Slots that come into use have one more.
        with Crowd(target.core, kind.kind, target.http, kind.path, attackers, kind.rate) as crowd:
            memory.append((memory_bytes(pids) - before) / attackers)
            beside.measure(target)
        over = max(over, crowd.said["over"])
        released = released and wait_for_release(pids, descriptors)
    fine = max(memory) <= kind.most_bytes and released
    say(f"  {kind.title}")
    for part, growth in MOST_GROWTH.items():
        alone, now = without.middle(part), beside.middle(part)
        fine = fine and now <= alone * growth + SPARE_MS
        say(f"    {part:4} of an ordinary client   {alone:7.2f} ms alone, {now:7.2f} ms beside it")
    say(f"    memory for each attacker     {max(memory) / 1000:5.1f} kB, at most {kind.most_bytes / 1000:.0f} kB")
    say(f"    connections cut meanwhile    {over:5,}; all closed {'soon' if released else 'NOT soon'} afterwards")
    return fine


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attacks", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    add_options(parser)
    parser.set_defaults(contestants="xproxy")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--attackers", type=int, default=ATTACKERS)
    given = parser.parse_args()
    with places(given) as here:
        field = Field(here, given.contestants.split(","), say)
        try:
            field.start()
            fine = bool(field.contestants)
            for contestant in field.contestants:
                target = Target(contestant.ports.http, 0, here.load_core, here.directory, {})
                attackers = min(given.attackers, here.descriptors - 500)
                say(f"\n{contestant.title}, {attackers:,} attackers")
                for kind in ATTACKS:
                    fine = attack(contestant, target, kind, attackers, given.rounds) and fine
        finally:
            field.stop()
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
