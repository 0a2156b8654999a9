"""A thousand slots in one thread: they register, answer, and vanish in every way a connection can."""

from __future__ import annotations

import random
import selectors
import socket
import threading
from typing import Dict, List

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import PATIENCE_S, Address
from tests.e2e.services import RESET, mxproxy_preamble

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\nok\n"


class Swarm:
    """Slots that answer every request. Seeded: the same slots do the same things in every run.

    :ivar answered: how many requests were answered.
    """

    def __init__(self, test: SynchronousTestCase, acceptor: Address) -> None:
        self.answered = 0
        self._acceptor = acceptor
        self._random = random.Random(1)
        self._lock = threading.Lock()
        self._slots: Dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._awake, wake = socket.socketpair()
        self._wake = wake
        self._selector.register(self._awake, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        test.addCleanup(self._stop)

    def __len__(self) -> int:
        with self._lock:
            return len(self._slots)

    def grow(self, count: int) -> None:
        """Dial so many slots: half of them raw, half with the mxproxy preamble."""
        for _ in range(count):
            connection = socket.create_connection(self._acceptor, PATIENCE_S)
            if self._random.random() < 0.5:
                connection.sendall(mxproxy_preamble())
            connection.setblocking(False)
            with self._lock:
                self._slots[connection] = b""
                self._selector.register(connection, selectors.EVENT_READ)

    def shrink(self, count: int) -> None:
        """Let so many slots vanish: closed, reset, after bytes that nobody asked for, after half of an answer."""
        with self._lock:
            doomed: List[socket.socket] = self._random.sample(list(self._slots), min(count, len(self._slots)))
            for connection in doomed:
                try:
                    last_words = self._random.choice((b"", b"", b"junk", CUT))
                    if last_words:
                        connection.send(last_words)
                    if self._random.random() < 0.3:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                except OSError:
                    pass  # The other end was faster.
                self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        del self._slots[connection]
        self._selector.unregister(connection)
        connection.close()

    def _run(self) -> None:
        while True:
            ready = self._selector.select()
            with self._lock:
                for key, _ in ready:
                    if key.fileobj is self._awake:
                        return
                    if key.fileobj in self._slots:
                        self._serve(key.fileobj)

    def _serve(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
            if data:
                received = self._slots[connection] + data
                if received.endswith(b"\r\n\r\n"):
                    received = b""
                    connection.send(ANSWER)
                    self.answered += 1
                self._slots[connection] = received
        except OSError:
            data = b""
        if not data:
            self._forget(connection)

    def _stop(self) -> None:
        self._wake.close()
        self._thread.join(PATIENCE_S)
        with self._lock:
            for connection in list(self._slots):
                self._forget(connection)
            self._awake.close()
            self._selector.close()
