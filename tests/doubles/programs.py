"""Server programs as their users start them, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, List

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

ROOT = Path(__file__).resolve().parents[2]

STOP_TIMEOUT_S = 20.0


class ServerProgram:
    """A process; its output goes to a file."""

    def __init__(self, folder: Path, words: List[str]) -> None:
        self.output = folder / f"{words[1]}.log"
        path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", *words],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def ended(self) -> Deferred[int]:
        """Fires with the exit status."""
        return deferToThread(self.process.wait, STOP_TIMEOUT_S)

    def terminate(self) -> Deferred[int]:
        """SIGTERM; fires with the exit status."""
        self.process.terminate()
        return self.ended()

    def text(self) -> str:
        """What it wrote."""
        return self.output.read_text("utf-8", "replace")


class ProgramTestCase(TestCase):
    """Starts programs, and stops them when the test is over."""

    timeout = 60

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir(parents=True)

    def start(self, *words: str) -> ServerProgram:
        """Run ``python`` with these arguments, in a folder of the test's own."""
        program = ServerProgram(self.folder, list(words))
        self.addCleanup(self._stop, program)
        return program

    def _stop(self, program: ServerProgram) -> Deferred[int]:
        if program.process.poll() is None:
            program.process.kill()
        return program.ended()

    def write(self, name: str, text: str) -> Any:
        """A file in that folder."""
        path = self.folder / name
        path.write_text(text, "utf-8")
        return path
