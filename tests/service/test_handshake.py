"""Slots over TLS at the service: what goes wrong is said once, in words, and waited out."""

from __future__ import annotations

import os
import tempfile
from typing import Any, List, Optional

from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.doubles.certificates import DAY, Authority, Issued
from tests.doubles.dialling import Recorder, Recorders
from tests.doubles.waiting import Waiting
from xproxy.service import handshake, linger
from xproxy.service.handshake import EndedByTLS, HandshakeFailed, why_lost
from xproxy.slots.serving.dialling import INITIAL_DELAY_S, RECENTLY_SETTLED_S

reactor: Any = _reactor


class ReasonTests(SynchronousTestCase):
    """In words, on one line."""

    def said(self, error: Exception, shaken: bool = False, late: bool = False) -> Any:
        value: Any = why_lost(Failure(error), shaken, late).value
        self.assertNotIn("\n", str(value))
        return type(value), str(value)

    def test_reasons(self) -> None:
        verify = SSL.Error([("x", "", "provider signature failure"), ("SSL routines", "", "certificate verify failed")])
        alert = SSL.Error([("SSL routines", "", "tlsv13 alert certificate required")])
        self.assertEqual(self.said(verify), (HandshakeFailed, "TLS handshake failed: certificate verify failed"))
        self.assertEqual(self.said(alert, shaken=True), (EndedByTLS, "tlsv13 alert certificate required"))
        self.assertEqual(self.said(ConnectionLost()), (HandshakeFailed, "TLS handshake failed: closed by the other end"))
        self.assertEqual(self.said(ConnectionLost(), late=True), (HandshakeFailed, "no TLS handshake in 10 s"))
        for error in (VerificationError(errors=[]), CertificateError("x")):
            self.assertIs(self.said(error, shaken=True)[0], HandshakeFailed)
        self.assertIs(self.said(ConnectionDone(), shaken=True)[0], ConnectionDone)


class Telling(Recorder):
    """Says when something has arrived."""

    def __init__(self, happened: Waiting) -> None:
        super().__init__()
        self._happened = happened

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self._happened.look()


class DiallingTests(TestCase):
    """Against real acceptors that are not the right one."""

    timeout = 30

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.roots = os.path.join(self.directory, "roots")
        os.mkdir(self.roots)
        self.authority = Authority("CA", directory=self.directory)
        self.stranger = Authority("stranger", directory=self.directory)
        os.link(self.authority.path, os.path.join(self.roots, "ca.pem"))
        self.events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.happened = Waiting()
        look: Any = self.look
        globalLogPublisher.addObserver(look)
        self.addCleanup(globalLogPublisher.removeObserver, look)
        self.received = Recorders(lambda: Telling(self.happened))

    def look(self, event: object) -> None:
        """Something was logged: each attempt that fails is."""
        reactor.callLater(0, self.happened.look)

    async def listen(self, certificate: Optional[Issued], factory: Any = None) -> int:
        """An acceptor that shows this certificate, or says nothing at all."""
        factory = factory or self.received
        if certificate is not None:
            options = PrivateCertificate.loadPEM(certificate.key + certificate.chain).options()
            factory = TLSMemoryBIOFactory(options, False, factory)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def dial(self, port: int, count: int = 3) -> Any:
        client = f"tls:localhost:{port}:trustRoots={self.roots}:endpoint=tcp\\:127.0.0.1\\:{port}"
        endpoint = serverFromString(reactor, f"slots:{client}:count={count}:token=s3cret")
        slots: Any = await endpoint.listen(Recorders())
        self.addCleanup(slots.stopListening)
        return slots

    def warnings(self) -> List[Any]:
        ours = [event for event in self.events if event["log_namespace"].startswith("xproxy.")]
        return [event for event in ours if event["log_level"].name == "warn"]

    async def refused(self, port: int, words: str) -> None:
        """One line with the reason; several attempts fail in the meantime, and none comes at once after the first."""
        slots = await self.dial(port)
        began = reactor.seconds()
        await self.happened.until(lambda: slots._dialler.plan.failures >= 2)
        self.assertGreater(reactor.seconds() - began, INITIAL_DELAY_S / 2)
        (warning,) = self.warnings()
        self.assertIn(words, warning["why"])
        self.assertNotIn("s3cret", str(warning))
        self.assertEqual(b"".join(protocol.received for protocol in self.received.built), b"")

    async def test_another_name(self) -> None:
        port = await self.listen(self.authority.issue("edge.example.com"))
        await self.refused(port, "the acceptor's certificate is not for the name that is dialled")

    async def test_another_authority(self) -> None:
        await self.refused(await self.listen(self.stranger.issue("localhost")), "certificate verify failed")

    async def test_expired(self) -> None:
        port = await self.listen(self.authority.issue("localhost", valid=(-3 * DAY, -DAY)))
        await self.refused(port, "certificate verify failed")

    async def test_no_tls(self) -> None:
        """Whatever answers there, it is sent nothing but the hello."""

        class Plain(Factory):
            noisy = False

            def buildProtocol(self, addr: Any) -> Any:
                protocol = Recorders().buildProtocol(addr)
                protocol.connectionMade = lambda: protocol.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return protocol

        await self.refused(await self.listen(None, Plain()), "TLS handshake failed: ")

    async def test_silence(self) -> None:
        """An acceptor that takes connections and no hello: the attempt ends in time, and the next one waits."""
        self.patch(handshake, "HANDSHAKE_TIMEOUT_S", 4 * RECENTLY_SETTLED_S)
        port = await self.listen(None)
        slots = await self.dial(port, 1)
        await self.happened.until(lambda: slots._dialler.plan.failures >= 2)
        (warning,) = self.warnings()
        self.assertIn("no TLS handshake", warning["why"])

    async def test_the_right_one(self) -> None:
        """And what is sent first is what registers."""
        self.patch(linger, "LINGER_S", 0.1)
        slots = await self.dial(await self.listen(self.authority.issue("localhost")), 2)
        built = self.received.built
        await self.happened.until(lambda: len(built) == 2 and all(b"s3cret" in protocol.received for protocol in built))
        self.assertEqual((len(slots.slots), self.warnings()), (2, []))
