"""Connections that switch protocols (RFC 9110 section 7.8): WebSocket and any other, as tunnels that hold their slot."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any, Optional

from tests.e2e.clients import together
from tests.e2e.played import PlayedService, ProxyCase, get, wait_for
from tests.e2e.services import respond
from tests.e2e.wire import Message, Wire

try:
    from websockets.exceptions import ConnectionClosed
    from websockets.frames import Frame
    from websockets.http11 import Request
    from websockets.server import ServerProtocol
    from websockets.sync.client import connect
except ImportError:  # It is in the test extra; without it the rest of this file still runs.
    ServerProtocol = None  # type: ignore[assignment,misc]

SWITCH = ("Connection: Upgrade", "Upgrade: echo/1, other")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n"
MEBIBYTE = 1024 * 1024


def echo(wire: Wire) -> None:
    """A service of the protocol ``echo/1``: what comes goes back, in upper case, until the client ends its side."""
    wire.request()
    wire.send(SWITCHED)
    try:
        while True:
            wire.send(wire.some().upper())
    except EOFError:
        wire.close()


def connect_websocket(url: str, **options: Any) -> Any:
    """A client of the package, without its pings: their thread and the one that closes wait for the same third one, which
    PyPy's ``Thread.join`` does not bear ("cannot release un-acquired lock")."""
    return connect(url, ping_interval=None, **options)


def websocket(wire: Wire) -> None:
    """A WebSocket service, by the sans-I/O half of ``websockets``, which echoes messages."""
    protocol = ServerProtocol()
    while not protocol.close_expected():
        protocol.receive_data(wire.some())
        for event in protocol.events_received():
            if isinstance(event, Request):
                protocol.send_response(protocol.accept(event))
            elif isinstance(event, Frame) and event.opcode in (1, 2):
                (protocol.send_text if event.opcode == 1 else protocol.send_binary)(event.data)
        for data in protocol.data_to_send():
            if data:
                wire.send(data)
    wire.close()


class TunnelTests(ProxyCase):
    """A protocol of our own."""

    def tunnel(self, client: Optional[Wire] = None) -> Wire:
        """A client that has switched."""
        client = client or self.connect()
        client.send(get("/", *SWITCH))
        head = client.head()
        self.assertEqual((101, "Upgrade", "echo/1"), (head.status, head.headers["connection"], head.headers["upgrade"]))
        return client

    def test_both_ways(self) -> None:
        """Bytes pass as they are, also those that were sent ahead; the slot is held until the end, and never used again."""
        self.start()
        service = self.serve(echo)
        client = self.connect()
        client.send(get("/", *SWITCH) + b"ahead ")
        self.assertEqual(101, client.head().status)
        client.send(b"after")
        self.assertEqual(b"AHEAD AFTER", client.read(11))
        self.proxy.has(in_flight=1, idle=0)
        client.send(get("/") * 2)
        self.assertEqual((get("/") * 2).upper(), client.read(2 * len(get("/"))))
        client.close()
        wait_for(lambda: service.dialled == 2, "another slot")
        self.at_rest(slots=1)

    def test_half_close_of_the_client(self) -> None:
        """The service gets all of it, and still answers."""

        def at_the_end(wire: Wire) -> None:
            wire.request()
            wire.send(SWITCHED)
            wire.send(b"%d bytes" % len(wire.rest()))
            wire.close()

        self.start()
        self.serve(at_the_end)
        client = self.tunnel()
        client.send(b"x" * MEBIBYTE)
        client.end_sending()
        self.assertEqual(b"%d bytes" % MEBIBYTE, client.rest())
        self.at_rest(slots=1)

    def test_half_close_of_the_service(self) -> None:
        """The client gets all of it, and may still send."""
        received = []

        def first(wire: Wire) -> None:
            wire.request()
            wire.send(SWITCHED + b"y" * MEBIBYTE)
            wire.end_sending()
            received.append(wire.rest())
            wire.close()

        self.start()
        self.serve(first)
        client = self.tunnel()
        self.assertEqual(b"y" * MEBIBYTE, client.rest())
        client.send(b"late")
        client.close()
        wait_for(lambda: received, "what was sent late")
        self.assertEqual([b"late"], received)
        self.at_rest(slots=1)

    def test_much_both_ways(self) -> None:
        """Nobody is in anybody's way, nothing is lost, nothing piles up: each end is read at the speed of the other."""
        self.start()
        self.serve(echo)
        client = self.tunnel()
        sender = threading.Thread(target=client.send, args=(b"z" * (8 * MEBIBYTE),))
        sender.start()
        self.assertEqual(b"Z" * (8 * MEBIBYTE), client.read(8 * MEBIBYTE))
        sender.join()

    def test_nobody_reads(self) -> None:
        """A service that sends for ever to a client that does not read is not read either."""
        sent = []

        def flood(wire: Wire) -> None:
            wire.request()
            wire.send(SWITCHED)
            while True:
                sent.append(wire.connection.send(b"f" * MEBIBYTE))

        self.start()
        self.serve(flood)
        self.tunnel(self.connect(receive_bytes=4096))
        self.assertLess(self.stalled(lambda: sum(sent)), 40 * MEBIBYTE, "all that the kernel's buffers hold, and a little")

    def test_idle(self) -> None:
        """timeouts.tunnel: without a byte either way it ends. That one begins the time anew is in ``clients.test_tunnel``."""
        self.start(more="[timeouts]\ntunnel = 0.3")
        service = self.serve(echo)
        client = self.tunnel()
        client.send(b"x")
        self.assertEqual(b"X", client.read(1))
        began = time.monotonic()
        self.assertEqual(b"", client.rest())
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(1, self.proxy.metric("xproxy_client_timeouts_total", timeout="tunnel"))
        wait_for(lambda: service.dialled == 2, "another slot")

    def test_declined(self) -> None:
        """A service that answers instead of switching: connection and slot go on."""
        self.start()
        required = respond(b"no", "426 Upgrade Required", "Upgrade: echo/1", "Connection: upgrade")
        answers = iter([respond(b"plain"), required, respond(b"still")])

        def play(wire: Wire) -> None:
            asked.append(wire.request())
            wire.send(next(answers))

        asked: list[Message] = []
        service = self.serve(play)
        client = self.connect()
        client.send(get("/", *SWITCH))
        self.assertEqual(b"plain", client.response().body)
        self.assertEqual(("Upgrade", "echo/1, other"), (asked[0].headers["connection"], asked[0].headers["upgrade"]))
        client.send(get("/", *SWITCH))
        response = client.response()
        self.assertEqual((426, "echo/1"), (response.status, response.headers["upgrade"]))
        client.send(get())
        self.assertEqual(b"still", client.response().body)
        self.assertEqual(1, service.dialled)

    def test_not_asked_for(self) -> None:
        """A switch that nobody asked for is a 502; what is not passed on is not switched to."""
        self.start()
        self.serve(echo)
        h2c = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        for request in (get(), get("/", *h2c), get("/", "Upgrade: echo/1"), get("/", *SWITCH, version="1.0")):
            self.assertEqual(502, self.ask(request).status)
        self.at_rest(slots=1)


class WebSocketTests(ProxyCase):
    """The ``websockets`` package at both ends."""

    def setUp(self) -> None:
        if ServerProtocol is None:
            self.skipTest("the package websockets is not installed")
        self.start()
        self.service: PlayedService = self.serve(websocket, 2)
        self.uri = "ws://{}:{}/".format(*self.proxy.http)

    def test_messages(self) -> None:
        """Small and large, text and binary, two connections at once on two slots."""

        def converse() -> None:
            with connect_websocket(self.uri, max_size=None) as client:
                for message in ("hello", "\u00fc" * 1000, os.urandom(300_000), b""):
                    client.send(message)
                    assert client.recv(timeout=20) == message
                both.wait()

        both = threading.Barrier(2, timeout=20)
        together(converse, converse)
        wait_for(lambda: self.service.dialled == 4, "two more slots")
        self.at_rest(slots=2)

    def test_closing_handshake(self) -> None:
        """The client's code comes back: the service was told."""
        with connect_websocket(self.uri) as client:
            client.close(4000, "enough")
            self.assertEqual((4000, "enough"), (client.close_code, client.close_reason))
            with self.assertRaises(ConnectionClosed):
                client.recv()
        self.at_rest(slots=2)

    def test_the_proxy_stops(self) -> None:
        """The client is told that it goes away (1001), and answers; so the proxy need not wait for ``drain_timeout``."""
        proxy = self.start(fresh=True)
        self.serve(websocket, 1)
        self.at_rest(slots=1)
        with connect_websocket(f"ws://{proxy.http[0]}:{proxy.http[1]}/chat") as client:
            client.send("hello")
            self.assertEqual("hello", client.recv(timeout=20))
            proxy.signal(signal.SIGTERM)
            with self.assertRaises(ConnectionClosed):
                client.recv(timeout=20)
            self.assertEqual(1001, client.close_code)
        self.assertEqual(0, proxy.exit_status())
