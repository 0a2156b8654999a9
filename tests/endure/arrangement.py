"""What is endured, and what every arrangement of programs has in common: services, and what happens to them."""

from __future__ import annotations

import os
import re
import signal
import sys
from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from typing import Any, Callable, ClassVar, Dict, List, Optional, Sequence, Tuple

import attr
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import together
from tests.e2e.processes import Answering, configuration, short_path
from tests.endure.lasting import Lasting
from tests.endure.load import TUNNELS, Load, Place
from tests.endure.services import Counts, Service, parked

SERVICES = 2
SLOTS = 8
"""Of each service."""

SERVICE_S = 0.04
"""How long a service works for an answer."""

SHARE = 0.7
"""The load: how much of what the services can do."""

RATE = SHARE * (SERVICES * SLOTS - TUNNELS) / SERVICE_S
"""Requests per second."""

PERIOD = 12
"""Generations after which configurations have the same shape again."""

ANY = "tcp:0:interface=127.0.0.1"

OTHER = ANY + ":backlog=7"

MARK = "XPROXY_ENDURE"
"""The variable in the environment of everything that is started."""


PYPY = sys.implementation.name == "pypy"

MAPPED = "/memfd:xproxy-memory"
"""Shared memory. A proxy keeps the board of an acceptor that is gone until its last lease is; PyPy's mmap, which has a
descriptor of its own, then is closed by the next collection of garbage and not before. So they are not counted there."""


@attr.frozen
class Use:
    """What a process that lives long has."""

    descriptors: int
    """But for those of leased slots, of which it may have more or fewer."""
    kilobytes: int


class Arrangement(ABC):
    """Programs, two services and a load.

    :cvar events: what happens, by name: methods that take the number of the time.
    :ivar load: set by ``run``, when it runs.
    """

    title: ClassVar[str]
    events: ClassVar[Sequence[Tuple[str, Callable[[Any, int], None]]]]
    load: Load

    def __init__(self, test: SynchronousTestCase) -> None:
        self.test = test
        self.mark = short_path(test, "mark")
        self.log = short_path(test, "access.log")
        self.file = configuration(test, "")
        self.slots_endpoint = ANY
        self.counts = Counts()
        self.generation = 0
        self._named = 0
        self.services: List[Service] = []
        self.write()

    # -- the programs

    def program(self, command: str, *options: str) -> Lasting:
        """A command of ours with our configuration."""
        arguments = ("--config", self.file, "--admin", ANY, *options)
        return Lasting(self.test, command, *arguments, started_by=["env", f"{MARK}={self.mark}"])

    @abstractmethod
    def start(self) -> None:
        """Start the programs, and wait until they serve."""

    @property
    @abstractmethod
    def places(self) -> List[Place]:
        """Where clients go."""

    @property
    @abstractmethod
    def registrar(self) -> Answering:
        """The program with which services register."""

    @property
    @abstractmethod
    def long_lived(self) -> Dict[str, Answering]:
        """The programs that serve clients, and their names."""

    @abstractmethod
    def use(self) -> Dict[str, Use]:
        """What each process has."""

    @property
    @abstractmethod
    def programs(self) -> List[Answering]:
        """All of them."""

    def eventually(self, look: Callable[[], Any], what: str) -> Any:
        """Look until there is something to see; a program that serves clients tells its story else."""
        return next(iter(self.long_lived.values())).eventually(look, what)

    # -- the configuration

    def text(self) -> str:
        """The file: with each generation other limits, pools and routes; with every second one an endpoint more."""
        more = f', "{OTHER}"' if self.generation % 2 else ""
        name = f"extra{self.generation % 3}"
        return (
            f'[proxy]\nhttp = ["{ANY}"{more}]\nhttps = ["{ANY}"]\naccess_log = "{self.log}"\n'
            f"[limits]\nbody = {1_000_000 + self.generation}\n"
            f'[pools.default]\nslots = ["{self.slots_endpoint}"]\n[pools.{name}]\nqueue_limit = {self.generation + 8}\n'
            f'[[routes]]\npath = "/"\n[[routes]]\npath = "/{name}"\npool = "{name}"\n'
        )

    def write(self) -> None:
        """Write the file of this generation."""
        Path(self.file).write_text(self.text(), encoding="utf-8")

    def reload_programs(self, programs: Sequence[Answering]) -> None:
        """Another configuration: it is in force when all say so."""
        self.generation += 1
        self.write()
        before = [program.status()["generation"] for program in programs]
        for program in programs:
            program.signal(signal.SIGHUP)
        for program, generation in zip(programs, before):
            program.eventually(lambda: program.status()["generation"] > generation, "the next generation")  # noqa: B023

    # -- the services

    def start_service(self) -> Service:
        """Another one, which has a name of its own."""
        self._named += 1
        return Service(self.test, self.registrar.slots, f"service{self._named}", SLOTS, SERVICE_S)

    def start_services(self) -> None:
        """Those that are there at first."""
        self.services = [self.start_service() for _ in range(SERVICES)]
        for service in self.services:
            self.until_parked(service, SLOTS)

    def until_parked(self, service: Service, count: int) -> None:
        """Wait until a service has so many slots."""
        self.eventually(
            lambda: parked(self.registrar.status()).get(service.name, 0) == count, f"{count} slots of {service.name}"
        )

    def restart(self, number: int) -> None:
        """A service stops, and another one takes its place."""
        index = number % SERVICES
        old = self.services[index]
        old.leave()
        self.services[index] = self.start_service()
        self.counts += old.left()
        self.until_parked(self.services[index], SLOTS)

    def resize(self, number: int) -> None:
        """A service has fewer slots, more, and as many as before."""
        service = self.services[(number + 1) % SERVICES]
        for count in (2 + number % 4, SLOTS + 4, SLOTS):
            service.resize(count)
            self.until_parked(service, count)

    def at_once(self, number: int, *more: Callable[[int], None]) -> None:
        """What happens to services, and more, at the same time."""
        together(*[partial(event, number) for event in (self.restart, self.resize, *more)])

    # -- the end

    def as_at_first(self) -> None:
        """The configuration that was there when it began, but for its numbers."""
        self.generation += PERIOD - 1 - self.generation % PERIOD
        self.reload(0)

    @abstractmethod
    def reload(self, number: int) -> None:
        """Another configuration for all."""

    def at_rest(self) -> None:
        """Wait until nobody asks and every slot is idle."""

        def look() -> bool:
            pool = self.registrar.pool()
            idle = pool["idle"] == pool["slots"] == SERVICES * SLOTS and pool["in_flight"] == 0
            return idle and not any(program.status()["connections"]["client"] for program in self.long_lived.values())

        self.eventually(look, "rest")

    def stop(self) -> None:
        """End everything in order."""
        for service in self.services:
            service.leave()
        for service in self.services:
            self.counts += service.left()
        for program in self.programs:
            program.signal(signal.SIGTERM)
        for program in self.programs:
            assert program.exit_status() == 0, program.story()

    def open_files(self) -> str:
        """What the descriptors of all processes are of, for a person."""
        return "\n".join(f"{pid}: {sorted(links_of(pid))}" for pid, _ in self._processes())

    def left_over(self) -> List[str]:
        """The processes that are still there."""
        return [f"{pid}: {command}" for pid, command in self._processes()]

    def _processes(self) -> List[Tuple[int, str]]:
        return processes_with(f"{MARK}={self.mark}".encode())


def ready(program: Answering) -> Answering:
    """Wait until it has said where its admin endpoint is."""
    found = program.said(r"admin (?:at )?http://([\d.]+):(\d+)/")
    program.admin = found[1], int(found[2])
    return program


def place_of(proxy: Answering) -> Place:
    """Where a proxy listens."""
    http, https = (proxy.said(rf"proxy at {scheme}://([\d.]+):(\d+)/") for scheme in ("http", "https"))
    return Place((http[1], int(http[2])), (https[1], int(https[2])))


def processes_with(mark: bytes) -> List[Tuple[int, str]]:
    """Number and command of all that have this in their environment."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        environment = read_of(pid, "environ")
        if environment is not None and mark in environment.split(b"\0"):
            found.append((pid, (read_of(pid, "cmdline") or b"").replace(b"\0", b" ").decode("utf-8", "replace")))
    return found


def read_of(pid: int, name: str) -> Optional[bytes]:
    """A file of a process; None: it is gone, or another user's."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def links_of(pid: int) -> List[str]:
    """What the descriptors of a process are of."""
    links = []
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(entry.path))
        except FileNotFoundError:
            pass  # It was closed while we looked.
    return links


def use_of(pid: int, leased: int) -> Use:
    """What a process has."""
    kilobytes = re.search(rb"VmRSS:\s+(\d+) kB", read_of(pid, "status") or b"")
    assert kilobytes is not None, pid
    descriptors = [link for link in links_of(pid) if not (PYPY and link.startswith(MAPPED))]
    return Use(len(descriptors) - leased, int(kilobytes[1]))
