"""Sockets that are opened in one place and accepted from in another."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from typing import Any, List

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.doubles.waiting import Answer
from xproxy.net.accepting import accept, accept_plainly
from xproxy.net.listening import ListenService
from xproxy.net.sharing.adopted import AdoptedEndpoint
from xproxy.net.sharing.opened import SharedSocket, open_shared
from xproxy.startup import StartupError

LOOPBACK = "tcp:0:interface=127.0.0.1"


class Greeting(Factory):
    """Tells its name to whoever comes."""

    noisy = False

    def __init__(self, name: bytes) -> None:
        self.name = name

    def buildProtocol(self, addr: object) -> Protocol:
        """A connection that is over at once."""
        name = self.name

        class Greeter(Protocol):
            def connectionMade(self) -> None:
                transport: Any = self.transport
                transport.write(name)
                transport.loseConnection()

        return Greeter()


class SharingTests(TestCase):
    """Several accept from what is opened once."""

    def path(self) -> str:
        """Of a socket: mktemp's are too long for one."""
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        return os.path.join(directory, "socket")

    def opened(self, description: str, count: int = 2) -> SharedSocket:
        shared = open_shared(reactor, description, count)
        self.addCleanup(shared.close)
        return shared

    def worker(self, shared: SharedSocket, number: int) -> ListenService:
        """One who accepts, and tells its number."""
        endpoint = AdoptedEndpoint(reactor, shared.copy(number))
        plain = shared.description.startswith("tcp")
        greeting = Greeting(b"%d" % number)
        service = ListenService(
            reactor, shared.description, greeting, accept=accept_plainly if plain else accept, endpoint=endpoint
        )
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def connected(self, shared: SharedSocket) -> socket.socket:
        """A client, connected as far as the kernel can."""
        address: Any = shared.address
        if isinstance(address, (IPv4Address, IPv6Address)):
            client = socket.create_connection((address.host, address.port), 20)
        else:
            client = socket.socket(socket.AF_UNIX)
            client.connect(address.name)
        return client

    def answer(self, client: socket.socket) -> Deferred[bytes]:
        """What the client is told."""
        answer = Answer()

        class Client(Factory):
            noisy = False

            def buildProtocol(self, addr: object) -> Protocol:
                return answer

        with client:
            real: Any = reactor
            client.setblocking(False)
            real.adoptStreamConnection(client.fileno(), client.family, Client())
        return answer.ended

    async def test_each_has_a_share(self) -> None:
        """Clients of a TCP endpoint go to all of them."""
        shared = self.opened(LOOPBACK)
        self.worker(shared, 1)
        self.worker(shared, 2)
        clients = [self.connected(shared) for _ in range(64)]
        self.assertEqual({b"1", b"2"}, {await self.answer(client) for client in clients})

    async def test_what_waits_goes_to_the_successor(self) -> None:
        """While nobody accepts, the kernel does, and it is the next one who serves them."""
        for description in (LOOPBACK, f"unix:{self.path()}"):
            shared = self.opened(description, 1)
            before = [self.connected(shared) for _ in range(8)]
            first = self.worker(shared, 1)
            self.assertEqual([b"1"] * 8, [await self.answer(client) for client in before])
            await first.stopService()
            later = [self.connected(shared) for _ in range(8)]
            self.worker(shared, 1)
            self.assertEqual([b"1"] * 8, [await self.answer(client) for client in later])

    async def test_the_last_one_takes_who_waits(self) -> None:
        """When the opener has closed, who listens last serves all that the kernel has accepted, and nobody else is let in."""
        for description in (LOOPBACK, f"unix:{self.path()}"):
            shared = self.opened(description, 1)
            worker = self.worker(shared, 1)
            clients = [self.connected(shared) for _ in range(100)]
            shared.close()
            await worker.stopService()
            self.assertEqual([b"1"] * 100, [await self.answer(client) for client in clients])
            with self.assertRaises(OSError):
                self.connected(shared)

    async def test_unix_file(self) -> None:
        """Its mode is the one of the description; it is the opener's to remove, with its lock, and nobody else does."""
        path = self.path()
        shared = self.opened(f"unix:{path}:mode=600", 2)
        worker = self.worker(shared, 2)
        self.assertEqual(0o600, stat.S_IMODE(os.stat(path).st_mode))
        await worker.stopService()
        self.assertTrue(os.path.exists(path))
        shared.close()
        self.assertFalse(os.path.lexists(path) or os.path.lexists(path + ".lock"))

    def test_in_use(self) -> None:
        """A port of somebody else's is told, be it one that could be shared."""
        first = self.opened(LOOPBACK)
        address: Any = first.address
        error = self.assertRaises(StartupError, open_shared, reactor, f"tcp:{address.port}:interface=127.0.0.1", 2)
        self.assertIn("address already in use", str(error))
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            self.assertRaises(StartupError, open_shared, reactor, f"tcp:{port}:interface=127.0.0.1", 2)

    def test_kinds(self) -> None:
        """IPv6; and what is no socket is refused."""
        self.assertIsInstance(self.opened("tcp6:0:interface=\\:\\:1").address, IPv6Address)
        error = self.assertRaises(StartupError, open_shared, reactor, "slots:tcp\\:127.0.0.1\\:1:count=1", 2)
        self.assertIn("slots:", str(error))

    def test_descriptors(self) -> None:
        """Nothing stays open."""
        self.opened(f"unix:{self.path()}")  # Twisted keeps a descriptor in reserve from the first port on.
        before = self.open_descriptors()
        for description in (LOOPBACK, f"unix:{self.path()}"):
            shared = open_shared(reactor, description, 3)
            AdoptedEndpoint(reactor, shared.copy(2)).close()
            shared.close()
            shared.close()
        self.assertEqual(before, self.open_descriptors())

    def open_descriptors(self) -> List[str]:
        """The numbers in use."""
        return sorted(os.listdir("/proc/self/fd"))

    async def test_never_blocks(self) -> None:
        """The mode of a socket that others accept from is not touched, not for a moment."""
        modes: List[bool] = []
        for description in (LOOPBACK, f"unix:{self.path()}"):
            shared = self.opened(description, 1)
            copy = shared.copy(1)
            self.addCleanup(os.close, copy)
            modes.append(os.get_blocking(copy))
            self.worker(shared, 1)
            modes.append(os.get_blocking(copy))
        self.assertEqual([False] * 4, modes)

    def test_interface(self) -> None:
        """AdoptedEndpoint is an endpoint."""
        endpoint = AdoptedEndpoint(reactor, self.opened(LOOPBACK).copy(1))
        self.addCleanup(endpoint.close)
        self.assertTrue(verifyObject(IStreamServerEndpoint, endpoint))
