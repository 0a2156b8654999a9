"""Connections that go on, or do not: keep-alive, pipelining, HTTP/1.0, half-closes (RFC 9112 section 9)."""

from __future__ import annotations

import threading

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import talk
from tests.e2e.played import PlayedService, ProxyCase, Recorder, get, post
from tests.e2e.processes import Xacceptor, Xproxy
from tests.e2e.services import respond
from tests.e2e.wire import Message, Wire


def echo(request: Message) -> bytes:
    """Say what was asked."""
    return respond(f"{request.method} {request.target}".encode())


class PersistenceTests(ProxyCase):
    """One proxy, one slot, a service that says what it was asked."""

    def setUp(self) -> None:
        self.start()
        self.recorder = Recorder(echo)
        self.service: PlayedService = self.serve(self.recorder)

    def test_one_connection_each(self) -> None:
        """Many requests of one client on one connection, and all of them on one slot."""
        client = self.connect()
        for number in range(20):
            client.send(get(f"/{number}"))
            response = client.response()
            self.assertEqual((200, f"GET /{number}".encode()), (response.status, response.body))
            self.assertNotIn("connection", response.headers)
        self.assertEqual(1, self.service.dialled)
        self.assertEqual(1, self.proxy.status()["connections"]["client"])

    def test_pipelined(self) -> None:
        """Requests sent in one go, with and without bodies, are answered in order, one at a time."""
        client = self.connect()
        requests = [get(f"/{n}") if n % 3 else post(b"b" * n, target=f"/{n}") for n in range(60)]
        client.send(b"".join(requests))
        answers = [client.response().body for _ in requests]
        self.assertEqual([b"%b /%d" % (b"GET" if n % 3 else b"POST", n) for n in range(60)], answers)
        self.assertEqual([b"b" * n for n in range(0, 60, 3)], [r.body for r in self.recorder.seen if r.method == "POST"])

    def test_pipelined_byte_by_byte(self) -> None:
        """How the bytes arrive makes no difference."""
        client = self.connect()
        for byte in get("/1") + post(b"body", target="/2") + get("/3"):
            client.send(bytes((byte,)))
        self.assertEqual([b"GET /1", b"POST /2", b"GET /3"], [client.response().body for _ in range(3)])

    def test_far_ahead(self) -> None:
        """A client may send any number of requests before it reads an answer; we read them as we can."""
        client = self.connect()
        padding = "X-Padding: " + "p" * 1000
        count = 300
        client.send(b"".join(get(f"/{n}", padding) for n in range(count)))
        self.assertEqual([b"GET /%d" % n for n in range(count)], [client.response().body for _ in range(count)])

    def test_close_ends_a_pipeline(self) -> None:
        """What follows a request with ``Connection: close`` is not looked at (RFC 9112 section 9.6)."""
        client = self.connect()
        client.send(get("/1") + get("/2", "Connection: close") + get("/3"))
        self.assertEqual(b"GET /1", client.response().body)
        last = client.response()
        self.assertEqual((b"GET /2", "close"), (last.body, last.headers["connection"]))
        self.assertEqual(b"", client.rest())
        self.assertEqual(["/1", "/2"], self.recorder.targets)

    def test_http_1_0(self) -> None:
        """HTTP/1.0 ends after one answer unless it asks for more, and is told which it is (RFC 9112 section 9.3)."""
        client = self.connect()
        client.send(get("/1", "Connection: keep-alive", version="1.0"))
        first = client.response()
        self.assertEqual((b"GET /1", "keep-alive"), (first.body, first.headers["connection"]))
        client.send(get("/2", version="1.0"))
        second = client.response()
        self.assertEqual((b"GET /2", "close"), (second.body, second.headers["connection"]))
        self.assertEqual(b"", client.rest())
        self.assertTrue(first.start.startswith("HTTP/1.1 "), "RFC 9110 section 2.5: our own version, not the client's")

    def test_http_1_0_without_host(self) -> None:
        """Host came with HTTP/1.1: a service gets the address at which the request came in."""
        self.assertEqual(b"GET /old", self.ask(b"GET /old HTTP/1.0\r\n\r\n").body)
        self.assertEqual("{}:{}".format(*self.proxy.http), self.recorder.last.headers["host"])

    def test_connection_tokens(self) -> None:
        """What Connection names, and every other hop-by-hop field, ends here; on both sides (RFC 9110 section 7.6.1).

        But for TE: trailers, which is said anew.
        """
        answer = respond(
            b"ok", "200 OK", "Connection: x-inner, keep-alive", "X-Inner: 1", "Keep-Alive: timeout=5", "X-Outer: 2"
        )
        self.recorder.answer = answer
        hop = ["Connection: x-mine, TE", "X-Mine: 1", "TE: trailers", "Keep-Alive: 300", "Proxy-Connection: keep-alive"]
        client = self.connect()
        client.send(get("/", *hop, "X-Theirs: 2"))
        response = client.response()
        self.assertEqual("2", response.headers["x-outer"])
        self.assertFalse({"x-inner", "keep-alive", "connection"} & set(response.headers))
        received = self.recorder.last.headers
        self.assertEqual("2", received["x-theirs"])
        self.assertFalse({"x-mine", "keep-alive", "proxy-connection"} & set(received))
        self.assertEqual(("TE", "trailers"), (received["connection"], received["te"]))  # Trailers go on to the client.

    def test_half_close(self) -> None:
        """A client that ends its side after its request gets the answer of the slot that works on it."""
        for version in ("1.0", "1.1"):
            client = self.connect()
            client.send(get("/half", version=version))
            client.end_sending()
            response = client.response()
            self.assertEqual((b"GET /half", "close"), (response.body, response.headers["connection"]))
            self.assertEqual(b"", client.rest())

    def test_half_close_after_a_pipeline(self) -> None:
        """All that was sent before the end is answered."""
        client = self.connect()
        client.send(get("/1") + get("/2") + post(b"three", target="/3"))
        client.end_sending()
        self.assertEqual([b"GET /1", b"GET /2", b"POST /3"], [client.response().body for _ in range(3)])
        self.assertEqual(b"", client.rest())

    def test_service_closes(self) -> None:
        """A service that ends its slot after an answer does not end the client's connection."""
        self.recorder.answer = respond(b"bye", "200 OK", "Connection: close")
        client = self.connect()
        for _ in range(3):
            client.send(get())
            response = client.response()
            self.assertEqual((200, b"bye"), (response.status, response.body))
            self.assertNotIn("connection", response.headers)
        self.proxy.has(slots=1)
        self.assertGreaterEqual(self.service.dialled, 3)


class FetchingTests(SynchronousTestCase):
    """A proxy that has to ask its acceptor for slots first."""

    def test_half_close(self) -> None:
        """It takes a moment, in which a client that has ended its side has not left."""
        acceptor = Xacceptor(self)
        acceptor.said("handoff at")
        proxy = Xproxy(self, "--acceptor", acceptor.handoff)
        acceptor.ready()
        proxy.ready()
        PlayedService(self, acceptor.slots, Recorder())
        acceptor.has(slots=1)
        self.assertTrue(talk(proxy.http, get(version="1.0"), half_close=True).startswith(b"HTTP/1.1 200 "))


class ClosingTests(ProxyCase):
    """Slots that end before, with or after an answer."""

    def test_response_ended_by_close(self) -> None:
        """It becomes chunked for HTTP/1.1, whose connection goes on, and ends the connection of HTTP/1.0."""

        def play(wire: Wire) -> None:
            wire.request()
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nsome ")
            wire.send(b"more")
            wire.close()

        self.start()
        self.serve(play)
        client = self.connect()
        for _ in range(2):
            client.send(get())
            response = client.response()
            self.assertEqual((b"some more", "chunked"), (response.body, response.headers["transfer-encoding"]))
        old = self.ask(get(version="1.0"))
        self.assertEqual((b"some more", "close"), (old.body, old.headers["connection"]))
        self.assertNotIn("transfer-encoding", old.headers)

    def test_response_of_http_1_0(self) -> None:
        """A service may speak HTTP/1.0: the slot ends with each answer, unless both agreed otherwise."""

        def play(wire: Wire) -> None:
            wire.request()
            wire.send(b"HTTP/1.0 200 OK\r\n\r\nold")
            wire.close()

        self.start()
        self.serve(play)
        response = self.ask(get())
        self.assertEqual((b"old", "1.0 xproxy"), (response.body, response.headers["via"]))
        self.assertTrue(response.start.startswith("HTTP/1.1 200"))

    def test_unasked_bytes_on_an_idle_slot(self) -> None:
        """What a service sends without being asked closes its slot; nobody gets it for an answer."""

        sent = threading.Semaphore(0)
        answers = iter([respond(b"own"), b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"] * 5)

        def play(wire: Wire) -> None:
            wire.request()
            wire.send(next(answers))
            answered.acquire()
            wire.send(next(answers))
            sent.release()

        answered = threading.Semaphore(0)
        self.start()
        service = self.serve(play)
        for number in range(1, 6):
            self.assertEqual(b"own", self.ask(get()).body)
            answered.release()
            sent.acquire()
            service.wait_dialled(number + 1)
