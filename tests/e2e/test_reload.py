"""Reloads of running programs: what runs goes on, whoever comes is served, a file that can't be used changes nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any, Dict, Tuple

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import PATIENCE_S, ask, connect_unix, exchange
from tests.e2e.load import Load
from tests.e2e.played import PlayedService, get
from tests.e2e.processes import Answering, Xacceptor, Xproxy, configuration, short_path
from tests.e2e.wire import Wire, connect

ANY = "tcp:0:interface=127.0.0.1"
OTHER = "tcp:0:interface=127.0.0.1:backlog=7"

PIECE = b"x" * 10_000
PIECES = 40


class Echo:
    """A service for everything: a tunnel, a download that takes as long as the test wants, and what a Load asks for."""

    def __init__(self) -> None:
        self.go_on = threading.Semaphore(0)

    def __call__(self, wire: Wire) -> None:
        request = wire.request()
        if request.target == "/tunnel":
            wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            while True:
                wire.send(wire.some().upper())
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: ")
        if request.target == "/download":
            wire.send(b"%d\r\n\r\n" % (len(PIECE) * PIECES))
            for _ in range(PIECES):
                self.go_on.acquire(timeout=PATIENCE_S)
                wire.send(PIECE)
        else:
            body = told(request.method, request.target, request.body)
            wire.send(b"%d\r\n\r\n%b" % (len(body), body))


def told(method: str, target: str, body: bytes) -> bytes:
    """What the service answers a Load."""
    return f"{method} {target} {len(body)}".encode()


class ReloadCase(SynchronousTestCase):
    """A proxy with a file that is written again and again."""

    def write(self, *pools: str, http: Tuple[str, ...] = (ANY,), more: str = "", proxy: str = "") -> None:
        """Write the file: a pool, and a route to it, for each name, beside the default ones."""
        text = f'[proxy]\nhttp = {json.dumps(http)}\nadmin = "unix:{self.socket}"\naccess_log = "none"\n{proxy}\n'
        text += f'[pools.default]\nslots = ["{ANY}"]\n'
        text += "".join(f'[pools.{name}]\nslots = ["{ANY}:backlog={number + 5}"]\n' for number, name in enumerate(pools))
        text += '[[routes]]\npath = "/"\n'
        text += "".join(f'[[routes]]\npath = "/{name}"\npool = "{name}"\n' for name in pools)
        Path(self.file).write_text(text + more, encoding="utf-8")

    def start(self, *options: str, more: str = "") -> Answering:
        self.file = configuration(self, "")
        self.socket = short_path(self, "admin.sock")
        self.write(more=more)
        proxy = self.proxy = Answering(self, "xproxy", "--config", self.file, *options)
        proxy.said(r"admin at /")
        self.http, self.slots = proxy._announced("proxy"), proxy._announced("slots")
        return proxy

    def admin(self, method: str, path: str) -> Tuple[int, Dict[str, Any]]:
        """Status and JSON of an answer of the admin endpoint."""
        with connect_unix(self.socket) as connection:
            request = f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
            head, _, body = exchange(connection, request, half_close=False).partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    def reload(self) -> Dict[str, Any]:
        """A reload that is good."""
        status, told = self.admin("POST", "/reload")
        self.assertEqual((200, True), (status, told["reloaded"]), told)
        return told

    def addresses(self, what: str) -> int:
        """How often it was said where something is."""
        return sum(f"{what} at " in line and "no " not in line for line in self.proxy.lines)


class ProxyReloadTests(ReloadCase):
    """``xproxy``."""

    def test_under_load(self) -> None:
        """Routes, pools, endpoints, limits come, change and go, twenty times: not one request is lost or answered wrongly, a
        tunnel and a download go on."""
        proxy = self.start()
        echo = Echo()
        PlayedService(self, self.slots, echo, 12)
        proxy.eventually(lambda: self.admin("GET", "/status")[1]["pools"]["default"]["slots"] == 12, "the slots")
        tunnel, download = connect(self.http), connect(self.http)
        self.addCleanup(tunnel.close)
        self.addCleanup(download.close)
        tunnel.send(get("/tunnel", "Connection: Upgrade", "Upgrade: echo"))
        self.assertEqual(101, tunnel.head().status)
        download.send(get("/download"))
        self.assertEqual(200, download.head().status)
        loads = [Load(self, self.http, 4, told), Load(self, self.http, 3, told, kept=False)]
        for number in range(PIECES // 2):
            if number % 2:
                self.write(more=f"[limits]\nbody = {10_000 + number}\n")
            else:
                self.write("new", "newer", http=(ANY, OTHER))
            self.assertEqual(number + 2, self.reload()["generation"])
            tunnel.send(b"%d a" % number)
            self.assertEqual(b"%d A" % number, tunnel.read(len(b"%d A" % number)))
            echo.go_on.release()
            self.assertEqual(PIECE, download.read(len(PIECE)))
            for load in loads:
                load.go_on(proxy, 10)
        for load in loads:
            load.stop()
            self.assertEqual({200}, set(load.outcomes), load.outcomes)
        for _ in range(PIECES // 2):
            echo.go_on.release()
        self.assertEqual(PIECE * (PIECES // 2), download.read(len(PIECE) * (PIECES // 2)))
        tunnel.send(b"end")
        self.assertEqual(b"END", tunnel.read(3))
        self.assertEqual(1 + PIECES // 4, self.addresses("proxy"))
        tunnel.close()
        self.assertEqual(0, proxy.stop())

    def test_by_signal(self) -> None:
        """SIGHUP; the options of the command line go on to win."""
        proxy = self.start("--slots", "tcp:0:127.0.0.1", more="[limits]\nconnections = 1\n")
        answer = '[[routes]]\npath = "/ok"\nrespond = { body = "ok" }\n'
        self.write("new", http=(ANY, OTHER), more=f'{answer}[acceptor]\nhandoff = "{self.socket}.handoff"\n')
        proxy.signal(signal.SIGHUP)
        proxy.said("acceptor.handoff holds from the start")
        proxy.said("the configuration is read again: generation 2")
        self.assertEqual(2, self.addresses("proxy"))
        status = self.admin("GET", "/status")[1]
        self.assertEqual((["default", "new"], 2), (sorted(status["pools"]), status["generation"]))
        self.assertEqual(["acceptor.handoff"], status["kept"])
        self.assertEqual(2, self.addresses("slots"), "that of default is the option's, as before")
        clients = [connect(self.http) for _ in range(3)]
        for client in (*clients, *clients):
            client.send(get("/ok"))
            self.assertEqual(200, client.response().status, "there is room for more than one")
        for client in clients:
            client.close()

    def test_nothing_is_left(self) -> None:
        """As many descriptors after many reloads as before."""
        proxy = self.start()
        before = proxy.descriptors()
        for number in range(20):
            self.write(*(("a", "b") if number % 2 == 0 else ()), http=(ANY, OTHER)[: 2 - number % 2])
            self.reload()
        proxy.eventually(lambda: proxy.descriptors() == before, f"{before} descriptors")

    def test_a_bad_file(self) -> None:
        """It says file, line, key and reason, and everything goes on: a key, a port, a certificate, no file at all."""
        proxy = self.start()
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        port = taken.getsockname()[1]
        pool = f'[pools.x]\nslots = ["tcp:{port}:interface=127.0.0.1"]\n[[routes]]\npool = "x"\npath = "/x"'
        for more, line, key, reason in (
            ("[limits]\nbdoy = 1\n", 11, "limits.bdoy", 'unknown key; did you mean "body"?'),
            (pool, 11, "pools.x.slots[0]", "address already in use"),
        ):
            self.write(more=more)
            status, told = self.admin("POST", "/reload")
            (mistake,) = told["mistakes"]
            self.assertEqual((422, False, 1), (status, told["reloaded"], told["generation"]))
            self.assertEqual((self.file, line, key), (mistake["file"], mistake["line"], mistake["key"]))
            self.assertIn(reason, mistake["reason"])
            proxy.said(f"not reloaded, nothing has changed: {self.file}:{line}: ")
        for more, key in (
            (f'https = ["{ANY}"]\ncertificates = [{{ chain = "/nonexistent.pem", key = "/nonexistent.key" }}]', "chain"),
            ('error_pages = "/nonexistent"', "error_pages"),
        ):
            self.write(proxy=more)
            status, told = self.admin("POST", "/reload")
            (mistake,) = told["mistakes"]
            self.assertEqual((422, True), (status, mistake["key"].endswith(key)), told)
        os.rename(self.file, f"{self.file}.away")
        status, told = self.admin("POST", "/reload")
        self.assertEqual((422, "cannot be read: No such file or directory"), (status, told["mistakes"][0]["reason"]))
        shown = self.admin("GET", "/status")[1]
        self.assertEqual((1, 1), (shown["generation"], self.addresses("proxy")))
        self.assertIn("cannot be read", shown["failed_reload"]["reasons"][0])
        self.assertEqual(405, ask(self.http, "/", "TRACE").status)

    def test_drain(self) -> None:
        """``POST /drain`` is as good as SIGTERM; while it lasts nothing is reloaded, and all is served as before."""
        self.start()
        self.write(proxy="drain_delay = 60.0")
        self.reload()
        PlayedService(self, self.slots, Echo())
        self.assertEqual((202, False), self.drained())
        self.assertEqual((202, True), self.drained())
        with connect_unix(self.socket) as admin:
            answer = exchange(admin, b"GET /readyz HTTP/1.0\r\n\r\n")
        self.assertEqual(b"503", answer.split()[1])
        self.assertEqual(409, self.admin("POST", "/reload")[0])
        with connect(self.http) as client:
            for _ in range(2):
                client.send(get("/x"))
                self.assertEqual(200, client.response().status)
        self.proxy.signal(signal.SIGTERM)
        self.proxy.said("SIGTERM again: stopping at once")
        self.assertEqual(0, self.proxy.exit_status())

    def drained(self) -> Tuple[int, bool]:
        status, told = self.admin("POST", "/drain")
        return status, told["begun_before"]


class TokenTests(SynchronousTestCase):
    """Over TCP."""

    def test_token(self) -> None:
        token = "0123456789abcdef"
        file = configuration(self, token)
        text = f'[proxy]\n%s\n[pools.default]\nslots = ["{ANY}"]\n'
        proxy = Xproxy(self, "--config", configuration(self, text % f'admin_token = {{ file = "{file}" }}')).ready()
        self.assertEqual(401, ask(proxy.admin, "/reload", "POST").status)
        self.assertEqual(200, ask(proxy.admin, "/reload", "POST", headers={"Authorization": f"Bearer {token}"}).status)
        Path(file).write_text(token[::-1], encoding="ascii")
        self.assertEqual(200, ask(proxy.admin, "/reload", "POST", headers={"Authorization": f"Bearer {token}"}).status)
        self.assertEqual(401, ask(proxy.admin, "/reload", "POST", headers={"Authorization": f"Bearer {token}"}).status)
        self.assertEqual(3, proxy.status()["generation"])


class AcceptorReloadTests(SynchronousTestCase):
    """``xacceptor``."""

    def test_pools(self) -> None:
        """A pool comes, another one goes; the slots of the third stay."""
        text = f'[pools.default]\nslots = ["{ANY}"]\n'
        file = configuration(self, f'{text}[pools.old]\nslots = ["{OTHER}"]\n')
        acceptor = Xacceptor(self, "--config", file).ready()
        service = PlayedService(self, acceptor.slots, Echo(), 3)
        acceptor.has(slots=3)
        Path(file).write_text(f'{text}[pools.new]\nslots = ["{ANY}:backlog=9"]\n', encoding="utf-8")
        acceptor.signal(signal.SIGHUP)
        acceptor.said("no slots at .* any more")
        self.assertEqual(["default", "new"], sorted(acceptor.status()["pools"]))
        acceptor.has(slots=3)
        self.assertEqual(3, service.dialled)
        self.assertEqual(2, acceptor.status()["generation"])
        self.assertEqual(0, acceptor.stop())
