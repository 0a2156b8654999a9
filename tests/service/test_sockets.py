"""The endpoint on real sockets: TCP, UNIX and TLS; nothing of a polite closing is lost on the way."""

from __future__ import annotations

import datetime
import os
import socket
from typing import Any, List

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint, clientFromString, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import PrivateCertificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase
from twisted.web.server import Site

from tests.doubles.dialling import GET, SLOW, Hello
from tests.doubles.parking import ParkedSlot, Parking
from xproxy.service.endpoint import SlotsServerEndpoint
from xproxy.slots.preambles.registration import RegistrationParser

reactor: Any = _reactor


class SocketTestCase(TestCase):
    """A parking to dial."""

    timeout = 20

    async def park(self, endpoint: Any, mode: str = "proxy", wrap: Any = lambda factory: factory) -> Parking:
        parking = Parking(mode)
        self.port = await endpoint.listen(wrap(parking))
        self.addCleanup(parking.closed)
        self.addCleanup(maybeDeferred, self.port.stopListening)
        return parking

    async def serve(self, description: str, count: int, **settings: Any) -> Any:
        self.resource = Hello()
        client = settings.pop("client", None) or clientFromString(reactor, description)
        endpoint = SlotsServerEndpoint(reactor, client, count, description=description, **settings)
        port: Any = await endpoint.listen(Site(self.resource))
        self.addCleanup(port.stopListening)
        return port

    async def tcp(self, mode: str = "proxy") -> Parking:
        return await self.park(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), mode)

    def here(self) -> str:
        return f"tcp:127.0.0.1:{self.port.getHost().port}"


class TCPTests(SocketTestCase):
    """The common case."""

    async def test_request_after_request(self) -> None:
        parking = await self.tcp()
        await self.serve(self.here(), 3, pool="api")
        slots = await parking.filled(3)
        self.assertEqual({slot.registration.pool for slot in slots if slot.registration}, {"api"})
        for _ in range(4):
            for head, body in await gatherResults([slot.request(GET) for slot in slots]):
                self.assertEqual((head.status, body), (200, b"hello"))
        self.assertEqual(len(parking.slots), 3)

    async def test_other_registrations(self) -> None:
        for mode in ("raw", "mxproxy"):
            parking = await self.tcp(mode)
            port = await self.serve(self.here(), 2, registration=mode)
            slots = await parking.filled(2)
            head, body = await slots[0].request(GET)
            self.assertEqual((head.status, body), (200, b"hello"))
            await port.stopListening()

    async def test_the_introduction_is_there_at_once(self) -> None:
        """Whole, in the moment in which the connection is made: whoever is silent at first may be taken for raw."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        seen: Deferred[bytes] = Deferred()
        far: List[socket.socket] = []

        class Looks(Protocol):
            def connectionMade(self) -> None:
                accepted, _ = listening.accept()
                far.append(accepted)
                reactor.callLater(0, seen.callback, accepted.recv(4096, socket.MSG_DONTWAIT))

        client = clientFromString(reactor, f"tcp:127.0.0.1:{listening.getsockname()[1]}")
        port: Any = await SlotsServerEndpoint(reactor, client, 1, pool="api").listen(Factory.forProtocol(Looks))
        found = RegistrationParser("proxy").feed(await seen)
        assert found is not None
        self.assertEqual((found[0].pool, found[1]), ("api", b""))
        stopped = port.stopListening()
        far[0].close()
        await stopped

    async def test_liveness_options(self) -> None:
        parking = await self.tcp()
        port = await self.serve(self.here(), 1)
        await parking.filled(1)
        (slot,) = port.slots
        handle: socket.socket = slot.transport.getHandle()
        self.assertNotEqual(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 0)
        self.assertNotEqual(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 0)

    async def test_polite_closing_arrives_whatever_crosses_it(self) -> None:
        """A request is on its way while the slot is closed: it is not answered by a reset."""
        parking = await self.tcp()
        port = await self.serve(self.here(), 8)
        slots = await parking.filled(8)
        body = b"x" * 100_000
        post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        stopped = port.stopListening()
        for head, _ in await gatherResults([slot.request(post) for slot in slots]):
            self.assertEqual((head.status, head.slot_closing, head.keep_alive), (503, True, False))
        for slot in slots:
            slot.transport.loseConnection()
        await stopped
        self.assertEqual(self.resource.waiting, [])

    async def test_stopping_finishes_what_runs(self) -> None:
        parking = await self.tcp()
        port = await self.serve(self.here(), 2)
        idle, running = await parking.filled(2)
        answer = running.request(SLOW)
        while not self.resource.waiting:
            await deferLater(reactor, 0)
        stopped = port.stopListening()
        head, _ = await idle.response()
        self.assertTrue(head.slot_closing)
        await idle.gone()
        self.assertNoResult(answer)
        self.resource.waiting[0].write(b"x" * 300_000)
        self.resource.waiting[0].finish()
        head, body = await answer
        self.assertEqual((head.status, len(body)), (200, 300_000))
        head, _ = await running.response()
        self.assertTrue(head.slot_closing)
        await stopped

    async def test_a_slot_that_ends_is_dialled_again(self) -> None:
        parking = await self.tcp()
        await self.serve(self.here(), 2)
        slots = await parking.filled(2)
        await slots[0].request(GET)
        slots[0].transport.loseConnection()
        await slots[0].gone()
        self.assertNotIn(slots[0], await parking.filled(2))

    async def test_many_slots_and_no_descriptor_left(self) -> None:
        await self.come_and_go(2)  # What the reactor opens when it is first used stays open.
        before = os.listdir("/proc/self/fd")
        await self.come_and_go(300)
        self.assertEqual(len(os.listdir("/proc/self/fd")), len(before))

    async def come_and_go(self, count: int) -> None:
        """Slots are registered, and closed politely."""
        parking = await self.tcp()
        port = await self.serve(self.here(), count)
        slots = await parking.filled(count)
        self.assertEqual(len({slot.registration.instance for slot in slots if slot.registration}), 1)
        await port.stopListening()
        await gatherResults([slot.gone() for slot in slots])
        await self.port.stopListening()

    async def test_nothing_is_logged_while_slots_come_and_go(self) -> None:
        parking = await self.tcp()
        await self.serve(self.here(), 1)
        events: List[Any] = []
        observer = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        for _ in range(5):
            (slot,) = await parking.filled(1)
            await slot.request(GET)
            slot.transport.loseConnection()
            await slot.gone()
        await parking.filled(1)
        events = [event for event in observer if str(event.get("log_namespace", "")).startswith("xproxy")]
        self.assertEqual(events, [])


class UNIXTests(SocketTestCase):
    """Over a UNIX socket."""

    async def test_serves_and_closes(self) -> None:
        path = self.mktemp()[-60:].replace("/", "_")
        parking = await self.park(UNIXServerEndpoint(reactor, path))
        port = await self.serve(f"unix:{path}", 40)
        slots = await parking.filled(40)
        head, body = await slots[0].request(GET)
        self.assertEqual((head.status, body), (200, b"hello"))
        stopped = port.stopListening()
        for head, _ in await gatherResults([slot.response() for slot in slots]):
            self.assertTrue(head.slot_closing)
        await stopped


class TLSTests(SocketTestCase):
    """Over TLS: the closing response arrives whole, and is followed by a proper end."""

    def certificate(self) -> PrivateCertificate:
        """A new self-signed one, for edge.example.com."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edge.example.com")])
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("edge.example.com")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return PrivateCertificate.loadPEM(private + certificate.public_bytes(pem))

    async def tls(self) -> Parking:
        self.own = self.certificate()
        options = self.own.options()
        return await self.park(
            TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"),
            wrap=lambda factory: TLSMemoryBIOFactory(options, False, factory),
        )

    def client(self, trusted: PrivateCertificate) -> Any:
        roots = trustRootFromCertificates([trusted])
        return wrapClientTLS(optionsForClientTLS("edge.example.com", roots), clientFromString(reactor, self.here()))

    async def test_serves_and_closes(self) -> None:
        parking = await self.tls()
        port = await self.serve("tls", 2, client=self.client(self.own))
        slots = await parking.filled(2)
        for _ in range(2):
            head, body = await slots[0].request(GET)
            self.assertEqual((head.status, body), (200, b"hello"))
        stopped = port.stopListening()
        crossing: ParkedSlot = slots[1]
        for head, _ in await gatherResults([crossing.request(GET), slots[0].response()]):
            self.assertTrue(head.slot_closing)
        for slot in slots:
            slot.transport.loseConnection()
        await stopped

    async def test_the_wrong_acceptor(self) -> None:
        """Its certificate is not trusted: no slot, and one line that says why."""
        await self.tls()
        observer = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        port = await self.serve("tls", 2, client=self.client(self.certificate()))
        warned: List[Any] = []
        while not warned:
            await deferLater(reactor, 0)
            warned = [event for event in observer if "TLS handshake failed" in str(event.get("why"))]
        self.assertEqual(len(warned), 1)
        self.assertIn("certificate verify failed", warned[0]["why"])
        await port.stopListening()
