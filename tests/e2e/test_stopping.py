"""How everything stops: what runs is finished, nothing is lost, the exit status is 0; asked twice, it stops at once."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import PATIENCE_S, Address, Waiting, ask
from tests.e2e.load import Load
from tests.e2e.processes import ENDED_BY_SIGTERM, Program, Xacceptor, Xproxy, configuration, slots_description, twist, twistd
from tests.e2e.services import Gate, SlotService

APPLICATIONS = str(Path(__file__).parent / "applications")


class ProxyStopTests(SynchronousTestCase):
    """A proxy is asked to stop."""

    def setUp(self) -> None:
        self.proxy = Xproxy(self).ready()
        self.gate = Gate()
        SlotService(self, self.proxy.slots, 1, self.gate)
        self.proxy.has(slots=1)

    def test_idle(self) -> None:
        """Nothing runs: it is gone at once, although a client keeps its connection open."""
        kept = http.client.HTTPConnection(*self.proxy.http, timeout=20)
        self.addCleanup(kept.close)
        self.gate.let_go()
        kept.request("GET", "/")
        self.assertEqual(200, kept.getresponse().status)
        self.assertEqual(0, self.proxy.stop())

    def test_drains(self) -> None:
        """What runs and what waits is answered; who comes now is not let in; the answers say that the connection ends."""
        running = Waiting(self.proxy.http, "/running")
        self.gate.next()
        waiting = Waiting(self.proxy.http, "/waiting")
        self.proxy.has(queue_length=1)
        self.proxy.signal(signal.SIGTERM)
        self.proxy.said("draining, then stopping")
        self.proxy.eventually(lambda: not listens(self.proxy.http), "the port to be closed")
        self.assertEqual(503, ask(self.proxy.admin, "/readyz").status)
        self.assertEqual(200, ask(self.proxy.admin, "/healthz").status)
        self.gate.let_go(2)
        for client in (running, waiting):
            answer = client.response()
            self.assertEqual((200, "close"), (answer.status, answer.headers["connection"]))
        self.assertEqual(0, self.proxy.exit_status())

    def test_twice(self) -> None:
        """The second signal ends what still runs."""
        running = Waiting(self.proxy.http)
        self.gate.next()
        self.proxy.signal(signal.SIGTERM)
        self.proxy.said("draining, then stopping")
        self.proxy.signal(signal.SIGINT)
        self.proxy.said("stopping at once")
        self.assertEqual(0, self.proxy.exit_status())
        self.assert_given_up(running)

    def test_drain_timeout(self) -> None:
        """What takes longer than ``drain_timeout`` gets no answer of the service: its client is told so, or cut off."""
        config = configuration(self, '[proxy]\ndrain_timeout = 0.5\n[pools.default]\nslots = ["tcp:0:interface=127.0.0.1"]\n')
        proxy = Xproxy(self, "--config", config).ready()
        gate = Gate()
        SlotService(self, proxy.slots, 1, gate)
        running = Waiting(proxy.http)
        gate.next()
        self.assertEqual(0, proxy.stop())
        self.assert_given_up(running)

    def assert_given_up(self, client: Waiting) -> None:
        """It gets 503, or its connection ends without an answer."""
        try:
            self.assertEqual(503, client.response().status)
        except (http.client.HTTPException, ConnectionError):
            pass  # As good a way to be told.


def listens(address: Address) -> bool:
    """Whether anybody accepts connections there."""
    try:
        socket.create_connection(address, 20).close()
    except ConnectionRefusedError:
        return False
    return True


class DemoTests(SynchronousTestCase):
    """``make run``."""

    def test_demo(self) -> None:
        """It prints where everything is; curl is answered through a slot; Ctrl-C stops it cleanly."""
        demo = Xproxy(self, "--slots", "tcp:0:interface=127.0.0.1", "--demo").ready()
        url = demo.said(r"^  try +curl (http://\S+)$")[1]
        self.assertEqual(f"http://{demo.http[0]}:{demo.http[1]}/", url)
        self.assertIn(b"Answered through a slot", ask(demo.http).body)
        self.assertEqual(b"xproxy demo\n" * 5, ask(demo.http, "/bytes?n=60").body)
        self.assertEqual(b"x" * 100_000, ask(demo.http, "/echo", "POST", b"x" * 100_000).body)
        demo.has(slots=8)
        demo.signal(signal.SIGINT)
        self.assertEqual(0, demo.exit_status())
        self.assertEqual([], demo.errors)

    def test_make_run(self) -> None:
        """The Makefile starts exactly that, in the foreground, and Ctrl-C reaches it."""
        makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
        self.assertRegex(makefile, r"exec \$\(BIN\)/twistd -n xproxy --demo \$\(ARGS\)")


class AcceptorStopTests(SynchronousTestCase):
    """An acceptor, a relay, are asked to stop."""

    def test_acceptor(self) -> None:
        """Exit status 0, and no socket is left."""
        acceptor = Xacceptor(self).ready()
        SlotService(self, acceptor.slots, 3)
        acceptor.has(slots=3)
        self.assertEqual(0, acceptor.stop())
        self.assertFalse(os.path.exists(acceptor.handoff))

    def test_relay(self) -> None:
        """A relay finishes what runs on it, then its slots are gone."""
        proxy = Xproxy(self).ready()
        backend = Program(self, [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
        port = backend.said(r"port (\d+)")[1]
        slots = slots_description(proxy.slots, 2)
        relay = twistd(self, "xrelay", "--backend", f"tcp:127.0.0.1:{port}", "--slots", slots)
        proxy.has(slots=2)
        self.assertEqual(200, ask(proxy.http).status)
        self.assertEqual(0, relay.stop())
        proxy.has(slots=0)


def wsgi_answer(method: str, target: str, body: bytes) -> bytes:
    """What the WSGI application answers."""
    return b"wsgi:" + body


class ServiceStopTests(SynchronousTestCase):
    """A service is asked to stop: ``twist web`` on slots, the server and its endpoint as they are."""

    def service(self, proxy: Xproxy, count: int, name: str) -> Program:
        """Start one."""
        slots = slots_description(proxy.slots, count, f":instance={name}")
        more = {"PYTHONPATH": APPLICATIONS}
        return twist(self, "web", "--listen", slots, "--wsgi", "wsgi_application.application", environment=more)

    def parked(self, proxy: Xproxy, name: str, count: int) -> None:
        """Wait until this service has so many slots."""
        proxy.eventually(
            lambda: {row["name"]: row["slots"] for row in proxy.pool()["services"]}.get(name, 0) == count,
            f"{count} slots of {name}",
        )

    def test_rolling_restart(self) -> None:
        """Under load from eight clients, services are replaced one by one: not one request is lost or answered wrongly."""
        proxy = Xproxy(self).ready()
        old = self.service(proxy, 4, "old-0"), self.service(proxy, 4, "old-1")
        proxy.has(slots=8)
        load = Load(self, proxy.http, 8, wsgi_answer)
        for number, service in enumerate(old):
            self.service(proxy, 4, f"new-{number}")
            self.parked(proxy, f"new-{number}", 4)
            load.go_on(proxy)
            self.assertEqual(ENDED_BY_SIGTERM, service.stop(), service.story())
            self.parked(proxy, f"old-{number}", 0)
            load.go_on(proxy)
        load.stop()
        self.assertEqual({200}, set(load.outcomes), load.outcomes)
        proxy.has(slots=8, in_flight=0)

    def test_resized_and_restarted(self) -> None:
        """Under the same load a service changes its number of slots, to none and back, while another one is replaced."""
        proxy = Xproxy(self).ready()
        wanted = Path(self.mktemp()).absolute()
        command = (Path(__file__).parent / "applications" / "resizing_service.py").as_posix()
        slots = slots_description(proxy.slots, 8, ":instance=resized")
        resized = Program(self, [sys.executable, command, slots, str(wanted)])
        other = self.service(proxy, 4, "old")
        proxy.has(slots=12)
        load = Load(self, proxy.http, 8, wsgi_answer)
        for count in (2, 12, 0, 8):
            if count == 12:
                self.service(proxy, 4, "new")
                other.signal(signal.SIGTERM)
            elif count == 0:
                self.assertEqual(ENDED_BY_SIGTERM, other.exit_status(), other.story())
                self.parked(proxy, "new", 4)
            wanted.write_text(str(count))
            resized.signal(signal.SIGUSR1)
            self.parked(proxy, "resized", count)
            load.go_on(proxy)
        load.stop()
        self.assertEqual({200}, set(load.outcomes), load.outcomes)
        proxy.has(slots=12, in_flight=0)

    def test_running_requests_are_finished(self) -> None:
        """Requests that the service is working on when SIGTERM comes are answered; its idle slots are gone before."""
        proxy = Xproxy(self).ready()
        command = (Path(__file__).parent / "applications" / "slow_service.py").as_posix()
        service = Program(self, [sys.executable, command, slots_description(proxy.slots, 3)])
        proxy.has(slots=3)
        running = [Waiting(proxy.http, f"/{number}", "POST", b"x") for number in range(2)]
        for number in range(2):
            service.said(f"got /{number}$")
        service.signal(signal.SIGTERM)
        proxy.has(slots=2, in_flight=2)
        service.signal(signal.SIGUSR1)
        self.assertEqual([b"finished"] * 2, [client.response().body for client in running])
        self.assertEqual(0, service.exit_status(), service.story())
        proxy.has(slots=0)

    def test_last_service_stops_and_another_comes(self) -> None:
        """Between the last slot's end and the next one's beginning requests wait; none is refused."""
        patient = f"[pools.default]\nabsent_timeout = {PATIENCE_S}\nqueue_timeout = {PATIENCE_S}\n"
        anywhere = ("--slots", "tcp:0:interface=127.0.0.1")
        proxy = Xproxy(self, *anywhere, "--config", configuration(self, patient)).ready()
        first = self.service(proxy, 2, "first")
        proxy.has(slots=2)
        self.assertEqual(200, ask(proxy.http).status)
        self.assertEqual(ENDED_BY_SIGTERM, first.stop())
        proxy.has(slots=0)
        waiting = [Waiting(proxy.http, "/", "POST", b"x") for _ in range(4)]
        proxy.has(queue_length=4)
        self.service(proxy, 2, "second")
        self.assertEqual([b"wsgi:x"] * 4, [client.response().body for client in waiting])


class SilentTests(SynchronousTestCase):
    """What the log of an orderly life has in it."""

    def test_nothing_alarming(self) -> None:
        """Start, one request, stop: no warning, no error."""
        proxy = Xproxy(self, "--slots", "tcp:0:interface=127.0.0.1", "--demo").ready()
        self.assertEqual(200, ask(proxy.http).status)
        self.assertEqual(0, proxy.stop())
        for line in proxy.lines:
            self.assertIsNone(re.search("#(warn|error|critical)", line), line)
