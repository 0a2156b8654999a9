"""The service behind every contestant: as little work for each request as Python can do, so that it is not what is measured.

One process, one epoll loop, no framework. It listens, for the proxies that connect to their services, and dials slots, for
those that services connect to: the same code answers on both. It is no HTTP server: it reads just enough of a request, which
comes from proxies that are known, to answer it.

    GET  /SIZE          an answer of so many bytes: 256, 16k, 100k, 1m, 100m
    GET  /SIZE/MS       the same after so many milliseconds: a service that works for its answer
    POST /upload        reads the body, answers how many bytes it had
    POST /digest        the same, answers its SHA-256
    GET  /stats         what it has counted, as JSON

Run by ``contestants``; by hand: ``python -m benchmarks.service --listen PORT --slots PORT COUNT``.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import json
import os
import select
import socket
import time
from email.utils import formatdate
from itertools import count
from typing import Dict, List, Optional, Tuple

SIZES = {"256": 256, "16k": 16 * 1024, "100k": 100_000, "1m": 1024 * 1024, "100m": 100 * 1024 * 1024}
"""The answers, by the names that requests use."""

INLINE_BYTES = 100_000
"""Answers up to here are one bytes object and one send; longer ones go out of a file by sendfile(2)."""

READ_BYTES = 256 * 1024
REDIAL_S = 0.05
END = b"\r\n\r\n"

_READ, _WRITE = select.EPOLLIN, select.EPOLLOUT


def content(size: int) -> bytes:
    """The body of an answer: bytes that a compressor or a cache of zero pages could make nothing of."""
    block = hashlib.sha256(b"xproxy").digest() * 32
    return (block * (size // len(block) + 1))[:size]


class Answers:
    """The answers by path, ready to be sent; the Date in them is renewed each second, as a real service's would be."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("answers")
        """The file of the longest answer, which the others are the beginning of."""
        with open(self.descriptor, "wb", closefd=False) as file:
            file.write(content(max(SIZES.values())))
        self._bodies = {name: content(size) for name, size in SIZES.items() if size <= INLINE_BYTES}
        self.by_path: Dict[bytes, Tuple[bytes, int]] = {}
        """The bytes to send, and how many follow out of the file."""
        self.last_by_path: Dict[bytes, Tuple[bytes, int]] = {}
        """The same for the last answer on a connection."""
        self.renew()

    def renew(self) -> None:
        """Put the time into all of them."""
        for name, size in SIZES.items():
            body = self._bodies.get(name)
            for by_path, last in ((self.by_path, False), (self.last_by_path, True)):
                head = self.head(size, last)
                by_path[name.encode()] = (head, size) if body is None else (head + body, 0)

    @staticmethod
    def head(size: int, last: bool = False) -> bytes:
        """The head of an answer of ``size`` bytes, ``last``: of the last one on its connection."""
        date = formatdate(usegmt=True).encode()
        fields = b"Server: benchmark\r\nDate: %b\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n" % (
            date,
            size,
        )
        return b"HTTP/1.1 200 OK\r\n%b%b\r\n" % (fields, b"Connection: close\r\n" if last else b"")


def is_last(request: bytes) -> bool:
    """Whether the connection ends with the answer: it says so, or is HTTP/1.0 and does not say the contrary."""
    if b" HTTP/1.0\r\n" in request:
        return b"connection: keep-alive" not in request.lower()
    return b"onnection: close" in request


class Counts:
    """What happened, for ``/stats``."""

    def __init__(self) -> None:
        self.requests = self.accepted = self.dialled = 0
        self.running = self.most_running = 0


class Connection:
    """One connection from a proxy, or one slot: a request at a time."""

    def __init__(self, service: Service, sock: socket.socket, slots: Optional[Tuple[str, int]] = None) -> None:
        self.service = service
        self.sock = sock
        self.slots = slots
        self._receive = sock.recv
        self._send = sock.send
        self._head = b""
        self._upload: Optional[Upload] = None
        self.last = False
        self._out = b""
        self._file_at = self._file_left = 0

    def readable(self) -> None:
        """Bytes, or the end."""
        try:
            data = self._upload.read(self.sock) if self._upload is not None else self._receive(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.service.drop(self)
        elif self._upload is not None:
            if not self._upload.left:
                upload, self._upload = self._upload, None
                self.answer(*upload.answer())
        elif data[:5] == b"GET /" and data[-4:] == END:
            self._get(data)
        else:
            self._slow_head(data)

    def _get(self, request: bytes) -> None:
        service = self.service
        last = self.last = is_last(request)
        path = request[5 : request.index(b" ", 5)].partition(b"?")[0]
        ready = (service.answers.last_by_path if last else service.answers.by_path).get(path)
        if ready is not None:
            self.answer(*ready)
        elif path == b"stats":
            body = json.dumps(vars(service.counts)).encode()
            service.counts.requests -= 1
            self.answer(Answers.head(len(body), last) + body, 0)
        else:
            name, _, milliseconds = path.partition(b"/")
            service.later(int(milliseconds) / 1000, self, name)

    def _slow_head(self, data: bytes) -> None:
        """A head in pieces, or one that a body follows."""
        data = self._head = self._head + data
        end = data.find(END)
        if end < 0:
            return
        self._head = b""
        head, rest = data[: end + 4], data[end + 4 :]
        if head[:4] == b"GET ":
            self._get(head)
            return
        last = self.last = is_last(head)
        fields = head.lower().partition(b"\r\ncontent-length:")[2]
        self._upload = upload = Upload(int(fields.partition(b"\r\n")[0]), b" /digest" in head, rest, last)
        if b"100-continue" in head.lower():
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not upload.left:
            self._upload = None
            self.answer(*upload.answer())

    def answer(self, out: bytes, file_bytes: int) -> None:
        """Send ``out``, and so many bytes of the file after it."""
        self.service.counts.requests += 1
        try:
            sent = self._send(out)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.service.drop(self)
            return
        if sent == len(out) and not file_bytes:
            if self.last:
                self.service.drop(self)
            return
        self._out = out[sent:]
        self._file_at, self._file_left = 0, file_bytes
        self.writable()

    def writable(self) -> None:
        """Go on sending what did not fit."""
        try:
            while self._out:
                self._out = self._out[self._send(self._out) :]
            while self._file_left:
                sent = os.sendfile(self.sock.fileno(), self.service.answers.descriptor, self._file_at, self._file_left)
                self._file_at += sent
                self._file_left -= sent
        except BlockingIOError:
            self.service.watch(self, _WRITE)
            return
        except OSError:
            self.service.drop(self)
            return
        self.service.watch(self, _READ)
        if self.last:
            self.service.drop(self)


class Upload:
    """A request body that is being read: counted in the kernel, or looked at when its digest is asked for."""

    _scratch = bytearray(READ_BYTES)

    def __init__(self, length: int, with_digest: bool, begun: bytes, last: bool) -> None:
        self._length = length
        self._last = last
        self._digest = hashlib.sha256(begun) if with_digest else None
        self.left = length - len(begun)

    def read(self, sock: socket.socket) -> bytes:
        """Take what is there; empty: the other side has ended. Raises OSError."""
        if self._digest is None:
            # TCP throws away what MSG_TRUNC is asked for (tcp(7)): the body is received, but not copied up to us.
            size = sock.recv_into(self._scratch, min(self.left, READ_BYTES), socket.MSG_TRUNC)
            self.left -= size
            return b"." if size else b""
        data = sock.recv(min(self.left, READ_BYTES))
        self._digest.update(data)
        self.left -= len(data)
        return data

    def answer(self) -> Tuple[bytes, int]:
        """What the client is told."""
        body = b"%d" % self._length if self._digest is None else self._digest.hexdigest().encode()
        return Answers.head(len(body), self._last) + body, 0


class Service:
    """The loop, its connections and what is due."""

    def __init__(self) -> None:
        self.answers = Answers()
        self.counts = Counts()
        self._epoll = select.epoll()
        self._listeners: Dict[int, socket.socket] = {}
        self._connections: Dict[int, Connection] = {}
        self._watched: Dict[int, int] = {}
        self._due: List[Tuple[float, int, Connection, bytes]] = []
        self._redials: List[Tuple[float, Tuple[str, int]]] = []
        self._numbers = count()

    def listen(self, port: int) -> None:
        """Take connections on a port of the loopback interface."""
        listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        listener.setblocking(False)
        self._listeners[listener.fileno()] = listener
        self._epoll.register(listener.fileno(), _READ)

    def dial(self, slots: Tuple[str, int]) -> None:
        """Open one slot; when nobody is there yet, try again soon."""
        try:
            sock = socket.create_connection(slots)
        except OSError:
            self._redials.append((time.monotonic() + REDIAL_S, slots))
            return
        self.counts.dialled += 1
        self._add(sock, slots)

    def _accept(self, listener: socket.socket) -> None:
        try:
            while True:
                sock, _ = listener.accept()
                self.counts.accepted += 1
                self._add(sock, None)
        except BlockingIOError:
            return

    def _add(self, sock: socket.socket, slots: Optional[Tuple[str, int]]) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        descriptor = sock.fileno()
        self._connections[descriptor] = Connection(self, sock, slots)
        self._watched[descriptor] = _READ
        self._epoll.register(descriptor, _READ)

    def watch(self, connection: Connection, events: int) -> None:
        """Wait for these events on a connection from here on."""
        descriptor = connection.sock.fileno()
        if self._watched.get(descriptor, events) != events:
            self._watched[descriptor] = events
            self._epoll.modify(descriptor, events)

    def drop(self, connection: Connection) -> None:
        """Close a connection; a slot is dialled anew."""
        descriptor = connection.sock.fileno()
        if descriptor < 0:
            return
        del self._connections[descriptor], self._watched[descriptor]
        connection.sock.close()
        if connection.slots is not None:
            self._redials.append((time.monotonic() + REDIAL_S, connection.slots))

    def later(self, delay_s: float, connection: Connection, name: bytes) -> None:
        """Answer in so many seconds."""
        counts = self.counts
        counts.running += 1
        counts.most_running = max(counts.most_running, counts.running)
        heapq.heappush(self._due, (time.monotonic() + delay_s, next(self._numbers), connection, name))

    def _answer_due(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            _, _, connection, name = heapq.heappop(self._due)
            self.counts.running -= 1
            answers = self.answers
            connection.answer(*(answers.last_by_path if connection.last else answers.by_path)[name])

    def run(self) -> None:
        """Serve until the process is told to stop."""
        connections, listeners, poll = self._connections, self._listeners, self._epoll.poll
        renew_at = 0.0
        while True:
            now = time.monotonic()
            wait = min(self._due[0][0] - now, REDIAL_S) if self._due else REDIAL_S
            for descriptor, events in poll(max(wait, 0)):
                connection = connections.get(descriptor)
                if connection is not None:
                    if events & _WRITE:
                        connection.writable()
                    else:
                        connection.readable()
                elif descriptor in listeners:
                    self._accept(listeners[descriptor])
            if self._due or self._redials or now >= renew_at:
                now = time.monotonic()
                self._answer_due(now)
                while self._redials and self._redials[0][0] <= now:
                    self.dial(self._redials.pop(0)[1])
                if now >= renew_at:
                    renew_at = now + 1
                    self.answers.renew()


def main() -> None:
    """See the module's docstring."""
    options = argparse.ArgumentParser(description="the service behind every contestant")
    options.add_argument("--listen", type=int, action="append", default=[], metavar="PORT")
    options.add_argument("--slots", type=int, nargs=2, action="append", default=[], metavar=("PORT", "COUNT"))
    given = options.parse_args()
    service = Service()
    for port in given.listen:
        service.listen(port)
    for port, slots in given.slots:
        for _ in range(slots):
            service.dial(("127.0.0.1", port))
    service.run()


if __name__ == "__main__":
    main()
