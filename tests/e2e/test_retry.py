"""When a request is tried again, and when not: the whole of design rule 7 against slots that die in every way.

Nothing is retried unless it is safe: no response byte was seen, and either the service never read the request, said that it
will not serve it, or the method is idempotent and the body can be sent again.
"""

from __future__ import annotations

import threading
from typing import Callable, Dict, List, Optional

from tests.e2e.clients import PATIENCE_S
from tests.e2e.played import PlayedService, ProxyCase, get, post, wait_for
from tests.e2e.services import respond
from tests.e2e.wire import Message, Wire

CLOSING = respond(b"", "503 Service Unavailable", "Connection: close", "Xproxy-Slot: closing")
"""What a service says on a slot that it will not serve any more."""

MAX_ATTEMPTS = 3


def dies(wire: Wire, request: Message) -> None:
    """Close without a word."""
    wire.close()


def resets(wire: Wire, request: Message) -> None:
    """Reset without a word."""
    wire.reset()


def half_a_head(wire: Wire, request: Message) -> None:
    """Close within the head."""
    wire.send(b"HTTP/1.1 200 OK\r\nContent-")
    wire.close()


def a_hint(wire: Wire, request: Message) -> None:
    """Close after an interim response."""
    wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    wire.close()


def garbage(wire: Wire, request: Message) -> None:
    """Answer what is no HTTP."""
    wire.send(b"220 mail.example.com ESMTP\r\n\r\n")
    wire.close()


def closing(wire: Wire, request: Message) -> None:
    """Say that this slot serves no more."""
    wire.send(CLOSING)
    wire.close()


def busy(wire: Wire, request: Message) -> None:
    """An honest 503."""
    wire.send(respond(b"busy", "503 Service Unavailable", "Retry-After: 7"))


def serves(wire: Wire, request: Message) -> None:
    """Answer."""
    wire.send(respond(request.body or b"served"))


Behaviour = Callable[[Wire, Message], None]

AGAIN = (True, 200)
IDEMPOTENT = get("/idempotent")
PUT = post(b"the body", method="PUT")
POST = post(b"the body")


class RetryCase(ProxyCase):
    """Requests that meet one behaviour after the other."""

    def meet(self, request: bytes, *behaviours: Behaviour) -> Message:
        """Let each attempt meet the next behaviour; the answer. Attempts beyond the last are served."""
        self.attempts: List[Message] = []

        def play(wire: Wire) -> None:
            request = wire.request()
            self.attempts.append(request)
            number = len(self.attempts)
            for _ in range(
                2
            ):  # Turns of the proxy's loop: a slot that ends within the first one was over before, and no attempt.
                self.proxy.status()
            (behaviours[number - 1] if number <= len(behaviours) else serves)(wire, request)

        service = PlayedService(self, self.proxy.slots, play, 2)
        self.proxy.has(slots=2)
        client = self.connect()
        client.send(request)
        response = client.final()
        client.close()
        service.stop()
        self.proxy.has(slots=0, in_flight=0)
        return response

    def retries(self, before: Optional[Dict[str, int]] = None) -> Dict[str, int]:
        """How many there were since ``before``, by reason, where there were any."""
        found = {}
        for reason in ("slot-lost", "slot-closing", "bad-response", "timeout"):
            count = int(self.proxy.metric("xproxy_retries_total", pool="default", reason=reason)) - (before or {}).get(
                reason, 0
            )
            if count:
                found[reason] = count
        return found


class RetryTests(RetryCase):
    """Each cell: what the slot does, and what was asked."""

    def test_table(self) -> None:
        """How often it is sent, and what the client gets."""
        self.start()
        table = (
            (dies, IDEMPOTENT, 2, 200),
            (dies, PUT, 2, 200),
            (dies, POST, 1, 502),
            (resets, IDEMPOTENT, 2, 200),
            (resets, POST, 1, 502),
            (half_a_head, IDEMPOTENT, 1, 502),
            (half_a_head, POST, 1, 502),
            (a_hint, IDEMPOTENT, 1, 502),
            (garbage, IDEMPOTENT, 1, 502),
            (garbage, POST, 1, 502),
            (closing, IDEMPOTENT, 2, 200),
            (closing, POST, 2, 200),
            (busy, IDEMPOTENT, 1, 503),
            (busy, POST, 1, 503),
        )
        before = self.retries()
        wrong = []
        for behaviour, request, sent, status in table:
            response = self.meet(request, behaviour)
            if (len(self.attempts), response.status) != (sent, status):
                wrong.append(f"{behaviour.__name__} {request[:5]!r}: sent {len(self.attempts)} times, {response.status}")
            self.assertEqual(1, len({(attempt.target, attempt.body) for attempt in self.attempts}), "it was sent as it was")
        self.assertEqual([], wrong)
        self.assertEqual({"slot-lost": 3, "slot-closing": 2}, self.retries(before))

    def test_busy_passes_through(self) -> None:
        """A 503 of the service's own is its answer, with all it says, and its slot goes on."""
        self.start()
        response = self.meet(POST, busy)
        self.assertEqual((503, "7", b"busy"), (response.status, response.headers["retry-after"], response.body))

    def test_the_word_alone(self) -> None:
        """Only a 503 can say that a slot is closing, and the client never sees the word."""
        self.start()

        def says_it(wire: Wire, request: Message) -> None:
            wire.send(respond(b"done", "200 OK", "Xproxy-Slot: closing"))

        response = self.meet(POST, says_it)
        self.assertEqual((200, b"done", 1), (response.status, response.body, len(self.attempts)))
        self.assertNotIn("xproxy-slot", response.headers)

    def test_bounded(self) -> None:
        """``max_attempts`` in all; then the last one's word. Slots whose service says that it serves no more do not count."""
        self.start()
        before = self.retries()
        self.assertEqual(502, self.meet(IDEMPOTENT, *[dies] * 10).status)
        self.assertEqual(MAX_ATTEMPTS, len(self.attempts))
        self.assertEqual(200, self.meet(POST, *[closing] * 5).status)
        self.assertEqual(6, len(self.attempts))
        self.assertEqual(502, self.meet(IDEMPOTENT, closing, *[dies] * 10).status)
        self.assertEqual(1 + MAX_ATTEMPTS, len(self.attempts))
        self.assertEqual({"slot-lost": 4, "slot-closing": 6}, self.retries(before))

    def test_configured(self) -> None:
        """``max_attempts = 1``: never again."""
        self.start(more="[limits]\nmax_attempts = 1")
        self.assertEqual(502, self.meet(IDEMPOTENT, dies).status)
        self.assertEqual(1, len(self.attempts))

    def test_silence(self) -> None:
        """No answer in time is not tried again, whatever the method: the service may still be at it."""

        def silent(wire: Wire, request: Message) -> None:
            wire.rest()
            wire.close()

        self.start("response_timeout = 0.3")
        self.assertEqual(504, self.meet(IDEMPOTENT, silent).status)
        self.assertEqual(1, len(self.attempts))

    def test_body_from_a_file(self) -> None:
        """A body that went to a file is sent again from its beginning."""
        self.start()
        body = bytes(range(256)) * 4000
        response = self.meet(post(body, method="PUT"), dies)
        self.assertEqual((200, body, 2), (response.status, response.body, len(self.attempts)))

    def test_chunked_with_trailers(self) -> None:
        """And so is one with trailers."""
        self.start()
        request = get("/", "Transfer-Encoding: chunked", method="PUT") + b"4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n"
        self.assertEqual(b"body", self.meet(request, dies).body)
        self.assertEqual([[("x-sum", "1")]] * 2, [attempt.trailers for attempt in self.attempts])


class UnreadTests(RetryCase):
    """Slots that died while they were idle."""

    def test_not_read(self) -> None:
        """A slot that is closed is never chosen, even for what may not be sent twice."""
        self.start()
        seen = []
        closed = threading.Semaphore(0)

        def once(wire: Wire) -> None:
            request = wire.request()
            seen.append(request.body)
            wire.send(respond())
            wire.close()
            closed.release()

        PlayedService(self, self.proxy.slots, once, 2)
        self.proxy.has(slots=2)
        for number in range(30):
            body = b"%d" % number
            self.assertEqual(200, self.ask(post(body)).status)
            self.assertEqual(body, seen[-1])
            self.assertTrue(closed.acquire(timeout=PATIENCE_S))
        self.assertEqual(30, len(seen))


class StreamedTests(RetryCase):
    """A request that is streamed can't be sent again once some of it is gone."""

    def setUp(self) -> None:
        self.start(more='[[routes]]\nbuffering = "off"')

    def streamed(self, *behaviours: Behaviour) -> Message:
        """A PUT whose body comes after its head was passed on."""
        self.attempts = []

        def play(wire: Wire) -> None:
            request = wire.request()
            self.attempts.append(request)
            (behaviours[len(self.attempts) - 1] if len(self.attempts) <= len(behaviours) else serves)(wire, request)

        PlayedService(self, self.proxy.slots, play, 2)
        self.proxy.has(slots=2)
        client = self.connect()
        client.send(get("/", "Content-Length: 8", method="PUT"))
        self.proxy.has(in_flight=1)
        client.send(b"the body")
        return client.response("PUT")

    def test_not_again(self) -> None:
        """502: idempotent, but nobody has its body any more."""
        self.assertEqual(502, self.streamed(dies).status)
        self.assertEqual(1, len(self.attempts))

    def test_closing(self) -> None:
        """The same when the slot was about to be closed."""
        response = self.streamed(closing)
        self.assertIn(response.status, (502, 503))
        self.assertEqual(1, len(self.attempts))

    def test_without_a_body(self) -> None:
        """What has no body is as on any route."""
        self.assertEqual(200, self.meet(IDEMPOTENT, dies).status)
        wait_for(lambda: len(self.attempts) == 2)
