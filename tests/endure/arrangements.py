"""The two ways to have more than one process that serves clients."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Dict, List, Set

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.processes import Answering, short_path
from tests.endure.arrangement import SLOTS, Arrangement, Use, place_of, ready, use_of
from tests.endure.load import Place

PROXIES = 2
ESTABLISHED, CLOSE_WAIT = "01", "08"


class Apart(Arrangement):
    """``twistd xacceptor`` and two ``twistd xproxy``."""

    title = "xacceptor, 2 xproxy"

    def __init__(self, test: SynchronousTestCase) -> None:
        super().__init__(test)
        self.handoff = short_path(test)

    def start(self) -> None:
        """See Arrangement."""
        self.acceptor = self.start_acceptor()
        self.acceptor.said("handoff at")
        options = ("--acceptor", self.handoff, "--self-signed")
        self.proxies = [self.program("xproxy", *options) for _ in range(PROXIES)]
        self.acceptor_ready(self.acceptor)
        for proxy in self.proxies:
            ready(proxy)
        self._places = [place_of(proxy) for proxy in self.proxies]

    def start_acceptor(self, *options: str) -> Answering:
        """Another one."""
        return self.program("xacceptor", "--handoff", self.handoff, *options)

    def acceptor_ready(self, acceptor: Answering) -> None:
        """Wait until it serves."""
        found = acceptor.said(r"slots at ([\d.]+):(\d+)$")
        acceptor.slots = found[1], int(found[2])
        ready(acceptor)

    @property
    def places(self) -> List[Place]:
        """See Arrangement."""
        return self._places

    @property
    def registrar(self) -> Answering:
        """See Arrangement."""
        return self.acceptor

    @property
    def long_lived(self) -> Dict[str, Answering]:
        """See Arrangement."""
        return {f"proxy {number}": proxy for number, proxy in enumerate(self.proxies, 1)}

    def use(self) -> Dict[str, Use]:
        """See Arrangement."""
        found = {
            name: use_of(proxy.process.pid, proxy.status()["connections"]["slot"]) for name, proxy in self.long_lived.items()
        }
        return {**found, "acceptor": use_of(self.acceptor.process.pid, 0)}

    def reload(self, number: int) -> None:
        """SIGHUP to all."""
        self.reload_programs([*self.proxies, self.acceptor])

    def reload_proxies(self, number: int) -> None:
        """SIGHUP to those that are not taken over."""
        self.reload_programs(self.proxies)

    def take_over(self, number: int) -> None:
        """One acceptor after another."""
        former = self.acceptor
        acceptor = self.start_acceptor("--takeover")
        self.acceptor_ready(acceptor)
        self.acceptor = acceptor
        assert former.exit_status() == 0, former.story()

    def kill_acceptor(self, number: int) -> None:
        """``kill -9``, and another one. No exchange runs there, so none may fail."""
        host, port = self.acceptor.slots
        self.acceptor.kill()
        self.slots_endpoint = f"tcp:{port}:interface={host}"
        self.write()
        acceptor = self.start_acceptor()
        self.acceptor_ready(acceptor)
        self.acceptor = acceptor
        for service in self.services:
            self.until_parked(service, SLOTS)

    def all_at_once(self, number: int) -> None:
        """Everything that can be asked for."""
        self.at_once(number, self.reload_proxies, self.take_over)

    @property
    def programs(self) -> List[Answering]:
        """See Arrangement."""
        return [*self.proxies, self.acceptor]

    events = (
        ("reload", reload),
        ("takeover", take_over),
        ("service restart", Arrangement.restart),
        ("service resize", Arrangement.resize),
        ("all at once", all_at_once),
        ("kill -9 of the acceptor", kill_acceptor),
    )


class Whole(Arrangement):
    """``twistd xproxy --workers 2``."""

    title = "xproxy, 2 workers"

    def text(self) -> str:
        """With every fourth generation there is a worker more."""
        workers = 3 if self.generation % 4 == 3 else 2
        return super().text().replace("[proxy]\n", f"[proxy]\nworkers = {workers}\n")

    def start(self) -> None:
        """See Arrangement."""
        self.parent = self.program("xproxy", "--self-signed")
        found = self.parent.said(r"slots at ([\d.]+):(\d+)$")
        self.parent.slots = found[1], int(found[2])
        ready(self.parent)
        self._places = [place_of(self.parent)]
        self.all_serve()

    @property
    def places(self) -> List[Place]:
        """See Arrangement."""
        return self._places

    @property
    def registrar(self) -> Answering:
        """See Arrangement."""
        return self.parent

    @property
    def long_lived(self) -> Dict[str, Answering]:
        """See Arrangement."""
        return {"parent": self.parent}

    def use(self) -> Dict[str, Use]:
        """See Arrangement. Of the workers, who come and go, the one that has most."""
        workers = [
            use_of(row["pid"], row["connections"]["slot"])
            for row in self.parent.status()["workers"]
            if row["state"] == "serving"
        ]
        worker = Use(max(each.descriptors for each in workers), max(each.kilobytes for each in workers))
        return {"parent": use_of(self.parent.pid, 0), "worker": worker}

    def serving(self) -> Dict[int, int]:
        """The processes that serve, by their seats."""
        rows = self.parent.status()["workers"]
        return {row["number"]: row["pid"] for row in rows if row["state"] == "serving" and row["answers"]}

    def all_serve(self) -> None:
        """Wait until every worker does and none leaves any more."""
        self.parent.eventually(
            lambda: len(self.serving()) == len(self.parent.status()["workers"]) == (3 if self.generation % 4 == 3 else 2),
            "all workers",
        )

    def reload(self, number: int) -> None:
        """SIGHUP."""
        self.reload_programs([self.parent])

    def drain(self, number: int) -> None:
        """SIGTERM to one worker: its successor comes, and then it is gone."""
        seat = 1 + number % 2
        old = self.parent.eventually(lambda: self.serving().get(seat), f"worker {seat}")
        os.kill(old, signal.SIGTERM)
        self.replaced(seat, old)

    def replaced(self, seat: int, old: int) -> None:
        """Wait until another one serves and the former one has ended."""
        self.parent.eventually(lambda: self.serving().get(seat) not in (None, old), f"another worker {seat}")
        self.parent.eventually(lambda: not os.path.exists(f"/proc/{old}"), f"the end of {old}")

    def upgrade(self, number: int) -> None:
        """SIGUSR2: a new program takes the place of the one that runs."""
        self.parent.upgrade()
        self.all_serve()

    def kill_worker(self, number: int) -> None:
        """``kill -9``. What runs there may fail: it is stopped first, so that its connections can be known."""
        seat = 1 + number % 2
        old = self.parent.eventually(lambda: self.serving().get(seat), f"worker {seat}")
        os.kill(old, signal.SIGSTOP)
        here = {self.places[0].http[1], self.places[0].https[1]}
        self.load.outcomes.may_fail(peers_of(old, here))
        os.kill(old, signal.SIGKILL)
        self.replaced(seat, old)

    def all_at_once(self, number: int) -> None:
        """Everything that can be asked for."""
        self.at_once(number, self.reload, self.drain)

    @property
    def programs(self) -> List[Answering]:
        """See Arrangement."""
        return [self.parent]

    events = (
        ("reload", reload),
        ("drain of a worker", drain),
        ("upgrade", upgrade),
        ("service restart", Arrangement.restart),
        ("service resize", Arrangement.resize),
        ("all at once", all_at_once),
        ("kill -9 of a worker", kill_worker),
    )


def peers_of(pid: int, ports: Set[int]) -> Set[int]:
    """The ports of the clients whose connections to these ports a process has accepted."""
    links = {os.readlink(f"/proc/{pid}/fd/{descriptor}") for descriptor in os.listdir(f"/proc/{pid}/fd")}
    inodes = {link[8:-1] for link in links if re.match(r"socket:\[\d+\]$", link)}
    found = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if fields[9] in inodes and fields[3] in (ESTABLISHED, CLOSE_WAIT) and int(fields[1].split(":")[1], 16) in ports:
            found.add(int(fields[2].split(":")[1], 16))
    return found
