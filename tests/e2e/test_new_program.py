"""SIGUSR2: a new program takes the place of the one that runs, while clients ask without a pause; or comes to nothing."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any, List

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import PATIENCE_S, Address, ask
from tests.e2e.load import Load
from tests.e2e.played import PlayedService, get
from tests.e2e.processes import TIMEOUT_S, Xacceptor, Xproxy, short_path
from tests.e2e.services import SlotService
from tests.e2e.test_deaths import described
from tests.e2e.wire import Wire, connect

SLOTS = 4


def has_ended(pid: int) -> bool:
    """Whether a process is no more, whoever is to hear of that."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(") ")[2].startswith("Z")
    except FileNotFoundError:
        return True


class NewProgramCase(SynchronousTestCase):
    """Programs that replace themselves. Each goes on saying where the first one has said."""

    def end_last(self, program: Any) -> None:
        """The one that serves at the end is no child of ours: it is told to stop, and must."""
        served = self.served(program)
        if served:
            last = int(served[-1])
            os.kill(last, signal.SIGTERM)
            program.eventually(lambda: has_ended(last), "the end of the last one")

    def replaced(self, program: Any, pid: int = 0) -> int:
        """SIGUSR2, to this process or the first one; the number of the new one, when that serves and the old one is gone."""
        self.addCleanup(self.end_last, program)
        os.kill(pid or program.process.pid, signal.SIGUSR2)
        new = int(program.eventually(lambda: self.served(program)[bool(pid) :], "a new program")[0])
        if not pid:
            self.assertEqual(0, program.process.wait(TIMEOUT_S))
        return new

    def served(self, program: Any) -> List[str]:
        """The processes that have come to serve after the first one."""
        return [line.rpartition(" ")[2] for line in program.lines if "the new program serves, process " in line]


class UnderLoadTests(NewProgramCase):
    """Clients notice nothing, and services neither."""

    def check(self, proxy: Xproxy, slots: Address) -> int:
        """Under load, GET and POST, with kept connections and one for each request; gives the new process."""
        self.service = service = SlotService(self, slots, SLOTS)
        proxy.has(slots=SLOTS)
        loads = [Load(self, proxy.http, 2, described, kept) for kept in (True, False)]
        for load in loads:
            load.go_on(proxy, 50)
        new = self.replaced(proxy)
        for load in loads:
            load.go_on(proxy, 50)
            load.stop()
            self.assertEqual({200}, set(load.outcomes), load.outcomes)
        self.assertEqual((SLOTS, 0), (service.dialled, service.overlapping))
        self.assertLessEqual(service.most, SLOTS)
        proxy.eventually(lambda: proxy.status()["old_generations"] == [], "the end of the old one")
        proxy.has(slots=SLOTS, in_flight=0)
        return new

    def test_workers(self) -> None:
        """A parent with two: they take the sockets of the old ones, whose leases are known to the new acceptor."""
        proxy = Xproxy(self, "--workers", "2").ready()
        old = {each["pid"] for each in proxy.status()["workers"]}
        self.check(proxy, proxy.slots)
        new = {each["pid"] for each in proxy.status()["workers"]}
        self.assertEqual((2, 2, set()), (len(old), len(new), old & new))

    def test_alone(self) -> None:
        """One process with its acceptor; a second new program comes after the first."""
        proxy = Xproxy(self).ready()
        new = self.check(proxy, proxy.slots)
        self.assertEqual([new], [each["pid"] for each in proxy.status()["workers"]])
        newest = self.replaced(proxy, new)
        proxy.eventually(lambda: has_ended(new), "the end of the second")
        self.assertEqual(200, ask(proxy.http).status)
        self.assertEqual([newest], [each["pid"] for each in proxy.status()["workers"]])

    def test_behind_an_acceptor(self) -> None:
        """A proxy whose acceptor is elsewhere; and then that acceptor."""
        acceptor = Xacceptor(self)
        acceptor.said("handoff at")
        proxy = Xproxy(self, "--acceptor", acceptor.handoff).ready()
        acceptor.ready()
        self.check(proxy, acceptor.slots)
        self.replaced(acceptor)
        acceptor.has(slots=SLOTS)
        self.assertEqual(200, ask(proxy.http).status)
        self.assertEqual(SLOTS, self.service.dialled)


class LongTests(NewProgramCase):
    """What takes longer than the change."""

    def test_download_and_tunnel(self) -> None:
        """A download and a tunnel that began before go on with the old program, which the new one shows, and then it ends."""
        go_on = threading.Event()

        def play(wire: Wire) -> None:
            request = wire.request()
            if request.target == "/tunnel":
                wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n")
                while True:
                    wire.send(wire.some().upper())
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"1" * 1000000)
            go_on.wait(PATIENCE_S)
            wire.send(b"2" * 1000000)
            wire.request()

        proxy = Xproxy(self).ready()
        PlayedService(self, proxy.slots, play, 2)
        proxy.has(slots=2)
        download, tunnel = connect(proxy.http), connect(proxy.http)
        self.addCleanup(download.close)
        self.addCleanup(tunnel.close)
        download.send(get("/download"))
        self.assertEqual(200, download.head().status)
        tunnel.send(get("/tunnel", "Connection: Upgrade", "Upgrade: echo/1"))
        self.assertEqual(101, tunnel.head().status)
        self.addCleanup(self.end_last, proxy)
        proxy.signal(signal.SIGUSR2)
        proxy.said("the former acceptor has handed on 2 slots")
        self.assertEqual([proxy.process.pid], [each["pid"] for each in proxy.status()["old_generations"]])
        proxy.has(slots=2, leased=2, in_flight=0)
        tunnel.send(b"still here")
        self.assertEqual(b"STILL HERE", tunnel.read(10))
        go_on.set()
        self.assertEqual(b"1" * 1000000 + b"2" * 1000000, download.read(2000000))
        tunnel.close()
        self.assertEqual(0, proxy.process.wait(TIMEOUT_S))
        proxy.eventually(lambda: proxy.status()["old_generations"] == [], "its end")
        proxy.has(slots=2)


class NothingTests(NewProgramCase):
    """Nothing comes of it, and nobody notices."""

    def test_broken_then_killed_then_good(self) -> None:
        """A file that can't be used, a death on the way: the old one carries on and says why. Then one that is good serves."""
        path = short_path(self, "xproxy.toml")
        good = '[pools.default]\nslots = ["tcp:0:interface=127.0.0.1"]\n'

        def write(text: str) -> None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)

        write(good)
        proxy = Xproxy(self, "--config", path, "--workers", "2").ready()
        SlotService(self, proxy.slots, SLOTS)
        proxy.has(slots=SLOTS)
        load = Load(self, proxy.http, 2, described, kept=False)
        write(good + "nonsense = 1\n")
        proxy.signal(signal.SIGUSR2)
        proxy.said(r"has not come to serve, this one carries on: xproxy: .*xproxy.toml:3: .*nonsense.* \(exit status 1\)")
        self.assertIn("nonsense", proxy.status()["failed_upgrade"]["reason"])
        write(good)
        proxy.signal(signal.SIGUSR2)
        pids = lambda: [line for line in proxy.lines if "a new program is started, process" in line]  # noqa: E731
        second = int(proxy.eventually(lambda: pids()[1:], "another attempt")[0].rpartition(" ")[2])
        proxy.signal(signal.SIGUSR2)
        proxy.said("a new program starts already")
        os.kill(second, signal.SIGKILL)
        proxy.said("has not come to serve, this one carries on: killed by SIGKILL")
        load.go_on(proxy, 20)
        self.replaced(proxy)
        load.go_on(proxy, 20)
        load.stop()
        self.assertEqual({200}, set(load.outcomes), load.outcomes)
        self.assertIsNone(proxy.status()["failed_upgrade"])
