"""Logs that nobody reads, that have no room, that are moved away: the program goes on."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import socket
from pathlib import Path
from typing import List

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import Address, ask
from tests.e2e.processes import PYTHON, Program, Xacceptor, Xproxy, configuration, short_path, slots_description, twistd
from tests.e2e.services import SlotService

F_SETPIPE_SZ = 1031
"""fcntl(2); Python names it from 3.10 on."""

WAIT_S = 60.0

_TWISTD = "from twisted.scripts.twistd import run; run()"


class Unread:
    """A standard output that is read only when a test says so."""

    def __init__(self, test: SynchronousTestCase) -> None:
        self.path = short_path(test, "output")
        os.mkfifo(self.path)
        self._reader = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._reader, F_SETPIPE_SZ, 4096)
        test.addCleanup(os.close, self._reader)
        self.text = ""

    def read_until(self, pattern: str) -> str:
        """Read until there is such a line; gives its first group."""
        while True:
            found = re.search(pattern, self.text, re.MULTILINE)
            if found is not None:
                return found[1]
            assert select.select([self._reader], [], [], WAIT_S)[0], self.text[-2000:]
            self.text += os.read(self._reader, 65536).decode()


class UnreadTests(SynchronousTestCase):
    """Standard output is a full pipe."""

    def test_requests_are_answered(self) -> None:
        """More than the pipe holds, and more than is held for it; when somebody reads again, whole lines come, and how many
        are lost; a stop is orderly even if nobody does.
        """
        output = Unread(self)
        command = f'exec "$0" -c "{_TWISTD}" "$@" >{output.path}'
        port = "tcp:0:interface=127.0.0.1"
        options = ["-n", "xproxy", "--http", port, "--slots", port, "--admin", port]
        proxy = Program(self, ["sh", "-c", command, PYTHON, *options])
        found: List[Address] = []
        for what in ("proxy", "slots", "admin"):
            host, _, number = output.read_until(rf"{what} at (?:http://)?([\d.:]+)").partition(":")
            found.append((host, int(number)))
        http, slots, admin = found
        SlotService(self, slots, 1)
        long = "/" + "x" * 7000
        for _ in range(200):  # 1.4 MB of lines.
            self.assertEqual(200, ask(http, long).status)
        self.assertEqual(200, ask(admin, "/healthz").status)
        some_lost = re.compile(rb'^xproxy_log_lines_lost_total\{log="access"\} [1-9]', re.MULTILINE)
        proxy.eventually(lambda: some_lost.search(ask(admin, "/metrics").body), "lines to be lost")
        output.read_until(r"access log -: (\d+) lines are lost, \d+ in all: nobody takes them")
        self.assertEqual(200, ask(http, "/last").status)
        output.read_until('"GET (/last) HTTP/1.1" 200')
        for line in output.text.splitlines()[:-1]:
            self.assertRegex(line, r'^(\d{4}-.*|127\.0\.0\.1 - - \[.*\] "GET /(x{7000}|last) HTTP/1\.1" 200 \d+ "-" "-")$')
        for _ in range(10):
            self.assertEqual(200, ask(http, long).status)
        self.assertEqual(0, proxy.stop())


class NoRoomTests(SynchronousTestCase):
    """The disk is full."""

    def test_access_log(self) -> None:
        """One line about it, not one for each sweep; the stop is complete and without a traceback."""
        slots = 'slots = ["tcp:0:interface=127.0.0.1"]'
        proxy = Xproxy(self, "--config", configuration(self, f'[proxy]\naccess_log = "/dev/full"\n[pools.default]\n{slots}\n'))
        proxy.ready()
        SlotService(self, proxy.slots, 1)
        for _ in range(3):
            self.assertEqual(200, ask(proxy.http).status)
            proxy.eventually(lambda: proxy.metric("xproxy_log_lines_lost_total", log="access") > 0, "lines to be lost")
        proxy.said("access log /dev/full: 1 lines are lost, 1 in all: no space left on device")
        self.assertEqual(0, proxy.stop())
        told = [line for line in proxy.lines if "are lost" in line]
        self.assertEqual(2, len(told), told)
        self.assertIn("2 lines are lost, 3 in all", told[1])
        proxy.said("Server Shut Down")

    def test_program_log(self) -> None:
        """A twistd that logs to a full disk runs, and stops."""
        proxy = Program(self, [PYTHON, "-c", _TWISTD, "-n", "--logfile=/dev/full", "xproxy", "--demo", "--http", "tcp:0",
                               "--slots", "tcp:0:interface=127.0.0.1", "--admin", "none"])  # fmt: skip
        found = proxy.said(r"proxy +http://([\d.]+):(\d+)/")
        self.assertEqual(200, ask((found[1], int(found[2]))).status)
        self.assertEqual(0, proxy.stop())


class MovedTests(SynchronousTestCase):
    """The logs are moved away, and a signal says so."""

    def directory(self) -> Path:
        path = Path(self.mktemp()).absolute()
        path.mkdir()
        return path

    def until(self, program: Program, path: Path, text: str) -> None:
        """Wait until a file has this in it."""
        program.eventually(lambda: path.exists() and text in path.read_text("utf-8"), f"{text!r} in {path}")

    def test_proxy(self) -> None:
        """SIGUSR1 and SIGHUP: the access log and twistd's log file begin anew, and no line is lost."""
        directory = self.directory()
        access, log = directory / "access.log", directory / "xproxy.log"
        slots = '[pools.default]\nslots = ["tcp:0:interface=127.0.0.1"]\n'
        config = configuration(
            self, f'[proxy]\naccess_log = "{access}"\nhttp = ["tcp:0:interface=127.0.0.1"]\nadmin = "none"\n{slots}'
        )
        argv = [PYTHON, "-c", _TWISTD, "-n", f"--logfile={log}", "xproxy", "--config", config]
        proxy = Program(self, argv)
        self.until(proxy, log, "slots at")
        found = re.search(r"proxy at http://([\d.]+):(\d+)/", log.read_text("utf-8"))
        assert found is not None
        http = found[1], int(found[2])
        for number, name in enumerate((signal.SIGUSR1, signal.SIGHUP)):
            self.assertEqual(405, ask(http, f"/before-{number}", "TRACE").status)
            self.until(proxy, access, f"/before-{number}")
            for path in (access, log):
                path.rename(path.with_suffix(f".{number}"))
            proxy.signal(name)
            self.until(proxy, log, f"{signal.Signals(name).name}: the logs are opened again")
            self.assertEqual(405, ask(http, f"/after-{number}", "TRACE").status)
            self.until(proxy, access, f"/after-{number}")
            self.assertNotIn("before", access.read_text("utf-8"))
        self.assertEqual(0, proxy.stop())
        self.assertIn("Server Shut Down", log.read_text("utf-8"))

    def test_foreground(self) -> None:
        """No command is killed by SIGUSR1."""
        proxy = Xproxy(self).ready()
        acceptor = Xacceptor(self).ready()
        backend = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(backend.close)
        description = f"tcp:127.0.0.1:{backend.getsockname()[1]}"
        relay = twistd(self, "xrelay", "--backend", description, "--slots", slots_description(proxy.slots, 1))
        proxy.has(slots=1)
        for program in (relay, proxy, acceptor):
            program.signal(signal.SIGUSR1)
            program.said("SIGUSR1: the logs are opened again")
            program.signal(signal.SIGHUP)
            program.said("SIGHUP: the logs are opened again")
            self.assertEqual(0, program.stop())
