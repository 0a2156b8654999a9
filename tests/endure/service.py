"""A service on slots that counts what runs on them: ``service.py slots:... FILE SECONDS``.

Every answer says what was asked, SECONDS after it was. SIGUSR1: the number of slots is read from FILE. SIGTERM: WebSockets are
told to go elsewhere, what runs is finished, and the last line says what was seen.
"""

from __future__ import annotations

import signal
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any, Dict, Set

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from websockets.exceptions import InvalidState
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

reactor: Any = _reactor

PIECE = bytes(range(256)) * 40
PIECES = 20
PIECE_S = 0.1
"""A download comes in pieces, with a pause before each: it takes two seconds."""

GOING_AWAY = 1001


def told(method: str, target: str, body: bytes) -> bytes:
    """The body of an answer: so a client sees that it is its own."""
    return f"{method} {target} {sha256(body).hexdigest()}".encode()


class Slot(Protocol):
    """One slot: one request at a time."""

    factory: Slots
    transport: Any

    def __init__(self) -> None:
        self._buffer = b""
        self._call: Any = None
        self._websocket: Any = None

    def dataReceived(self, data: bytes) -> None:
        """A request, or a part of one; or frames."""
        if self._websocket is not None:
            self._frames(data)
            return
        if self._call is not None:
            self.factory.overlaps += 1
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers: Dict[str, str] = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "upgrade" in headers:
            self._websocket = ServerProtocol()
            self.factory.websockets.add(self)
            self._frames(self._buffer)
            return
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._buffer = b""
        method, target, _ = first.split(" ")
        if len(rest) > length:
            self.factory.overlaps += 1
        self.factory.posts += method == "POST"
        if target.startswith("/download"):
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(PIECE) * PIECES))
            self._call = reactor.callLater(PIECE_S, self._piece, PIECES)
        else:
            self._call = reactor.callLater(self.factory.service_s, self._answer, told(method, target, rest))

    def _answer(self, body: bytes) -> None:
        self._call = None
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def _piece(self, left: int) -> None:
        self._call = reactor.callLater(PIECE_S, self._piece, left - 1) if left > 1 else None
        self.transport.write(PIECE)

    def _frames(self, data: bytes) -> None:
        self._websocket.receive_data(data)
        for event in self._websocket.events_received():
            if isinstance(event, Request):
                self._websocket.send_response(self._websocket.accept(event))
            elif isinstance(event, Frame) and event.opcode == 1 and self._websocket.state is State.OPEN:
                self._websocket.send_text(event.data)
        self._send_frames()

    def _send_frames(self) -> None:
        for data in self._websocket.data_to_send():
            if data:
                self.transport.write(data)
        if self._websocket.close_expected():
            self.transport.loseConnection()

    def go_away(self) -> None:
        """End a WebSocket: its client is to come again."""
        try:
            self._websocket.send_close(GOING_AWAY)
        except InvalidState:
            return  # It is closing already.
        self._send_frames()

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008  # Twisted's signature.
        """The slot is closed."""
        self.factory.websockets.discard(self)
        if self._call is not None:
            self._call.cancel()
            self.factory.cut += 1


class Slots(Factory):
    """What all slots have in common.

    :ivar overlaps: how often something came on a slot on which a request ran.
    :ivar posts: how many POSTs came.
    :ivar cut: slots that were closed while a request ran there.
    """

    protocol: Any = Slot

    def __init__(self, service_s: float) -> None:
        self.service_s = service_s
        self.overlaps = self.posts = self.cut = 0
        self.websockets: Set[Slot] = set()


def main(description: str, wanted: Path, service_s: float) -> None:
    """Serve until SIGTERM, then until everything is answered."""
    slots = Slots(service_s)
    endpoint: Any = serverFromString(reactor, description)
    ports: Any = []
    endpoint.listen(slots).addCallback(ports.append)

    def stop() -> Any:
        for websocket in list(slots.websockets):
            websocket.go_away()
        return ports[0].stopListening()

    signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(lambda: endpoint.resize(int(wanted.read_text()))))
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    print("dialling", flush=True)
    reactor.run()
    print(f"overlaps={slots.overlaps} posts={slots.posts} cut={slots.cut}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
