"""The proxy as a service: its start, its seams, and its end."""

from __future__ import annotations

import os
import sys
from typing import Any, List

from twisted.internet.testing import MemoryReactorClock
from zope.interface.verify import verifyObject

from tests.world.rig import GET, OK, Rig, RigCase, make_config, post, responses, statuses
from tests.world.sockets import KERNEL
from xproxy import config as cfg
from xproxy.interfaces import ILeaseHolder
from xproxy.log_file import LogFile
from xproxy.proxy.clients.connection import LAST_REQUEST_S
from xproxy.proxy.proxy_service import ProxyService, open_access_log
from xproxy.startup import StartupError


class StartTests(RigCase):
    """What keeps a proxy from starting is one clear line."""

    def service(self, **proxy: Any) -> ProxyService:
        """A proxy on a reactor that only remembers."""
        reactor = MemoryReactorClock()
        return ProxyService(reactor, make_config(proxy=proxy), reactor.seconds)

    def test_interface(self) -> None:
        """It holds leases."""
        verifyObject(ILeaseHolder, self.service())

    def test_access_log(self) -> None:
        """A path, standard output or none; a path that can't be opened is said."""
        path = os.path.join(self.mktemp(), "access.log")
        error = self.assertRaises(StartupError, self.service, access_log=path)
        self.assertEqual(str(error), f"access log {path}: no such file or directory")
        os.makedirs(os.path.dirname(path))
        service = self.service(access_log=path)
        log = service.gateway.access_log
        assert log is not None and isinstance(log.file, LogFile)
        log.add("192.0.2.1", None, 400, 0, 0.0, "", b"")
        service.startService()
        service.stopService()
        self.assertTrue(log.file.drain())
        log.file.close()
        with open(path, encoding="utf-8") as file:
            self.assertIn("192.0.2.1 - - [", file.read())
        self.assertIsNone(open_access_log(cfg.ProxyConfig(access_log="none")))

    def test_access_log_on_standard_output(self) -> None:
        """It is not closed."""
        log = open_access_log(cfg.ProxyConfig(access_log="-"))
        assert log is not None
        log.close()
        self.assertFalse(sys.stdout.closed)

    def test_error_pages(self) -> None:
        """A directory that is not there is said."""
        path = self.mktemp()
        error = self.assertRaises(StartupError, self.service, error_pages=path)
        self.assertIn(f"error pages {path}: ", str(error))

    def test_bad_endpoint(self) -> None:
        """So is an endpoint that is none."""
        error = self.assertRaises(StartupError, self.service, http=("nonsense:1",))
        self.assertIn("nonsense", str(error))

    def test_listens(self) -> None:
        """On each endpoint, once it is started."""
        reactor = MemoryReactorClock()
        config = make_config(proxy={"http": ("tcp:8080:interface=127.0.0.1", "tcp:8081:interface=127.0.0.1")})
        service = ProxyService(reactor, config, reactor.seconds)
        self.assertEqual(service.addresses(), [])
        service.startService()
        self.assertEqual([server[0] for server in reactor.tcpServers], [8080, 8081])
        self.assertEqual(len(service.addresses()), 2)
        self.successResultOf(service.stopService())


class EndMixin:
    """Drain and stop, over both kinds of sockets."""

    def drain(self: Any, rig: Rig) -> List[None]:
        """Ask for a drain; the list that is returned has an entry once it is done."""
        done: List[None] = []
        rig.proxy.drain().addCallback(done.append)
        rig.settle()
        return done

    def test_nothing_runs(self: Any) -> None:
        """At once, when nobody is there; idle connections are closed when they ask for nothing in a second."""
        rig = self.make_rig()
        self.assertEqual(self.drain(rig), [None])
        rig = self.make_rig()
        service = rig.slot()
        idle, used = rig.client(), rig.client(GET)
        rig.exchange(service, OK)
        rig.pass_time(LAST_REQUEST_S)
        done = self.drain(rig)
        rig.pass_time(LAST_REQUEST_S / 2)
        self.assertEqual((done, idle.ended, used.ended), ([], False, False))
        rig.pass_time(LAST_REQUEST_S)
        self.assertEqual((done, idle.ended, used.ended), ([None], True, True))
        self.assertEqual(rig.proxy.gateway.counts.timeouts, {}, "no client was slow")

    def test_one_more_request(self: Any) -> None:
        """A connection that is kept is used once more, and hears that it ends; so is one whose answer had begun before."""
        rig = self.make_rig()
        service = rig.slot()
        kept, begun = rig.client(GET), rig.client()
        rig.exchange(service, OK)
        kept.take()
        begun.send(GET)
        rig.settle()
        service.take()
        service.send(OK[:-1])
        rig.settle()
        done = self.drain(rig)
        service.send(OK[-1:])
        rig.settle()
        self.assertEqual([fields.get(b"connection") for _, fields, _ in responses(begun.take())], [None])
        for client in (kept, begun):
            self.assertFalse(client.ended)
            client.send(GET)
            rig.settle()
            rig.exchange(service, OK)
            self.assertEqual(
                [(status, fields[b"connection"]) for status, fields, _ in responses(client.take())], [(200, b"close")]
            )
        self.assertEqual((kept.ended, begun.ended, done), (True, True, [None]))

    def test_who_has_just_come(self: Any) -> None:
        """It may ask, once, soon."""
        rig = self.make_rig()
        service = rig.slot()
        asks, silent = rig.client(), rig.client()
        done = self.drain(rig)
        rig.pass_time(LAST_REQUEST_S / 2)
        asks.send(GET)
        rig.settle()
        rig.exchange(service, OK)
        self.assertEqual([(status, fields[b"connection"]) for status, fields, _ in responses(asks.take())], [(200, b"close")])
        self.assertEqual((asks.ended, silent.ended, done), (True, False, []))
        rig.pass_time(LAST_REQUEST_S)
        self.assertEqual((silent.ended, done), (True, [None]))

    def test_what_runs_is_finished(self: Any) -> None:
        """Exchanges, who waits in line, who is sending a request: each gets its answer, and then its connection ends."""
        rig = self.make_rig()
        service = rig.slot()
        running, waiting = rig.client(GET), rig.client(GET)
        sending, begun = rig.client(post(b"hello")[:-2]), rig.client(GET[:9])
        done = self.drain(rig)
        sending.send(b"lo")
        begun.send(GET[9:])
        for client in (running, waiting, sending, begun):
            self.assertEqual(done, [])
            rig.settle()
            rig.exchange(service, OK)
            status, fields, _ = responses(client.take())[0]
            self.assertEqual((status, fields[b"connection"], client.ended), (200, b"close", True))
        self.assertEqual(done, [None])
        self.assert_at_rest(rig)

    def test_who_still_reads(self: Any) -> None:
        """A client that is slow gets all of its answer, and no further request."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET, capacity=4608)
        client.reading = False
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000)
        done = self.drain(rig)
        self.assertEqual(done, [])
        client.reading = True
        rig.settle()
        self.assertEqual(len(responses(client.take())[0][2]), 300_000)
        rig.pass_time(LAST_REQUEST_S + 0.5)
        self.assertEqual((done, client.ended), ([None], True))

    def test_whose_wait_ends(self: Any) -> None:
        """An answer of our own ends the connection too."""
        rig = self.make_rig(pool={"queue_timeout": 5.0})
        client = rig.client(GET)
        done = self.drain(rig)
        rig.pass_time(5.5)
        status, fields, _ = responses(client.take())[0]
        self.assertEqual((status, fields[b"connection"], done), (503, b"close", [None]))

    def test_drain_is_bounded(self: Any) -> None:
        """What takes too long is not waited for."""
        rig = self.make_rig(proxy={"drain_timeout": 10.0})
        rig.slot()
        rig.client(GET)
        done = self.drain(rig)
        rig.pass_time(9.5)
        self.assertEqual(done, [])
        rig.pass_time(1.0)
        self.assertEqual(done, [None])

    def test_drain_twice(self: Any) -> None:
        """It is the same."""
        rig = self.make_rig()
        self.assertIs(rig.proxy.drain(), rig.proxy.drain())

    def test_stop(self: Any) -> None:
        """Everything ends at once; nothing is left, not even a timer, and the log is complete."""
        rig = self.make_rig()
        file = rig.log_to()
        used, _ = rig.slot(), rig.slot()
        clients = [rig.client(GET), rig.client(), rig.client(GET), rig.client(GET), rig.client(post(b"xx")[:-1])]
        done = self.drain(rig)
        self.successResultOf(rig.proxy.stopService())
        lines = [line for line in file.text.splitlines() if '"status": 503' in line]
        self.assertEqual(len(lines), 3)
        rig.settle()
        self.assertEqual(done, [None])
        self.assertEqual([client.over for client in clients], [True] * 5)
        self.assertTrue(used.over)
        self.assertEqual((rig.proxy.front.clients, rig.pool.slots), ({}, {}))
        self.assertEqual((rig.reactor.getDelayedCalls(), rig.reactor.readers, rig.reactor.writers), ([], {}, {}))
        self.assert_at_rest(rig)

    def test_stop_with_idle_leases(self: Any) -> None:
        """They go back to the acceptor as they are."""
        rig = self.make_rig()
        service = rig.slot()
        rig.proxy.stopService()
        rig.settle()
        self.assertEqual((rig.source.given_back, rig.source.closed, service.over), ([0], [], False))

    def test_stop_in_a_tunnel(self: Any) -> None:
        """Both sides are closed."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        rig.exchange(service, b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        rig.proxy.stopService()
        rig.settle()
        self.assertTrue(client.over and service.over)
        self.assert_at_rest(rig)

    def test_acceptor_comes_and_goes(self: Any) -> None:
        """The calls of the seam reach every pool."""
        rig = self.make_rig(pools=["other"], routes=[cfg.RouteConfig(), cfg.RouteConfig(host="other.test", pool="other")])
        first, second = rig.slot(), rig.slot("other")
        rig.source.asks.clear()
        rig.proxy.acceptor_lost()
        clients = [rig.client(GET), rig.client(GET.replace(b"example.com", b"other.test"))]
        rig.exchange(first, OK)
        rig.exchange(second, OK)
        self.assertEqual([statuses(client.take()) for client in clients], [[200], [200]])
        rig.proxy.acceptor_found()
        rig.settle()
        self.assertTrue(first.over and second.over)
        self.assertEqual(rig.source.asks, [("default", 0, 0), ("other", 0, 0)])


class MemoryEndTests(EndMixin, RigCase):
    """Over memory."""


class KernelEndTests(EndMixin, RigCase):
    """Over real socket pairs."""

    kind = KERNEL

    def test_who_has_just_asked(self) -> None:
        """Its request is in the socket, and not read yet: it is answered, on a connection that was used before."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)
        rig.exchange(service, OK)
        client.take()
        rig.pass_time(10.0)
        client.send(GET)
        done = self.drain(rig)
        rig.exchange(service, OK)
        self.assertEqual([(status, fields[b"connection"]) for status, fields, _ in responses(client.take())], [(200, b"close")])
        self.assertEqual((client.ended, done), (True, [None]))

    def test_who_asks_at_the_last_moment(self) -> None:
        """Its time is over, and its request is in the socket: it is answered."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)
        rig.exchange(service, OK)
        client.take()
        done = self.drain(rig)
        client.send(GET)
        rig.connections[0].deadline_passed(rig.connections[0].deadline + 0.1)
        rig.settle()
        rig.exchange(service, OK)
        self.assertEqual([(status, fields[b"connection"]) for status, fields, _ in responses(client.take())], [(200, b"close")])
        self.assertEqual((client.ended, done), (True, [None]))
