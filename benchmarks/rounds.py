"""Rounds: each contestant in turn, again and again, so that what disturbs the machine disturbs all of them alike.

A figure is the median of the rounds. A ratio is taken within a round, to the baseline of the same round, and then the median of
the ratios: absolute figures of one machine say nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Callable, Dict, List, Sequence

from benchmarks.checks import check
from benchmarks.contestants import BASELINE, Contestant, Field
from benchmarks.loads import Failed, Outcome, Target
from benchmarks.measure import Cost, cost, sample
from benchmarks.rows import SLOW, Row, Scale

WARM_UP = Scale(seconds=3, part=1.0)
"""How much of each row is run before the first round by who has a just-in-time compiler, which has to see the code first."""


@dataclass(frozen=True)
class Figure:
    """One measurement."""

    requests_per_second: float
    cpu_microseconds: float
    """Of the proxy's processes, per request."""
    latency_ms: Dict[str, float]
    cost: Cost


@dataclass
class Results:
    """Everything that was measured in one row.

    :ivar figures: by contestant, one for each round.
    :ivar left_out: who has no figures, and why.
    """

    row: Row
    figures: Dict[str, List[Figure]] = field(default_factory=dict)
    left_out: Dict[str, str] = field(default_factory=dict)

    def values(self, name: str, what: Callable[[Figure], float]) -> List[float]:
        """One value of every round."""
        return [what(figure) for figure in self.figures[name]]

    def middle(self, name: str, what: Callable[[Figure], float]) -> float:
        """The median of the rounds."""
        return median(self.values(name, what))

    def ratios(self, name: str, what: Callable[[Figure], float], baseline: str = BASELINE) -> List[float]:
        """Round by round, divided by the baseline's of the same round; empty when one of them has no figures."""
        if name not in self.figures or baseline not in self.figures:
            return []
        return [mine / theirs for mine, theirs in zip(self.values(name, what), self.values(baseline, what))]


def cpu(figure: Figure) -> float:
    """For ``Results``: CPU microseconds per request."""
    return figure.cpu_microseconds


def rate(figure: Figure) -> float:
    """For ``Results``: requests per second."""
    return figure.requests_per_second


class Match:
    """The contestants, checked, and the rows they run.

    :ivar targets: where the loads go, by contestant.
    """

    def __init__(self, contestants: Field, scale: Scale, say: Callable[[str], None]) -> None:
        self.field = contestants
        self._scale = scale
        self._say = say
        self.targets: Dict[str, Target] = {}
        for contestant in list(contestants.contestants):
            try:
                self.targets[contestant.name] = self._target(contestant)
            except Failed as why:
                contestants.leave_out(contestant, f"wrong answers: {why}")

    def _target(self, contestant: Contestant) -> Target:
        places = self.field.places
        sizes = check(contestant.ports.http)
        return Target(contestant.ports.http, contestant.ports.https, places.load_core, places.directory, sizes)

    def warm_up(self, rows: Sequence[Row]) -> None:
        """Run the rows once, without measuring. What fails here will say so when it is measured."""
        for contestant in self.field.contestants:
            if contestant.warms_up:
                for row in rows:
                    if not (row.tls and contestant.no_tls):
                        self._warm_up(row, contestant)

    def _warm_up(self, row: Row, contestant: Contestant) -> None:
        try:
            self._load(row, contestant, WARM_UP)
        except Failed as why:
            self._say(f"warming up, {row.name}, {contestant.name}: {why}")

    def _load(self, row: Row, contestant: Contestant, scale: Scale) -> Outcome:
        slower = SLOW.get(contestant.name, 1.0)
        return row.run(self.targets[contestant.name], Scale(scale.seconds, scale.part * slower))

    def run(self, row: Row, rounds: int) -> Results:
        """Measure one row: who fails once is out of it, for there is no figure when something went wrong."""
        results = Results(row, left_out=dict(self.field.missing))
        running: List[Contestant] = []
        for contestant in self.field.contestants:
            if row.tls and contestant.no_tls:
                results.left_out[contestant.name] = contestant.no_tls
            else:
                running.append(contestant)
        for number in range(rounds):
            for contestant in list(running):
                try:
                    figure = self._measure(row, contestant)
                except (Failed, OSError) as why:
                    running.remove(contestant)
                    results.figures.pop(contestant.name, None)
                    results.left_out[contestant.name] = f"failed in round {number + 1}: {why}"
                    self._say(f"{row.name}: {contestant.title} failed: {why}")
                    continue
                results.figures.setdefault(contestant.name, []).append(figure)
                self._say(
                    f"{row.name} {number + 1}/{rounds} {contestant.name:16} {figure.requests_per_second:10,.1f}/s"
                    f" {figure.cpu_microseconds:10,.1f} us  busy {figure.cost.busy:4.0%}  foreign {figure.cost.foreign:4.0%}"
                )
        return results

    def _measure(self, row: Row, contestant: Contestant) -> Figure:
        core = self.field.places.proxy_core
        pids = contestant.pids()
        before = sample(pids, core)
        outcome = self._load(row, contestant, self._scale)
        spent = cost(before, sample(pids, core))
        if contestant.pids() != pids:
            raise Failed("its processes are not those that they were")
        return Figure(outcome.requests / outcome.seconds, spent.cpu / outcome.requests * 1e6, outcome.latency_ms, spent)
