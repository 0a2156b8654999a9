"""Programs that a benchmark starts: pinned to a core, with their output in a file, and gone when it ends."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional, Sequence

START_S = 30.0
"""How long a program may take until it listens."""

STOP_S = 10.0
"""How long a program may take to end before it is killed."""


class NotStarted(Exception):
    """A program that did not come up; the text says why."""


def raise_descriptor_limit() -> int:
    """Allow this process, and those it starts, as many descriptors as it may; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextmanager
def on_core(core: Optional[int]) -> Iterator[None]:
    """What is started meanwhile runs on this core only (None: on any): children inherit where their parent may run."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Program:
    """One started program and everything it has started itself.

    :param core: the CPU it may run on; None: any.
    :param log: the path of the file that takes its output.
    """

    def __init__(
        self, arguments: Sequence[str], core: Optional[int], log: str, environment: Optional[Dict[str, str]] = None
    ) -> None:
        self.log = log
        with open(log, "ab") as output, on_core(core):
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we stop what we have started.
                env={**os.environ, **(environment or {})},
                cwd=os.path.dirname(log),
            )
        self.pid = self._process.pid

    def pids(self) -> List[int]:
        """Its process and all that descend from it."""
        found = [self.pid]
        for pid in found:
            try:
                with open(f"/proc/{pid}/task/{pid}/children") as children:
                    found.extend(int(child) for child in children.read().split())
            except OSError:
                continue
        return found

    def wait_until_it_listens(self, port: int) -> None:
        """Wait until ``port`` takes connections. Raises NotStarted."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise NotStarted(self.last_words())

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """The end of its output, on one line."""
        with open(self.log, errors="replace") as output:
            return " | ".join(output.read()[-600:].split("\n")).strip(" |") or "it said nothing"

    def stop(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self._process.wait()
