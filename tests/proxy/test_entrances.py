"""Endpoints, certificates and logs of a proxy that runs, under one configuration after the other."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
from typing import Any, List, Tuple

import attr
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.doubles.certificates import Authority
from tests.world.rig import make_config
from xproxy import config as cfg
from xproxy.proxy.proxy_service import ProxyService
from xproxy.startup import StartupError

ANY = "tcp:0:interface=127.0.0.1"
OTHER = "tcp:0:interface=127.0.0.1:backlog=7"


class EntrancesCase(TestCase):
    """A proxy on the real reactor."""

    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.sockets: List[socket.socket] = []

    def config(self, *http: str, pools: Tuple[str, ...] = (), **proxy: Any) -> cfg.Config:
        return make_config(proxy={"http": http or (ANY,), **proxy}, pools=pools)

    def start(self, config: cfg.Config) -> ProxyService:
        self.proxy = ProxyService(self.reactor, config, time.monotonic)
        self.proxy.privilegedStartService()
        self.proxy.startService()
        self.addCleanup(self.proxy.stopService)
        return self.proxy

    def ports(self, secure: bool = False) -> List[Any]:
        entrances = self.proxy.entrances._listening.items()
        return [listening.port for (tls, _, _), listening in entrances if tls == secure]

    def connect(self, number: int = 0) -> socket.socket:
        address: Any = self.proxy.addresses()[number]
        client = socket.create_connection((address.host, address.port))
        self.addCleanup(client.close)
        return client

    def clients(self, count: int) -> Deferred[None]:
        """Fires when there are so many."""
        there: Deferred[None] = Deferred()

        def look() -> None:
            if len(self.proxy.front.clients) == count:
                there.callback(None)
            else:
                self.reactor.callLater(0, look)

        look()
        return there


class EndpointTests(EntrancesCase):
    """What is listened on."""

    async def test_one_comes_and_one_goes(self) -> None:
        """Whoever came through it stays; nobody comes any more."""
        proxy = self.start(self.config(ANY))
        before: Any = proxy.addresses()[0]
        client = self.connect()
        await self.clients(1)
        await proxy.use(self.config(ANY, OTHER))
        self.assertEqual((len(proxy.addresses()), proxy.addresses()[0]), (2, before))
        after = proxy.addresses()[1]
        await proxy.use(self.config(OTHER))
        self.assertEqual(proxy.addresses(), [after])
        self.assertRaises(ConnectionRefusedError, socket.create_connection, (before.host, before.port))
        self.connect()
        await self.clients(2)
        client.send(b"TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await self.clients(1)
        self.assertEqual(client.recv(12), b"HTTP/1.1 405")

    async def test_one_that_stays(self) -> None:
        """It is the same socket; two of one description are two."""
        proxy = self.start(self.config(ANY, ANY))
        before = self.ports()
        self.assertEqual(len({port.getHost().port for port in before}), 2)
        await proxy.use(self.config(ANY, ANY, name="other"))
        self.assertTrue(all(port is again for port, again in zip(before, self.ports())))
        self.assertEqual(proxy.gateway.policy.marks.via, b"other")

    async def test_one_that_can_not_be(self) -> None:
        """Nothing has changed: neither the endpoints, nor anything else of the configuration."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        bad = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        proxy = self.start(self.config(ANY))
        before, policy, pools = self.ports(), proxy.gateway.policy, dict(proxy.gateway.pools)
        path = self.mktemp()
        error = self.assertRaises(StartupError, proxy.use, self.config(OTHER, bad, pools=("new",), access_log=path))
        self.assertEqual((str(error), error.endpoint), (f"cannot listen on {bad}: address already in use", bad))
        self.assertEqual((self.ports(), len(list(proxy.entrances))), (before, 1))
        self.assertEqual((proxy.gateway.policy, proxy.gateway.pools, proxy.gateway.access_log), (policy, pools, None))
        self.connect()
        await self.clients(1)

    async def test_the_place_of_another_one(self) -> None:
        """All addresses instead of one, the same one written in another way: who comes is let in, before, between and after."""
        proxy = self.start(self.config(ANY))
        before: Any = proxy.addresses()[0]
        self.connect()
        await self.clients(1)
        for number, description in enumerate(
            (f"tcp:{before.port}", f"tcp:{before.port}:interface=localhost", f"tcp:{before.port}:interface=127.0.0.1"), 1
        ):
            change = proxy.prepare(self.config(description))
            self.connect()
            await change.commit()
            self.assertEqual([port.getHost().port for port in self.ports()], [before.port])
            self.connect()
            await self.clients(2 * number + 1)
        error = self.assertRaises(StartupError, proxy.use, self.config(f"tcp:{before.port}:interface=192.0.2.1"))
        self.assertIn("cannot listen", str(error))

    async def test_proxy_headers(self) -> None:
        """An endpoint that gets them from here on, and one that does not any more, are the ones they were."""
        proxy = self.start(self.config(ANY))
        (port,) = self.ports()
        trusted: Any = {"trusted_proxies": cfg.networks("127.0.0.0/8")}
        await proxy.use(self.config(f"haproxy:{ANY}", **trusted))
        self.assertEqual((self.ports(), type(port.factory).__name__), ([port], "BalancedFront"))
        self.connect()
        await self.clients(1)
        self.assertEqual(proxy.gateway.counts.connections["handshake"], 1)
        self.assertRaises(StartupError, proxy.use, self.config(f"haproxy:{ANY}"))
        await proxy.use(self.config(ANY, proxy_protocol=True, **trusted))
        self.assertEqual(type(port.factory).__name__, "BalancedFront")
        await proxy.use(self.config(ANY))
        self.assertIs(port.factory, proxy.front)

    async def test_the_time_for_what_is_not_acknowledged(self) -> None:
        """It holds for who comes from here on."""
        proxy = self.start(self.config(ANY))
        (port,) = self.ports()
        config = self.config(ANY)
        await proxy.use(attr.evolve(config, timeouts=cfg.TimeoutsConfig(write=123.0)))
        option = getattr(socket, "TCP_USER_TIMEOUT", 18)
        self.assertEqual(port.socket.getsockopt(socket.IPPROTO_TCP, option), 123_000)


class SecureTests(EntrancesCase):
    """Endpoints with TLS."""

    async def test_they_come_and_go(self) -> None:
        pair = Authority().issue("localhost")
        directory = self.mktemp()
        os.mkdir(directory)
        files = pair.write(directory, "a")
        proxy = self.start(self.config(ANY))
        secure = self.config(ANY, https=(ANY,), certificates=(files,))
        await proxy.use(secure)
        (port,) = self.ports(secure=True)
        self.assertEqual([end[0] for end in proxy.certificate_ends()], ["localhost"])
        store = proxy.entrances.certificates
        await proxy.use(secure)
        self.assertIs(proxy.entrances.certificates, store)
        self.assertEqual(self.ports(secure=True), [port])
        broken = attr.evolve(files, key=files.chain)
        self.assertRaises(StartupError, proxy.use, self.config(ANY, https=(ANY,), certificates=(broken,)))
        self.assertEqual(self.ports(secure=True), [port])
        await proxy.use(self.config(ANY))
        self.assertEqual((self.ports(secure=True), proxy.certificate_ends()), ([], []))


class LogTests(EntrancesCase):
    """The access log."""

    async def answered(self) -> None:
        client = self.connect()
        client.send(b"TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await self.clients(1)
        await self.clients(0)

    def lines(self, path: str) -> List[str]:
        with open(path, encoding="ascii") as file:
            return file.read().splitlines()

    async def test_another_file_another_form(self) -> None:
        """What was answered before stands in the file before."""
        first, second = self.mktemp(), self.mktemp()
        proxy = self.start(self.config(ANY, access_log=first))
        files = []
        for config in (
            self.config(ANY, access_log=first, access_log_format="json"),
            self.config(ANY, access_log=second, access_log_format="json"),
            self.config(ANY),
        ):
            await self.answered()
            assert proxy.gateway.access_log is not None
            files.append(proxy.gateway.access_log.file)
            await proxy.use(config)
        self.assertIs(files[0], files[1])
        for file in files:
            log: Any = file
            log._thread.join(self.timeout)
            self.assertFalse(log._thread.is_alive())
        self.assertEqual([line[:1] for line in self.lines(first)], ["1", "{"])
        self.assertEqual([line[:1] for line in self.lines(second)], ["{"])
        self.assertIsNone(proxy.gateway.access_log)

    async def test_one_that_can_not_be_opened(self) -> None:
        proxy = self.start(self.config(ANY, access_log=self.mktemp()))
        before = proxy.gateway.access_log
        bad = os.path.join(self.mktemp(), "access.log")
        self.assertRaises(StartupError, proxy.use, self.config(ANY, access_log=bad))
        self.assertIs(proxy.gateway.access_log, before)


class LeakTests(EntrancesCase):
    """Many configurations."""

    async def test_nothing_is_left(self) -> None:
        """Of many of them, some of which can't be used: no descriptor, thread, timer, nothing that is swept, no objects."""
        directory = self.mktemp()
        os.mkdir(directory)
        files = Authority().issue("localhost").write(directory, "a")
        plain = self.config(ANY)
        more = self.config(
            ANY, OTHER, https=(ANY,), certificates=(files,), pools=("a", "b"), access_log=os.path.join(directory, "log")
        )
        bad = self.config(ANY, OTHER, "tcp:1:interface=192.0.2.1", pools=("c",), access_log=os.path.join(directory, "bad"))
        proxy = self.start(plain)

        def there() -> Tuple[Any, ...]:
            gc.collect()
            kinds = [type(each).__name__ for each in gc.get_objects() if str(type(each).__module__).startswith("xproxy.")]
            return (
                len(os.listdir("/proc/self/fd")),
                threading.active_count(),
                len(self.reactor.getDelayedCalls()),
                len(proxy.gateway.sweep._members),
                len(list(proxy.entrances)),
                sorted(kinds),
            )

        async def round() -> None:
            await proxy.use(more)
            self.assertRaises(StartupError, proxy.use, bad)
            await proxy.use(plain)
            for thread in threading.enumerate():
                if directory in thread.name:
                    thread.join(self.timeout)

        await round()
        before = there()
        for _ in range(5):
            await round()
        after = there()
        self.assertEqual(before[:5], after[:5])
        self.assertEqual([kind for kind in after[5] if after[5].count(kind) > before[5].count(kind)], [])
