"""More clients than there is room for, and clients that come at the very end."""

from __future__ import annotations

import resource
import select
import signal
import socket
import ssl
import threading
from pathlib import Path
from typing import Callable, List

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import PATIENCE_S, Waiting, ask, connect_unix, receive_until, together
from tests.e2e.processes import Program, Xproxy, short_path
from tests.e2e.services import Request, SlotService, answering, respond

REQUEST = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"

ANSWER_END = b"\r\n\r\nok\n"

AT_THE_END = 100
"""Clients that the kernel has accepted and the proxy has not."""

PORT = "tcp:0:interface=127.0.0.1"


class BacklogTests(SynchronousTestCase):
    """The proxy is busy when clients come and a stop is asked for: all of them are answered."""

    def start(self, *options: str) -> Xproxy:
        """A proxy with its service."""
        proxy = Xproxy(self, *options).ready()
        SlotService(self, proxy.slots, 4, answering(respond(b"ok\n")))
        proxy.has(slots=4)
        return proxy

    def freeze(self, program: Program) -> None:
        """Let it stand still, as one that has much to do."""
        program.signal(signal.SIGSTOP)
        state = Path(f"/proc/{program.process.pid}/stat")
        program.eventually(lambda: state.read_text("ascii").rpartition(") ")[2].startswith("T"), "a stop")

    def thaw(self, program: Program) -> None:
        """Let it go on: the first thing it learns is that it has to stop."""
        program.signal(signal.SIGTERM)
        program.signal(signal.SIGCONT)

    def assert_answered(self, client: socket.socket) -> None:
        """It gets an answer, and is told that the connection ends."""
        with client:
            answer = receive_until(client, ANSWER_END)
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
            self.assertIn(b"\r\nConnection: close\r\n", answer)

    def asked(self, connect: Callable[[], socket.socket]) -> socket.socket:
        """A client that has sent its request."""
        client = connect()
        client.sendall(REQUEST)
        return client

    def test_tcp(self) -> None:
        """Their requests are there, or come a little later; one has a connection from before."""
        proxy = self.start()
        kept = socket.create_connection(proxy.http, PATIENCE_S)
        kept.sendall(REQUEST)
        receive_until(kept, ANSWER_END)
        self.freeze(proxy)
        kept.sendall(REQUEST)
        clients = [self.asked(lambda: socket.create_connection(proxy.http, PATIENCE_S)) for _ in range(AT_THE_END)]
        late = socket.create_connection(proxy.http, PATIENCE_S)
        self.thaw(proxy)
        proxy.said("draining, then stopping")
        late.sendall(REQUEST)
        for client in (*clients, late, kept):
            self.assert_answered(client)
        self.assertEqual(0, proxy.exit_status())

    def test_unix(self) -> None:
        """The same on a UNIX socket."""
        path = short_path(self, "http.sock")
        proxy = self.start("--http", PORT, "--http", f"unix:{path}")
        self.freeze(proxy)
        clients = [self.asked(lambda: connect_unix(path)) for _ in range(AT_THE_END)]
        self.thaw(proxy)
        for client in clients:
            self.assert_answered(client)
        self.assertEqual(0, proxy.exit_status())

    def test_tls(self) -> None:
        """The same where a handshake comes first."""
        proxy = self.start("--http", PORT, "--https", PORT, "--self-signed")
        found = proxy.said(r"proxy at https://([\d.]+):(\d+)/")
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname = False
        trusting.verify_mode = ssl.CERT_NONE
        self.freeze(proxy)
        plain = [socket.create_connection((found[1], int(found[2])), PATIENCE_S) for _ in range(10)]
        self.thaw(proxy)

        def talk(client: socket.socket) -> None:
            self.assert_answered(self.asked(lambda: trusting.wrap_socket(client)))

        together(*[lambda client=client: talk(client) for client in plain])
        self.assertEqual(0, proxy.exit_status())

    def test_a_balancer(self) -> None:
        """The same behind a PROXY header."""
        path = short_path(self, "config.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(
                f'[proxy]\ntrusted_proxies = ["127.0.0.0/8"]\nproxy_protocol = true\n[pools.default]\nslots = ["{PORT}"]\n'
            )
        proxy = self.start("--config", path)
        self.freeze(proxy)
        header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n"
        clients = []
        for _ in range(10):
            clients.append(socket.create_connection(proxy.http, PATIENCE_S))
            clients[-1].sendall(header + REQUEST)
        self.thaw(proxy)
        for client in clients:
            self.assert_answered(client)
        self.assertEqual(0, proxy.exit_status())


class Flood:
    """Connections that say nothing, as many as there can be, and new ones for those that are closed."""

    def __init__(self, test: SynchronousTestCase, proxy: Xproxy, most: int) -> None:
        self._address = proxy.http
        self._most = most
        self._over = threading.Event()
        self.made = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        test.addCleanup(self.stop)

    def stop(self) -> None:
        """Close them."""
        self._over.set()
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        ends: List[socket.socket] = []
        while not self._over.is_set():
            while len(ends) < self._most:
                ends.append(socket.create_connection(self._address, PATIENCE_S))
                self.made += 1
            closed, _, _ = select.select(ends, [], [], 0.01)
            for end in closed:
                end.close()
                ends.remove(end)
        for end in ends:
            end.close()


class DescriptorTests(SynchronousTestCase):
    """A process that may have 128 descriptors."""

    def test_a_flood(self) -> None:
        """A client that asks is answered, however many do not; what runs goes on; and not much is said."""
        limited = ["sh", "-c", 'ulimit -n 128; exec "$0" "$@"']
        proxy = Xproxy(self, started_by=limited).ready()
        proxy.said(r"#warn\] there is room for 35 clients at once, and not for \d+ \(limits\.connections\)")
        begun, may_end = threading.Event(), threading.Event()

        def answer(request: Request) -> bytes:
            if request.target == "/running":
                begun.set()
                may_end.wait(PATIENCE_S)
            return respond()

        SlotService(self, proxy.slots, 2, answer)
        self.addCleanup(may_end.set)
        proxy.has(slots=2)
        running = Waiting(proxy.http, "/running")
        self.assertTrue(begun.wait(PATIENCE_S))
        flood = Flood(self, proxy, 300)
        proxy.eventually(lambda: flood.made > 1000, "a flood")
        for number in range(20):
            self.assertEqual(200, ask(proxy.http, f"/{number}").status)
        self.assertEqual(200, ask(proxy.admin, "/readyz").status)
        may_end.set()
        self.assertEqual(200, running.response().status)
        self.assertGreater(proxy.metric("xproxy_connections_refused_total", reason="room-made"), 0)
        self.assertLess(proxy.descriptors(), 128)
        flood.stop()
        self.assertEqual(0, proxy.stop())
        self.assertLess(len(proxy.lines), 80)

    def test_none_at_all(self) -> None:
        """The limit is lowered while it runs, below what it has open: who is there is served, others wait until there is room,
        which is said once."""
        proxy = Xproxy(self).ready()
        SlotService(self, proxy.slots, 1)
        proxy.has(slots=1)
        kept = socket.create_connection(proxy.http, PATIENCE_S)
        kept.sendall(REQUEST)
        receive_until(kept, b"\r\n\r\n")
        kept.sendall(REQUEST[:10])  # So that nothing can be spared.
        proxy.eventually(lambda: proxy.status()["connections"]["client"] == 1, "one client")
        wanted = resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (3, wanted[1]))
        others = [Waiting(proxy.http, f"/{number}") for number in range(3)]
        proxy.said("no connection can be accepted for now: too many open files")
        kept.sendall(REQUEST[10:])
        self.assertIn(b"HTTP/1.1 200", receive_until(kept, b"\r\n\r\n"))
        kept.close()
        resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, wanted)
        self.assertEqual([200] * 3, [other.response().status for other in others])
        self.assertGreater(proxy.metric("xproxy_accept_failures_total", reason="too many open files"), 0)
        self.assertEqual(0, proxy.stop())
        self.assertEqual(1, len([line for line in proxy.lines if "for now" in line]))
