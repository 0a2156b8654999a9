"""Clients for what the usual load generators do badly: long downloads, uploads, thousands of idle connections.

Run as a process of its own, on the load's core; the outcome goes to standard output as JSON. Every answer is checked, its
status and its length, and nothing is counted that failed.

Long answers are not copied up to us (MSG_TRUNC, tcp(7)): a client that shares its core with the service would else be what is
measured. ``checks`` looks at the same answers byte by byte before anything is measured.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import sys
import time
from collections import deque
from typing import Deque, Dict, List, Optional, Tuple, Type

from benchmarks.service import content

END = b"\r\n\r\n"
READ_BYTES = 1 << 20
SILENCE_S = 60.0
"""No answer for so long: the run has failed."""

IDLE_AT_ONCE = 32
"""Connections that will be idle are used one after the other: what is measured is their rest, not a burst."""


class Wrong(Exception):
    """An answer that is not the right one."""


class Client:
    """One keep-alive connection that asks for the same thing again and again."""

    _scratch = bytearray(READ_BYTES)

    def __init__(self, run: Run) -> None:
        self.run = run
        self.sock = socket.create_connection(("127.0.0.1", run.port), timeout=SILENCE_S)
        self.sock.setblocking(False)
        self._head = b""
        self._left = 0
        self._in_body = False
        self._out = memoryview(b"")
        self._began = 0.0

    def ask(self) -> None:
        """Send the request."""
        self._began = time.perf_counter()
        self._out = memoryview(self.run.request)
        self.writable()

    def writable(self) -> None:
        """Go on sending. Raises OSError."""
        try:
            while self._out:
                self._out = self._out[self.sock.send(self._out) :]
        except BlockingIOError:
            self.run.epoll.modify(self.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
            return
        if len(self.run.request) > READ_BYTES // 8:
            self.run.epoll.modify(self.sock.fileno(), select.EPOLLIN)

    def readable(self) -> None:
        """Take what is there. Raises OSError or Wrong."""
        if not self._in_body:
            self._head_received(self.sock.recv(65536))
        elif self._left:
            size = self.sock.recv_into(self._scratch, min(self._left, READ_BYTES), socket.MSG_TRUNC)
            if not size:
                raise Wrong(f"the connection ended {self._left} bytes too early")
            self._left -= size
        if self._in_body and not self._left:
            self._in_body = False
            self.run.answered(self, time.perf_counter() - self._began)

    def _head_received(self, data: bytes) -> None:
        if not data:
            raise Wrong("the connection ended without an answer")
        self._head += data
        end = self._head.find(END)
        if end < 0:
            return
        head, rest = self._head[:end].lower(), self._head[end + 4 :]
        self._head = b""
        if head.split(b" ", 2)[1] != b"200":
            raise Wrong("the answer is " + head.partition(b"\r\n")[0].decode("latin-1"))
        length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or -1)
        if length != self.run.length:
            raise Wrong(f"the answer has {length} bytes, not {self.run.length}")
        self._left = length - len(rest)
        self._in_body = True
        if self.run.check_content and rest != self.run.check_content:
            raise Wrong(f"the answer is {rest!r}, not {self.run.check_content!r}")


class Run:
    """A number of requests over a number of connections.

    :param length: the bytes of a right answer.
    :param check_content: the right answer itself, when it comes with its head.
    """

    def __init__(self, port: int, request: bytes, length: int, connections: int, check_content: bytes = b"") -> None:
        self.port = port
        self.request = request
        self.length = length
        self.check_content = check_content
        self.epoll = select.epoll()
        self.latencies: List[float] = []
        self.to_begin = 0
        self.to_end = 0
        self.clients: Dict[int, Client] = {}
        self.unused: Deque[Client] = deque()
        for _ in range(connections):
            client = Client(self)
            self.clients[client.sock.fileno()] = client
            self.unused.append(client)
            self.epoll.register(client.sock.fileno(), select.EPOLLIN)

    def answered(self, client: Client, seconds: float) -> None:
        """One more is done."""
        self.latencies.append(seconds)
        self.to_end -= 1
        if self.to_begin:
            self.to_begin -= 1
            (self.unused.popleft() if self.unused else client).ask()

    def requests(self, number: int, at_once: int) -> float:
        """Make so many requests, and so many of them at once; returns the seconds it took. Raises OSError or Wrong."""
        began = time.perf_counter()
        self.to_begin = self.to_end = number
        for _ in range(min(number, at_once)):
            self.to_begin -= 1
            self.unused.popleft().ask()
        while self.to_end:
            ready = self.epoll.poll(SILENCE_S)
            if not ready:
                raise Wrong(f"no answer came for {SILENCE_S:.0f} s")
            for descriptor, events in ready:
                client = self.clients[descriptor]
                if events & select.EPOLLOUT:
                    client.writable()
                if events & ~select.EPOLLOUT:
                    client.readable()
        return time.perf_counter() - began


def percentiles(latencies: List[float]) -> Dict[str, float]:
    """The 50th, 99th and 99.9th in milliseconds; those that so few values can't tell are left out."""
    ordered = sorted(latencies)
    wanted = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    return {
        name: round(ordered[int(part * len(ordered))] * 1000, 4)
        for name, part in wanted.items()
        if len(ordered) * (1 - part) >= 1 or part == 0.5
    }


def download(port: int, path: str, size: int, connections: int) -> Run:
    """GET the same answer."""
    return Run(port, b"GET %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % (path.encode(), port), size, connections)


def upload(port: int, path: str, size: int, connections: int) -> Run:
    """POST a body of ``size`` bytes; a right answer is how many the service has read."""
    head = b"POST %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %d\r\n\r\n" % (path.encode(), port, size)
    right = b"%d" % size
    return Run(port, head + content(size), len(right), connections, right)


def main() -> None:
    """See the module's docstring."""
    kinds = {"download": download, "upload": upload, "idle": download}
    options = argparse.ArgumentParser(description="clients whose every answer is checked")
    options.add_argument("kind", choices=list(kinds))
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--path", required=True)
    options.add_argument("--size", type=int, required=True)
    options.add_argument("--connections", type=int, default=1)
    options.add_argument("--requests", type=int, default=1)
    given = options.parse_args()
    failure: Optional[str] = None
    outcome: Dict[str, object] = {}
    wrong: Tuple[Type[BaseException], ...] = (OSError, Wrong)
    try:
        run = kinds[given.kind](given.port, given.path, given.size, given.connections)
        at_once = IDLE_AT_ONCE if given.kind == "idle" else given.connections
        seconds = run.requests(given.requests, at_once)
        outcome = {"requests": len(run.latencies), "seconds": seconds, "latency_ms": percentiles(run.latencies)}
    except wrong as error:
        failure = str(error) or type(error).__name__
    sys.stdout.write(json.dumps({"failure": failure, **outcome}) + "\n")
    sys.stdout.flush()
    if given.kind == "idle" and failure is None:
        sys.stdin.read()  # Keep the connections until whoever started us has seen what they cost.


if __name__ == "__main__":
    main()
