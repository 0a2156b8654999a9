"""Offers to switch protocols, with and without a body, what is answered to them, and the other fields that hold hop by hop."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from tests.world.peers import Peer
from tests.world.rig import OK, Rig, RigCase, request_head, responses, statuses
from tests.world.secure import SecureCase
from tests.world.sockets import KERNEL
from xproxy import config as cfg

EXEC = b"POST /exec/1/start HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
"""As ``docker exec`` asks for it."""

BODY = b'{"Detach":false,"Tty":true}'

SWITCHING = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"

STREAMED = (cfg.RouteConfig(buffering=False),)


def sized(body: bytes) -> bytes:
    """The request with a body of known length."""
    return EXEC + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class SwitchingMixin:
    """The tests that hold over both kinds of sockets."""

    def asked(self: Any, request: bytes, **parts: Any) -> Tuple[Rig, Peer, Peer]:
        """A rig, its client and the service, once the request was passed on."""
        rig = self.make_rig(**parts)
        service = rig.slot()
        return rig, rig.client(request), service

    def assert_tunnel(self: Any, rig: Rig, client: Peer, service: Peer) -> None:
        """Bytes go both ways, and both ends can end it."""
        service.send(b"$ ")
        rig.settle()
        self.assertEqual(client.take(), b"$ ")
        client.send(b"ls\n")
        rig.settle()
        self.assertEqual(service.take(), b"ls\n")
        client.close()
        rig.settle()
        self.assertEqual(service.take(), b"")
        service.close()
        rig.settle()
        self.assertEqual(rig.pool.slots, {})
        self.assert_at_rest(rig)

    def test_without_a_body(self: Any) -> None:
        """A length of 0, as some clients write it, is none."""
        rig, client, service = self.asked(EXEC + b"Content-Length: 0\r\n\r\n")
        head = request_head(service)
        self.assertEqual((head.upgrade, head.fields.content_length), (b"tcp", 0))
        rig.exchange(service, SWITCHING)
        self.assertEqual(statuses(client.take()), [101])
        self.assert_tunnel(rig, client, service)

    def test_with_a_body(self: Any) -> None:
        """In any framing, on any route; the body is the service's before the tunnel begins."""
        chunked = EXEC + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
        for request in (sized(BODY), chunked + b"\r\n", chunked + b"X-Sum: 1\r\n\r\n"):
            for routes in ((cfg.RouteConfig(),), STREAMED):
                rig, client, service = self.asked(request, routes=routes)
                received = service.take()
                self.assertIn(b"\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n", received)
                self.assertIn(BODY, received)
                service.send(SWITCHING)
                rig.settle()
                self.assertEqual(statuses(client.take()), [101])
                self.assert_tunnel(rig, client, service)

    def test_with_a_body_that_begins_as_a_request(self: Any) -> None:
        """The offer does not go on: some servers that do not switch would read the body as the next request."""
        body = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        for routes in ((cfg.RouteConfig(),), STREAMED):
            rig, client, service = self.asked(sized(body), routes=routes)
            head = request_head(service)
            self.assertEqual((head.upgrade, head.fields.get(b"connection")), (b"", None))
            rig.exchange(service, SWITCHING)
            self.assertEqual(statuses(client.take()), [502])
            rig, client, service = self.asked(EXEC + b"Transfer-Encoding: chunked\r\n\r\n" + chunks, routes=routes)
            self.assertEqual(request_head(service).upgrade, b"tcp" if routes is STREAMED else b"")
        long = sized(body + bytes(400_000))
        rig = self.make_rig()
        service = rig.slot(capacity=20_000)
        rig.client(long)
        rig.settle()
        self.assertEqual(request_head(service).upgrade, b"")

    def test_what_follows_the_body(self: Any) -> None:
        """Belongs to the tunnel when there is one, and is the next request when there is none."""
        rig, client, service = self.asked(sized(BODY) + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertTrue(service.take().endswith(BODY))
        service.send(SWITCHING)
        rig.settle()
        self.assertEqual(statuses(client.take()), [101])
        self.assertEqual(service.take(), b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        rig, client, service = self.asked(sized(BODY) + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        rig.exchange(service, OK)
        self.assertEqual(request_head(service).path, b"/next")
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take()), [200, 200])

    def test_switched_before_the_body_is_there(self: Any) -> None:
        """The body goes first, wherever it comes from; then the client is told."""
        rig, client, service = self.asked(sized(BODY)[:-20], routes=STREAMED)
        self.assertTrue(service.take().endswith(BODY[:-20]))
        service.send(SWITCHING + b"hello")
        rig.settle()
        self.assertEqual(client.take(), b"")
        client.send(BODY[-20:-10])
        rig.settle()
        self.assertEqual((client.take(), service.take()), (b"", BODY[-20:-10]))
        client.send(BODY[-10:] + b"first")
        rig.settle()
        self.assertEqual(service.take(), BODY[-10:] + b"first")
        head, _, rest = client.take().partition(b"\r\n\r\n")
        self.assertEqual((head[:12], rest), (b"HTTP/1.1 101", b"hello"))
        self.assert_tunnel(rig, client, service)

    def test_switched_before_the_body_was_taken(self: Any) -> None:
        """A long body that a service leaves where it is."""
        body = bytes(400_000)
        rig = self.make_rig()
        service = rig.slot(capacity=20_000)
        service.reading = False
        client = rig.client(sized(body))
        rig.settle()
        service.send(SWITCHING)
        client.send(b"first")
        rig.settle()
        self.assertEqual(client.take(), b"")
        service.reading = True
        rig.settle()
        received = service.take()
        self.assertEqual(len(received.partition(b"\r\n\r\n")[2]), len(body) + 5)
        self.assertTrue(received.endswith(b"\0first"))
        self.assertEqual(statuses(client.take()), [101])
        self.assert_tunnel(rig, client, service)

    def test_a_client_that_leaves_meanwhile(self: Any) -> None:
        rig, client, service = self.asked(sized(BODY)[:-20], routes=STREAMED)
        service.send(SWITCHING)
        rig.settle()
        client.reset()
        rig.settle()
        self.assertTrue(service.over)
        self.assert_at_rest(rig)

    def test_a_service_that_leaves_meanwhile(self: Any) -> None:
        """It did not take the request, so the client is not told that it has switched."""
        rig, client, service = self.asked(sized(BODY)[:-20], routes=STREAMED)
        service.send(SWITCHING)
        rig.settle()
        service.close()
        client.send(BODY[-20:])
        rig.settle()
        self.assertEqual(statuses(client.take()), [502])
        self.assert_at_rest(rig)

    def test_answers_that_are_none(self: Any) -> None:
        """RFC 9110 section 7.8: a switch to what was not offered, or to nothing, is a 502 and the end of the slot."""
        for lines in (
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
            b"Connection: Upgrade\r\nUpgrade: tcp, websocket\r\n",
            b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
            b"Connection: Upgrade\r\n",
            b"Upgrade: tcp\r\n",
            b"",
        ):
            for request in (EXEC + b"\r\n", sized(BODY)):
                rig, client, service = self.asked(request)
                service.take()
                service.send(b"HTTP/1.1 101 Switching Protocols\r\n" + lines + b"\r\nPRI * HTTP/2.0")
                rig.settle()
                self.assertEqual(statuses(client.take()), [502], lines)
                self.assertTrue(service.over)
                self.assert_at_rest(rig)

    def test_offers_that_are_none(self: Any) -> None:
        """h2c goes no further, alone or beside others, and nothing in HTTP/1.0; a 101 all the same is a 502."""
        for protocols, version, offered in (
            (b"h2c", b"1.1", b""),
            (b"tcp, h2c", b"1.1", b"tcp"),
            (b"TLS/1.0, HTTP/1.1", b"1.1", b""),
            (b"tcp", b"1.0", b""),
        ):
            request = EXEC.replace(b"tcp", protocols).replace(b"/1.1\r", b"/%b\r" % version)
            rig, client, service = self.asked(request + b"HTTP2-Settings: AAMAAABk\r\n\r\n")
            head = request_head(service)
            self.assertEqual(head.fields.get(b"upgrade") or b"", offered)
            self.assertIsNone(head.fields.get(b"http2-settings"))
            rig.exchange(service, SWITCHING.replace(b"tcp", protocols.split(b",")[-1].strip()))
            self.assertEqual(statuses(client.take()), [502])
            self.assertTrue(service.over)

    def test_one_of_several(self: Any) -> None:
        rig, client, service = self.asked(EXEC.replace(b"tcp", b"websocket, TCP") + b"\r\n")
        self.assertEqual(request_head(service).upgrade, b"websocket, TCP")
        rig.exchange(service, SWITCHING)
        self.assertEqual(responses(client.take())[0][1][b"upgrade"], b"tcp")
        self.assert_tunnel(rig, client, service)


class MemorySwitchingTests(SwitchingMixin, RigCase):
    """Over memory sockets."""


class KernelSwitchingTests(SwitchingMixin, RigCase):
    """Over sockets of the kernel."""

    kind = KERNEL


class HopByHopTests(RigCase):
    """What else a client says to us that a service has to know."""

    def fields(self, request: bytes, **parts: Any) -> Dict[bytes, bytes]:
        """What the service gets of a request."""
        rig = self.make_rig(**parts)
        service = rig.slot()
        rig.client(request)
        return dict(request_head(service).fields.pairs())

    def test_te(self) -> None:
        """``trailers``, which are passed on; never in HTTP/1.0, where they are not."""
        for te, version, expected in (
            (b"trailers", b"1.1", b"trailers"),
            (b"gzip;q=0.5, trailers", b"1.1", b"trailers"),
            (b"gzip", b"1.1", None),
            (b"trailers", b"1.0", None),
        ):
            found = self.fields(b"GET / HTTP/%b\r\nHost: a\r\nTE: %b\r\nConnection: TE\r\n\r\n" % (version, te))
            self.assertEqual((found.get(b"te"), found.get(b"connection")), (expected, expected and b"TE"))

    def test_a_host_for_http_1_0(self) -> None:
        """Where the request came in; the target or the route comes first. X-Forwarded-Host says what the client said."""
        found = self.fields(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual((found[b"host"], found.get(b"x-forwarded-host")), (b"127.0.0.1:8080", None))
        found = self.fields(b"GET http://b/ HTTP/1.0\r\n\r\n")
        self.assertEqual((found[b"host"], found[b"x-forwarded-host"]), (b"b", b"b"))
        found = self.fields(b"GET http://b/ HTTP/1.0\r\nHost: c\r\n\r\n")
        self.assertEqual((found[b"host"], found[b"x-forwarded-host"]), (b"b", b"b"))
        found = self.fields(b"GET / HTTP/1.0\r\n\r\n", routes=[cfg.RouteConfig(set_host="inner")])
        self.assertEqual((found[b"host"], found.get(b"x-forwarded-host")), (b"inner", None))


class HTTP2HopByHopTests(SecureCase):
    """The same for HTTP/2."""

    def test_te(self) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        for te, expected in (((b"te", b"trailers"), b"trailers"), ((b"x", b"y"), None)):
            client.ask(fields=[te])
            fields = request_head(service).fields
            self.assertEqual((fields.get(b"te"), fields.get(b"connection")), (expected, expected and b"TE"))
            rig.exchange(service, OK)


class AnnouncedTests(RigCase):
    """A body that is announced to be too large."""

    def test_chunks(self) -> None:
        """413 when a chunk says so, before it comes, and with what came before it."""
        start = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        for buffering in (True, False):
            routes = [cfg.RouteConfig(body_limit=10, buffering=buffering)]
            for body in (b"b\r\n", b"5\r\nhello\r\n6\r\n", b"ffffffffff;a=b\r\n"):
                rig = self.make_rig(routes=routes)
                rig.slot()
                client = rig.client(start + body)
                self.assertEqual(statuses(client.take()), [413], body)
            rig = self.make_rig(routes=routes)
            service = rig.slot()
            client = rig.client(start + b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")
            rig.exchange(service, OK)
            self.assertEqual(statuses(client.take()), [200])
