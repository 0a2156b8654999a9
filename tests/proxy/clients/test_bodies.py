"""Bodies on their way: framing, limits, trailers, kept or streamed, and every way to cut them."""

from __future__ import annotations

import errno
from typing import Any, Iterator, List
from unittest import mock

from tests.doubles.logged import Logged
from tests.world.peers import Peer
from tests.world.rig import GET, OK, RigCase, post, request_head, responses, statuses, unlinked_files
from tests.world.sockets import KERNEL
from xproxy import config as cfg
from xproxy.net.bodies.blocks import BLOCK_BYTES
from xproxy.net.sweep import NEVER
from xproxy.proxy.clients.states import State

CHUNKED = b"POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAMED = [cfg.RouteConfig(buffering=False)]


def splits(data: bytes) -> Iterator[List[bytes]]:
    """Whole, byte by byte, and every way to cut it in two."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]


def content_of(request: bytes) -> bytes:
    """The content of a request that a service received."""
    head, _, rest = request.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        return responses(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)[0][2]
    return rest


class BodyMixin:
    """The tests that hold over both kinds of sockets."""

    def setUp(self: Any) -> None:
        self.files_before = unlinked_files()

    def test_every_split_of_a_request(self: Any) -> None:
        """However a request arrives, kept or streamed, the service gets the same, and the next request is the next."""
        for routes in ((cfg.RouteConfig(),), STREAMED):
            rig = self.make_rig(routes=routes)
            service = rig.slot()
            client = rig.client()
            for request in (
                post(b"hello"),
                CHUNKED + b"2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
                CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
            ):
                for pieces in splits(request):
                    for piece in pieces:
                        client.send(piece)
                        rig.settle()
                    got = rig.exchange(service, OK)
                    self.assertEqual(content_of(got), b"hello", pieces)
                    self.assertEqual(b"X-Sum: 1\r\n" in got, b"X-Sum" in request)
                    self.assertEqual(statuses(client.take()), [200])
            self.assertFalse(service.over)
            self.assert_at_rest(rig)

    def test_kept_before_it_waits(self: Any) -> None:
        """A slow upload costs no slot, and its arrival is when it is whole."""
        rig = self.make_rig()
        service = rig.slot()
        request = post(b"0123456789")
        client = rig.client(request[:-5])
        self.assertEqual((service.received, rig.pool.counts.in_flight), (b"", 0))
        self.assertIs(rig.connections[0].state, State.BODY)
        rig.pass_time(20.0)
        client.send(request[-5:])
        rig.settle()
        self.assertTrue(rig.exchange(service, OK).endswith(b"0123456789"))
        self.assertEqual(rig.pool.counts.served_waits.sum, 0.0)
        self.assertEqual(statuses(client.take()), [200])

    def test_kept_chunks_get_a_length(self: Any) -> None:
        """A body that is known as a whole is sent with its length."""
        rig = self.make_rig()
        service = rig.slot()
        rig.client(CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")
        head = request_head(service)
        self.assertEqual((head.fields.content_length, head.fields.chunked), (5, False))

    def test_trailers_of_a_kept_request(self: Any) -> None:
        """They need the chunked coding; those that could be taken for header fields do not go on."""
        for size in (0, 5, 200_000):
            rig = self.make_rig(limits={"request_memory": 1000})
            service = rig.slot()
            chunk = b"%x\r\n%b\r\n" % (size, b"x" * size) if size else b""
            client = rig.client(CHUNKED + chunk + b"0\r\nX-Sum: 1\r\nContent-Length: 9\r\nHost: evil\r\n\r\n")
            request = rig.exchange(service, OK)
            self.assertTrue(request_head(request).fields.chunked)
            self.assertTrue(request.endswith(b"0\r\nX-Sum: 1\r\n\r\n"))
            self.assertEqual(content_of(request), b"x" * size)
            self.assertEqual(statuses(client.take()), [200])

    def test_long_body_goes_to_a_file(self: Any) -> None:
        """And comes out whole."""
        body = b"".join(b"%07d\n" % number for number in range(40_000))
        for request in (post(body), CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)):
            rig = self.make_rig(limits={"request_memory": 1000, "bodies_memory": 0})
            service = rig.slot()
            client = rig.client()
            for at in range(0, len(request), 50_000):
                client.send(request[at : at + 50_000])
                rig.settle()
            self.assertEqual(content_of(rig.exchange(service, OK)), body)
            self.assertEqual(statuses(client.take()), [200])

    def test_long_bodies_in_shared_memory(self: Any) -> None:
        """Received there and sent from there, however they come; what follows a body is the next request's."""
        body = b"".join(b"%07d\n" % number for number in range(150_000))
        request = post(body)
        for cut in (len(request) - len(body), 1000, 100_000, 1_000_000, len(request)):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(request[:cut])
            blocks = rig.gateway.blocks
            if cut == 1_000_000:
                self.assertEqual(blocks.free, 128 - 4)
            client.send(request[cut:] + request + GET)
            rig.settle()
            for _ in range(2):
                got = rig.exchange(service, OK)
                self.assertEqual(request_head(got).fields.content_length, len(body))
                self.assertEqual(content_of(got), body)
            self.assertTrue(rig.exchange(service, OK).startswith(b"GET "))
            self.assertEqual(statuses(client.take()), [200, 200, 200])
            self.assertEqual(unlinked_files(), self.files_before)
            self.assert_at_rest(rig)

    def test_long_bodies_that_find_no_shared_memory(self: Any) -> None:
        """The last one is too much: it goes to a file, past what its own memory and its share of the blocks hold."""
        body = b"0123456789abcdef" * 100_000
        request = post(body)
        rig = self.make_rig(limits={"bodies_memory": 5 * BLOCK_BYTES})
        clients = [rig.client(request[:-1]) for _ in range(6)]
        self.assertEqual(rig.gateway.blocks.free, 0)
        self.assertEqual(unlinked_files(), self.files_before + 6)
        self.assertEqual(rig.gateway.counts.spools["files"], 6)
        service = rig.slot(capacity=4608)
        for client in clients:
            client.send(b"f")
            rig.settle()
            self.assertEqual(content_of(rig.exchange(service, OK)), body)
            self.assertEqual(statuses(client.take()), [200])
        self.assertEqual(unlinked_files(), self.files_before)
        self.assert_at_rest(rig)

    def test_long_body_is_sent_again(self: Any) -> None:
        """From its beginning, from wherever it is, to the next slot."""
        body = b"0123456789abcdef" * 100_000
        for bodies_memory in (0, 32 * 1024 * 1024):
            rig = self.make_rig(limits={"bodies_memory": bodies_memory})
            first, second = rig.slot(capacity=4608), rig.slot(capacity=4608)
            first.reading = second.reading = False
            client = rig.client(post(body, method=b"PUT"))
            busy, other = (first, second) if first.socket.recv(1) else (second, first)
            busy.close()
            other.reading = True
            rig.settle()
            self.assertEqual(content_of(rig.exchange(other, OK)), body)
            self.assertEqual(statuses(client.take()), [200])
            self.assert_at_rest(rig)

    def test_long_body_is_not_finished(self: Any) -> None:
        """The client leaves, by its end or a reset, or is silent: nothing is left of it, and no slot was asked for."""
        part = post(bytes(1_000_000))[:500_000]
        for bodies_memory in (0, 32 * 1024 * 1024):
            for leave in (Peer.end, Peer.reset, None):
                rig = self.make_rig(limits={"bodies_memory": bodies_memory, "body_rate": 0}, timeouts={"body": 5.0})
                service = rig.slot()
                client = rig.client(part)
                for _ in range(3):
                    rig.pass_time(4.0)
                    client.send(b"x")
                    rig.settle()
                self.assertIs(rig.connections[0].state, State.BODY)
                if leave is None:
                    rig.pass_time(5.5)
                    self.assertEqual(statuses(client.take()), [408])
                    client.send(b"x" * 200_000)  # To nobody.
                    rig.pass_time(6.0)
                else:
                    leave(client)
                    rig.settle()
                self.assertEqual(rig.proxy.front.clients, {})
                self.assertEqual(service.received, b"")
                self.assertEqual(unlinked_files(), self.files_before)
                self.assert_at_rest(rig)

    def test_body_of_no_bytes(self: Any) -> None:
        """A length of 0 goes on as one, and needs no waiting."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(post(b"") + CHUNKED + b"0\r\n\r\n")
        self.assertEqual(request_head(rig.exchange(service, OK)).fields.content_length, 0)
        self.assertEqual(request_head(rig.exchange(service, OK)).fields.content_length, 0)
        self.assertEqual(statuses(client.take()), [200, 200])

    def test_limit(self: Any) -> None:
        """413 as soon as it is known; the limit itself is allowed; a route may have its own."""
        for request, expected in (
            (post(b"12345"), 200),
            (post(b"123456"), 413),
            (post(b"123456")[:-6], 413),
            (CHUNKED + b"5\r\n12345\r\n0\r\n\r\n", 200),
            (CHUNKED + b"5\r\n12345\r\n1\r\n6\r\n", 413),
            (CHUNKED + b"6\r\n123456", 413),
        ):
            for routes in ((cfg.RouteConfig(body_limit=5),), (cfg.RouteConfig(body_limit=5, buffering=False),)):
                rig = self.make_rig(routes=routes)
                service = rig.slot()
                client = rig.client(request)
                if expected == 200:
                    rig.exchange(service, OK)
                status, fields, _ = responses(client.take())[0]
                self.assertEqual(status, expected, request)
                if expected == 413:
                    self.assertEqual(fields[b"connection"], b"close")
                    self.assertNotIn(b"123456", service.received)
                    self.assertTrue(service.over or not service.received)
                self.assert_at_rest(rig)

    def test_limit_of_the_configuration(self: Any) -> None:
        """Where the route has none."""
        rig = self.make_rig(limits={"body": 3})
        rig.slot()
        self.assertEqual(statuses(rig.client(post(b"1234")).take()), [413])

    def test_bad_chunks(self: Any) -> None:
        """400 and the end; what came before it does not reach a service, or not as a whole request."""
        for bad in (
            b"x\r\n",
            b"5\r\nhelloX",
            b"-1\r\n",
            b"0x5\r\nhello\r\n",
            b"5\nhello\n",
            b"1" * 17 + b"\r\n",
            b"0\r\nBad Trailer: x\r\n\r\n",
        ):
            for routes in ((cfg.RouteConfig(),), STREAMED):
                rig = self.make_rig(routes=routes)
                service = rig.slot()
                client = rig.client(CHUNKED + b"2\r\nhe\r\n" + bad + GET)
                self.assertEqual(statuses(client.take()), [400], bad)
                self.assertTrue(client.ended)
                if routes is STREAMED:
                    self.assertFalse(service.received.endswith(b"0\r\n\r\n"))
                    self.assertTrue(service.over)
                else:
                    self.assertEqual(service.received, b"")
                self.assert_at_rest(rig)

    def test_trailers_too_large(self: Any) -> None:
        """431."""
        rig = self.make_rig(limits={"trailers": 100})
        client = rig.client(CHUNKED + b"0\r\nX: " + b"y" * 120 + b"\r\n\r\n")
        self.assertEqual(statuses(client.take()), [431])

    def test_expect_continue(self: Any) -> None:
        """RFC 9110 section 10.1.1: asked for, it comes at once; not in HTTP/1.0, and not when the body is here already."""
        expect = b"Expect: 100-continue"
        for version, sent, told in ((b"1.1", 0, True), (b"1.1", 5, False), (b"1.0", 0, False)):
            for routes in ((cfg.RouteConfig(),), STREAMED):
                rig = self.make_rig(routes=routes)
                service = rig.slot()
                request = post(b"hello", expect).replace(b"HTTP/1.1", b"HTTP/" + version)
                client = rig.client(request[: len(request) - 5 + sent])
                self.assertEqual(client.take(), b"HTTP/1.1 100 Continue\r\n\r\n" if told else b"")
                client.send(request[len(request) - 5 + sent :])
                rig.settle()
                self.assertIsNone(request_head(service).fields.get(b"expect"))
                rig.exchange(service, b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
                self.assertEqual(statuses(client.take()), [200])

    def test_expect_and_refused(self: Any) -> None:
        """The final status instead; nobody has to send the body."""
        rig = self.make_rig(routes=[cfg.RouteConfig(body_limit=3)])
        client = rig.client(post(b"hello", b"Expect: 100-continue")[:-5])
        self.assertEqual(statuses(client.take()), [413])

    def test_body_rate(self: Any) -> None:
        """A byte now and then is no progress; so much in the time of a timeout is, in however large pieces."""
        for routes in ([cfg.RouteConfig()], [cfg.RouteConfig(buffering=False)]):
            for size, late in ((1, True), (8 * 100, False)):
                rig = self.make_rig(routes=routes, timeouts={"body": 10.0}, limits={"body_rate": 90})
                rig.slot()
                request = post(bytes(100_000))
                client = rig.client(request[:-90_000])
                for _ in range(20):
                    rig.pass_time(8.0)
                    client.send(bytes(size))
                    rig.settle()
                self.assertEqual(b" 408 " in client.take(), late)
                self.assertEqual(rig.gateway.counts.timeouts, {"body": 1} if late else {})

    def test_body_timeout(self: Any) -> None:
        """408 when nothing comes for too long; each piece begins the time anew."""
        for routes in ((cfg.RouteConfig(),), STREAMED):
            rig = self.make_rig(routes=routes, timeouts={"body": 5.0}, limits={"body_rate": 0})
            service = rig.slot()
            request = post(b"0123456789")
            client = rig.client(request[:-9])
            for digit in b"123":
                rig.pass_time(4.0)
                client.send(bytes([digit]))
                rig.settle()
            self.assertEqual(client.take(), b"")
            rig.pass_time(5.5)
            self.assertEqual(statuses(client.take()), [408])
            self.assertEqual(service.over, routes is STREAMED)
            self.assert_at_rest(rig)

    def test_disk_full(self: Any) -> None:
        """507, and the connection ends; the log says why."""
        logged = Logged(self)
        rig = self.make_rig(limits={"request_memory": 10, "bodies_memory": 0})
        with mock.patch("xproxy.net.bodies.spool.tempfile.TemporaryFile", side_effect=OSError(errno.ENOSPC, "no space")):
            client = rig.client(post(b"x" * 20_000 + b"y")[:-1])
        self.assertEqual(statuses(client.take()), [507])
        self.assert_at_rest(rig)
        rig = self.make_rig(limits={"bodies_memory": 0})
        with mock.patch("xproxy.net.bodies.spool.os.pwrite", side_effect=OSError(errno.ENOSPC, "no space")):
            client = rig.client(post(b"x" * 200_000)[:-1])
        self.assertEqual(statuses(client.take()), [507])
        self.assertEqual(unlinked_files(), self.files_before)
        self.assert_at_rest(rig)
        self.assertEqual(logged.lines, ["a request from 192.0.2.1 can't be taken: no-space"] * 2)

    def test_client_leaves_in_the_body(self: Any) -> None:
        """Nothing is left of it."""
        for routes in ((cfg.RouteConfig(),), STREAMED):
            rig = self.make_rig(routes=routes, limits={"request_memory": 10})
            service = rig.slot()
            client = rig.client(post(b"x" * 50_000)[:-1])
            client.end()
            rig.settle()
            self.assertEqual(rig.proxy.front.clients, {})
            self.assertEqual(service.over, routes is STREAMED)
            self.assert_at_rest(rig)

    # -- streamed

    def test_streamed_at_once(self: Any) -> None:
        """The slot is held while the body comes, with the framing that the client chose."""
        rig = self.make_rig(routes=STREAMED)
        service = rig.slot()
        client = rig.client(post(b"0123456789")[:-5])
        self.assertTrue(service.received.endswith(b"\r\n\r\n01234"))
        self.assertEqual(request_head(service).fields.content_length, 10)
        self.assertEqual(rig.pool.counts.in_flight, 1)
        client.send(b"56789")
        rig.settle()
        self.assertTrue(rig.exchange(service, OK).endswith(b"0123456789"))
        client.send(CHUNKED + b"2\r\nhe\r\n")
        rig.settle()
        self.assertTrue(service.received.endswith(b"\r\n\r\n2\r\nhe\r\n"))
        self.assertTrue(request_head(service).fields.chunked)
        client.send(b"3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n")
        rig.settle()
        self.assertTrue(rig.exchange(service, OK).endswith(b"2\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n"))
        self.assertEqual(statuses(client.take()), [200, 200])
        self.assert_at_rest(rig)

    def test_streamed_while_it_waits(self: Any) -> None:
        """What comes before there is a slot is kept, up to a limit, and all of it is sent when there is one."""
        body = b"".join(b"%07d\n" % number for number in range(60_000))
        rig = self.make_rig(routes=STREAMED)
        client = rig.client(post(body))
        self.assertNotIn(rig.connections[0].transport, rig.reactor.readers)
        self.assertEqual(rig.connections[0].deadline, NEVER)
        service = rig.slot()
        self.assertTrue(rig.exchange(service, OK).endswith(b"\r\n\r\n" + body))
        self.assertEqual(statuses(client.take()), [200])
        self.assert_at_rest(rig)

    def test_streamed_to_a_slow_service(self: Any) -> None:
        """The client is read at the service's speed."""
        body = b"x" * 3_000_000
        rig = self.make_rig(routes=STREAMED)
        service = rig.slot(capacity=4608)
        service.reading = False
        client = rig.client(post(body))
        (slot,) = rig.pool.slots
        self.assertLess(slot.outlet.waiting, 700_000)
        self.assertNotIn(rig.connections[0].transport, rig.reactor.readers)
        service.reading = True
        rig.settle()
        self.assertTrue(rig.exchange(service, OK).endswith(body))
        self.assertEqual(statuses(client.take()), [200])
        self.assert_at_rest(rig)

    def test_streamed_to_a_service_that_takes_nothing(self: Any) -> None:
        """It is the service that is late: 504."""
        rig = self.make_rig(routes=STREAMED, pool={"response_timeout": 10.0}, timeouts={"body": 5.0})
        service = rig.slot(capacity=4608)
        service.reading = False
        client = rig.client(post(b"x" * 3_000_000))
        rig.pass_time(11.0)
        self.assertEqual(statuses(client.take()), [504])
        self.assert_at_rest(rig)

    def test_streamed_slowly(self: Any) -> None:
        """The service is not late while the client still sends; its time begins with the end of the request."""
        rig = self.make_rig(routes=STREAMED, pool={"response_timeout": 5.0})
        service = rig.slot()
        client = rig.client(post(b"0123456789")[:-10])
        for digit in b"0123456789":
            rig.pass_time(3.0)
            client.send(bytes([digit]))
            rig.settle()
        rig.pass_time(4.0)
        self.assertEqual(client.take(), b"")
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take()), [200])

    def test_client_and_service_late_at_once(self: Any) -> None:
        """One answer, that the client can read."""
        rig = self.make_rig(routes=STREAMED, pool={"response_timeout": 5.0}, timeouts={"body": 5.0})
        rig.slot()
        client = rig.client(post(b"0123456789")[:-5])
        rig.pass_time(6.0)
        self.assertEqual(len(statuses(client.take())), 1)
        self.assertEqual((client.ended, client.was_reset), (True, False))

    def test_streamed_and_answered_early(self: Any) -> None:
        """The answer is sent; what is left of the request can't be told from the next one, so both connections end."""
        for response in (OK, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok", b"HTTP/1.1 200 OK\r\n\r\nok"):
            rig = self.make_rig(routes=STREAMED)
            service = rig.slot()
            client = rig.client(post(b"0123456789")[:-5])
            rig.exchange(service, response)
            if response != OK:
                service.send(b"ok")
                service.end()
                rig.settle()
            found = responses(client.take())
            self.assertEqual((found[0][0], found[0][1][b"connection"]), (200, b"close"))
            self.assertTrue(client.ended)
            self.assertTrue(service.over)
            client.send(b"56789" + GET)
            rig.settle()
            self.assertEqual(client.take(), b"")
            self.assert_at_rest(rig)

    def test_streamed_response_to_a_streamed_request(self: Any) -> None:
        """Both at once."""
        rig = self.make_rig(routes=STREAMED)
        service = rig.slot()
        client = rig.client(CHUNKED)
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for word in (b"ping", b"pong"):
            client.send(b"4\r\n" + word + b"\r\n")
            rig.settle()
            self.assertTrue(service.take().endswith(b"4\r\n" + word + b"\r\n"))
            service.send(b"4\r\n" + word + b"\r\n")
            rig.settle()
            self.assertTrue(client.received.endswith(word + b"\r\n"))
        client.send(b"0\r\n\r\n")
        service.send(b"0\r\n\r\n")
        rig.settle()
        self.assertEqual(responses(client.take())[0][2], b"pingpong")

    def test_refused_while_streaming(self: Any) -> None:
        """No slot in time: 503, while the client is still sending."""
        rig = self.make_rig(routes=STREAMED, pool={"queue_timeout": 5.0})
        client = rig.client(post(b"0123456789")[:-5])
        rig.pass_time(5.5)
        self.assertEqual(statuses(client.take()), [503])
        self.assertEqual((client.ended, client.was_reset), (True, False))
        self.assert_at_rest(rig)

    # -- responses

    def test_chunked_response(self: Any) -> None:
        """With its trailers; whole or in pieces; with a length where it is known and nothing is lost by it."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET * 3)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
        rig.exchange(service, head + b"5;e=1\r\nhello\r\n0\r\n\r\n")
        rig.exchange(service, head + b"5\r\nhello\r\n0\r\nX-T: 1\r\nSet-Cookie: a=b\r\n\r\n")
        rig.exchange(service, head + b"2\r\nhe\r\n")
        rig.exchange(service, b"3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n")
        found = responses(client.take())
        self.assertEqual([content for _, _, content in found], [b"hello"] * 3)
        self.assertEqual([fields.get(b"content-length") for _, fields, _ in found], [b"5", None, None])
        self.assertEqual([fields.get(b"trailer x-t") for _, fields, _ in found], [None, b"1", b"1"])
        self.assertNotIn(b"trailer set-cookie", found[1][1])
        self.assert_at_rest(rig)

    def test_chunked_response_to_http_1_0(self: Any) -> None:
        """RFC 9112 section 7: it knows no chunks: whole with a length, else ended by close."""
        request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(request)
        rig.exchange(service, head + b"5\r\nhello\r\n0\r\n\r\n")
        self.assertEqual((responses(client.take())[0][2], client.over), (b"hello", False))
        for pieces in ((b"2\r\nhe\r\n", b"3\r\nllo\r\n0\r\n\r\n"), (b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", b"")):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(request)
            for piece in (head + pieces[0], pieces[1]):
                rig.exchange(service, piece)
            _, fields, content = responses(client.take())[0]
            self.assertEqual((content, fields[b"connection"], client.ended), (b"hello", b"close", True))
            self.assertNotIn(b"transfer-encoding", fields)
            self.assert_at_rest(rig)

    def test_trailers_of_a_response_too_large(self: Any) -> None:
        """A service's limits are those of the configuration too."""
        rig = self.make_rig(limits={"trailers": 100})
        service = rig.slot()
        client = rig.client(GET)
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * 120 + b"\r\n\r\n")
        self.assertEqual(statuses(client.take()), [502])
        self.assertTrue(service.over)


class MemoryBodyTests(BodyMixin, RigCase):
    """Over memory."""


class KernelBodyTests(BodyMixin, RigCase):
    """Over real socket pairs."""

    kind = KERNEL
