"""The acceptor as a service: what it listens on, what it refuses to, how it stops."""

from __future__ import annotations

import os
import socket
from typing import Any, List

from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock

from tests.doubles.handoff import HandoffTestCase, ended, reactor, readable, until
from tests.doubles.holders import RecordingHolder
from xproxy.acceptor.acceptor_service import AcceptorService
from xproxy.acceptor.admission import check_exposure
from xproxy.config import AcceptorConfig, Config, PoolConfig, networks
from xproxy.slots.preambles.registration import build_registration
from xproxy.startup import StartupError

LOCAL = "tcp:0:interface=127.0.0.1"


class ServiceTestCase(HandoffTestCase):
    """Acceptors by their pools."""

    def acceptor(self, *pools: PoolConfig, handoff: str = "") -> AcceptorService:
        config = Config(acceptor=AcceptorConfig(handoff=handoff), pools={pool.name: pool for pool in pools})
        service = AcceptorService(reactor, config)
        self.services.append(service)
        return service

    def start(self, *pools: PoolConfig, handoff: str = "") -> AcceptorService:
        service = self.acceptor(*pools, handoff=handoff)
        service.privilegedStartService()
        service.startService()
        return service

    def refused(self, *pools: PoolConfig, handoff: str = "") -> str:
        service = self.acceptor(*pools, handoff=handoff)
        error = self.assertRaises(StartupError, service.privilegedStartService)
        self.assertNotIn("\n", str(error))
        return str(error)


class ExposureTests(ServiceTestCase):
    """Nobody listens to the world without having said who may come."""

    async def test_open_to_the_world(self) -> None:
        for description in ("tcp:0", "tcp:0:interface=0.0.0.0", "tcp6:0", "tcp:0:interface=\\:\\:"):
            line = self.refused(PoolConfig("default", slots=(description,)))
            self.assertIn("can be reached from other hosts", line)
            self.assertIn("allow", line)
            self.assertIn("token", line)

    async def test_open_to_those_who_are_named(self) -> None:
        self.start(
            PoolConfig("a", slots=("tcp:0",), allow=networks("192.0.2.0/24"), allow_given=True),
            PoolConfig("b", slots=("tcp:00",), token="x"),
        )

    async def test_an_empty_list_names_nobody(self) -> None:
        self.refused(PoolConfig("default", slots=("tcp:0",), allow=(), allow_given=True))

    async def test_each_pool_of_an_endpoint(self) -> None:
        line = self.refused(PoolConfig("a", slots=("tcp:0",), token="x"), PoolConfig("b", slots=("tcp:0",)))
        self.assertIn("pool b", line)

    async def test_loopback_and_unix(self) -> None:
        self.start(PoolConfig("default", slots=(LOCAL, "tcp:0:interface=\\:\\:1", f"unix:{self.directory}/slots.sock")))

    async def test_inherited_sockets(self) -> None:
        """As systemd passes them on: what counts is where the socket listens."""
        with socket.create_server(("", 0)) as inherited:
            port = reactor.adoptStreamPort(inherited.fileno(), socket.AF_INET, Factory())
        self.addCleanup(port.stopListening)
        self.assertRaises(StartupError, check_exposure, PoolConfig("default"), "systemd:", port)


class StartTests(ServiceTestCase):
    """Starting."""

    async def test_mistakes_before_listening(self) -> None:
        for pools, part in (
            ([PoolConfig("a", slots=("tpc:1",))], "bad endpoint 'tpc:1'"),
            ([PoolConfig("a", slots=("ssl:0:privateKey=x",))], "TLS"),
            ([PoolConfig("a", slots=(LOCAL,), registration="raw"), PoolConfig("b", slots=(LOCAL,))], "raw"),
        ):
            config = Config(pools={pool.name: pool for pool in pools})
            error = self.assertRaises(StartupError, AcceptorService, MemoryReactorClock(), config)
            self.assertIn(part, str(error))

    async def test_a_port_in_use(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            line = self.refused(PoolConfig("default", slots=(LOCAL, f"tcp:{port}:interface=127.0.0.1")))
        self.assertIn("address already in use", line)

    async def test_the_handoff_socket(self) -> None:
        line = self.refused(PoolConfig("default"), handoff=os.path.join(self.directory, "no", "x"))
        self.assertIn("there is no directory", line)

    async def test_pools_that_share_an_endpoint(self) -> None:
        service = self.start(PoolConfig("a", slots=(LOCAL,)), PoolConfig("b", slots=(LOCAL,)))
        self.assertEqual(len(service.listeners), 1)
        self.slot(service).sendall(build_registration("b", "x", None))
        await until(lambda: service.census()["b"]["slots"] == 1)
        self.assertEqual(service.census()["a"]["slots"], 0)

    async def test_slots_over_unix(self) -> None:
        """They are lent like the others."""
        path = os.path.join(self.directory, "slots.sock")
        service = self.start(PoolConfig("default", slots=(f"unix:{path}",), registration="raw"))
        plain = socket.socket(socket.AF_UNIX)
        self.sockets.append(plain)
        plain.connect(path)
        plain.setblocking(False)
        await until(lambda: service.census()["default"]["idle"] == 1)
        self.assertEqual(service.census()["default"]["services"][0]["name"], "unix")
        holder = RecordingHolder()
        self.holders.append(holder)
        holder.source = source = service.local_source(holder)
        holder.ask(1.0)
        holder.sockets[0].sendall(b"x")
        await until(lambda: readable(plain))
        plain.recv(1)
        holder.give_back(0)
        plain.close()
        await until(lambda: service.census()["default"]["slots"] == 0)
        source.leave()

    async def test_strangers_on_the_slots_port(self) -> None:
        """Bad bytes close the connection they come on, and no other; nothing is logged as an error."""
        service = self.start(PoolConfig("default", slots=(LOCAL,)))
        good = self.slot(service)
        good.sendall(build_registration(None, "good", None))
        await until(lambda: service.census()["default"]["slots"] == 1)
        for data in (
            b"\0" * 70000,
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\r\n\r\n\0\r\nQUIT\n????",
            b"PROXY TCP4 x\r\n",
            b"\x16\x03\x01",
        ):
            stranger = self.slot(service)
            try:
                stranger.sendall(data)
            except (BlockingIOError, ConnectionError):
                pass  # Closed already, or not read any more.
            await until(lambda: ended(stranger))  # noqa: B023
        self.assertFalse(ended(good))
        self.assertEqual(service.census()["default"]["registrations"], {"bad_preamble": 5, "ok": 1})
        self.assertEqual(self.flushLoggedErrors(), [])


class StopTests(ServiceTestCase):
    """Stopping."""

    async def test_connections_of_every_kind_are_closed(self) -> None:
        service = self.start(PoolConfig("default", slots=(LOCAL,), registration="proxy"), handoff=self.path)
        registering, idle = self.slot(service), self.slot(service)
        idle.sendall(build_registration(None, None, None))
        client, silent = self.plain(), self.plain()
        await until(lambda: service.census()["default"]["idle"] == 1)
        client.sendall(b"\x80\x80")
        await until(lambda: readable(client))
        await self.stop(service)
        for plain in (registering, client, silent):
            await until(lambda: ended(plain))  # noqa: B023
        self.assertFalse(os.path.exists(self.path))

    async def test_drain_lets_nobody_in_and_leaves_the_rest(self) -> None:
        service = self.start(PoolConfig("default", slots=(LOCAL,), registration="raw"), handoff=self.path)
        (plain,) = await self.slots(service, 1)
        assert service.listeners[0].port is not None
        address: Any = service.listeners[0].port.getHost()
        holder, _ = await self.proxy()
        await service.drain()
        self.assertRaises(ConnectionRefusedError, socket.create_connection, (address.host, address.port))
        self.assertRaises(FileNotFoundError, self.plain)
        holder.ask(1.0)
        await holder.until(lambda: holder.grants)
        self.assertFalse(ended(plain))
        holder.give_back(0)
        await until(lambda: service.census()["default"]["idle"] == 1)

    async def test_one_that_never_started(self) -> None:
        self.acceptor(PoolConfig("default", slots=(LOCAL,)), handoff=self.path)

    async def test_one_that_could_not_start(self) -> None:
        """What did listen is closed by stopService."""
        taken: List[socket.socket] = [socket.create_server(("127.0.0.1", 0))]
        self.sockets += taken
        self.refused(PoolConfig("default", slots=(LOCAL, f"tcp:{taken[0].getsockname()[1]}:interface=127.0.0.1")))
