"""A proxy in a process of its own: leases two slots, puts an exchange on the first, says so, and waits to be killed.

Run with the path of the handoff socket.
"""

from __future__ import annotations

import sys
import time

from twisted.internet import reactor

from tests.doubles.holders import RecordingHolder
from xproxy.handoff.client import HandoffClient


class Victim(RecordingHolder):
    """Asks for two, and says when it has them."""

    def acceptor_found(self) -> None:
        self.ask(time.monotonic(), time.monotonic())

    def lease_granted(self, pool: str, lease: int, descriptor: int, service: str) -> None:
        super().lease_granted(pool, lease, descriptor, service)
        if len(self.grants) == 2:
            assert self.source is not None
            self.source.board[0] = 1
            self.sockets[0].sendall(b"POST /")
            print("ready", flush=True)


victim = Victim()
victim.source = client = HandoffClient(reactor, sys.argv[1], victim)
client.startService()
reactor.run()
