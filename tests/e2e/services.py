"""Services of a few lines, written without xproxy: plain sockets and threads, as the paper's Listing 3.

They dial the acceptor, say their preamble (or nothing), and answer HTTP/1.1. Each records what it saw, above all how many
requests it ever ran at once.
"""

from __future__ import annotations

import queue
import socket
import struct
import threading
import time
from typing import Callable, Dict, List, Optional

import attr
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import PATIENCE_S, Address

REDIAL_S = 0.02
"""How soon a slot is dialled again when nobody answered."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER, on, 0 s: close() sends a reset."""

MXPROXY = b"\r\n\r\nMXPROXY\n"


def mxproxy_preamble(host: str = "127.0.0.1", port: int = 4711) -> bytes:
    """The paper's preamble: 22 bytes for an IPv4 address."""
    address = socket.inet_aton(host) + struct.pack(">H", port)
    return MXPROXY + b"\x21\x11" + struct.pack(">H", len(address)) + address


@attr.frozen
class Request:
    """What a service received."""

    method: str
    target: str
    headers: Dict[str, str]
    """By name in lower case."""
    body: bytes
    slot: int
    """Which of the service's slots it came on."""
    at: float
    """When, in monotonic seconds."""


Answer = Callable[[Request], Optional[bytes]]
"""Gives the bytes to send; None: the slot is closed without a word."""


def respond(body: bytes = b"ok\n", status: str = "200 OK", *headers: str) -> bytes:
    """A whole response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answering(answer: bytes) -> Answer:
    """Always the same answer."""
    return lambda request: answer


def describe(request: Request) -> bytes:
    """Say what was asked, and by which slot."""
    return respond(f"{request.method} {request.target} {len(request.body)} slot {request.slot}\n".encode())


class SlotService:
    """``count`` slots, each in a thread that dials, answers, and dials again until ``stop``, which the test's cleanup calls.

    :param acceptor: what is dialled.
    :param answer: called in the slot's thread for each request.
    :param preamble: what is said first on each slot; the paper's by itself, for who says nothing registers a second later.
    :ivar requests: everything received, in the order of arrival.
    :ivar most: the largest number of requests that were being answered at once.
    :ivar overlapping: requests during whose answering more bytes came on their slot. There may be none, ever.
    """

    def __init__(
        self,
        test: SynchronousTestCase,
        acceptor: Address,
        count: int,
        answer: Answer = describe,
        preamble: Optional[bytes] = None,
    ) -> None:
        self.requests: List[Request] = []
        self.running = self.most = self.overlapping = self.dialled = 0
        self._acceptor = acceptor
        self._answer = answer
        self._preamble = mxproxy_preamble() if preamble is None else preamble
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._open: Dict[int, socket.socket] = {}
        self._threads = [threading.Thread(target=self._keep, args=(number,), daemon=True) for number in range(count)]
        test.addCleanup(self.stop)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Close every slot, whatever runs there, and dial no more."""
        self._stopped.set()
        if isinstance(self._answer, Gate):
            self._answer.give_up()
        with self._lock:
            for connection in self._open.values():
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # The other end was faster.
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _keep(self, number: int) -> None:
        while not self._stopped.is_set():
            try:
                connection = socket.create_connection(self._acceptor, PATIENCE_S)
            except OSError:
                self._stopped.wait(REDIAL_S)
                continue
            with connection:
                connection.settimeout(None)
                with self._lock:
                    self._open[number] = connection
                    self.dialled += 1
                    if self._stopped.is_set():
                        return
                try:
                    connection.sendall(self._preamble)
                    self._serve(number, connection)
                except OSError:
                    pass  # It was closed under us: dial again.
                with self._lock:
                    del self._open[number]

    def _serve(self, number: int, connection: socket.socket) -> None:
        stream = Stream(connection)
        while True:
            request = read_request(stream, number)
            if request is None:
                return
            with self._lock:
                self.requests.append(request)
                self.running += 1
                self.most = max(self.most, self.running)
            try:
                answer = self._answer(request)
            finally:
                with self._lock:
                    self.running -= 1
                    self.overlapping += stream.more()
            if answer is None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                return
            connection.sendall(answer)
            if b"\r\nconnection: close" in answer.lower():
                return


class Stream:
    """Reads a connection by lines and by numbers of bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def line(self) -> bytes:
        """The next line without its end; raises EOFError when the connection ends before."""
        while b"\r\n" not in self._buffer:
            self._receive()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def read(self, count: int) -> bytes:
        """Exactly so many bytes; raises EOFError as above."""
        while len(self._buffer) < count:
            self._receive()
        content, self._buffer = self._buffer[:count], self._buffer[count:]
        return content

    def more(self) -> bool:
        """Whether bytes have come that nobody has read."""
        if not self._buffer:
            try:
                self._buffer = self._connection.recv(65536, socket.MSG_DONTWAIT)
            except OSError:
                return False
        return bool(self._buffer)

    def _receive(self) -> None:
        data = self._connection.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data


def read_request(stream: Stream, slot: int = 0) -> Optional[Request]:
    """One request with a Content-Length or without a body; None at the end of the connection."""
    try:
        method, target, _ = stream.line().decode("latin-1").split(" ", 2)
        at = time.monotonic()
        headers: Dict[str, str] = {}
        while True:
            line = stream.line()
            if not line:
                break
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", "0")))
    except EOFError:
        return None
    return Request(method, target, headers, body, slot, at)


class Gate:
    """An answer that waits until the test lets it go.

    :ivar arrived: the requests that came, in order.
    """

    def __init__(self, answer: Answer = describe) -> None:
        self.arrived: queue.Queue[Request] = queue.Queue()
        self._answer = answer
        self._open = threading.Semaphore(0)
        self._over = False

    def __call__(self, request: Request) -> Optional[bytes]:
        self.arrived.put(request)
        self._open.acquire()
        if self._over:
            self._open.release()  # For the next one who waits.
        return self._answer(request)

    def give_up(self) -> None:
        """Let everything go, now and later: the test is over."""
        self._over = True
        self.let_go(1)

    def next(self) -> Request:
        """Wait for the next request."""
        return self.arrived.get(timeout=PATIENCE_S)

    def let_go(self, count: int = 1) -> None:
        """Let so many requests be answered, those here or to come."""
        for _ in range(count):
            self._open.release()
