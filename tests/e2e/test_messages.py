"""How bodies and interim responses travel: the chunked coding, trailers, 100-continue, 1xx (RFC 9112 section 6)."""

from __future__ import annotations

import queue
from typing import List

from tests.e2e.played import ProxyCase, Recorder, get, post
from tests.e2e.services import respond
from tests.e2e.wire import Message, Wire


class RequestBodyTests(ProxyCase):
    """Bodies on their way to the service."""

    def setUp(self) -> None:
        self.start()
        self.recorder = Recorder(lambda request: respond(request.body))
        self.serve(self.recorder)

    def test_chunked(self) -> None:
        """A chunked body is read whole, with or without extensions, so the service gets its length."""
        client = self.connect()
        for chunks in (
            b"5\r\nhello\r\n0\r\n\r\n",
            b'2;a=b\r\nhe\r\n0003;c="d;\r e"\r\nllo\r\n000;last\r\n\r\n'.replace(b"\r ", b" "),
        ):
            client.send(get("/", "Transfer-Encoding: chunked", method="POST") + chunks)
            self.assertEqual(b"hello", client.response().body)
            received = self.recorder.last
            self.assertEqual((b"hello", "5"), (received.body, received.headers["content-length"]))
            self.assertNotIn("transfer-encoding", received.headers)

    def test_trailers(self) -> None:
        """Trailers go on in the chunked coding; those that could change what the request means do not (RFC 9110 6.5.1)."""
        trailers = b"X-Checksum: 1\r\nContent-Length: 99\r\nHost: evil\r\nX-Forwarded-For: evil\r\nAuthorization: evil\r\n"
        for body in (b"", b"5\r\nhello\r\n"):
            content = b"hello" if body else b""
            request = get("/", "Transfer-Encoding: chunked", "Trailer: X-Checksum", method="PUT")
            self.assertEqual(content, self.ask(request + body + b"0\r\n" + trailers + b"\r\n").body)
            received = self.recorder.last
            self.assertEqual((content, [("x-checksum", "1")]), (received.body, received.trailers))
            self.assertEqual("X-Checksum", received.headers["trailer"])

    def test_lengths(self) -> None:
        """From nothing to more than fits in memory; a body of no bytes keeps its length."""
        client = self.connect()
        for length in (0, 1, 65535, 65536, 65537, 1_000_000):
            body = bytes(n % 251 for n in range(length % 1000)) + b"x" * (length - length % 1000)
            client.send(post(body))
            self.assertEqual(body, client.response().body)
            self.assertEqual(str(length), self.recorder.last.headers.get("content-length"), length)

    def test_large_with_trailers(self) -> None:
        """A body that went to a file goes on with its trailers too."""
        chunk = b"8000\r\n" + b"y" * 0x8000 + b"\r\n"
        request = get("/", "Transfer-Encoding: chunked", method="POST") + chunk * 20 + b"0\r\nX-Sum: 2\r\n\r\n"
        self.assertEqual(b"y" * (20 * 0x8000), self.ask(request).body)
        self.assertEqual([("x-sum", "2")], self.recorder.last.trailers)

    def test_get_with_a_body(self) -> None:
        """Any method may have one (RFC 9110 section 9.3.1)."""
        self.assertEqual(b"q", self.ask(post(b"q", method="GET")).body)


class ContinueTests(ProxyCase):
    """``Expect: 100-continue`` (RFC 9110 section 10.1.1)."""

    def setUp(self) -> None:
        self.start(more="[limits]\nbody = 1000")
        self.recorder = Recorder()
        self.serve(self.recorder)

    def test_continue(self) -> None:
        """The proxy says it once and reads on; the service is not bothered with it."""
        client = self.connect()
        for _ in range(2):
            client.send(get("/", "Content-Length: 4", "Expect: 100-continue", method="POST"))
            self.assertEqual("HTTP/1.1 100 Continue", client.response().start)
            client.send(b"body")
            self.assertEqual(200, client.response().status)
            self.assertEqual(b"body", self.recorder.last.body)
            self.assertNotIn("expect", self.recorder.last.headers)

    def test_chunked(self) -> None:
        """Without a length as well."""
        client = self.connect()
        client.send(get("/", "Transfer-Encoding: chunked", "Expect: 100-Continue", method="POST"))
        self.assertEqual(100, client.response().status)
        client.send(b"4\r\nbody\r\n0\r\n\r\n")
        self.assertEqual(200, client.response().status)

    def test_body_is_here_already(self) -> None:
        """Who did not wait is not told to go on."""
        client = self.connect()
        client.send(post(b"body", "Expect: 100-continue"))
        self.assertEqual(200, client.response().status)

    def test_too_large(self) -> None:
        """413 before a byte of the body was sent, and the end of the connection."""
        client = self.connect()
        client.send(get("/", "Content-Length: 1001", "Expect: 100-continue", method="POST"))
        response = client.response()
        self.assertEqual((413, "close"), (response.status, response.headers["connection"]))
        self.assertEqual(b"", client.rest())
        self.assertEqual([], self.recorder.seen)

    def test_http_1_0(self) -> None:
        """HTTP/1.0 knows no interim responses."""
        client = self.connect()
        client.send(get("/", "Content-Length: 4", "Expect: 100-continue", method="POST", version="1.0") + b"bo")
        client.send(b"dy")
        self.assertEqual(200, client.response().status)

    def test_something_else(self) -> None:
        """What we know nothing of is passed over, as nginx and HAProxy do; it goes no further."""
        self.assertEqual(200, self.ask(post(b"body", "Expect: miracles")).status)


class ResponseTests(ProxyCase):
    """Responses on their way to the client."""

    def one(self, answer: bytes, request: bytes = get(), method: str = "GET") -> List[Message]:
        """All that one client is sent, interim responses first."""
        self.answers.put(answer)
        client = self.connect()
        client.send(request)
        found = [client.response(method)]
        while found[-1].status < 200:
            found.append(client.response(method))
        client.end_sending()
        self.assertEqual(b"", client.rest(), "nothing follows the final response")
        return found

    def setUp(self) -> None:
        self.answers: queue.Queue[bytes] = queue.Queue()
        self.start()
        self.service = self.serve(Recorder(lambda request: self.answers.get_nowait()))

    def test_chunked(self) -> None:
        """Decoded and coded anew; extensions end here, trailers go on but for those that may not."""
        answer = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 3\r\nContent-Length: 7\r\nSet-Cookie: evil=1\r\n\r\n"
        )
        (response,) = self.one(answer)
        self.assertEqual((b"abcde", [("x-sum", "3")]), (response.body, response.trailers))
        self.assertEqual(("chunked", "X-Sum"), (response.headers["transfer-encoding"], response.headers["trailer"]))
        self.assertNotIn("content-length", response.headers)

    def test_chunked_to_http_1_0(self) -> None:
        """HTTP/1.0 knows no chunks: what is whole gets a length."""
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n"
        (response,) = self.one(answer, get(version="1.0"))
        self.assertEqual(b"abc", response.body)
        self.assertNotIn("transfer-encoding", response.headers)

    def test_interim(self) -> None:
        """1xx are passed on in order, 103 with its fields; 100 is ours alone."""
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
        answer = b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 102 Processing\r\n\r\n" + hints * 2 + respond(b"final")
        found = self.one(answer)
        self.assertEqual([102, 103, 103, 200], [response.status for response in found])
        self.assertEqual("</style.css>; rel=preload", found[1].headers["link"])
        self.assertEqual(b"final", found[-1].body)
        self.assertEqual([200], [response.status for response in self.one(answer, get(version="1.0"))])

    def test_interim_at_once(self) -> None:
        """A hint is worth something only before the answer."""
        got_it: queue.Queue[int] = queue.Queue()

        def play(wire: Wire) -> None:
            wire.request()
            wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            got_it.get(timeout=20)
            wire.send(respond(b"final"))

        self.service.stop()
        self.proxy.has(slots=0)
        self.serve(play)
        client = self.connect()
        client.send(get())
        self.assertEqual(103, client.response().status)
        got_it.put(1)
        self.assertEqual(b"final", client.response().body)

    def test_too_many_interim(self) -> None:
        """A service that never comes to the point is given up."""
        self.assertEqual(502, self.one(b"HTTP/1.1 102 Processing\r\n\r\n" * 50)[-1].status)

    def test_no_body(self) -> None:
        """HEAD, 204 and 304 end with their heads, whatever lengths these have; the slot stays good."""
        head = b'HTTP/1.1 %b\r\nContent-Length: 5000\r\nETag: "x"\r\n\r\n'
        (response,) = self.one(head % b"200 OK", get(method="HEAD"), "HEAD")
        self.assertEqual(("5000", '"x"'), (response.headers["content-length"], response.headers["etag"]))
        (response,) = self.one(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", get(method="HEAD"), "HEAD")
        self.assertEqual(200, response.status)
        (response,) = self.one(head % b"304 Not Modified")
        self.assertEqual((304, '"x"'), (response.status, response.headers["etag"]))
        (response,) = self.one(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.assertEqual(204, response.status)
        self.assertFalse({"content-length", "transfer-encoding"} & set(response.headers))
        (response,) = self.one(b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual("0", response.headers["content-length"])
        self.assertEqual(1, self.service.dialled)

    def test_broken_off(self) -> None:
        """A client sees that something is missing, in whatever coding (RFC 9112 section 8)."""

        def break_off(answer: bytes) -> bytes:
            def play(wire: Wire) -> None:
                wire.request()
                wire.send(answer)
                wire.reset()

            service = self.serve(play)
            client = self.connect()
            client.send(get("/", "Connection: close", method="POST"))
            found = client.rest()
            service.stop()
            self.proxy.has(slots=0)
            return found

        self.service.stop()
        self.proxy.has(slots=0)
        self.assertTrue(break_off(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345").endswith(b"\r\n\r\n12345"))
        chunked = break_off(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n")
        self.assertTrue(chunked.endswith(b"5\r\n12345\r\n"), chunked)
        self.assertNotIn(b"\r\n0\r\n", chunked)
        broken = break_off(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\nzz\r\n")
        self.assertTrue(broken.startswith(b"HTTP/1.1 502 "), broken)
