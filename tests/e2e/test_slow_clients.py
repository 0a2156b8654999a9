"""Attacks by slowness, of moderate size: what others get while hundreds of clients dawdle, and what that costs in memory.

``benchmarks/`` has the full size. Here the medians of one run are compared with each other, generously: what is looked for is a
proxy that stands still, not one that is a little slower.
"""

from __future__ import annotations

import os
import re
import statistics
import threading
import time
from typing import Callable, List

from tests.e2e.played import ProxyCase, Recorder, get, wait_for
from tests.e2e.services import respond
from tests.e2e.wire import Message, Wire

ATTACKERS = 300

ROUND_S = 0.25
"""How often each attacker does a little."""

ASKED = 150
"""Requests for one median, at least."""

LARGE = 300_000
"""Bytes of a body, or of an answer, that an attacker sends or takes slowly. Memory may hold a fifth of it for each."""

MEMORY = 65536 * ATTACKERS
"""What all of them may make the proxy hold, by ``request_memory`` and ``response_memory``."""

SHARED = 32 * 1024 * 1024
"""And what the bodies among them share, ``bodies_memory``: a third of them finds some of it at most."""

OVERHEAD = 60_000 * ATTACKERS
"""Beside that: the objects of a connection, read buffers, what the allocator does not give back; and PyPy's collector."""


class SlownessTests(ProxyCase):
    """One proxy, two slots, one client in a hurry."""

    def setUp(self) -> None:
        # All attackers come from one address, for which there are bounds of their own.
        limits = "[limits]\nclient_spool_files = 1000\nclient_spool_bytes = 1000000000"
        self.start("client_share = 1.0", more=limits, fresh=True)
        self.recorder = Recorder(self.answer)
        self.serve(self.recorder, 2)
        self.hasty = self.connect()
        self.large = respond(os.urandom(1000) * (LARGE // 1000))
        self.median_s()  # What is done once is done: imports, PyPy's compiler.
        self.before_s = self.median_s()
        self.resident = self.resident_bytes()

    def answer(self, request: Message) -> bytes:
        """Large or small."""
        return self.large if request.target == "/large" else respond()

    def resident_bytes(self) -> int:
        """What the proxy holds in memory."""
        with open(f"/proc/{self.proxy.process.pid}/status", encoding="ascii") as file:
            found = re.search(r"VmRSS:\s+(\d+) kB", file.read())
        assert found is not None
        return int(found[1]) * 1024

    def median_s(self, least_s: float = 0.0) -> float:
        """How long the client in a hurry waits for an answer, asking for ``least_s`` at least."""
        seconds: List[float] = []
        until = time.perf_counter() + least_s
        while len(seconds) < ASKED or time.perf_counter() < until:
            began = time.perf_counter()
            self.hasty.send(get())
            self.assertEqual(200, self.hasty.response().status)
            seconds.append(time.perf_counter() - began)
        return statistics.median(seconds)

    def attack(self, begin: Callable[[Wire], object], dawdle: Callable[[Wire], object], ready: Callable[[], object]) -> None:
        """Let all attackers ``begin``, and ``dawdle`` again and again while the client in a hurry is served."""
        attackers: List[Wire] = [self.connect(receive_bytes=4096) for _ in range(ATTACKERS)]
        for attacker in attackers:
            begin(attacker)
        wait_for(ready, "all attackers")
        stop = threading.Event()

        def go_on() -> None:
            while not stop.wait(ROUND_S):
                for attacker in attackers:
                    dawdle(attacker)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            during_s = self.median_s(3 * ROUND_S)
            held = self.resident_bytes() - self.resident
            self.proxy.has(in_flight=0, queue_length=0, slots=2)
            self.assertEqual(ATTACKERS + 1, self.proxy.status()["connections"]["client"], "nobody was cut off")
        finally:
            stop.set()
            thread.join()
        for attacker in attackers:
            attacker.reset()
        wait_for(lambda: self.proxy.status()["connections"]["client"] == 1, "the end of all attackers")
        after_s = self.median_s()
        self.assertLess(during_s, 3 * max(self.before_s, after_s) + 0.002)
        self.assertLess(held, MEMORY + SHARED + OVERHEAD)

    def test_slow_heads(self) -> None:
        """Heads that never end: no memory, no slot."""
        self.attack(
            lambda attacker: attacker.send(get("/", "X-Slow: ")[:-4]),
            lambda attacker: attacker.send(b"x"),
            lambda: self.proxy.status()["connections"]["client"] == ATTACKERS + 1,
        )
        self.assertEqual({"/"}, set(self.recorder.targets))

    def test_slow_bodies(self) -> None:
        """Bodies that never end: a little memory, a file for each that finds no shared memory, no slot."""
        head = get("/slow", "Content-Length: 1000000", method="POST")
        self.attack(
            lambda attacker: attacker.send(head + b"x" * LARGE),
            lambda attacker: attacker.send(b"x"),
            lambda: self.proxy.descriptors() > 2 * ATTACKERS - ATTACKERS // 3,
        )
        self.assertEqual({"/"}, set(self.recorder.targets))

    def test_slow_readers(self) -> None:
        """Answers that nobody takes: they wait in the kernel, in a little memory and in files; the slots are free at once."""
        self.attack(
            lambda attacker: attacker.send(get("/large")),
            lambda attacker: attacker.connection.recv(250),
            lambda: self.recorder.targets.count("/large") == ATTACKERS and self.proxy.pool()["in_flight"] == 0,
        )
        seconds = self.proxy.metric("xproxy_response_seconds_sum", pool="default")
        self.assertLess(seconds, 10.0, "slots are held for the service time, not for the reading time")
