"""What a program costs, read from the kernel: CPU time, context switches, memory; and what is in TIME_WAIT.

All of it is about processes by their ids and needs no root as long as they run as the same user.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Iterable, List

_CPUCLOCK_SCHED = 2
_TICKS = os.sysconf("SC_CLK_TCK")
_TIME_WAIT = "06"

TIME_WAIT_S = 60.0
"""TCP_TIMEWAIT_LEN of Linux."""


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process with all its threads, those that have ended too.

    The clock of clock_getcpuclockid(3). It is the number that /proc/PID/stat shows as utime + stime, before that is rounded to
    hundredths of a second.
    """
    return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)


def core_seconds(core: int) -> float:
    """How long a core was busy, with whatever (/proc/stat), in steps of a hundredth of a second."""
    with open("/proc/stat") as stat:
        for line in stat:
            if line.startswith(f"cpu{core} "):
                times = [int(number) for number in line.split()[1:9]]
                return (sum(times) - times[3] - times[4]) / _TICKS  # Without idle and iowait; steal counts as busy.
    raise LookupError(f"there is no core {core}")


def context_switches(pid: int) -> int:
    """Voluntary and involuntary ones of all threads."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as status:
            total += sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)
    return total


def memory_bytes(pids: Iterable[int]) -> int:
    """Proportional set size: private memory, and each shared page by its share. The kernel's buffers are not in it."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            total += sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
    return total


def open_descriptors(pids: Iterable[int]) -> int:
    """How many descriptors are open."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


def time_wait(ports: Iterable[int], younger_than_s: float) -> int:
    """Sockets with one of these ports at either end that came into TIME_WAIT in the last so many seconds.

    Each waits TIME_WAIT_S; /proc/net/tcp shows how much of that is left, in ticks.
    """
    wanted = {f"{port:04X}" for port in ports}
    left_least = (TIME_WAIT_S - younger_than_s) * _TICKS
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    waiting = [row for row in rows if row[3] == _TIME_WAIT and {row[1][-4:], row[2][-4:]} & wanted]
    return sum(int(row[5].partition(":")[2], 16) >= left_least for row in waiting)


@dataclass(frozen=True)
class Sample:
    """The running totals at one moment."""

    at: float
    cpu: float
    core: float
    switches: int


def sample(pids: List[int], core: int) -> Sample:
    """Read everything. Raises OSError when one of the processes is gone."""
    return Sample(
        at=time.monotonic(),
        cpu=sum(cpu_seconds(pid) for pid in pids),
        core=core_seconds(core),
        switches=sum(context_switches(pid) for pid in pids),
    )


@dataclass(frozen=True)
class Cost:
    """What happened between two samples."""

    seconds: float
    cpu: float
    """CPU seconds of the proxy."""
    busy: float
    """The share of its core that the proxy used."""
    foreign: float
    """The share of its core that others used: a measurement is only as good as this is small."""
    switches: int


def cost(before: Sample, after: Sample) -> Cost:
    """The difference."""
    seconds = after.at - before.at
    cpu = after.cpu - before.cpu
    others = max(after.core - before.core - cpu, 0.0)
    return Cost(seconds, cpu, cpu / seconds, others / seconds, after.switches - before.switches)
