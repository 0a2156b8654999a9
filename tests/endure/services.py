"""The services of an arrangement: processes by the ``slots:`` endpoint, started, resized and stopped under the load."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Dict

import attr
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import Address
from tests.e2e.processes import PYTHON, Program, slots_description

ROOT = str(Path(__file__).parents[2])


@attr.frozen
class Counts:
    """What services say when they end."""

    overlaps: int = 0
    posts: int = 0
    cut: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.overlaps + other.overlaps, self.posts + other.posts, self.cut + other.cut)


class Service:
    """One process.

    :param name: by which ``/status`` knows it.
    """

    def __init__(self, test: SynchronousTestCase, acceptor: Address, name: str, count: int, service_s: float) -> None:
        self.name = name
        self._wanted = Path(os.path.abspath(test.mktemp()))
        slots = slots_description(acceptor, count, f":instance={name}")
        arguments = ["-m", "tests.endure.service", slots, str(self._wanted), str(service_s)]
        self.program = Program(test, [PYTHON, *arguments], {"PYTHONPATH": ROOT})

    def resize(self, count: int) -> None:
        """Ask for another number of slots."""
        self._wanted.write_text(str(count))
        self.program.signal(signal.SIGUSR1)

    def leave(self) -> None:
        """Ask it to stop."""
        self.program.said("dialling")  # From there on it understands the signal.
        self.program.signal(signal.SIGTERM)

    def left(self) -> Counts:
        """Wait until it has; gives what it saw."""
        status = self.program.exit_status()
        found = self.program.said(r"overlaps=(\d+) posts=(\d+) cut=(\d+)")
        assert status == 0, self.program.story()
        return Counts(*map(int, found.groups()))


def parked(status: Dict[str, object]) -> Dict[str, int]:
    """How many slots each service has, by ``/status``."""
    pool: Dict[str, list[Dict[str, object]]] = status["pools"]["default"]  # type: ignore[index]
    return {str(row["name"]): int(str(row["slots"])) for row in pool["services"]}
