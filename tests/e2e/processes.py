"""Runs the commands as an operator does: as processes, asked over their sockets and judged by what they print.

Nothing here sleeps for a fixed time. What a program says is an event that can be waited for; what it only shows when it is
asked (``/status``, its descriptors) is asked again whenever it has said something, and otherwise every ``LOOK_S``.

``XPROXY_TEST_PYTHON`` names the interpreter that runs the programs under test, where it is not the one that runs the tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Match, Optional, Sequence, Tuple, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import Address, ask

PYTHON = os.environ.get("XPROXY_TEST_PYTHON") or sys.executable

TIMEOUT_S = 60.0
"""How long anything may take here: PyPy starts in two seconds on an idle machine, and in twenty on one that does much else."""

LOOK_S = 0.02
"""Between two looks at what no event tells."""

_TWISTD = "from twisted.scripts.twistd import run; run()"

ENDED_BY_SIGTERM = -signal.SIGTERM
"""The exit status of a program that Twisted ended in order, and not one of our commands, which have status 0 then."""

Seen = TypeVar("Seen")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A suite that runs in the background of a shell is made to ignore it. Our programs would too, as they should there.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Program:
    """One process, from its start to its end, which the test's cleanup sees to.

    Its standard output and standard error are read by threads, so it can never block on them. When the test is over, neither
    may hold a traceback, whatever happened.

    :param argv: the whole command.
    :param environment: on top of ours.
    """

    def __init__(self, test: SynchronousTestCase, argv: Sequence[str], environment: Optional[Dict[str, str]] = None) -> None:
        self._test = test
        self._argv = list(argv)
        self._news = threading.Condition()
        self._said: Dict[str, List[str]] = {"out": [], "err": []}
        self.directory = Path(short_path(test, ""))
        self.process = subprocess.Popen(
            self._argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.directory,
            env={**os.environ, **(environment or {})},
        )
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("out", self.process.stdout), ("err", self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()
        test.addCleanup(self._clean_up)

    def _read(self, name: str, stream: Any) -> None:
        with stream:
            for line in stream:
                with self._news:
                    self._said[name].append(line.decode("utf-8", "replace").rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    # -- what it says

    @property
    def lines(self) -> List[str]:
        """Everything it said on standard output, where ``twistd -n`` logs."""
        with self._news:
            return list(self._said["out"])

    @property
    def errors(self) -> List[str]:
        """Everything it said on standard error."""
        with self._news:
            return list(self._said["err"])

    def said(self, pattern: str, timeout_s: float = TIMEOUT_S) -> Match[str]:
        """Wait until a line matches, and give the first match."""

        def find() -> Optional[Match[str]]:
            return next(filter(None, (re.search(pattern, line) for line in self.lines + self.errors)), None)

        return self.eventually(find, f"a line like {pattern!r}", timeout_s)

    def eventually(self, look: Callable[[], Optional[Seen]], what: str, timeout_s: float = TIMEOUT_S) -> Seen:
        """Look until there is something to see, and give it."""
        deadline = time.monotonic() + timeout_s
        while True:
            seen = look()
            if seen:
                return seen
            if time.monotonic() > deadline:
                self._test.fail(f"waited {timeout_s:g} s for {what}\n{self.story()}")
            if self.process.poll() is not None and not any(reader.is_alive() for reader in self._readers):
                seen = look()
                return seen if seen else self._test.fail(f"it ended before there was {what}\n{self.story()}")
            with self._news:
                self._news.wait(LOOK_S)

    def story(self) -> str:
        """Command, end and output, for a person who wants to know what went wrong."""
        lines = "\n".join(line[:300] for line in [*self.lines, *self.errors][-40:])
        return f"{' '.join(self._argv)}\nexit status {self.process.poll()}, the last it said:\n{lines}"

    # -- its life

    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it: no handler runs, the kernel closes what it had."""
        self.process.kill()
        self.process.wait(TIMEOUT_S)

    def exit_status(self, timeout_s: float = TIMEOUT_S) -> int:
        """Wait for its end, and for the last of its output."""
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._test.fail(f"it still runs after {timeout_s:g} s\n{self.story()}")
        for reader in self._readers:
            reader.join(TIMEOUT_S)
        return status

    def stop(self) -> int:
        """SIGTERM; gives the exit status."""
        self.signal(signal.SIGTERM)
        return self.exit_status()

    def _clean_up(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.exit_status()
        for line in [*self.lines, *self.errors]:
            if re.search("Traceback|Unhandled|was never|Exception ignored", line):
                self._test.fail(f"it said {line!r}\n{self.story()}")


def twistd(test: SynchronousTestCase, *arguments: str, environment: Optional[Dict[str, str]] = None) -> Program:
    """``twistd -n ...``"""
    return Program(test, [PYTHON, "-c", _TWISTD, "-n", *arguments], environment)


def twist(test: SynchronousTestCase, *arguments: str, environment: Optional[Dict[str, str]] = None) -> Program:
    """``twist ...``. Twisted ends it by the signal that it was sent, once everything has stopped: see ENDED_BY_SIGTERM."""
    return Program(test, [PYTHON, "-m", "twisted", "--log-format=text", *arguments], environment)


class Answering(Program):
    """A program with an admin endpoint. ``start`` it, then wait until it is ``ready``."""

    _said_admin = r"admin (?:at )?http://([\d.]+):(\d+)/"

    def __init__(self, test: SynchronousTestCase, command: str, *arguments: str, started_by: Sequence[str] = ()) -> None:
        super().__init__(test, [*started_by, PYTHON, "-c", _TWISTD, "-n", command, *arguments])
        self.admin: Address = ("", 0)
        self.slots: Address = ("", 0)

    def _announced(self, what: str) -> Address:
        found = self.said(rf"\b{what} +(?:at )?(?:http://)?([\d.]+):(\d+)/?$")
        return found[1], int(found[2])

    def status(self) -> Dict[str, Any]:
        """``/status``."""
        answer = ask(self.admin, "/status")
        self._test.assertEqual(200, answer.status)
        return dict(json.loads(answer.body))

    def pool(self, name: str = "default") -> Dict[str, Any]:
        """What ``/status`` says of one pool."""
        return dict(self.status()["pools"][name])

    def has(self, name: str = "default", timeout_s: float = TIMEOUT_S, **numbers: int) -> Dict[str, Any]:
        """Wait until the numbers of a pool are these: ``has(slots=8, idle=8)``."""
        last: Dict[str, Any] = {}

        def look() -> Optional[Dict[str, Any]]:
            last.update(self.pool(name))
            return last if all(last[key] == number for key, number in numbers.items()) else None

        try:
            return self.eventually(look, f"{numbers} in pool {name}", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(last)}") from None

    def metric(self, name: str, **labels: str) -> float:
        """One number of ``/metrics``; 0 when there is no such sample."""
        wanted = sorted(f'{label}="{value}"' for label, value in labels.items())
        for line in ask(self.admin, "/metrics").body.decode().splitlines():
            sample, _, number = line.rpartition(" ")
            found, _, rest = sample.partition("{")
            if found == name and sorted(filter(None, rest.rstrip("}").split(","))) == wanted:
                return float(number)
        return 0.0


class Xproxy(Answering):
    """``twistd xproxy`` on ports of its own choice.

    :param started_by: the beginning of a command line that ends in another one, as that of ``env`` does.
    :ivar http: where clients go.
    """

    def __init__(self, test: SynchronousTestCase, *arguments: str, started_by: Sequence[str] = ()) -> None:
        own: Tuple[Tuple[str, str], ...] = (("--http", "tcp:0:interface=127.0.0.1"), ("--admin", "tcp:0:interface=127.0.0.1"))
        options = [word for option in own if option[0] not in arguments for word in option]
        self.embedded = "--acceptor" not in arguments
        if self.embedded and "--slots" not in arguments and "--config" not in arguments:
            options += ["--slots", "tcp:0:interface=127.0.0.1"]
        super().__init__(test, "xproxy", *options, *arguments, started_by=started_by)
        self.http: Address = ("", 0)

    def ready(self) -> Xproxy:
        """Wait until it has said where it is."""
        self.http = self._announced("proxy")
        if self.embedded:
            self.slots = self._announced("slots")
        self.admin = self._announced("admin")
        return self


class Xacceptor(Answering):
    """``twistd xacceptor`` on a port of its own choice.

    :param handoff: the path of the handoff socket, which is short; a new one where it is not given.
    :param slots: another slots endpoint.
    :param started_by: the beginning of a command line that ends in another one, as that of ``env`` does.
    """

    def __init__(
        self,
        test: SynchronousTestCase,
        *arguments: str,
        handoff: str = "",
        slots: str = "tcp:0:interface=127.0.0.1",
        started_by: Sequence[str] = (),
    ) -> None:
        self.handoff = handoff or short_path(test)
        self.listens_on_tcp = not slots.startswith("unix:")
        options = ["--handoff", self.handoff, "--admin", "tcp:0:interface=127.0.0.1"]
        if "--config" not in arguments:
            options += ["--slots", slots]
        super().__init__(test, "xacceptor", *options, *arguments, started_by=started_by)

    def ready(self) -> Xacceptor:
        """Wait until it has said where it is."""
        if self.listens_on_tcp:
            self.slots = self._announced("slots")
        self.admin = self._announced("admin")
        return self


def short_path(test: SynchronousTestCase, name: str = "handoff.sock") -> str:
    """Where a UNIX socket can be: the paths that trial makes are longer than the 107 bytes that one may have."""
    directory = tempfile.mkdtemp(prefix="xproxy-")
    test.addCleanup(shutil.rmtree, directory)
    return os.path.join(directory, name)


def slots_description(address: Address, count: int, more: str = "") -> str:
    """The ``slots:`` endpoint of a service that registers at ``address``."""
    return f"slots:tcp:{address[0]}:{address[1]}:count={count}{more}"


def configuration(test: SynchronousTestCase, text: str) -> str:
    """The path of a new configuration file."""
    path = test.mktemp()
    Path(path).write_text(text, encoding="utf-8")
    return os.path.abspath(path)
