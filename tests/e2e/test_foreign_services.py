"""Services and servers that were written without xproxy in mind answer through slots, unmodified."""

from __future__ import annotations

import importlib.util
import os
import sys
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.e2e.clients import Address, ask, together
from tests.e2e.processes import Program, Xproxy, slots_description, twist, twistd
from tests.e2e.services import SlotService, mxproxy_preamble

APPLICATIONS = str(Path(__file__).parent / "applications")

BODY = os.urandom(1000) * 300
"""300 kB: more than one read, more than what is kept in memory, and nothing that compresses or repeats by the read."""


class ForeignServiceTests(SynchronousTestCase):
    """A proxy with its own acceptor, and one foreign service in two slots."""

    def setUp(self) -> None:
        self.proxy = Xproxy(self).ready()

    def slots(self, more: str = "") -> str:
        """The endpoint description that takes the service here."""
        return slots_description(self.proxy.slots, 2, more)

    def twist_web(self, *arguments: str) -> Program:
        """``twist web`` in two slots."""
        return twist(self, "web", "--listen", self.slots(), *arguments, environment={"PYTHONPATH": APPLICATIONS})

    def assert_echoes(self, prefix: bytes) -> None:
        """GET, HEAD, small and large POST, one after the other and at once."""
        self.assertEqual(prefix, ask(self.proxy.http, "/a").body)
        head = ask(self.proxy.http, "/head", "HEAD")
        self.assertEqual((200, b"", "/head"), (head.status, head.body, head.headers["x-path"]))
        self.assertEqual(prefix + b"x=1", ask(self.proxy.http, "/b", "POST", b"x=1").body)
        answers = together(*[partial(ask, self.proxy.http, f"/{number}", "POST", BODY) for number in range(6)])
        self.assertEqual([f"/{number}" for number in range(6)], [answer.headers["x-path"] for answer in answers])
        for answer in answers:
            self.assertEqual(prefix + BODY, answer.body)
        self.proxy.has(slots=2, in_flight=0)

    def test_raw(self) -> None:
        """The paper's Listing 3: the service connects, sends nothing, and answers what comes."""
        service = SlotService(self, self.proxy.slots, 2)
        self.proxy.has(slots=2)
        answers = together(*[partial(ask, self.proxy.http, f"/{number}", "POST", b"x" * number) for number in range(20)])
        for number, answer in enumerate(answers):
            self.assertTrue(answer.body.startswith(b"POST /%d %d " % (number, number)), answer.body)
        self.assertEqual((2, 0), (service.dialled, service.overlapping))
        self.assertEqual([("127.0.0.1", 2)], [(row["name"], row["slots"]) for row in self.proxy.pool()["services"]])

    def test_mxproxy(self) -> None:
        """A service that says the paper's 22-byte preamble is known by the address in it."""
        preamble = mxproxy_preamble("127.1.2.3")
        self.assertEqual(22, len(preamble))
        service = SlotService(self, self.proxy.slots, 2, preamble=preamble)
        self.proxy.has(slots=2)
        answers = together(*[partial(ask, self.proxy.http, f"/{number}") for number in range(20)])
        self.assertEqual([200] * 20, [answer.status for answer in answers])
        self.assertEqual((2, 0), (service.dialled, service.overlapping))
        self.assertEqual([("127.1.2.3", 2)], [(row["name"], row["slots"]) for row in self.proxy.pool()["services"]])

    def test_twist_web_path(self) -> None:
        """``twist web --path``: files, directories, ranges, what is not there."""
        site = Path(self.mktemp())
        site.mkdir()
        (site / "file.bin").write_bytes(BODY)
        self.twist_web("--path", str(site.absolute()))
        self.proxy.has(slots=2)
        self.assertEqual(BODY, ask(self.proxy.http, "/file.bin").body)
        part = ask(self.proxy.http, "/file.bin", headers={"Range": "bytes=1000-1999"})
        self.assertEqual((206, BODY[1000:2000]), (part.status, part.body))
        self.assertEqual(404, ask(self.proxy.http, "/nothing").status)
        self.assertIn(b"file.bin", ask(self.proxy.http, "/").body)
        etag = ask(self.proxy.http, "/file.bin", "HEAD").headers["last-modified"]
        self.assertEqual(304, ask(self.proxy.http, "/file.bin", headers={"If-Modified-Since": etag}).status)

    def test_twist_web_wsgi(self) -> None:
        """``twist web --wsgi``: the application runs in a thread pool behind the slots."""
        self.twist_web("--wsgi", "wsgi_application.application")
        self.proxy.has(slots=2)
        self.assert_echoes(b"wsgi:")

    def test_daphne(self) -> None:
        """``daphne -e slots:...`` with an ASGI application."""
        if importlib.util.find_spec("daphne") is None:
            raise SkipTest("daphne is not installed")
        command = [sys.executable, "-m", "daphne", "-e", self.slots(), "asgi_application:application"]
        Program(self, command, {"PYTHONPATH": APPLICATIONS})
        self.proxy.has(slots=2)
        self.assert_echoes(b"asgi:")

    def test_relay(self) -> None:
        """``python -m http.server`` only listens: ``xrelay`` puts it behind slots."""
        site = Path(self.mktemp())
        site.mkdir()
        (site / "file.bin").write_bytes(BODY)
        backend = self.http_server(site)
        relay = twistd(self, "xrelay", "--backend", f"tcp:{backend[0]}:{backend[1]}", "--slots", self.slots(":instance=files"))
        self.proxy.has(slots=2)
        answers = together(*[partial(ask, self.proxy.http, "/file.bin") for _ in range(6)])
        self.assertEqual([(200, BODY)] * 6, [(answer.status, answer.body) for answer in answers])
        self.assertEqual(404, ask(self.proxy.http, "/nothing").status)
        self.assertEqual(["files"], [row["name"] for row in self.proxy.pool()["services"]])
        self.assertEqual(0, relay.stop())
        self.proxy.has(slots=0)

    def http_server(self, site: Path) -> Address:
        """A plain server that listens; it says on which port."""
        command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(site.absolute()), "0"]
        server = Program(self, command)
        return "127.0.0.1", int(server.said(r"port (\d+)")[1])
