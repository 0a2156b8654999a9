"""Days in a world: whatever dies, nobody gets another's answer, no service more than it can take, and nothing is left over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.world.simulation import Simulation, digest

ROOT = Path(__file__).resolve().parents[2]


class SimulationTests(SynchronousTestCase):
    """A few seeds each time; ``python -m tests.world.simulation SEED`` plays any other."""

    def test_days(self) -> None:
        """Everything that ``Simulation`` looks at holds, and something of everything happened."""
        outcomes = set()
        for seed in range(1, 7):
            simulation = Simulation(seed)
            try:
                simulation.play(150)
            finally:
                simulation.close()
            outcomes |= set(simulation.outcomes)
        self.assertLessEqual({0, 200, 502}, outcomes)


class SeedTests(SynchronousTestCase):
    """The same seed makes the same run."""

    def test_in_another_process(self) -> None:
        """Where objects lie elsewhere in memory and texts have other hashes."""
        here = digest(99, 60)
        self.assertNotEqual(here, digest(98, 60))
        self.assertEqual(here, digest(99, 60))
        for hash_seed in ("1",):
            done = subprocess.run(
                [sys.executable, "-m", "tests.world.simulation", "99", "60"],
                cwd=ROOT,
                env={**os.environ, "PYTHONHASHSEED": hash_seed},
                capture_output=True,
                check=True,
            )
            self.assertEqual(done.stdout.decode().strip(), here)
