"""A relay between two memory ends."""

from __future__ import annotations

from typing import List

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tests.doubles.dialling import GET, MemoryAcceptor, Wire
from xproxy.service.endpoint import SlotsServerEndpoint
from xproxy.service.relay_service import RelayService

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
UPLOAD = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello"
"""Its first bytes."""
UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"


class RelayTestCase(TestCase):
    """A relay between two memory ends: ``slots`` are the acceptor's, ``backends`` the connections to the backend."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.acceptor = MemoryAcceptor(self.clock)
        self.backend = MemoryAcceptor(self.clock)
        endpoint = SlotsServerEndpoint(self.clock, self.acceptor, 2)
        self.service = RelayService(self.clock, self.backend, [endpoint], "backend", delay=lambda attempt: 4.0)
        self.service.startService()
        self.clock.advance(0)  # The probe closes.
        self.backend.wires.clear()
        for wire in self.slots:
            wire.clear()

    @property
    def slots(self) -> List[Wire]:
        return self.acceptor.open

    def request(self, data: bytes = GET) -> Wire:
        """Send a request on the first slot; the backend connection that gets it."""
        self.slots[0].deliver(data)
        return self.backend.wires[-1]
