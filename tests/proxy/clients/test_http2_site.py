"""``resource.SlotProxyResource`` behind a ``twisted.web`` site that speaks HTTP/2: for those who have a site of their own."""

from __future__ import annotations

import twisted.internet
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.server import Site

from tests.world.rig import OK
from tests.world.secure import HTTP2Client, SecureCase, SecureRig
from xproxy.proxy.clients.resource import SlotProxyResource
from xproxy.proxy.exchanges.pool import status_of


class SiteTests(SecureCase):
    """An HTTP/2 client of ``twisted.web``."""

    def connect(self, rig: SecureRig) -> HTTP2Client:
        self.patch(twisted.internet, "reactor", rig.reactor)  # twisted.web's HTTP/2 asks nobody for one.
        site = Site(SlotProxyResource(rig.gateway), reactor=rig.reactor)
        client = HTTP2Client(rig, rig.secure_peer(TLSMemoryBIOFactory(rig.store, False, site, rig.reactor)))
        client.handshake()
        client.begin()
        self.addCleanup(rig.settle)
        self.addCleanup(client.peer.close)
        return client

    def test_requests(self) -> None:
        rig = self.make_secure_rig()
        services = [rig.slot() for _ in range(2)]
        client = self.connect(rig)
        first, second = client.ask(b"/a", fields=[(b"x-one", b"1")]), client.ask(b"/b", method=b"POST", body=b"body")
        requests = [rig.exchange(service, OK) for service in services]
        self.assertTrue(requests[0].startswith(b"GET /a HTTP/1.1\r\nHost: example.com\r\n"))
        self.assertTrue(requests[1].endswith(b"\r\n\r\nbody"))
        for stream in (first, second):
            answer = client.answer(stream)
            self.assertEqual((answer.status, answer.content, answer.ended), (200, b"ok", True))

    def test_a_reset_leaves_the_line(self) -> None:
        rig = self.make_secure_rig()
        client = self.connect(rig)
        stream = client.ask()
        self.assertEqual(status_of(rig.pool)["queue_length"], 1)
        client.h2.reset_stream(stream)
        client.push()
        self.assertEqual(status_of(rig.pool)["queue_length"], 0)

    def test_an_answer_of_several_frames(self) -> None:
        """No larger than the client's window: twisted.web goes round and round while that is shut."""
        rig = self.make_secure_rig()
        service = rig.slot()
        client = self.connect(rig)
        stream = client.ask()
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000)
        self.assertEqual(len(client.answer(stream).content), 60_000)
        self.assertEqual(status_of(rig.pool)["in_flight"], 0)

    def test_bad_requests(self) -> None:
        rig = self.make_secure_rig()
        client = self.connect(rig)
        self.assertEqual(client.answer(client.ask(method=b"TRACE")).status, 405)
        self.assertEqual(client.answer(client.ask(fields=[(b"x", b"y" * 9000)])).status, 431)
