"""The relay on real sockets, with real servers."""

from __future__ import annotations

import socket
from typing import Any, List

from twisted.internet import reactor as _reactor
from twisted.internet.defer import gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, clientFromString
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.web.server import Site
from zope.interface import implementer

from tests.doubles.dialling import GET, Hello
from tests.doubles.parking import Parking
from tests.doubles.programs import ProgramTestCase
from tests.doubles.relaying import OK, POST, UPGRADE
from xproxy.net.plain import is_quiet
from xproxy.service import backend
from xproxy.service.endpoint import SlotsServerEndpoint
from xproxy.service.relay_service import RelayService

reactor: Any = _reactor


class Lines(Protocol):
    """Answers each read with an HTTP response of many bytes."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(200):
            self.transport.write(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        self.transport.write(b"0\r\n\r\n")


@implementer(IHalfCloseableProtocol)
class Upper(Protocol):
    """Answers with an upgrade; then with capitals when the other side has ended."""

    transport: Any
    received = b""

    def dataReceived(self, data: bytes) -> None:
        if not self.received:
            self.transport.write(UPGRADE)
        self.received += data

    def readConnectionLost(self) -> None:
        self.transport.write(self.received.partition(b"\r\n\r\n")[2].upper())
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass


class Unread(Protocol):
    """Answers the beginning of a request, at length, and closes with the rest unread, which makes the close a reset."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.transport.pauseProducing()
        self.transport.write(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30_000)
        self.transport.loseConnection()


class Kept(Factory):
    """Answers each read, and keeps its connections; notes those that served."""

    noisy = False

    def __init__(self) -> None:
        self.served: List[Any] = []

    def buildProtocol(self, addr: Any) -> Protocol:
        protocol: Any = Protocol()

        def received(data: bytes) -> None:
            self.served.append(protocol)
            protocol.transport.write(OK)

        protocol.dataReceived = received
        return protocol


class RealTests(ProgramTestCase):
    """On real sockets."""

    timeout = 40

    async def listen(self, factory: Any) -> Any:
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(maybeDeferred, port.stopListening)
        return port

    async def park(self) -> Parking:
        self.parking = Parking()
        self.slots_port = await self.listen(self.parking)
        self.addCleanup(self.parking.closed)
        return self.parking

    async def relay(self, factory: Any, count: int) -> Parking:
        """A backend of this factory behind slots."""
        backend_port = (await self.listen(factory)).getHost().port
        parking = await self.park()
        slots = clientFromString(reactor, f"tcp:127.0.0.1:{self.slots_port.getHost().port}")
        service = RelayService(
            reactor,
            clientFromString(reactor, f"tcp:127.0.0.1:{backend_port}"),
            [SlotsServerEndpoint(reactor, slots, count)],
            "backend",
        )
        service.startService()
        self.addCleanup(service.stopService)
        await parking.filled(count)
        return parking

    async def test_keep_alive_and_chunked(self) -> None:
        resource = Hello()
        parking = await self.relay(Site(resource), 2)
        slot = parking.parked[0]
        for _ in range(3):
            head, body = await slot.request(GET)
            self.assertEqual((head.status, body), (200, b"hello"))
        slow = slot.request(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        while not resource.waiting:
            await deferLater(reactor, 0)
        for piece in (b"one", b"two"):
            resource.waiting[0].write(piece)
        resource.waiting[0].finish()
        head, body = await slow
        self.assertEqual((head.fields.chunked, body), (True, b"onetwo"))

    async def test_much(self) -> None:
        """More than all buffers on the way."""
        parking = await self.relay(Factory.forProtocol(Lines), 1)
        (slot,) = parking.parked
        for _ in range(2):
            head, body = await slot.request(GET)
            self.assertEqual((head.status, len(body)), (200, 2_000_000))

    async def test_half_close(self) -> None:
        parking = await self.relay(Factory.forProtocol(Upper), 1)
        (slot,) = parking.parked
        slot.transport.write(GET)
        await parking.until(lambda: slot.received == UPGRADE)
        slot.transport.write(b"abc")
        slot.transport.loseWriteConnection()
        await parking.until(lambda: slot.received == UPGRADE + b"ABC")
        await slot.gone()

    async def test_an_early_answer(self) -> None:
        """A body that nobody reads: the answer gets through, once, and the slot stays."""
        parking = await self.relay(Factory.forProtocol(Unread), 1)
        (slot,) = parking.parked
        upload = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n" + b"x" * 8_000_000
        for _ in range(3):
            head, body = await slot.request(upload)
            self.assertEqual((head.status, head.keep_alive, len(body)), (413, True, 30_000))
        self.assertEqual(len(parking.slots), 1)

    async def test_the_end_crosses_a_request(self) -> None:
        """The backend closes a kept connection after we have looked at it: a POST goes onto a new one."""
        factory = Kept()
        parking = await self.relay(factory, 1)
        (slot,) = parking.parked
        look = is_quiet

        def look_too_early(transport: Any) -> bool:
            quiet = look(transport)
            factory.served[-1].transport.getHandle().shutdown(socket.SHUT_RDWR)
            return quiet

        self.patch(backend, "is_quiet", look_too_early)
        for number in range(1, 10):
            head, body = await slot.request(POST)
            self.assertEqual((head.status, body, len(factory.served)), (200, b"ok", number))
        self.assertEqual(len(parking.slots), 1)

    async def test_the_end_waits_unread(self) -> None:
        """The backend has closed, and the reactor has not come to it: we look before we send."""
        factory = Kept()
        parking = await self.relay(factory, 1)
        (slot,) = parking.parked
        take = backend.BackendConnections.take

        def take_ended(connections: backend.BackendConnections) -> Any:
            if factory.served:
                factory.served[-1].transport.getHandle().shutdown(socket.SHUT_RDWR)
            return take(connections)

        self.patch(backend.BackendConnections, "take", take_ended)
        self.patch(backend.BackendConnection, "nothing_received", lambda connection: False)
        for number in range(1, 10):
            head, body = await slot.request(POST)
            self.assertEqual((head.status, body, len(factory.served)), (200, b"ok", number))
        self.assertEqual(len(parking.slots), 1)

    async def test_programs(self) -> None:
        """``python -m http.server`` behind ``twistd xrelay``; then it dies, and comes back."""
        self.write("page.html", "<p>hello</p>")
        (self.folder / "large").write_bytes(b"x" * 3_000_000)
        free = await self.listen(Factory.forProtocol(Protocol))
        port = free.getHost().port
        await free.stopListening()
        parking = await self.park()
        slots = f"slots:tcp:127.0.0.1:{self.slots_port.getHost().port}:count=3:pool=files"
        relay = self.start("-m", "twisted", "xrelay", "--backend", f"tcp:127.0.0.1:{port}", "--slots", slots)
        server = self.start("-m", "http.server", "--bind", "127.0.0.1", str(port))
        await parking.filled(3)
        for _ in range(3):
            for head, body in await gatherResults(
                [slot.request(b"GET /page.html HTTP/1.1\r\nHost: a\r\n\r\n") for slot in await parking.filled(3)]
            ):
                self.assertEqual((head.status, body), (200, b"<p>hello</p>"))
        (slot, *_) = await parking.filled(3)
        head, body = await slot.request(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual((head.status, len(body)), (200, 3_000_000))
        slots_left = await parking.filled(3)
        self.assertEqual(len(parking.slots), 3, "an HTTP/1.0 server costs no slot")
        await server.terminate()
        for head, _ in await gatherResults([slots_left[0].request(GET), *(slot.response() for slot in slots_left[1:])]):
            self.assertEqual((head.status, head.slot_closing), (503, True))
        await gatherResults([slot.gone() for slot in slots_left])
        self.assertEqual(parking.parked, [])
        self.start("-m", "http.server", "--bind", "127.0.0.1", str(port))
        (slot, *others) = await parking.filled(3)
        head, body = await slot.request(b"GET /page.html HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual((head.status, body), (200, b"<p>hello</p>"))
        ended = relay.terminate()
        head, _ = await others[0].response()
        self.assertTrue(head.slot_closing)
        await ended
        self.assertNotIn("Traceback", relay.text())
