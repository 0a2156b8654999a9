"""Tests of the commands as users run them: real processes of twistd, real sockets, real signals."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, Optional

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import ProcessProtocol, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

ROOT = str(Path(__file__).resolve().parents[2])

LIFETIME_FD = 3
"""A pipe that a command and whatever it forks keep open as long as they live: a process counts as ended when its pipes are."""

ANY_PORT = "tcp:0:interface=127.0.0.1"

TIMEOUT_S = 60


class Command(ProcessProtocol):
    """A process of twistd, its output, and the moments that tests wait for."""

    def __init__(self) -> None:
        self.process: Any = None
        self.output = ""
        self.errors = ""
        self.exited: Deferred[int] = Deferred()
        """Fires with the exit status, negative for a signal, when the process that was started has ended."""
        self.gone: Deferred[None] = Deferred()
        """Fires when nothing of it is left, a daemon included, and all its output is there."""
        self._awaited: list[tuple[str, Deferred[str]]] = []

    def outReceived(self, data: bytes) -> None:
        self.output += data.decode("utf-8")
        lines, end, _ = self.output.rpartition("\n")
        for entry in list(self._awaited):
            if entry[0] in lines:
                self._awaited.remove(entry)
                entry[1].callback(lines + end)

    def errReceived(self, data: bytes) -> None:
        self.errors += data.decode("utf-8")

    def processExited(self, reason: Failure) -> None:
        ended: Any = reason.value
        self.exited.callback(-ended.signal if ended.signal else ended.exitCode)

    def processEnded(self, reason: Failure) -> None:
        self.gone.callback(None)
        for _, awaited in self._awaited:
            awaited.errback(AssertionError(f"it ended too early\n{self.output}{self.errors}"))

    def said(self, text: str) -> Deferred[str]:
        """Fires with the lines it has said when one of them has ``text`` in it."""
        awaited: Deferred[str] = Deferred()
        self._awaited.append((text, awaited))
        self.outReceived(b"")
        return awaited


class Answer(Protocol):
    """One HTTP/1.0 request, and everything that comes back."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.received = b""
        self.done: Deferred[tuple[int, bytes]] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(f"GET {self.target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        head, _, body = self.received.partition(b"\r\n\r\n")
        self.done.callback((int(head.split(b" ")[1]), body))


async def get(endpoint: IStreamClientEndpoint, target: str) -> tuple[int, bytes]:
    """GET over a new connection: status and body."""
    return await (await connectProtocol(endpoint, Answer(target))).done


def at(url: str) -> TCP4ClientEndpoint:
    """The endpoint of a URL that a command has printed."""
    host, _, port = url[len("http://") :].rstrip("/").partition(":")
    return TCP4ClientEndpoint(reactor, host, int(port))


def where(output: str, what: str) -> str:
    """What a command said after ``what``, on standard output or in its log."""
    found = re.search(rf"(?:^|\s){what}(?: at)?\s+(\S+:\S+)$", output, re.MULTILINE)
    assert found is not None, output
    return found.group(1)


class CommandsTestCase(TestCase):
    """Starting processes, and seeing that none is left."""

    timeout = TIMEOUT_S

    def twistd(self, *words: str, cwd: Optional[str] = None, begin: str = "pass") -> Command:
        """``twistd`` with these words, in a process that does ``begin`` first."""
        command = Command()
        environment = {**os.environ, "PYTHONPATH": ROOT, "PYTHONUNBUFFERED": "1"}
        begin += "; import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
        start = [sys.executable, "-c", begin]
        pipes = {0: "w", 1: "r", 2: "r", LIFETIME_FD: "r"}
        command.process = reactor.spawnProcess(command, sys.executable, [*start, *words], environment, cwd, childFDs=pipes)

        def end() -> Deferred[None]:
            if command.process.pid is not None:
                command.process.signalProcess("KILL")
            return command.gone

        self.addCleanup(end)
        return command

    def run_twistd(self, *words: str) -> Command:
        """In the foreground, with no pid file."""
        return self.twistd("--nodaemon", *words)

    def kill_daemon(self, pid_file: str) -> None:
        """A daemon that a failing test has left behind."""
        if os.path.exists(pid_file):
            with open(pid_file, encoding="ascii") as file:
                os.kill(int(file.read()), signal.SIGKILL)

    def socket_name(self) -> str:
        """A path that is short enough for a socket, whatever directory the suite runs in."""
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        return os.path.join(directory, "socket")


class RunningTests(CommandsTestCase):
    """Commands that run until they are told to stop."""

    async def test_demo(self) -> None:
        command = self.run_twistd("xproxy", "--demo", "--http", ANY_PORT, "--slots", ANY_PORT, "--admin", ANY_PORT)
        output = await command.said("try    curl ")
        code, body = await get(at(where(output, "proxy")), "/")
        self.assertEqual((code, body[:24]), (200, b"Answered through a slot."))
        admin = at(where(output, "admin"))
        code, body = await get(admin, "/status")
        pool = json.loads(body)["pools"]["default"]
        self.assertEqual((code, pool["served"], pool["most_in_flight"]), (200, 1, 1))
        self.assertEqual(pool["idle"] + pool["leased"], pool["slots"])
        self.assertEqual(await get(admin, "/readyz"), (200, b"ready\n"))
        self.assertRegex(where(output, "slots"), r"^127\.0\.0\.1:[1-9]\d*$")
        command.process.signalProcess("TERM")
        self.assertEqual(await command.exited, 0)
        await command.gone
        self.assertEqual(command.errors, "")
        self.assertNotIn("Traceback", command.output)

    async def test_a_proxy_behind_an_acceptor(self) -> None:
        handoff = self.socket_name()
        acceptor = self.run_twistd("xacceptor", "--handoff", handoff, "--slots", ANY_PORT, "--admin", ANY_PORT)
        admin = at(where(await acceptor.said(" admin at "), "admin"))
        proxy = self.run_twistd("xproxy", "--acceptor", handoff, "--http", ANY_PORT, "--admin", "none")
        await proxy.said(" proxy at ")
        pool = json.loads((await get(admin, "/status"))[1])["pools"]["default"]
        self.assertEqual((pool["slots"], pool["served"]), (0, None))
        for command in (proxy, acceptor):
            command.process.signalProcess("INT")
            self.assertEqual(await command.exited, 0)
            await command.gone
            self.assertNotIn("Traceback", command.output)
        self.assertFalse(os.path.exists(handoff))

    async def test_daemon(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        name = self.socket_name()
        command = self.twistd(
            f"--pidfile={directory}/pid",
            f"--logfile={directory}/log",
            "xproxy",
            "--http",
            f"unix:{name}",
            *("--slots", ANY_PORT, "--admin", ANY_PORT),
        )
        self.addCleanup(self.kill_daemon, f"{directory}/pid")
        self.assertEqual(await command.exited, 0)
        reached = await connectProtocol(UNIXClientEndpoint(reactor, name), Protocol())
        reached.transport.loseConnection()
        with open(f"{directory}/pid", encoding="ascii") as file:
            os.kill(int(file.read()), signal.SIGTERM)
        await command.gone
        self.assertEqual(os.listdir(directory), ["log"])
        with open(f"{directory}/log", encoding="utf-8") as file:
            log = file.read()
        self.assertIn("Server Shut Down", log)
        self.assertNotIn("Traceback", log)


class PidFileTests(CommandsTestCase):
    """Nobody asked for a pid file: what lies there is nobody's business."""

    PROXY = ("xproxy", "--http", ANY_PORT, "--slots", ANY_PORT, "--admin", "none")

    async def test_two_in_one_directory(self) -> None:
        """And a ``twistd.pid`` there whose process lives."""
        directory = self.mktemp()
        os.mkdir(directory)
        name = f"{directory}/twistd.pid"
        with open(name, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}")
        both = [self.twistd("--nodaemon", *self.PROXY, cwd=directory) for _ in range(2)]
        for command in both:
            await command.said(" proxy at ")
            command.process.signalProcess("TERM")
            self.assertEqual(await command.exited, 0)
        with open(name, encoding="ascii") as file:
            self.assertEqual(file.read(), f"{os.getpid()}")

    async def test_asked_for(self) -> None:
        """One that names this very process, as in a container that is started again, is stale; one of a living one is not."""
        directory = self.mktemp()
        os.mkdir(directory)
        name = f"{directory}/own.pid"
        begin = f"import os, pathlib; pathlib.Path({name!r}).write_text(str(os.getpid()))"
        first = self.twistd("--nodaemon", f"--pidfile={name}", *self.PROXY, begin=begin)
        await first.said(" proxy at ")
        with open(name, encoding="ascii") as file:
            self.assertEqual(file.read(), f"{first.process.pid}")
        second = self.twistd("--nodaemon", f"--pidfile={name}", *self.PROXY)
        self.assertEqual(await second.exited, 1)
        await second.gone
        self.assertIn("Another twistd server is running", second.errors)
        first.process.signalProcess("TERM")
        self.assertEqual(await first.exited, 0)
        self.assertEqual(os.listdir(directory), [])


class RefusedTests(CommandsTestCase):
    """Commands that do not start."""

    async def refused(self, command: Command, *parts: str) -> None:
        """It ends with status 1 and one line that has all the parts."""
        self.assertEqual(await command.exited, 1)
        await command.gone
        self.assertEqual(command.errors.count("\n"), 1, command.errors)
        for part in parts:
            self.assertIn(part, command.errors)
        self.assertNotIn("Traceback", command.output + command.errors)
        self.assertNotIn("Usage", command.output + command.errors)

    async def test_unknown_option(self) -> None:
        await self.refused(self.run_twistd("xproxy", "--takeover", "2"), "xproxy: option --takeover not recognized")

    async def test_port_in_use(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        busy = f"tcp:{listening.getsockname()[1]}:interface=127.0.0.1"
        directory = self.mktemp()
        os.mkdir(directory)
        command = self.twistd("--nodaemon", "xproxy", "--http", ANY_PORT, "--slots", ANY_PORT, "--admin", busy, cwd=directory)
        await self.refused(command, f"xproxy: cannot listen on {busy}: address already in use")
        self.assertEqual(os.listdir(directory), [], "the pid file is gone")

    async def test_handoff_socket_missing(self) -> None:
        missing = self.socket_name()
        said = f"xproxy: --acceptor: handoff socket {missing} does not exist"
        await self.refused(self.run_twistd("xproxy", "--acceptor", missing), said)

    async def test_daemon(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        busy = f"tcp:{listening.getsockname()[1]}:interface=127.0.0.1"
        directory = self.mktemp()
        os.mkdir(directory)
        command = self.twistd(
            *(f"--pidfile={directory}/pid", f"--logfile={directory}/log"), "xproxy", "--http", busy, "--admin=none"
        )
        self.assertEqual(await command.exited, 1)
        await command.gone
        self.assertIn(f"cannot listen on {busy}", command.errors)
        self.assertNotIn("Traceback", command.errors)
        self.assertEqual(os.listdir(directory), ["log"])
        with open(f"{directory}/log", encoding="utf-8") as file:
            self.assertIn(f"xproxy: cannot listen on {busy}: address already in use", file.read())

    async def test_what_is_seen_before_it_is_a_daemon(self) -> None:
        command = self.run_twistd("xproxy", "--http", "unix:/nowhere/x", "--admin=none")
        await self.refused(command, "xproxy: proxy.http[0]: path /nowhere/x: there is no directory /nowhere")


class ListedTests(CommandsTestCase):
    """What twistd knows."""

    async def test_help_lists_the_commands(self) -> None:
        command = self.twistd("--help")
        self.assertEqual(await command.exited, 0)
        await command.gone
        for name in ("xproxy", "xacceptor", "xrelay"):
            self.assertRegex(command.output, rf"(?m)^\s+{name}\s+\S")
