"""Who is measured: each proxy, found or named as missing, configured, started on its core and stopped.

A contestant's processes, all of them, are what ``measure`` looks at. The service and the load are on another core.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Sequence

from benchmarks import configs
from benchmarks.configs import SLOTS, Ports, Tls
from benchmarks.processes import NotStarted, Program, free_port

BASELINE = "nginx"
"""Whose figures in the same round the others' are divided by: nginx with upstream keep-alive."""

PAPER_BASELINE = "nginx-connect"
"""nginx with a connect per request, the baseline of the paper."""


class Missing(Exception):
    """Why a contestant is left out."""


@dataclass(frozen=True)
class Places:
    """What the benchmark was told about this machine."""

    directory: str
    proxy_core: int
    load_core: int
    python: str
    """The interpreter that has xproxy and Twisted."""
    pypy: str
    """The same with PyPy; need not be there."""
    before: Sequence[str]
    """Interpreters that have another xproxy, such as that of an older checkout, to be measured in the same rounds."""
    envoy: str
    descriptors: int
    tls: Optional[Tls]


class Contestant:
    """One proxy.

    :ivar left_out: rows it does not take part in, each with the reason.
    """

    dials_out = False
    """Whether the service connects to it, not it to the service."""

    warms_up = False
    """Whether it gets faster as it goes, by a just-in-time compiler."""

    def __init__(self, name: str, title: str, places: Places) -> None:
        self.name = name
        self.title = title
        self.places = places
        self.directory = os.path.join(places.directory, name)
        self.ports = Ports(*(free_port() for _ in range(5)))
        self.program: Optional[Program] = None
        self.tls = places.tls
        self.no_tls = "" if places.tls is not None else "there is no openssl to make a certificate"
        """Why it has no HTTPS; empty: it has."""

    def find(self) -> str:
        """The version. Raises Missing."""
        raise NotImplementedError

    def command(self) -> Sequence[str]:
        """Write the configuration and return the command line. Called once, before the first start."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it listens. Raises NotStarted."""
        os.makedirs(self.directory, exist_ok=True)
        self.program = Program(self.command(), self.places.proxy_core, os.path.join(self.directory, "output"))
        self.program.wait_until_it_listens(self.ports.http)

    def ready(self) -> None:
        """Wait until it can serve, the service being there. Raises NotStarted."""

    def pids(self) -> List[int]:
        """All its processes."""
        assert self.program is not None
        return self.program.pids()

    def stop(self) -> None:
        """Stop it."""
        if self.program is not None:
            self.program.stop()
            self.program = None

    def write(self, name: str, text: str) -> str:
        """Write a file of its own; returns the path."""
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path


def _found(program: str) -> str:
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        raise Missing(f"there is no {program} here")
    return path


def _said(arguments: Sequence[str]) -> str:
    """The first line that a program prints. Raises Missing."""
    try:
        run = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, check=True, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"{arguments[0]} does not run: {error}") from error
    lines = run.stdout.strip().splitlines()
    return lines[0] if lines else ""


class Nginx(Contestant):
    """nginx."""

    def __init__(self, name: str, title: str, places: Places, keep_alive: bool) -> None:
        super().__init__(name, title, places)
        self._keep_alive = keep_alive

    def find(self) -> str:
        return _said([_found("nginx"), "-v"]).replace("nginx version: ", "")

    def command(self) -> Sequence[str]:
        root = os.geteuid() == 0
        text = configs.nginx(self.ports, self.directory, self.tls, self._keep_alive, root, self.places.descriptors)
        # -e: the log that is open before the configuration is read; the compiled-in one needs root.
        return [
            _found("nginx"),
            "-p",
            self.directory,
            "-e",
            f"{self.directory}/nginx.log",
            "-c",
            self.write("nginx.conf", text),
        ]


class Haproxy(Contestant):
    """HAProxy."""

    def __init__(self, name: str, title: str, places: Places, splice: bool) -> None:
        super().__init__(name, title, places)
        self._splice = splice

    def find(self) -> str:
        return _said([_found("haproxy"), "-v"]).partition(" - ")[0]

    def command(self) -> Sequence[str]:
        return [_found("haproxy"), "-db", "-f", self.write("haproxy.cfg", configs.haproxy(self.ports, self.tls, self._splice))]


class Envoy(Contestant):
    """Envoy, one worker."""

    def _path(self) -> str:
        beside = os.path.join(os.path.dirname(self.places.python), "envoy")
        return self.places.envoy or (beside if os.path.exists(beside) else _found("envoy"))

    def find(self) -> str:
        said = re.search(r"version: \w+/([0-9.]+)", _said([self._path(), "--version"]))
        return f"Envoy {said.group(1)}" if said else "Envoy"

    def command(self) -> Sequence[str]:
        path = self.write("envoy.json", configs.envoy(self.ports, self.tls))
        return [self._path(), "-c", path, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


class Caddy(Contestant):
    """Caddy."""

    def find(self) -> str:
        return "Caddy " + _said([_found("caddy"), "version"]).partition(" ")[0]

    def command(self) -> Sequence[str]:
        os.environ.setdefault("XDG_DATA_HOME", self.places.directory)
        return [
            _found("caddy"),
            "run",
            "--adapter",
            "caddyfile",
            "--config",
            self.write("Caddyfile", configs.caddy(self.ports, self.tls)),
        ]


class ReverseProxy(Contestant):
    """Twisted's own ReverseProxyResource."""

    def __init__(self, name: str, title: str, places: Places) -> None:
        super().__init__(name, title, places)
        self.no_tls = "it is measured without TLS"

    def find(self) -> str:
        return "Twisted " + _said([self.places.python, "-c", "import twisted; print(twisted.__version__)"])

    def command(self) -> Sequence[str]:
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "twisted_proxy.py")
        return [self.places.python, script, str(self.ports.http), str(self.ports.service)]


class Xproxy(Contestant):
    """xproxy on one interpreter, acceptor included."""

    dials_out = True

    def __init__(self, name: str, title: str, places: Places, python: str) -> None:
        super().__init__(name, title, places)
        self.python = python

    def twistd(self, *arguments: str) -> List[str]:
        """The command line of a twistd command on its interpreter."""
        # -c and not bin/twistd: its first line may name an interpreter that has moved.
        return [self.python, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", *arguments]

    def find(self) -> str:
        if not os.path.exists(self.python):
            raise Missing(f"there is no {self.python}")
        script = (
            "import platform as p, twisted, xproxy; print(p.python_implementation(), p.python_version(), twisted.__version__)"
        )
        implementation, version, twisted = _said([self.python, "-c", script]).split()
        self.warms_up = implementation == "PyPy"
        return f"{implementation} {version}, Twisted {twisted}"

    def command(self) -> Sequence[str]:
        path = self.write("xproxy.toml", configs.xproxy(self.ports, self.tls))
        if self.tls is not None:
            check = self.twistd("xproxy", "--config", path, "--check")
            checked = subprocess.run(check, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if checked.returncode:
                self.no_tls = "this version does not take the HTTPS configuration: " + checked.stdout.strip().splitlines()[-1]
                self.tls = None
                path = self.write("xproxy.toml", configs.xproxy(self.ports, None))
        return self.twistd("xproxy", "--config", path)

    def ready(self) -> None:
        """All slots are registered."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.status()["slots"] == SLOTS:
                return
            time.sleep(0.05)
        raise NotStarted("the slots of the service did not come")

    def status(self) -> Dict[str, int]:
        """What it says of its pool."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports.admin}/status", timeout=30) as answer:
            pool: Dict[str, int] = json.load(answer)["pools"]["default"]
            return pool


def everybody(places: Places) -> List[Contestant]:
    """All that are known, in the order of the tables."""
    return [
        Nginx("nginx-connect", "nginx, a connect per request", places, keep_alive=False),
        Nginx("nginx", "nginx, upstream keep-alive", places, keep_alive=True),
        Haproxy("haproxy", "HAProxy", places, splice=False),
        Haproxy("haproxy-splice", "HAProxy, splice", places, splice=True),
        Envoy("envoy", "Envoy, one worker", places),
        Caddy("caddy", "Caddy", places),
        ReverseProxy("twisted", "Twisted ReverseProxyResource", places),
        Xproxy("xproxy", "xproxy, CPython", places, places.python),
        Xproxy("xproxy-pypy", "xproxy, PyPy", places, places.pypy),
        *(
            Xproxy(f"xproxy-before-{number}", f"xproxy of {python}", places, python)
            for number, python in enumerate(places.before, 1)
        ),
    ]


class Field:
    """The contestants that run, and the one service behind them all.

    :ivar missing: who is left out, and why.
    :ivar versions: what each of the others is.
    """

    def __init__(self, places: Places, names: Sequence[str], say: Callable[[str], None]) -> None:
        self.places = places
        self.contestants: List[Contestant] = []
        self.missing: Dict[str, str] = {}
        self.versions: Dict[str, str] = {}
        self._say = say
        self._service: Optional[Program] = None
        self.service_port = free_port()
        for contestant in everybody(places):
            if names and contestant.name not in names:
                continue
            try:
                self.versions[contestant.name] = contestant.find()
            except Missing as why:
                self.leave_out(contestant, str(why))
                continue
            self.contestants.append(contestant)

    def start(self) -> None:
        """Start everybody, then the service, and wait until all can serve."""
        for contestant in list(self.contestants):
            try:
                contestant.start()
            except NotStarted as why:
                self.leave_out(contestant, f"did not start: {why}")
        arguments = ["--listen", str(self.service_port)]
        for contestant in self.contestants:
            if contestant.dials_out:
                arguments += ["--slots", str(contestant.ports.slots), str(SLOTS)]
            else:
                arguments += ["--listen", str(contestant.ports.service)]
        self._service = self.another_service(arguments)
        self._service.wait_until_it_listens(self.service_port)
        for contestant in list(self.contestants):
            try:
                contestant.ready()
            except (NotStarted, OSError) as why:
                self.leave_out(contestant, f"does not serve: {why}")

    def another_service(self, arguments: Sequence[str]) -> Program:
        """Start a process of the service."""
        top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        log = os.path.join(self.places.directory, "service")
        command = [sys.executable, "-m", "benchmarks.service", *arguments]
        return Program(command, self.places.load_core, log, {"PYTHONPATH": top})

    def leave_out(self, contestant: Contestant, why: str) -> None:
        """Do without this one, and say why."""
        contestant.stop()
        self.missing[contestant.name] = why
        self._say(f"{contestant.title} is left out: {why}")
        if contestant in self.contestants:
            self.contestants.remove(contestant)

    def service_pids(self) -> List[int]:
        """The service's process."""
        assert self._service is not None
        return self._service.pids()

    def service_counts(self) -> Dict[str, int]:
        """What the service has counted so far, for all contestants."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.service_port}/stats", timeout=30) as answer:
            counts: Dict[str, int] = json.load(answer)
            counts["accepted"] -= 1  # This very question's.
            return counts

    def stop(self) -> None:
        """Stop everything."""
        for contestant in self.contestants:
            contestant.stop()
        if self._service is not None:
            self._service.stop()
