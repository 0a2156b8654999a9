"""The demo service."""

from __future__ import annotations

from typing import Any

from twisted.application.service import IService
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import TestCase
from twisted.web.server import Site
from zope.interface.verify import verifyObject

from tests.doubles.dialling import Wire
from xproxy.service.demo import MAX_BYTES, MAX_SLOW_S, Root, demo_service


class EndTests(TestCase):
    """How it stops."""

    def test_the_reactor_stops(self) -> None:
        """With that its proxy begins to drain: the slots stay until somebody stops the service."""
        reactor = MemoryReactorClock()
        service: Any = demo_service(reactor, "tcp:127.0.0.1:9", 2)
        service.startService()
        self.assertEqual(2, len(reactor.tcpClients))
        self.assertEqual({}, reactor.triggers.get("before", {}).get("shutdown", {}))
        service.stopService()


class SiteTests(TestCase):
    """Its site, on one connection."""

    def setUp(self) -> None:
        self.clock = Clock()
        site = Site(Root(self.clock, "host:1:abc"), reactor=self.clock)
        site.timeOut = None
        site.startFactory()
        self.addCleanup(site.stopFactory)
        self.wire = Wire(self.clock)
        self.wire.protocol = site.buildProtocol(self.wire.getPeer())
        self.wire.protocol.makeConnection(self.wire)

    def ask(self, target: str, method: str = "GET", headers: str = "", body: bytes = b"") -> bytes:
        head = f"{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.wire.deliver(head.encode() + body)
        return self.wire.taken()

    def test_describes_the_request(self) -> None:
        answer = self.ask("/some/path?x=1", headers="X-Mine: yes\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"))
        for line in (b"service: host:1:abc", b"method: GET", b"target: /some/path?x=1", b"X-Mine: yes", b"slot: ", b"Host: a"):
            self.assertIn(b"\n" + line, answer)
        self.assertIn(b"method: PURGE", self.ask("/", "PURGE"))

    def test_head(self) -> None:
        self.assertTrue(self.ask("/", "HEAD").endswith(b"\r\n\r\n"))

    def test_slow(self) -> None:
        self.assertEqual(self.ask("/slow?s=2.5"), b"")
        self.clock.advance(2.4)
        self.assertEqual(self.wire.taken(), b"")
        self.clock.advance(0.1)
        self.assertIn(b"that took 2.5 s", self.wire.taken())

    def test_slow_for_somebody_who_leaves(self) -> None:
        self.ask("/slow")
        calls = len(self.clock.getDelayedCalls())
        self.wire.lose()
        self.assertEqual(len(self.clock.getDelayedCalls()), calls - 1)

    def test_bytes(self) -> None:
        for number in (0, 1, 11, 12, 13, 100_000):
            _, _, body = self.ask(f"/bytes?n={number}").partition(b"\r\n\r\n")
            self.assertEqual(len(body), number)

    def test_bounds(self) -> None:
        bad = ["x", "-1", "nan", "inf", "1e400", "%00"]
        for target in [f"/slow?s={value}" for value in [*bad, MAX_SLOW_S + 1]] + [
            f"/bytes?n={value}" for value in [*bad, MAX_BYTES + 1]
        ]:
            self.assertTrue(self.ask(target).startswith(b"HTTP/1.1 400 "), target)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_echo(self) -> None:
        answer = self.ask("/echo", "POST", "Content-Type: text/x\r\n", b"hello")
        self.assertTrue(answer.endswith(b"\r\n\r\nhello"))
        self.assertIn(b"\r\nContent-Type: text/x\r\n", answer)
        answer = self.ask("/echo")
        self.assertTrue(answer.startswith(b"HTTP/1.1 405 "))
        self.assertIn(b"\r\nAllow: POST\r\n", answer)


class ServiceTests(TestCase):
    """Its slots."""

    def test_slots(self) -> None:
        reactor = MemoryReactorClock()
        service: Any = demo_service(reactor, "tcp:127.0.0.1:9999", count=5)
        self.assertTrue(verifyObject(IService, service))
        service.startService()
        self.assertEqual([client[:2] for client in reactor.tcpClients], [("127.0.0.1", 9999)] * 5)
        stopped = service.stopService()
        self.successResultOf(stopped)
