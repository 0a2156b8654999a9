"""Leases per second through the handoff socket: ask, get a descriptor, close it, give the lease back, ask again.

Run as a process of its own, ``python -m benchmarks.leases PATH PID POOL WINDOW LEASES``, with an interpreter that has xproxy;
PID is the acceptor's. It prints JSON. It speaks the proxies' side of the protocol, but says each ask at once and keeps no
lease: a proxy spaces what is not urgent, and keeps what it has. So what is measured is what the messages cost.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Tuple

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.task import react

from benchmarks.measure import cpu_seconds
from xproxy.handoff.board import make_board
from xproxy.handoff.boxes import Box
from xproxy.handoff.connection import BoxConnection
from xproxy.handoff.messages import (
    ANSWER,
    VERSION,
    Ask,
    GiveBack,
    Hello,
    LeaseGranted,
    LeasesRecalled,
    ServiceRegistered,
    decode,
    decode_answer,
    encode,
)

WARM_UP = 3000
"""Leases before the clock starts: PyPy compiles what it sees often."""

Times = Tuple[float, float, float]
"""Seconds: by the clock, CPU of the acceptor, CPU of this process."""


class Asking(BoxConnection):
    """A proxy's end that does nothing but ask and give back.

    :param acceptor: the process at the other end.
    :param window: how many asks stand at once.
    :ivar finished: fires with the times that so many leases took.
    """

    max_box_bytes = 65536
    max_descriptors = 4096

    def __init__(self, reactor: Any, acceptor: int, pool: str, window: int, leases: int) -> None:
        super().__init__(reactor)
        self.finished: Deferred[Times] = Deferred()
        self._acceptor = acceptor
        self._pool = pool
        self._window = window
        self._seen = 0
        self._last = WARM_UP + leases
        self._began = self._now()

    def _now(self) -> Times:
        return time.monotonic(), cpu_seconds(self._acceptor), time.process_time()

    def connectionMade(self) -> None:
        """Say Hello."""
        super().connectionMade()
        descriptor, self._board = make_board()
        self.send_with_descriptor(lambda ordinal: encode(Hello(VERSION, ordinal), b"1"), descriptor)

    def _ask(self) -> None:
        self.send(encode(Ask(self._pool, self._window, self._seen)))

    def answering(self, answers: bool) -> None:
        """See BoxConnection; nothing is watched here."""

    def box_received(self, box: Box) -> None:
        """The answer to Hello, or a grant; recalls ask for nothing that is kept, and other news for nothing at all."""
        if ANSWER in box:
            os.close(self.claim(decode_answer(box)["tides"]))
            self._ask()
            return
        message = decode(box)
        if isinstance(message, LeaseGranted):
            self._granted(message)
        elif not isinstance(message, (LeasesRecalled, ServiceRegistered)):
            self.drop(f"{message} was not expected")

    def _granted(self, grant: LeaseGranted) -> None:
        os.close(self.claim(grant.slot))
        self.send(encode(GiveBack(grant.lease)))
        self._seen += 1
        if self._seen == WARM_UP:
            self._began = self._now()
        elif self._seen == self._last:
            clock, acceptor, own = (now - then for now, then in zip(self._now(), self._began))
            self.finished.callback((clock, acceptor, own))
        if self._seen < self._last:
            self._ask()

    def ended(self, reason: str) -> None:
        """The connection is gone."""
        if not self.finished.called:
            self.finished.errback(ConnectionError(reason))


async def measure(reactor: Any, path: str, acceptor: int, pool: str, window: int, leases: int) -> None:
    """Lease so often, and print how it went."""
    asking = Asking(reactor, acceptor, pool, window, leases)
    await connectProtocol(UNIXClientEndpoint(reactor, path), asking)
    seconds, of_acceptor, own = await asking.finished
    sys.stdout.write(json.dumps({"leases": leases, "seconds": seconds, "acceptor": of_acceptor, "asking": own}) + "\n")
    asking.drop("done")


if __name__ == "__main__":
    path, pid, pool, window, leases = sys.argv[1:]
    react(lambda reactor: ensureDeferred(measure(reactor, path, int(pid), pool, int(window), int(leases))))
