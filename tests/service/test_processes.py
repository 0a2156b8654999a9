"""Unmodified servers become slot services by their listen string alone: ``twist web`` and ``daphne``, as processes."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, List

from twisted.internet import reactor as _reactor
from twisted.internet.defer import gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint

from tests.doubles.parking import ParkedSlot, Parking
from tests.doubles.programs import ProgramTestCase, ServerProgram

reactor: Any = _reactor

WSGI = """
import hashlib, threading

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/wait":
        start_response("200 OK", [("Content-Length", "6")])
        def body():
            yield b"beg"
            with open(environ["wsgi.input"].read().decode()) as fifo:
                fifo.read()
            yield b"end"
        return body()
    if environ["REQUEST_METHOD"] == "POST":
        digest = hashlib.sha256(environ["wsgi.input"].read()).hexdigest().encode()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [digest[:32], digest[32:]]
    start_response("200 OK", [("Content-Length", "4")])
    return [b"wsgi"]
"""

ASGI = """
async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                return
            await send({"type": "websocket.send", "text": message["text"].upper()})
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": scope["method"].encode() + b" " + body, "more_body": True})
    await send({"type": "http.response.body", "body": b"!"})
"""


def get(path: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path


class ServerTestCase(ProgramTestCase):
    """A parking, and a program that dials it."""

    async def park(self, endpoint: Any = None) -> Parking:
        parking = Parking()
        port = await (endpoint or TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")).listen(parking)
        self.here = f"tcp:127.0.0.1:{port.getHost().port}" if endpoint is None else ""
        self.addCleanup(parking.closed)
        self.addCleanup(maybeDeferred, port.stopListening)
        return parking

    async def assert_polite(self, slots: List[ParkedSlot], program: ServerProgram) -> None:
        """The program is stopped, and says so on each of these slots."""
        ended = program.terminate()
        for head, body in await gatherResults([slot.response() for slot in slots]):
            self.assertEqual((head.status, head.slot_closing, body), (503, True, b""))
        await gatherResults([slot.gone() for slot in slots])
        await ended


class TwistWebTests(ServerTestCase):
    """``twist web``."""

    async def test_files(self) -> None:
        self.write("page.html", "<p>hello</p>")
        self.write("large", "x" * 1_000_000)
        parking = await self.park()
        program = self.start("-m", "twisted", "web", "--listen", f"slots:{self.here}:count=4:pool=files", "--path", ".")
        slots = await parking.filled(4)
        self.assertEqual({slot.registration.pool for slot in slots if slot.registration}, {"files"})
        self.assertEqual(len({slot.registration.instance for slot in slots if slot.registration}), 1)
        for _ in range(3):
            for head, body in await gatherResults([slot.request(get(b"/page.html")) for slot in slots]):
                self.assertEqual((head.status, body), (200, b"<p>hello</p>"))
        head, body = await slots[0].request(get(b"/large"))
        self.assertEqual((head.status, len(body)), (200, 1_000_000))
        head, body = await slots[0].request(get(b"/nothing"))
        self.assertEqual(head.status, 404)
        head, body = await slots[0].request(b"HEAD /large HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual((head.status, body), (200, b""))
        self.assertEqual(len(parking.slots), 4, "no slot was dialled again")
        await self.assert_polite(slots, program)
        self.assertNotIn("Traceback", program.text())

    async def test_wsgi(self) -> None:
        self.write("wsgi_application.py", WSGI)
        parking = await self.park()
        program = self.start(
            "-m", "twisted", "web", "--listen", f"slots:{self.here}:count=2", "--wsgi", "wsgi_application.application"
        )
        slots = await parking.filled(2)
        head, body = await slots[0].request(get(b"/"))
        self.assertEqual((head.status, body), (200, b"wsgi"))
        post = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        for _ in range(2):
            head, body = await slots[1].request(post)
            self.assertEqual(head.status, 200)
            self.assertTrue(head.fields.chunked)
            self.assertTrue(body.startswith(b"2cf24dba5fb0a30e"), body)
        await self.assert_polite(slots, program)
        self.assertNotIn("Traceback", program.text())

    async def test_wsgi_over_a_unix_socket(self) -> None:
        """WSGI wants addresses with ports."""
        self.write("wsgi_application.py", WSGI)
        path = tempfile.mktemp(dir=tempfile.gettempdir())
        parking = await self.park(UNIXServerEndpoint(reactor, path))
        words = ["--listen", f"slots:unix:{path}:count=1", "--wsgi", "wsgi_application.application"]
        program = self.start("-m", "twisted", "web", *words)
        slots = await parking.filled(1)
        head, body = await slots[0].request(get(b"/"))
        self.assertEqual((head.status, body), (200, b"wsgi"))
        await self.assert_polite(slots, program)
        self.assertNotIn("Traceback", program.text())

    async def test_a_running_request_is_finished(self) -> None:
        """SIGTERM in the middle of a response."""
        self.write("wsgi_application.py", WSGI)
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        parking = await self.park()
        program = self.start(
            "-m", "twisted", "web", "--listen", f"slots:{self.here}:count=2", "--wsgi", "wsgi_application.application"
        )
        running, idle = await parking.filled(2)
        name = str(fifo).encode()
        running.transport.write(b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))
        await parking.until(lambda: running.received.endswith(b"beg"))
        ended = program.terminate()
        head, _ = await idle.response()
        self.assertTrue(head.slot_closing)
        self.assertTrue(running.received.endswith(b"beg"))
        fifo.write_text("go on")
        head, body = await running.response()
        self.assertEqual((head.status, body), (200, b"begend"))
        head, _ = await running.response()
        self.assertTrue(head.slot_closing)
        await ended

    async def test_unix(self) -> None:
        folder = tempfile.TemporaryDirectory()  # The path of a socket is short.
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / "slots"
        parking = await self.park(UNIXServerEndpoint(reactor, str(path)))
        self.write("page.html", "unix")
        program = self.start("-m", "twisted", "web", "--listen", f"slots:unix:{path}:count=3", "--path", ".")
        slots = await parking.filled(3)
        head, body = await slots[2].request(get(b"/page.html"))
        self.assertEqual((head.status, body), (200, b"unix"))
        await self.assert_polite(slots, program)

    async def test_a_bad_description(self) -> None:
        program = self.start("-m", "twisted", "web", "--listen", "slots:tcp:127.0.0.1:1", "--path", ".")
        self.assertNotEqual(await program.ended(), 0)
        self.assertIn("slots:tcp:127.0.0.1:1: count= is missing", program.text())


class DaphneTests(ServerTestCase):
    """``daphne``: ASGI, HTTP and WebSocket."""

    if importlib.util.find_spec("daphne") is None:
        skip = "daphne is not installed" + (": the test extra leaves it out on PyPy" if "PyPy" in sys.version else "")

    async def run_daphne(self, count: int) -> ServerProgram:
        self.write("asgi_application.py", ASGI)
        self.parking = await self.park()
        return self.start("-m", "daphne", "-e", f"slots:{self.here}:count={count}", "asgi_application:application")

    async def test_http(self) -> None:
        program = await self.run_daphne(3)
        slots = await self.parking.filled(3)
        for _ in range(3):
            for head, body in await gatherResults([slot.request(get(b"/")) for slot in slots]):
                self.assertEqual((head.status, body), (200, b"GET !"))
        head, body = await slots[0].request(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        self.assertEqual((head.status, body), (200, b"POST hello!"))
        self.assertEqual(len(self.parking.slots), 3)
        await self.assert_polite(slots, program)
        self.assertNotIn("Traceback", program.text())

    async def test_websocket(self) -> None:
        await self.run_daphne(2)
        slot, _ = await self.parking.filled(2)
        slot.transport.write(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await self.parking.until(lambda: b"\r\n\r\n" in slot.received)
        self.assertTrue(slot.received.startswith(b"HTTP/1.1 101 "), slot.received)
        masked = bytes(byte ^ mask for byte, mask in zip(b"shout", b"mask" * 2))
        slot.transport.write(b"\x81\x85mask" + masked)
        await self.parking.until(lambda: slot.received.endswith(b"\x81\x05SHOUT"))
        slot.transport.loseConnection()
        await slot.gone()
        self.assertNotIn(slot, await self.parking.filled(2))
