"""Services register over TLS as operators and services set it up: certificates in files, commands, foreign servers, signals."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from functools import partial
from pathlib import Path
from typing import Tuple

from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.certificates import Authority, Issued
from tests.e2e.clients import ask, together
from tests.e2e.load import Load
from tests.e2e.processes import Answering, Program, Xacceptor, Xproxy, configuration, twist

APPLICATIONS = str(Path(__file__).parent / "applications")

BODY = os.urandom(1000) * 3000
"""3 MB: more than all buffers on the way."""

LOCAL = "tcp:0:interface=127.0.0.1"


class TLSSlotsCase(SynchronousTestCase):
    """Authorities, their files, and programs that use them."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="xproxy-tls-slots-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.authority = Authority("CA", directory=self.directory)
        self.stranger = Authority("stranger", directory=self.directory)
        self.edge = self.authority.issue("localhost")
        self.web = self.authority.issue("web.example.com")
        self.roots = os.path.join(self.directory, "roots")
        os.mkdir(self.roots)
        os.link(self.authority.path, os.path.join(self.roots, "ca.pem"))

    def configured(self, port: int = 0) -> str:
        """A configuration file: the default pool with both kinds of slots."""
        text = f"""
            [acceptor]
            client_ca = "{self.authority.path}"
            [[acceptor.certificates]]
            chain = "{self.edge.files.chain}"
            key = "{self.edge.files.key}"
            [pools.default]
            slots = ["{LOCAL}"]
            slots_tls = ["tcp:{port}:interface=127.0.0.1"]
            service_names = ["web.example.com"]
            """
        return configuration(self, text)

    def secure(self, program: Program) -> Tuple[str, int]:
        """Where a program takes slots over TLS."""
        found = program.said(r"slots over TLS at ([\d.]+):(\d+)$")
        return found[1], int(found[2])

    def service(self, port: int, certificate: Issued, count: int = 2, host: str = "localhost") -> Program:
        """``twist web`` with a WSGI application in slots over TLS."""
        shown = f"certificate={certificate.files.chain}:privateKey={certificate.files.key}"
        client = f"tls:{host}:{port}:{shown}:trustRoots={self.roots}"
        arguments = ("web", "--listen", f"slots:{client}:count={count}", "--wsgi", "wsgi_application.application")
        return twist(self, *arguments, environment={"PYTHONPATH": APPLICATIONS})

    def refused(self, proxy: Answering) -> float:
        return proxy.metric("xproxy_registrations_total", pool="default", result="refused_certificate")


class ServedTests(TLSSlotsCase):
    """``twistd xproxy`` with an acceptor of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.proxy = Xproxy(self, "--config", self.configured()).ready()
        self.port = self.secure(self.proxy)[1]

    def test_a_foreign_server(self) -> None:
        """Small and large bodies both ways, one after the other and at once; then it stops, and nothing is left of it."""
        before = self.proxy.descriptors()
        service = self.service(self.port, self.web)
        self.proxy.has(slots=2)
        self.assertEqual(b"wsgi:", ask(self.proxy.http, "/a").body)
        head = ask(self.proxy.http, "/head", "HEAD")
        self.assertEqual((200, b"", "/head"), (head.status, head.body, head.headers["x-path"]))
        answers = together(*[partial(ask, self.proxy.http, f"/{number}", "POST", BODY) for number in range(4)])
        for number, answer in enumerate(answers):
            self.assertEqual(f"/{number}", answer.headers["x-path"])
            self.assertTrue(answer.body == b"wsgi:" + BODY)
        self.assertEqual(2, self.proxy.pool()["slots"])
        service.signal(signal.SIGTERM)
        service.exit_status()
        self.proxy.has(slots=0, idle=0, leased=0)
        self.proxy.eventually(lambda: self.proxy.descriptors() <= before, "the descriptors to be closed")
        self.assertEqual(0, self.proxy.stop())

    def test_a_service_is_killed(self) -> None:
        service = self.service(self.port, self.web)
        self.proxy.has(slots=2)
        self.assertEqual(200, ask(self.proxy.http).status)
        service.kill()
        self.proxy.has(slots=0)
        self.service(self.port, self.web)
        self.proxy.has(slots=2)
        self.assertEqual(200, ask(self.proxy.http).status)

    def test_a_stranger(self) -> None:
        """A certificate of another CA: both sides say why, once, and no slot is there."""
        service = self.service(self.port, self.stranger.issue("web.example.com"), 8)
        self.proxy.said("refused: its certificate is not good: its CA is none of ours")
        service.said("closed at once, registration refused.*alert unknown ca")
        self.assertEqual(0, self.proxy.pool()["slots"])
        self.proxy.eventually(lambda: self.refused(self.proxy) >= 8, "eight refusals")
        self.assertEqual(1, len([line for line in self.proxy.lines if "was refused" in line]))
        self.assertEqual(1, len([line for line in service.lines if "trying again until they stay" in line]))
        self.assertEqual(0, self.proxy.stop())

    def test_a_name_that_may_not(self) -> None:
        self.service(self.port, self.authority.issue("api.example.com"))
        self.proxy.said("refused: its certificate is for 'api.example.com', which may join no pool here")
        self.assertEqual(0, self.proxy.pool()["slots"])

    def test_the_wrong_acceptor(self) -> None:
        """The service looks at the acceptor's name, too."""
        service = self.service(self.port, self.web, host="127.0.0.1")
        service.said("the acceptor's certificate is not for the name that is dialled")
        self.assertEqual(0, self.proxy.pool()["slots"])

    def test_certificates_are_read_again(self) -> None:
        """SIGHUP: who is there stays, who comes needs a certificate of the new CA."""
        self.service(self.port, self.web, 1)
        self.proxy.has(slots=1)
        Path(self.authority.path).write_bytes(self.stranger.pem)
        self.proxy.signal(signal.SIGHUP)
        self.proxy.said("certificates read again: localhost")
        Path(self.roots, "ca.pem").unlink()
        Path(self.roots, "ca.pem").write_bytes(self.authority.pem)
        self.service(self.port, self.stranger.issue("web.example.com"), 2)
        self.proxy.has(slots=3)
        self.service(self.port, self.web, 1)
        self.proxy.said("refused: its certificate is not good")
        self.proxy.has(slots=3)


class SharedTests(TLSSlotsCase):
    """``twistd xacceptor`` with two proxies."""

    def test_the_acceptor_stops_and_comes_back(self) -> None:
        acceptor = Xacceptor(self, "--config", self.configured()).ready()
        port = self.secure(acceptor)[1]
        proxies = [Xproxy(self, "--acceptor", acceptor.handoff).ready() for _ in range(2)]
        self.service(port, self.web)
        acceptor.has(slots=2)
        for proxy in proxies * 2:
            self.assertEqual(b"wsgi:x", ask(proxy.http, "/", "POST", b"x").body)
        self.assertEqual(0, acceptor.stop())
        again = Xacceptor(self, "--config", self.configured(port), handoff=acceptor.handoff).ready()
        again.has(slots=2)
        for proxy in proxies:
            self.assertEqual(b"wsgi:x", ask(proxy.http, "/", "POST", b"x").body)

    def test_mistakes(self) -> None:
        """Each is one line."""
        os.unlink(self.edge.files.key)
        config = self.configured()
        acceptor = Xacceptor(self, "--config", config)
        self.assertEqual(1, acceptor.exit_status())
        key = self.edge.files.key
        where = f"{config}:6: acceptor.certificates[0].key"
        self.assertEqual([f"xacceptor: {where}: key {key}: no such file or directory"], acceptor.errors)


class TakeoverTests(TLSSlotsCase):
    """Another acceptor takes over: TLS can't move, so slots over TLS end in order, and are dialled again."""

    def test_under_load(self) -> None:
        """Not one request fails, kept connections or not; the former acceptor ends when its last slot has."""
        acceptor = Xacceptor(self, "--config", self.configured()).ready()
        proxy = Xproxy(self, "--acceptor", acceptor.handoff).ready()
        self.service(self.secure(acceptor)[1], self.web)
        acceptor.has(slots=2)
        loads = [Load(self, proxy.http, 2, lambda method, target, body: b"wsgi:" + body, kept) for kept in (True, False)]
        for load in loads:
            load.go_on(proxy, 20)
        successor = Xacceptor(self, "--takeover", "--config", self.configured(), handoff=acceptor.handoff).ready()
        self.assertEqual(self.secure(acceptor), self.secure(successor))
        self.assertEqual(0, acceptor.exit_status())
        for load in loads:
            load.go_on(proxy, 20)
            load.stop()
            self.assertEqual({200}, set(load.outcomes), load.outcomes)
        successor.has(slots=2, in_flight=0)
