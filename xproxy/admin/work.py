"""The numbers of workers, together and each; a proxy without workers is shown as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

import attr

from ..metrics import ProxyCounts

REQUEST_NUMBERS = ("in_flight", "most_in_flight", "queue_length", "served")
"""The numbers that a proxy has of a pool; the same, but for ``queue_length``, of each service."""


@attr.frozen
class Work:
    """The numbers of all workers at one moment.

    :ivar requests: those of all workers together by pool, as ``/status`` has them.
    :ivar counts: the same for ``/metrics``.
    :ivar lost_lines: lines that workers could not write, by log.
    :ivar workers: each worker, as ``/status`` shows it.
    :ivar deaths: how many workers have died so far.
    """

    requests: Mapping[str, Mapping[str, Any]]
    counts: ProxyCounts
    lost_lines: Mapping[str, int]
    workers: Sequence[Mapping[str, Any]]
    deaths: int


def worker(
    number: int,
    pid: int,
    generation: int,
    state: str,
    connections: Optional[Mapping[str, int]],
    requests: Mapping[str, Mapping[str, Any]],
) -> Mapping[str, Any]:
    """A worker as ``/status`` shows it.

    :param generation: of the configuration that the worker goes by; 0: of none yet.
    :param connections: open ones, by side; None: the worker does not answer.
    """
    return {
        "number": number,
        "pid": pid,
        "generation": generation,
        "state": state,
        "answers": connections is not None,
        "connections": None if connections is None else dict(connections),
        "pools": {name: {key: pool.get(key, 0) for key in REQUEST_NUMBERS} for name, pool in sorted(requests.items())},
    }
