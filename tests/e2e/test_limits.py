"""Each limit and each timeout, past its bound, with its own status; and what an error looks like."""

from __future__ import annotations

import json
import os
import time
from typing import Optional

from tests.e2e.clients import ask
from tests.e2e.played import ProxyCase, Recorder, get, post, wait_for
from tests.e2e.services import respond
from tests.e2e.wire import Message, Wire

AT_ONCE_S = 5.0
"""Much more than a timeout of this file, much less than its default."""

LIMITS = """
[limits]
request_line = 200
header = 150
head = 500
header_count = 10
trailers = 100
body = 1000
"""

MEBIBYTE = 1024 * 1024


class SizeTests(ProxyCase):
    """What is too large. Just as large is fine."""

    def setUp(self) -> None:
        self.start(more=LIMITS)
        self.recorder = Recorder()
        self.service = self.serve(self.recorder)

    def refused(self, status: int, request: bytes) -> Message:
        """It is answered with this status, the connection ends, and the service knows nothing of it."""
        before = len(self.recorder.seen)
        client = self.connect()
        client.send(request)
        response = client.response()
        self.assertEqual((status, "close"), (response.status, response.headers["connection"]))
        self.assertEqual(b"", client.rest())
        self.assertEqual(before, len(self.recorder.seen))
        return response

    def test_request_line(self) -> None:
        """414 (RFC 9110 section 15.5.15), as soon as it is clear."""
        fits = "/" + "x" * (200 - len("GET / HTTP/1.1\r\n"))
        self.assertEqual(200, self.ask(get(fits)).status)
        self.refused(414, get(fits + "x"))
        self.refused(414, b"GET /" + b"x" * 300)

    def test_headers(self) -> None:
        """431 (RFC 6585 section 5) for one line, for all lines and for their number."""
        line = "X: " + "x" * (150 - len("X: \r\n"))
        self.assertEqual(200, self.ask(get("/", line)).status)
        self.refused(431, get("/", line + "x"))
        self.refused(431, get("/", line, line, line, line))
        self.assertEqual(200, self.ask(get("/", *["A: b"] * 9)).status)
        self.refused(431, get("/", *["A: b"] * 10))
        self.refused(431, get("/", "X: " + "x" * 600)[:-4])

    def test_body(self) -> None:
        """413 (RFC 9110 section 15.5.14), by its length before it is read, in chunks as soon as it is too much."""
        self.assertEqual(200, self.ask(post(b"x" * 1000)).status)
        self.refused(413, get("/", "Content-Length: 1001", method="POST"))
        self.refused(413, get("/", "Content-Length: 999999999999999999", method="POST"))
        chunked = get("/", "Transfer-Encoding: chunked", method="POST")
        self.assertEqual(200, self.ask(chunked + b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n").status)
        self.refused(413, chunked + b"3e9\r\n" + b"x" * 1001)
        self.refused(413, chunked + b"1f4\r\n" + b"x" * 500 + b"\r\n1f5\r\n" + b"x" * 501)

    def test_the_rest_of_a_large_body(self) -> None:
        """A client that goes on sending reads its answer before the connection is reset (RFC 9112 section 9.6)."""
        client = self.connect()
        client.send(get("/", f"Content-Length: {2 * MEBIBYTE}", method="POST"))
        client.send(b"x" * (2 * MEBIBYTE))
        self.assertEqual(413, client.response().status)
        self.assertEqual(b"", client.rest())

    def test_trailers(self) -> None:
        """431, for all of them."""
        body = get("/", "Transfer-Encoding: chunked", method="POST") + b"1\r\nx\r\n0\r\n"
        self.assertEqual(200, self.ask(body + b"A: " + b"x" * 95 + b"\r\n\r\n").status)
        self.refused(431, body + b"A: " + b"x" * 96 + b"\r\n\r\n")
        self.refused(431, body + b"A: " + b"x" * 200)

    def test_responses(self) -> None:
        """A service that exceeds them is answered for with 502, and its slot is closed."""
        many = [f"X-{number}: 1" for number in range(11)]
        for fields in (["X: " + "x" * 200], many):
            dialled = self.service.dialled
            self.recorder.answer = respond(b"", "200 OK", *fields)
            self.assertEqual(502, self.ask(get(method="POST")).status)
            self.service.wait_dialled(dialled + 1)
        self.recorder.answer = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 600
        self.assertEqual(502, self.ask(get(method="POST")).status)


class ConnectionTests(ProxyCase):
    """limits.connections."""

    def test_one_more(self) -> None:
        """It is closed at once, and counted; the others stay."""
        self.start(more="[limits]\nconnections = 3", fresh=True)
        self.serve()
        clients = [self.connect() for _ in range(3)]
        for client in clients:
            client.send(get())
            self.assertEqual(200, client.response().status)
        self.assertEqual(b"", self.connect().rest())
        clients[0].close()
        wait_for(lambda: self.proxy.status()["connections"]["client"] == 2)
        self.assertEqual(200, self.ask(get()).status)


class TimeoutTests(ProxyCase):
    """What takes too long."""

    def begin(self, *timeouts: str, more: str = "") -> None:
        """A proxy with these timeouts, and a service."""
        self.start(more="\n".join(["[timeouts]", *timeouts, more]))
        self.recorder = Recorder()
        self.serve(self.recorder)
        self.began = time.monotonic()

    def count(self, timeout: str) -> float:
        """How many clients were told to have exceeded it."""
        return self.proxy.metric("xproxy_client_timeouts_total", timeout=timeout)

    def ends(self, client: Wire, status: Optional[int]) -> None:
        """The client is answered with this status, or nothing when None, and the connection ends soon."""
        if status is not None:
            response = client.response()
            self.assertEqual((status, "close"), (response.status, response.headers["connection"]))
        self.assertEqual(b"", client.rest())
        self.assertLess(time.monotonic() - self.began, AT_ONCE_S)

    def test_head(self) -> None:
        """408 (RFC 9110 section 15.5.9); nothing where nothing came. That bytes which drip do not help is in ``clients``."""
        self.begin("head = 0.4", "keep_alive = 60.0")
        silent, half = self.connect(), self.connect()
        half.send(get()[:-2])
        self.ends(silent, None)
        self.ends(half, 408)
        self.assertEqual(1, self.count("head"))

    def test_body(self) -> None:
        """408 between two reads. That a slow body which moves is fine is in ``clients.test_bodies``."""
        self.begin("body = 0.4")
        client = self.connect()
        client.send(get("/", "Content-Length: 10", method="POST") + b"12345")
        self.ends(client, 408)
        self.assertEqual(1, self.count("body"))

    def test_keep_alive(self) -> None:
        """Closed without a word after an answer, not before."""
        self.begin("head = 60.0", "keep_alive = 0.4")
        client = self.connect()
        for _ in range(3):
            client.send(get())
            self.assertEqual(200, client.response().status)
        self.ends(client, None)
        self.assertEqual(1, self.count("keep_alive"))

    def test_response(self) -> None:
        """504 when the head does not come, a broken answer when the body stops; the slot is closed either way."""

        def play(wire: Wire) -> None:
            request = wire.request()
            if request.target == "/body":
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
            wire.rest()
            wire.close()

        self.start("response_timeout = 0.4")
        service = self.serve(play)
        self.began = time.monotonic()
        response = self.ask(get())
        self.assertEqual(504, response.status)
        self.assertNotIn("connection", response.headers)
        client = self.connect()
        client.send(get("/body"))
        self.assertTrue(client.rest().endswith(b"\r\n\r\n12345"))
        self.assertLess(time.monotonic() - self.began, AT_ONCE_S)
        wait_for(lambda: service.dialled == 3, "another slot")
        self.at_rest(slots=1)

    def test_write(self) -> None:
        """Who takes nothing of an answer is cut off; the slot was free long before."""
        self.begin("write = 0.6")
        self.recorder.answer = respond(b"x" * (16 * MEBIBYTE))
        client = self.connect(receive_bytes=4096)
        client.send(get())
        self.at_rest(slots=1)
        self.assertEqual(1, self.proxy.status()["connections"]["client"])
        wait_for(lambda: self.proxy.status()["connections"]["client"] == 0, "the end of the connection")
        self.assertLess(time.monotonic() - self.began, AT_ONCE_S)
        self.assertLess(len(client.rest()), 16 * MEBIBYTE)
        self.assertEqual(1, self.count("write"))

    def test_slow_but_steady_reader(self) -> None:
        """Who takes a little all the time is not cut off, even where the kernel has room again only much later."""
        self.begin("write = 0.4")
        self.recorder.answer = respond(b"x" * (8 * MEBIBYTE))
        client = self.connect(receive_bytes=4096)
        client.send(get())
        head = client.head()
        taken = len(client.some())
        while time.monotonic() - self.began < 1.6:  # The time itself is what is tested.
            self.proxy.status()  # A turn of the proxy's loop.
            taken += len(client.connection.recv(1024))
        client.read(int(head.headers["content-length"]) - taken)
        client.send(get("/next"))
        self.assertEqual(200, client.response().status)


PAGES = """
[proxy]
error_pages = "{}"
[[routes]]
path = "/here"
"""


class ErrorPageTests(ProxyCase):
    """Errors come from one place, as the client would have them."""

    def error(self, accept: str, target: str = "/") -> Message:
        """The error that this client gets."""
        return self.ask(get(target, f"Accept: {accept}") if accept else get(target))

    def test_by_accept(self) -> None:
        """HTML, JSON or text."""
        self.start(more='[[routes]]\npath = "/here"')
        browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
        response = self.error(browser)
        self.assertEqual((404, "text/html; charset=utf-8"), (response.status, response.headers["content-type"]))
        self.assertIn(b"<h1>404 Not Found</h1>", response.body)
        response = self.error("application/json")
        self.assertEqual("application/json", response.headers["content-type"])
        self.assertEqual((404, "Not Found"), tuple(json.loads(response.body)[name] for name in ("status", "error")))
        for accept in ("", "*/*", "text/plain"):
            response = self.error(accept)
            self.assertEqual("text/plain; charset=utf-8", response.headers["content-type"])
            self.assertTrue(response.body.startswith(b"404 Not Found"))

    def test_own_pages(self) -> None:
        """From a directory, each in the form that is there."""
        directory = self.mktemp()
        os.makedirs(directory)
        for name, content in (("404.html", "<p>own"), ("404.json", '{"own": 1}'), ("503.txt", "busy")):
            with open(os.path.join(directory, name), "w", encoding="ascii") as file:
                file.write(content)
        self.start("queue_limit = 0", more=PAGES.format(os.path.abspath(directory)))
        self.assertEqual(b"<p>own", self.error("text/html").body)
        self.assertEqual(b'{"own": 1}', self.error("application/json").body)
        response = self.error("text/html", "/here")
        self.assertEqual(
            (503, b"busy", "text/plain; charset=utf-8"), (response.status, response.body, response.headers["content-type"])
        )
        self.assertIn("retry-after", response.headers)
        # What is no request has no Accept that could be believed.
        self.assertEqual(400, self.ask(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nAccept: text/html\r\n\r\n").status)

    def test_counted(self) -> None:
        """By status, for the pool or, where there was none, for the proxy."""
        self.start(more='[[routes]]\npath = "/here"', fresh=True)
        self.error("")
        self.ask(b"\0\r\n\r\n")
        text = ask(self.proxy.admin, "/metrics").body.decode()
        for code in ("404", "400"):
            self.assertRegex(text, rf'xproxy_requests_total{{[^}}]*code="{code}"[^}}]*}} 1')
