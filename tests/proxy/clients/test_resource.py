"""The ``twisted.web`` resource: the same exchange, for sites of one's own."""

from __future__ import annotations

from typing import Any, Tuple

from twisted.internet.address import IPv4Address
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.world.descriptors import make_pair
from tests.world.peers import Peer
from tests.world.rig import GET, OK, Rig, RigCase, post, request_head, responses, statuses
from tests.world.sockets import KERNEL
from xproxy import config as cfg
from xproxy.proxy.clients.resource import SlotProxyResource

CONTENT = b"".join(b"%07d\n" % number for number in range(100_000))
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Own(Resource):
    """Something else on the site."""

    def render_GET(self, request: Any) -> bytes:
        return b"our own"


class Web:
    """A site around the resource, in the loop of a rig."""

    def __init__(self, rig: Rig, resource: Resource) -> None:
        self.rig = rig
        self.site = Site(resource, reactor=rig.reactor)

    def client(self, data: bytes = b"", capacity: int = 212_992) -> Peer:
        """A client of the site."""
        address = IPv4Address("TCP", "192.0.2.1", 50000)
        near, far = make_pair(self.rig.kind, capacity)
        peer = Peer(far)
        self.rig.reactor.peers.append(peer)
        channel: Any = self.site.buildProtocol(address)
        self.transport = self.rig.reactor.connect(near, channel, address)
        if data:
            peer.send(data)
        self.rig.settle()
        return peer


class ResourceMixin:
    """The tests that hold over both kinds of sockets."""

    def web(self: Any, **parts: Any) -> Tuple[Rig, Web]:
        """A rig, and a site whose root is the resource."""
        rig = self.make_rig(**parts)
        return rig, Web(rig, SlotProxyResource(rig.gateway))

    def test_get(self: Any) -> None:
        """There and back, with the marks of a proxy on both."""
        rig, web = self.web()
        service = rig.slot()
        client = web.client(b"GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nX-Own: 1\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
        head = request_head(service)
        self.assertEqual((head.method, head.target, head.host), (b"GET", b"/a?b=c", b"example.com"))
        self.assertEqual(head.fields.get(b"x-own"), b"1")
        self.assertEqual(head.fields.get(b"x-forwarded-for"), b"192.0.2.1")
        self.assertEqual(head.fields.get(b"via"), b"1.1 xproxy")
        self.assertEqual(head.fields.content_length, -1)
        rig.exchange(service, b"HTTP/1.1 202 Fine\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 5\r\n\r\nhello")
        data = client.take()
        self.assertTrue(data.startswith(b"HTTP/1.1 202 Fine\r\n"))
        self.assertEqual(data.lower().count(b"\r\nset-cookie: "), 2)
        _, fields, content = responses(data)[0]
        self.assertEqual((content, fields[b"content-length"], fields[b"via"]), (b"hello", b"5", b"1.1 xproxy"))
        self.assertNotIn(b"content-type", fields)
        self.assertNotIn(b"server", fields)
        self.assertEqual(rig.pool.counts.codes, {202: 1})
        self.assert_at_rest(rig)

    def test_keep_alive(self: Any) -> None:
        """On both sides."""
        rig, web = self.web()
        service = rig.slot()
        client = web.client()
        for _ in range(3):
            client.send(GET)
            rig.settle()
            rig.exchange(service, OK)
            self.assertEqual(statuses(client.take()), [200])
        self.assertFalse(client.over)

    def test_post(self: Any) -> None:
        """Small and large bodies, with a length or in chunks, whole at the service."""
        for body, memory in ((b"hello", 10_000), (b"", 10_000), (CONTENT, 10_000), (CONTENT, 1_000_000)):
            rig, web = self.web(limits={"request_memory": memory})
            service = rig.slot()
            chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            client = web.client(post(body) + chunked + chunk + b"0\r\n\r\n")
            for _ in range(2):
                request = rig.exchange(service, OK)
                self.assertTrue(request.endswith(b"\r\n\r\n" + body))
                if body or b"Content-Length" in request:
                    self.assertEqual(request_head(request).fields.content_length, len(body))
            self.assertEqual(statuses(client.take()), [200, 200])
            self.assert_at_rest(rig)

    def test_no_content(self: Any) -> None:
        """HEAD, 204 and 304."""
        head = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
        for request, response, length in (
            (head, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"1000"),
            (GET, b"HTTP/1.1 204 No Content\r\n\r\n", None),
            (GET, b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n', None),
            (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"0"),
        ):
            rig, web = self.web()
            service = rig.slot()
            client = web.client(request)
            rig.exchange(service, response)
            method = request.partition(b" ")[0]
            (found,) = responses(client.take(), method)
            self.assertEqual((found[2], found[1].get(b"content-length")), (b"", length), response)
            self.assertNotIn(b"transfer-encoding", found[1])
            client.send(GET)
            rig.settle()
            rig.exchange(service, OK)
            self.assertEqual(statuses(client.take()), [200])

    def test_long_response(self: Any) -> None:
        """In either framing, to either version."""
        for request in (GET, b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"):
            for response, ends in (
                (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT) + CONTENT, False),
                (CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(CONTENT), CONTENT), False),
                (b"HTTP/1.1 200 OK\r\n\r\n" + CONTENT, True),
            ):
                rig, web = self.web()
                service = rig.slot()
                client = web.client(request)
                rig.exchange(service, response)
                if ends:
                    service.end()
                    rig.settle()
                self.assertEqual(responses(client.take())[0][2], CONTENT)
                self.assert_at_rest(rig)

    def test_slow_client(self: Any) -> None:
        """The service is read no faster than the client reads."""
        rig, web = self.web()
        service = rig.slot()
        client = web.client(GET, capacity=4608)
        client.reading = False
        content = CONTENT * 5
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
        (slot,) = rig.pool.slots
        self.assertNotIn(slot.transport, rig.reactor.readers)
        client.reading = True
        rig.settle()
        self.assertEqual(responses(client.take())[0][2], content)
        self.assert_at_rest(rig)

    def test_interim(self: Any) -> None:
        """Swallowed: twisted.web has none."""
        rig, web = self.web()
        service = rig.slot()
        client = web.client(GET)
        rig.exchange(service, b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        self.assertEqual(statuses(client.take()), [200])

    def test_no_upgrade(self: Any) -> None:
        """Not passed on."""
        rig, web = self.web()
        service = rig.slot()
        client = web.client(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertEqual(request_head(service).upgrade, b"")
        rig.exchange(service, b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertEqual(statuses(client.take()), [502])

    def test_host_missing(self: Any) -> None:
        """HTTP/1.0 needs none; the service is told where the request came in, as by the front."""
        rig, web = self.web()
        service = rig.slot()
        client = web.client(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual(request_head(service).host, b"127.0.0.1:8080")
        self.assertEqual(request_head(service).fields.get(b"via"), b"1.0 xproxy")
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take()), [200])

    def test_refused(self: Any) -> None:
        """What the front refuses is refused here too."""
        for request, expected in (
            (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            (b"GET /a|b HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            (b"GET /a\x80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\n", 400),
            (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
        ):
            rig, web = self.web()
            service = rig.slot()
            client = web.client(request)
            if service.received:
                rig.exchange(service, OK)
            self.assertEqual(statuses(client.take()), [expected], request)

    def test_errors(self: Any) -> None:
        """In the form that the client reads; the connection goes on."""
        rig, web = self.web(limits={"max_attempts": 1}, pool={"queue_timeout": 5.0})
        client = web.client(GET.replace(b"\r\n\r\n", b"\r\nAccept: application/json\r\n\r\n"))
        rig.pass_time(5.5)
        status, fields, content = responses(client.take())[0]
        self.assertEqual((status, fields[b"content-type"], fields[b"retry-after"]), (503, b"application/json", b"1"))
        self.assertIn(b"queue-timeout", content)
        client.send(GET)
        rig.settle()
        service = rig.slot()
        service.close()
        rig.settle()
        self.assertEqual(statuses(client.take()), [502])
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        rig.pass_time(5.5)
        self.assertEqual(statuses(client.take(), b"HEAD"), [503])
        self.assertFalse(client.over)
        self.assertEqual(rig.pool.counts.codes, {503: 2, 502: 1})

    def test_body_limit(self: Any) -> None:
        """413."""
        rig, web = self.web(limits={"body": 4})
        service = rig.slot()
        self.assertEqual(statuses(web.client(post(b"12345")).take()), [413])
        client = web.client(post(b"1234"))
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take()), [200])

    def test_cut_off(self: Any) -> None:
        """The client sees that something is missing."""
        for head in (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", CHUNKED + b"a\r\n"):
            rig, web = self.web()
            service = rig.slot()
            client = web.client(GET)
            rig.exchange(service, head + b"01234")
            service.close()
            rig.settle()
            self.assertTrue(client.over)
            self.assertRaises(AssertionError, responses, client.take())
            self.assert_at_rest(rig)

    def test_client_leaves_the_line(self: Any) -> None:
        """Nobody is served for nobody."""
        rig, web = self.web()
        client = web.client(GET)
        self.assertEqual(len(rig.pool.line), 1)
        client.close()
        rig.settle()
        self.assertEqual(len(rig.pool.line), 0)
        self.assert_at_rest(rig)

    def test_client_leaves_its_exchange(self: Any) -> None:
        """The response is thrown away, and the slot stays good."""
        for sent in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234"):
            rig, web = self.web()
            file = rig.log_to()
            service = rig.slot()
            client = web.client(GET)
            rig.exchange(service, sent)
            client.close()
            rig.settle()
            rig.exchange(service, b"56789" if sent else OK)
            self.assertFalse(service.over)
            self.assertEqual([line["status"] for line in rig.logged(file)], [200 if sent else 499])
            self.assert_at_rest(rig)

    def test_routes(self: Any) -> None:
        """The gateway's, or one pool for everything."""
        routes = [
            cfg.RouteConfig(path="/api", strip_prefix="/api", set_host="inner.test"),
            cfg.RouteConfig(path="/old", redirect=cfg.RedirectConfig("https://{host}{target}", 301)),
            cfg.RouteConfig(path="/fixed", respond=cfg.RespondConfig(200, b"fixed")),
            cfg.RouteConfig(path="/none", respond=cfg.RespondConfig(204)),
        ]
        rig, web = self.web(routes=routes, pools=["other"])
        service = rig.slot()
        request = b"GET %s HTTP/1.1\r\nHost: example.com\r\n\r\n"
        client = web.client(b"".join(request % path for path in (b"/api/x", b"/old/y", b"/fixed", b"/none", b"/nowhere")))
        head = request_head(rig.exchange(service, OK))
        self.assertEqual((head.target, head.host), (b"/x", b"inner.test"))
        found = responses(client.take())
        self.assertEqual([status for status, _, _ in found], [200, 301, 200, 204, 404])
        self.assertEqual((found[1][1][b"location"], found[2][2]), (b"https://example.com/old/y", b"fixed"))

        other = rig.slot("other")
        everything = Web(rig, SlotProxyResource(rig.gateway, "other")).client(request % b"/nowhere")
        self.assertEqual(request_head(rig.exchange(other, OK)).target, b"/nowhere")
        self.assertEqual(statuses(everything.take()), [200])

    def test_child(self: Any) -> None:
        """Below a root of one's own, it gets everything below its name, with the whole path."""
        rig = self.make_rig()
        root = Resource()
        root.putChild(b"app", SlotProxyResource(rig.gateway))
        root.putChild(b"own", Own())
        service = rig.slot()
        client = Web(rig, root).client(b"GET /app/a/b HTTP/1.1\r\nHost: a\r\n\r\nGET /own HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(request_head(rig.exchange(service, OK)).target, b"/app/a/b")
        self.assertEqual([content for _, _, content in responses(client.take())], [b"ok", b"our own"])

    def test_stop(self: Any) -> None:
        """Whoever waits or is served when the proxy stops is told."""
        rig, web = self.web()
        rig.slot()
        clients = [web.client(GET), web.client(GET)]
        rig.proxy.stopService()
        rig.settle()
        self.assertEqual([statuses(client.take()) for client in clients], [[503], [503]])
        self.assertEqual(statuses(web.client(GET).take()), [503])


class MemoryResourceTests(ResourceMixin, RigCase):
    """Over memory."""

    def test_unknown_pool(self) -> None:
        """Found out when it is made."""
        rig = self.make_rig()
        self.assertRaises(KeyError, SlotProxyResource, rig.gateway, "unknown")


class KernelResourceTests(ResourceMixin, RigCase):
    """Over real socket pairs."""

    kind = KERNEL
