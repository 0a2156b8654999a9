"""Several proxies on one acceptor: what a request costs all of them together, beside one proxy under the same load.

Two setups run side by side, one with one proxy and one with two, each with an acceptor and a service of its own; they take
turns, so that what else the machine does meets both. Nothing is pinned but the service and the load: proxies are there for more
cores. What counts is the ratio within a run.
"""

from __future__ import annotations

import json
import os
import statistics
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Iterator, List, Tuple, Union

from benchmarks.contestants import Xproxy
from benchmarks.loads import Failed, Target, wrk
from benchmarks.measure import cpu_seconds
from benchmarks.processes import NotStarted, Program, free_port
from benchmarks.rounds import Match
from benchmarks.special import Table

Setting = Tuple[int, int, int]
"""Slots, connections, and how many milliseconds a service works for an answer."""

SETTINGS: List[Setting] = [(32, 16, 0), (32, 64, 0), (8, 64, 1), (8, 64, 5)]
PROXIES = (1, 2)
ROUNDS = 3
WARM_UP_S = 5.0
"""PyPy compiles what it sees often."""

Value = Union[int, float, str]


@dataclass
class Figure:
    """One load on one setup."""

    rate: float
    cpu_us: float
    """Of the acceptor and all proxies, for each request."""
    p99_ms: float
    moves: float
    """Leases that moved from one proxy to another, for each 1,000 requests; NaN: this version does not say."""


class Setup:
    """An acceptor, its proxies and their service."""

    def __init__(self, acceptor: Program, proxies: List[Program], targets: List[Target], admin: int, path: str) -> None:
        self._programs = [acceptor, *proxies]
        self._targets = targets
        self._admin = admin
        self._path = path

    def _pool(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}/status", timeout=30) as answer:
            pool: dict[str, float] = json.load(answer)["pools"]["default"]
            return pool

    def wait_for(self, slots: int) -> None:
        """All slots are registered. Raises NotStarted."""
        deadline = time.monotonic() + 30
        while self._pool()["slots"] != slots:
            if time.monotonic() > deadline:
                raise NotStarted("the slots of the service did not come")
            time.sleep(0.05)

    def _spent(self) -> Tuple[float, float]:
        return sum(cpu_seconds(program.pid) for program in self._programs), self._pool().get("lease_moves", float("nan"))

    def load(self, connections: int, seconds: float) -> Figure:
        """A closed loop, the connections divided among the proxies. Raises Failed."""
        each = connections // len(self._targets)
        cpu, moves = self._spent()
        with ThreadPoolExecutor(len(self._targets)) as pool:
            outcomes = list(pool.map(lambda target: wrk(target, self._path, each, seconds), self._targets))
        cpu, moves = (now - before for now, before in zip(self._spent(), (cpu, moves)))
        requests = sum(outcome.requests for outcome in outcomes)
        rate = sum(outcome.requests / outcome.seconds for outcome in outcomes)
        return Figure(
            rate, cpu / requests * 1e6, max(outcome.latency_ms["p99"] for outcome in outcomes), moves / requests * 1000
        )


@contextmanager
def _setup(match: Match, contestant: Xproxy, number: int, setting: Setting) -> Iterator[Setup]:
    """Start one with this many proxies. Raises NotStarted."""
    slots, _, milliseconds = setting
    directory = os.path.join(contestant.directory, f"proxies-{'-'.join(map(str, setting))}-{number}")
    os.makedirs(directory)
    handoff, log = os.path.join(directory, "handoff"), os.path.join(directory, "log")
    slots_port, admin = free_port(), free_port()
    with ExitStack() as started:

        def start(arguments: List[str]) -> Program:
            program = Program(contestant.twistd(*arguments), None, log)
            started.callback(program.stop)
            return program

        tcp = "tcp:{}:interface=127.0.0.1"
        acceptor = start(["xacceptor", "--handoff", handoff, "--slots", tcp.format(slots_port), "--admin", tcp.format(admin)])
        acceptor.wait_until_it_listens(slots_port)
        config = os.path.join(directory, "xproxy.toml")
        with open(config, "w") as file:
            file.write('[proxy]\naccess_log = "none"\nadmin = "none"\n[pools.default]\nclient_share = 1.0\n')
        proxies, targets = [], []
        for each in range(number):
            port = free_port()
            proxies.append(start(["xproxy", "--config", config, "--acceptor", handoff, "--http", tcp.format(port)]))
            proxies[-1].wait_until_it_listens(port)
            own = os.path.join(directory, str(each))
            os.makedirs(own)
            path = f"/256/{milliseconds}" if milliseconds else "/256"
            sizes = {path: match.targets[contestant.name].response_bytes["/256"]}
            targets.append(Target(port, 0, match.field.places.load_core, own, sizes))
        service = match.field.another_service(["--slots", str(slots_port), str(slots)])
        started.callback(service.stop)
        setup = Setup(acceptor, proxies, targets, admin, path)
        setup.wait_for(slots)
        yield setup


def _middle(figures: List[Figure], name: str) -> float:
    return statistics.median(getattr(figure, name) for figure in figures)


def proxies_table(match: Match, seconds: float) -> Table:
    """One and two proxies."""
    table = Table(
        "proxies",
        "Two proxies on one acceptor, beside one",
        "Keep-alive connections in a closed loop (wrk), divided among the proxies. CPU time is of the acceptor and all proxies "
        f"together. The middle of {ROUNDS} rounds, in which both take turns.",
        ["", "slots, connections, ms", "proxies", "requests/s", "CPU, us/request", "p99, ms", "moves per 1,000"],
    )
    for contestant in match.field.contestants:
        if not isinstance(contestant, Xproxy):
            continue
        for setting in SETTINGS:
            try:
                lines = _measure(match, contestant, setting, seconds)
            except (Failed, NotStarted, OSError) as why:
                table.left_out[contestant.name] = str(why)
                break
            label = ", ".join(map(str, setting))
            table.lines.extend([contestant.title, label, *line] for line in lines)
    return table


def _measure(match: Match, contestant: Xproxy, setting: Setting, seconds: float) -> List[List[Value]]:
    connections = setting[1]
    with ExitStack() as running:
        setups = [running.enter_context(_setup(match, contestant, number, setting)) for number in PROXIES]
        for setup in setups:
            setup.load(connections, WARM_UP_S if contestant.warms_up else 1.0)
        rounds = [[setup.load(connections, seconds) for setup in setups] for _ in range(ROUNDS)]
    lines: List[List[Value]] = []
    for number, figures in zip(PROXIES, zip(*rounds)):
        rate, cpu_us, p99_ms, moves = (_middle(list(figures), name) for name in ("rate", "cpu_us", "p99_ms", "moves"))
        moved: Value = "-" if moves != moves else round(moves, 1)
        lines.append([number, round(rate), round(cpu_us, 1), round(p99_ms, 1), moved])
    return lines
