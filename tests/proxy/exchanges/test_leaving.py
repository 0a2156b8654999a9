"""A client that leaves while a slot works for it: when the slot ends, when it goes on, on every way in."""

from __future__ import annotations

from typing import Type

from twisted.trial.unittest import SynchronousTestCase

from tests.world.peers import Peer
from tests.world.rig import OK, RigCase
from tests.world.sockets import KERNEL
from tests.world.ways import WAYS, Ask, Way
from xproxy import config as cfg
from xproxy.net.sweep import SWEEP_INTERVAL_S
from xproxy.proxy.exchanges.leftover import LEFT_S

JUST_BEFORE, JUST_AFTER = LEFT_S - SWEEP_INTERVAL_S, 2 * SWEEP_INTERVAL_S
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata:\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhello"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nhello"


class LeavingTests(SynchronousTestCase):
    """Every test runs over all ways in."""

    def begun(self, kind: Type[Way], response: bytes = b"", **limits: int) -> tuple[Way, Peer]:
        """A request whose response has come so far, and whose client has left."""
        way = kind(limits={"discard": 1000, **limits})
        self.addCleanup(way.rig.stop)
        service = way.rig.slot()
        way.ask(Ask())
        self.assertIn(b"GET / HTTP/1.1", service.take())
        if response:
            service.send(response)
            way.got()
        way.leave()
        return way, service

    def assert_good(self, way: Way, service: Peer) -> None:
        """The slot goes on to the next request."""
        self.assertFalse(service.over)
        self.assertEqual((way.rig.source.closed, len(way.rig.pool.line.free)), ([], 1))
        client = way.rig.client(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(b"GET /next", way.rig.exchange(service, OK))
        self.assertTrue(client.received.endswith(b"ok"))

    def test_endless_ends_at_once(self) -> None:
        """A stream of events, and a body that ends with the connection: nobody can tell when."""
        for kind in WAYS:
            for response in (
                STREAM,
                b"HTTP/1.1 200 OK\r\n\r\nhello",
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nh",
            ):
                way, service = self.begun(kind, response)
                self.assertTrue(service.over, (kind.name, response))
                self.assertEqual(way.rig.pool.counts.in_flight, 0)
                self.assertEqual(way.rig.source.closed, [0])

    def test_endless_and_no_reset(self) -> None:
        """Such a client says no more than an EOF when it leaves; one that said it before the answer has nothing more to ask."""
        for early in (True, False):
            way = WAYS[0]()
            self.addCleanup(way.rig.stop)
            service = way.rig.slot()
            client = way.rig.client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            if early:
                client.end()
                way.rig.settle()
            way.rig.exchange(service, STREAM)
            client.end()
            way.rig.pass_time(2.0)
            self.assertEqual(service.over, not early)
            if early:
                way.rig.exchange(service, b"6\r\ndata:\n\r\n0\r\n\r\n")
                self.assertTrue(client.received.endswith(b"0\r\n\r\n"))
            self.assertEqual(way.rig.pool.counts.in_flight, 0)

    def test_long_ends_at_once(self) -> None:
        """As soon as it is known to be longer than ``limits.discard``."""
        for kind in WAYS:
            way, service = self.begun(kind, LENGTH % 2000)
            self.assertTrue(service.over, kind.name)
            way, service = self.begun(kind)
            service.send(LENGTH % 2000)
            way.rig.settle()
            self.assertTrue(service.over, kind.name)
            self.assertEqual(way.rig.source.closed, [0])

    def test_nearly_whole(self) -> None:
        """The rest of it comes in time: the slot stays good."""
        for kind in WAYS:
            for first, rest in (
                (LENGTH % 7, b"xy"),
                (CHUNKED, b"0\r\n\r\n"),
                (b"", OK),
                (b"", b"HTTP/1.1 204 No Content\r\n\r\n"),
            ):
                way, service = self.begun(kind, first)
                way.rig.pass_time(JUST_BEFORE)
                service.send(rest)
                way.rig.settle()
                self.assert_good(way, service)

    def test_not_in_time(self) -> None:
        """Whatever is missing, and however it trickles: a second is the end."""
        for kind in WAYS:
            for first in (b"", LENGTH % 100, CHUNKED, b"HTTP/1.1 103 Early Hints\r\n\r\n"):
                way, service = self.begun(kind, first)
                way.rig.pass_time(JUST_BEFORE)
                self.assertFalse(service.over, (kind.name, first))
                if first in (CHUNKED, LENGTH % 100):
                    service.send(b"1\r\nx\r\n" if first is CHUNKED else b"x")
                way.rig.pass_time(JUST_AFTER)
                self.assertTrue(service.over, (kind.name, first))
                self.assertEqual((way.rig.pool.counts.in_flight, way.rig.source.closed), (0, [0]))

    def test_too_much(self) -> None:
        """A body of unknown length has so many bytes, however fast they come."""
        for kind in WAYS:
            way, service = self.begun(kind, CHUNKED)
            for _ in range(20):
                service.send(b"64\r\n" + b"x" * 100 + b"\r\n")
            way.rig.settle()
            self.assertTrue(service.over, kind.name)

    def test_in_the_middle_of_the_request(self) -> None:
        """Its end will not come."""
        for kind in WAYS:
            if kind.name == "resource":
                continue  # Which has the whole request before it asks for a slot.
            way = kind(routes=[cfg.RouteConfig(buffering=False)])
            self.addCleanup(way.rig.stop)
            service = way.rig.slot()
            way.ask(Ask(b"POST", body=b"half", whole=False))
            self.assertIn(b"POST / HTTP/1.1", service.take())
            way.leave()
            self.assertTrue(service.over, kind.name)
            self.assertEqual(way.rig.pool.counts.in_flight, 0)

    def test_garbage_for_nobody(self) -> None:
        """It closes the slot, and nobody is told."""
        for kind in WAYS:
            for first, garbage in (
                (b"", b"\x00\x01"),
                (CHUNKED, b"zz\r\n"),
                (LENGTH % 7, b"xyOK"),
                (b"", b"HTTP/1.1 101 S\r\n\r\n"),
            ):
                way, service = self.begun(kind, first)
                service.send(garbage)
                way.rig.settle()
                self.assertTrue(service.over, (kind.name, garbage))

    def test_counted(self) -> None:
        """499 when there was no answer yet, else its status; once."""
        for kind in WAYS:
            for first, code in ((b"", 499), (CHUNKED, 200)):
                way, _ = self.begun(kind, first)
                self.assertEqual(way.rig.pool.counts.codes, {code: 1}, (kind.name, first))


class SplicedTests(RigCase):
    """A long body that goes past us."""

    kind = KERNEL

    def test_ends_at_once(self) -> None:
        """The service sees it, though nobody looked at the body."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        service.take()
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
        service.send(b"x" * 1_000_000)
        rig.settle()
        self.assertGreater(len(client.take()), 900_000)
        client.close()
        service.send(b"x" * 100_000)
        rig.settle()
        self.assertTrue(service.over)
        self.assert_at_rest(rig)
