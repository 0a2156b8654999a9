"""Crowds of slow clients: they send or read a little each second, on many connections at once.

Run as a process of its own on the load's core. It says READY when all connections are in place, goes on until its standard
input ends, and then says in JSON how it went. ``Crowd`` is how the experiments start one.

    read   asks for an answer and reads so many bytes of it each second
    head   sends a head, a byte a second, and never ends it
    body   sends a body, a byte a second
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import subprocess
import sys
import time
from typing import Any, Dict, List

from benchmarks.processes import on_core

TICKS_PER_S = 50
"""Each connection has its turn once a second; the turns are spread over so many steps."""

RECEIVE_BUFFER = 4096
"""What the kernel may keep for a slow reader (it takes twice as much): else it would read in our place."""

START_S = 60.0

_OPENINGS = {
    "read": "GET {path} HTTP/1.1\r\nHost: slow\r\n\r\n",
    "head": "GET {path} HTTP/1.1\r\nHost: slow\r\nX-Slow: ",
    "body": "POST {path} HTTP/1.1\r\nHost: slow\r\nContent-Length: 100000\r\n\r\n",
}


class Slow:
    """One of them."""

    def __init__(self, port: int, kind: str, opening: bytes, rate: int) -> None:
        self.sock = socket.socket()
        if kind == "read":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.sock.settimeout(START_S)
        self.sock.connect(("127.0.0.1", port))
        self.sock.sendall(opening)
        self.sock.setblocking(False)
        self.read_bytes = 0
        self.beginning = b""
        self.over = False
        self._kind = kind
        self._rate = rate

    def step(self) -> None:
        """What it does each second."""
        if self.over:
            return
        try:
            if self._kind == "read":
                data = self.sock.recv(self._rate)
            else:
                self.sock.send(b"x")
                data = self.sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.beginning = self.beginning or data[:15]
        self.read_bytes += len(data)
        self.over = not data


def wait_for_answers(crowd: List[Slow]) -> None:
    """Wait until each of them has something to read. Raises TimeoutError."""
    waiting = {slow.sock.fileno() for slow in crowd}
    poll = select.poll()
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + START_S
    while waiting:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(waiting)} slow clients have no answer after {START_S:.0f} s")
        for descriptor, _ in poll.poll(1000):
            waiting.discard(descriptor)
            poll.unregister(descriptor)


def main() -> None:
    """See the module's docstring."""
    options = argparse.ArgumentParser(description="a crowd of slow clients")
    options.add_argument("kind", choices=list(_OPENINGS))
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--path", required=True)
    options.add_argument("--connections", type=int, required=True)
    options.add_argument("--rate", type=int, default=1, help="bytes that a reader reads each second")
    given = options.parse_args()
    opening = _OPENINGS[given.kind].format(path=given.path).encode()
    began = time.monotonic()
    crowd = [Slow(given.port, given.kind, opening, given.rate) for _ in range(given.connections)]
    if given.kind == "read":
        wait_for_answers(crowd)
    sys.stdout.write(f"READY {time.monotonic() - began:.3f}\n")
    sys.stdout.flush()
    ended = select.poll()
    ended.register(sys.stdin.fileno(), select.POLLIN)
    tick, due = 0, time.monotonic()
    while True:
        due += 1 / TICKS_PER_S
        if ended.poll(max(0.0, (due - time.monotonic()) * 1000)):
            break
        for slow in crowd[tick % TICKS_PER_S :: TICKS_PER_S]:
            slow.step()
        tick += 1
    beginnings: Dict[str, int] = {}
    for slow in crowd:
        beginning = slow.beginning.decode("latin-1").strip()
        beginnings[beginning] = beginnings.get(beginning, 0) + 1
    most = max(slow.read_bytes for slow in crowd)
    said = {"over": sum(slow.over for slow in crowd), "most_read": most, "seconds": time.monotonic() - began}
    sys.stdout.write(json.dumps({**said, "answers": beginnings}) + "\n")


class Crowd:
    """A crowd in a process of its own: a context manager, inside which all of them are in place.

    :ivar began_s: how long it took until they were.
    :ivar said: how it went, once it is over.
    """

    def __init__(self, core: int, kind: str, port: int, path: str, connections: int, rate: int = 1) -> None:
        top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        numbers = ["--port", str(port), "--connections", str(connections), "--rate", str(rate)]
        self.began_s = 0.0
        self.said: Dict[str, Any] = {}
        with on_core(core):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.slow_clients", kind, "--path", path, *numbers],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=top,
            )

    def __enter__(self) -> Crowd:
        assert self._process.stdout is not None
        word, _, seconds = self._process.stdout.readline().partition(" ")
        if word != "READY":
            self._process.communicate()
            raise RuntimeError("the slow clients did not get into place")
        self.began_s = float(seconds)
        return self

    def __exit__(self, *exception: object) -> None:
        said, _ = self._process.communicate()
        if said:
            self.said = json.loads(said)


if __name__ == "__main__":
    main()
