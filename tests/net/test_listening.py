"""Whatever can go wrong at the start is one clear line."""

from __future__ import annotations

import errno
import os
import resource
import socket
from typing import Any, List

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.doubles.logged import Logged
from xproxy.net.accepting import BACKLOG
from xproxy.net.listening import ListenService, server_endpoint, use_all_descriptors
from xproxy.startup import StartupError, os_reason


class EndpointTests(SynchronousTestCase):
    """Descriptions of endpoints."""

    def test_mistakes(self) -> None:
        for description in (
            "",
            "tpc:8080",
            "8080",
            "tcp",
            "tcp:",
            "tcp:http-alt-no",
            "tcp:80:80:80:80",
            "tcp:80:interfce=x",
            "ssl:443:privateKey=/nonexistent",
            "systemd:domain=INET:index=7",
        ):
            error = self.assertRaises(StartupError, server_endpoint, MemoryReactorClock(), description)
            self.assertIn(repr(description), str(error))
            self.assertNotIn("\n", str(error))

    def test_systemd(self) -> None:
        """Whoever starts a unit's command by hand is told why that does not work."""
        for description in ("systemd:domain=INET:index=0", "systemd:domain=INET:name=slots"):
            error = self.assertRaises(StartupError, server_endpoint, MemoryReactorClock(), description)
            self.assertIn("systemd has not passed such a socket", str(error))

    def test_backlog(self) -> None:
        """Ours, where a description names none."""
        for description, expected in (
            ("tcp:0:interface=127.0.0.1", BACKLOG),
            ("tcp:0", BACKLOG),
            ("tcp:0:backlog=7", 7),
            ("tcp:0:127.0.0.1:7", 7),
        ):
            reactor = MemoryReactorClock()
            self.successResultOf(server_endpoint(reactor, description).listen(Factory()))
            self.assertEqual(expected, reactor.tcpServers[0][2], description)
        reactor = MemoryReactorClock()
        self.successResultOf(server_endpoint(reactor, "unix:/nonexistent/socket").listen(Factory()))
        self.assertEqual(BACKLOG, reactor.unixServers[0][2])

    def test_reasons(self) -> None:
        self.assertEqual(os_reason(OSError(errno.EADDRINUSE, "Address already in use")), "address already in use")
        self.assertEqual(os_reason(CannotListenError("", 1, OSError(errno.EACCES, "Permission denied"))), "permission denied")
        self.assertEqual(os_reason(CannotListenError("", 1, "Cannot\nacquire  lock")), "cannot acquire lock")
        self.assertEqual(os_reason(KeyError()), "keyError")
        self.assertEqual(os_reason(OSError(errno.ENOENT, "")), os.strerror(errno.ENOENT).lower())


class ListenTests(TestCase):
    """ListenService on the real reactor."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor

    def service(self, description: str = "tcp:0:interface=127.0.0.1", **more: Any) -> ListenService:
        service = ListenService(self.reactor, description, Factory.forProtocol(Protocol), **more)
        self.addCleanup(service.stopService)
        return service

    def port_of(self, service: ListenService) -> int:
        assert service.port is not None
        address = service.port.getHost()
        assert isinstance(address, IPv4Address)
        return address.port

    def test_it_listens_from_the_privileged_start_on(self) -> None:
        service = self.service()
        service.privilegedStartService()
        port = self.port_of(service)
        service.startService()
        self.assertEqual(self.port_of(service), port)
        socket.create_connection(("127.0.0.1", port)).close()

    def test_it_listens_without_a_privileged_start(self) -> None:
        service = self.service()
        service.startService()
        socket.create_connection(("127.0.0.1", self.port_of(service))).close()

    async def test_it_stops(self) -> None:
        service = self.service()
        service.startService()
        port = self.port_of(service)
        await service.stopService()
        self.assertIsNone(service.port)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", port))
        await service.stopService()
        service.startService()
        self.assertIsNotNone(service.port)

    def test_the_port_is_in_use(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            description = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            service = self.service(description)
            error = self.assertRaises(StartupError, service.privilegedStartService)
        self.assertEqual(str(error), f"cannot listen on {description}: address already in use")

    def test_nobody_has_this_address(self) -> None:
        service = self.service("tcp:0:interface=192.0.2.1")
        error = self.assertRaises(StartupError, service.startService)
        self.assertIn("cannot assign requested address", str(error))

    async def test_a_check_says_no(self) -> None:
        ports: List[IListeningPort] = []

        def check(port: IListeningPort) -> None:
            ports.append(port)
            raise StartupError("not here")

        service = self.service(check=check)
        error = self.assertRaises(StartupError, service.privilegedStartService)
        self.assertEqual(str(error), "not here")
        self.assertIsNone(service.port)
        await service.stopService()
        self.assertFalse(ports[0].connected)  # type: ignore[attr-defined]


class _SlowEndpoint:
    """An endpoint that takes its time."""

    def __init__(self) -> None:
        self.listening: Deferred[Any] = Deferred()

    def listen(self, factory: object) -> Deferred[Any]:
        return self.listening


class SlowTests(SynchronousTestCase):
    """Endpoints that do not listen at once."""

    def setUp(self) -> None:
        self.endpoint = _SlowEndpoint()
        self.late: List[StartupError] = []
        self.service = ListenService(MemoryReactorClock(), "tcp:1", Factory(), failed_late=self.late.append)
        self.service._endpoint = self.endpoint  # type: ignore[assignment]
        self.logged = Logged(self)

    def test_it_fails_late(self) -> None:
        self.service.startService()
        self.endpoint.listening.errback(CannotListenError("", 1, OSError(errno.EACCES, "Permission denied")))
        self.assertEqual(str(self.late[0]), "cannot listen on tcp:1: permission denied")
        self.assertEqual(len(self.logged.of_level("critical")), 1)

    def test_it_is_stopped_before(self) -> None:
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.late, [])


class DescriptorTests(SynchronousTestCase):
    """How many descriptors may be open."""

    def test_all(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        self.assertEqual(hard, use_all_descriptors())
        self.assertEqual((hard, hard), resource.getrlimit(resource.RLIMIT_NOFILE))
