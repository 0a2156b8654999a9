"""One program of several processes: who dies, who hangs, who is told to go; what is of the whole; and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from typing import Any, Callable, Dict, List, Optional, Set

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import PATIENCE_S, Waiting, ask
from tests.e2e.load import Load
from tests.e2e.processes import Xacceptor, Xproxy, short_path
from tests.e2e.services import Gate, SlotService

CLIENTS = 8


def anything(method: str, target: str, body: bytes) -> bytes:
    """Whatever the service says."""
    return b""


class WorkersCase(SynchronousTestCase):
    """Two workers."""

    def start(self, *arguments: str) -> Xproxy:
        """The whole, both of its workers serving."""
        proxy = Xproxy(self, "--workers", "2", *arguments).ready()
        proxy.eventually(lambda: len(self.serving(proxy)) == 2, "two workers")
        return proxy

    def workers(self, proxy: Xproxy) -> List[Dict[str, Any]]:
        """As ``/status`` shows them."""
        found: List[Dict[str, Any]] = proxy.status()["workers"]
        return found

    def serving(self, proxy: Xproxy) -> Dict[int, int]:
        """The processes that serve, by the number of their seat."""
        return {each["number"]: each["pid"] for each in self.workers(proxy) if each["state"] == "serving" and each["answers"]}

    def replaced(self, proxy: Xproxy, number: int, before: int) -> None:
        """Wait until there is another one on a seat."""
        proxy.eventually(lambda: self.serving(proxy).get(number) not in (None, before), f"another worker {number}")

    def gone(self, proxy: Xproxy, pids: Set[int]) -> None:
        """Wait until no such process is there."""
        alive: Callable[[], List[int]] = lambda: [pid for pid in pids if os.path.exists(f"/proc/{pid}")]  # noqa: E731
        self.assertEqual([], proxy.eventually(lambda: None if alive() else [[]], "their end")[0])


class DeathTests(WorkersCase):
    """A worker goes, one way or another, while clients come, with a connection for each request."""

    def setUp(self) -> None:
        self.proxy = self.start()
        self.service = SlotService(self, self.proxy.slots, 8)
        self.proxy.has(slots=8)
        self.load = Load(self, self.proxy.http, CLIENTS, anything, kept=False)
        self.load.go_on(self.proxy, 200)

    def failures(self) -> Dict[Any, int]:
        """All that was no answer."""
        return {outcome: count for outcome, count in self.load.outcomes.items() if outcome != 200}

    def test_killed(self) -> None:
        """Only what ran there fails: none is refused, and one more is there; the counts of the whole go on as they were."""
        served = self.proxy.pool()["served"]
        self.assertNotIn(0, [each["pools"]["default"]["served"] for each in self.workers(self.proxy)])
        victim = self.serving(self.proxy)[1]
        os.kill(victim, signal.SIGKILL)
        self.replaced(self.proxy, 1, victim)
        self.load.go_on(self.proxy, 200)
        self.load.stop()
        failures = self.failures()
        self.assertLessEqual(sum(failures.values()), CLIENTS, failures)
        self.assertFalse([outcome for outcome in failures if "refused" in str(outcome)], failures)
        self.assertGreater(self.proxy.pool()["served"], served)
        self.assertEqual(1, self.proxy.metric("xproxy_worker_deaths_total"))
        self.proxy.said(r"worker 1 has ended: killed by SIGKILL; it is started again")
        self.assertLessEqual(self.service.most, 8)

    def test_told_to_go(self) -> None:
        """SIGTERM to one worker: nothing fails."""
        old = self.serving(self.proxy)[2]
        os.kill(old, signal.SIGTERM)
        self.replaced(self.proxy, 2, old)
        self.gone(self.proxy, {old})
        self.load.go_on(self.proxy, 100)
        self.load.stop()
        self.assertEqual({}, self.failures())
        self.assertEqual(0, self.proxy.metric("xproxy_worker_deaths_total"), self.proxy.story())

    def test_hangs(self) -> None:
        """It is killed and replaced."""
        hung = self.serving(self.proxy)[2]
        os.kill(hung, signal.SIGSTOP)
        self.replaced(self.proxy, 2, hung)
        self.gone(self.proxy, {hung})
        self.load.go_on(self.proxy, 100)
        self.load.stop()
        self.proxy.said(rf"worker 2 hangs, process {hung}: it is killed")
        self.assertLessEqual(sum(self.failures().values()), CLIENTS, self.failures())


class WholeTests(WorkersCase):
    """What is of the whole."""

    def test_sessions(self) -> None:
        """A TLS session goes on with whichever worker, by either version, and after the one that it began with is gone."""
        proxy = self.start("--self-signed", "--https", "tcp:0:interface=127.0.0.1")
        SlotService(self, proxy.slots, 2)
        proxy.has(slots=2)
        found = proxy.said(r"proxy at https://([\d.]+):(\d+)/")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.maximum_version = version
            session: Optional[ssl.SSLSession] = None
            resumed = []
            for _ in range(12):
                plain = socket.create_connection((found[1], int(found[2])), PATIENCE_S)
                with context.wrap_socket(plain, session=session) as secure:
                    secure.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    secure.recv(65536)  # Tickets come with the first bytes of an answer.
                    resumed.append(secure.session_reused)
                    session = session or secure.session
            self.assertEqual([False] + [True] * 11, resumed)
        self.assertNotIn(0, [each["pools"]["default"]["served"] for each in self.workers(proxy)])
        handshakes = proxy.metric("xproxy_tls_handshakes_total", outcome="done")
        self.assertEqual(24, handshakes)

    def test_logs_and_end(self) -> None:
        """The access log has whole lines of both; SIGUSR1 reaches them; what runs is finished, and nothing is left."""
        path = short_path(self, "access.log")
        config = short_path(self, "xproxy.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'[proxy]\naccess_log = "{path}"\n[pools.default]\nslots = ["tcp:0:interface=127.0.0.1"]\n')
        proxy = self.start("--config", config)
        gate = Gate()
        SlotService(self, proxy.slots, 2, gate)
        proxy.has(slots=2)
        gate.let_go(40)
        for _ in range(40):
            self.assertEqual(200, ask(proxy.http).status)

        def lines(name: str) -> List[str]:
            with open(name, encoding="utf-8") as log:
                return log.read().splitlines()

        proxy.eventually(lambda: len(lines(path)) == 40, "40 lines")
        os.rename(path, path + ".1")
        proxy.signal(signal.SIGUSR1)
        proxy.eventually(lambda: os.path.exists(path), "a new log")
        processes = {*self.serving(proxy).values()}
        running = [Waiting(proxy.http, f"/{number}") for number in range(2)]
        for _ in running:
            gate.next()
        for pid in processes:
            os.kill(pid, signal.SIGINT)  # Ctrl-C reaches the whole group.
        proxy.signal(signal.SIGINT)
        proxy.said("draining, then stopping")
        gate.let_go(2)
        self.assertEqual([200, 200], [client.response().status for client in running])
        self.assertEqual(0, proxy.exit_status())
        self.gone(proxy, processes)
        self.assertEqual(42, len(lines(path)) + len(lines(path + ".1")))
        self.assertEqual([], proxy.errors)

    def test_the_parent_is_killed(self) -> None:
        """Behind another process' acceptor: workers finish what runs, and another program can listen there at once."""
        acceptor = Xacceptor(self).ready()
        gate = Gate()
        SlotService(self, acceptor.slots, 2, gate)
        acceptor.has(slots=2)
        proxy = self.start("--acceptor", acceptor.handoff)
        self.assertEqual(200, ask(proxy.admin, "/readyz").status)
        processes = {*self.serving(proxy).values()}
        running = Waiting(proxy.http)
        gate.next()
        proxy.kill()
        again = self.start("--acceptor", acceptor.handoff, "--http", f"tcp:{proxy.http[1]}:interface=127.0.0.1")
        gate.let_go(2)
        self.assertEqual(200, running.response().status)
        self.assertEqual(200, ask(again.http).status)
        self.gone(again, processes)
        acceptor.has(slots=2, in_flight=0)
        self.assertEqual(0, again.stop())
