"""The rows that are not about the cost of a request: idle connections, what slots save, leases through the handoff socket."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from typing import Dict, List, Union

from benchmarks.configs import SLOTS
from benchmarks.contestants import Xproxy
from benchmarks.loads import TOP, Failed, IdleClients, ab, wrk
from benchmarks.measure import context_switches, memory_bytes, time_wait
from benchmarks.processes import NotStarted, Program, free_port, on_core
from benchmarks.rounds import Match

IDLE_CONNECTIONS = 10_000
SPARE_DESCRIPTORS = 500
"""What a contestant may need besides its clients' connections."""

LEASES = 5_000
LEASES_S = 60.0
"""How long that may take."""

Value = Union[int, float, str]


@dataclass
class Table:
    """One of these rows, a table of its own.

    :ivar columns: the titles; the first is that of the contestant.
    """

    name: str
    title: str
    note: str
    columns: List[str]
    lines: List[List[Value]] = field(default_factory=list)
    left_out: Dict[str, str] = field(default_factory=dict)


def slots_table(match: Match, requests: int) -> Table:
    """What a connection per request costs, and slots save: the paper's second measurement."""
    table = Table(
        "slots",
        f"What the slots save, per {requests:,} requests (ab -k -c 32)",
        "Connects and TIME_WAIT are of the connections between proxy and service. Context switches depend on how busy the "
        "machine is with other things.",
        ["", "connects", "sockets in TIME_WAIT", "context switches, proxy", "context switches, service"],
        left_out=dict(match.field.missing),
    )
    service = match.field.service_pids()
    for contestant in match.field.contestants:
        ports = [contestant.ports.slots if contestant.dials_out else contestant.ports.service]
        pids = contestant.pids()
        counts = match.field.service_counts()
        began, of_proxy, of_service = time.monotonic(), _switches(pids), _switches(service)
        try:
            ab(match.targets[contestant.name], "/256", 32, requests, keep_alive=True)
        except Failed as why:
            table.left_out[contestant.name] = str(why)
            continue
        of_proxy, of_service = _switches(pids) - of_proxy, _switches(service) - of_service
        waiting = time_wait(ports, time.monotonic() - began)
        after = match.field.service_counts()
        connects = sum(after[name] - counts[name] for name in ("accepted", "dialled")) - 1  # The question's own.
        table.lines.append([contestant.title, connects, waiting, of_proxy, of_service])
    return table


def _switches(pids: List[int]) -> int:
    return sum(context_switches(pid) for pid in pids)


def idle_table(match: Match) -> Table:
    """Memory per idle keep-alive connection, of a fresh process."""
    half = min(IDLE_CONNECTIONS, match.field.places.descriptors - SPARE_DESCRIPTORS) // 2
    table = Table(
        "idle",
        f"{2 * half:,} idle keep-alive connections",
        "Proportional set size of all the proxy's processes, each connection having been answered once. Per connection: what "
        "all of them added or what the second half added, whichever is more, for the first half fills what the start left "
        "free, and a garbage collector gives back when it likes. The kernel's own memory for a socket is the same for all and "
        "not in it.",
        ["", "before, MB", "with half of them, MB", "with all, MB", "per connection, bytes"],
        left_out=dict(match.field.missing),
    )
    for contestant in match.field.contestants:
        try:
            contestant.stop()
            contestant.start()
            contestant.ready()
            wrk(match.targets[contestant.name], "/256", SLOTS, 1)
            target, pids = match.targets[contestant.name], contestant.pids()
            before = memory_bytes(pids)
            with IdleClients(target, half):
                first = memory_bytes(pids)
                with IdleClients(target, half):
                    both = memory_bytes(pids)
        except (Failed, NotStarted, OSError) as why:
            table.left_out[contestant.name] = str(why)
            continue
        megabytes = [round(size / 1e6, 1) for size in (before, first, both)]
        table.lines.append([contestant.title, *megabytes, round(max((both - first) / half, (both - before) / (2 * half)))])
    return table


def leases_table(match: Match) -> Table:
    """Leases through the handoff socket, by an acceptor and a proxy's end on the same interpreter."""
    table = Table(
        "leases",
        "Leases through the handoff socket",
        "Ask, descriptor, give back, ask again: a proxy that kept no lease. The acceptor is on the proxies' core, the asking "
        "end on the other one. CPU time is of each end, per lease.",
        ["", "asks at once", "leases/s", "acceptor, us", "asking end, us"],
    )
    for contestant in match.field.contestants:
        if isinstance(contestant, Xproxy):
            for window in (1, 8):
                try:
                    table.lines.append(_lease(match, contestant, window))
                except (Failed, NotStarted, OSError, subprocess.TimeoutExpired) as why:
                    table.left_out[contestant.name] = str(why)
    return table


def _lease(match: Match, contestant: Xproxy, window: int) -> List[Value]:
    places = match.field.places
    path = os.path.join(contestant.directory, f"handoff{window}")
    port = free_port()
    log = os.path.join(contestant.directory, "leases")
    slots = f"tcp:{port}:interface=127.0.0.1"
    acceptor = Program(contestant.twistd("xacceptor", "--handoff", path, "--slots", slots), places.proxy_core, log)
    service = None
    try:
        acceptor.wait_until_it_listens(port)
        service = match.field.another_service(["--slots", str(port), str(SLOTS)])
        asking = [contestant.python, "-m", "benchmarks.leases", path, str(acceptor.pid), "default", str(window), str(LEASES)]
        with on_core(places.load_core):
            run = subprocess.run(asking, check=False, capture_output=True, text=True, timeout=LEASES_S, cwd=TOP)
        if run.returncode or not acceptor.runs:
            raise Failed(f"{run.stderr.strip()[-300:]} {acceptor.last_words()}")
    finally:
        acceptor.stop()
        if service is not None:
            service.stop()
    said = json.loads(run.stdout)
    leases = said["leases"]
    each = [round(said[end] / leases * 1e6, 1) for end in ("acceptor", "asking")]
    return [contestant.title, window, round(leases / said["seconds"]), *each]
