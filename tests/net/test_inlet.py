"""The read side of a connection."""

from __future__ import annotations

import socket
from typing import Any, List

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Server
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from xproxy.net.inlet import MAX_READ_BYTES, Inlet


class _Reactor(Clock):
    """What a transport asks of a reactor that is not there."""

    def addReader(self, reader: Any) -> None:
        """Nobody reads but the test."""

    removeReader = removeWriter = addWriter = addReader


class InletTests(SynchronousTestCase):
    """Over one end of a socket pair."""

    def setUp(self) -> None:
        near, self.far = socket.socketpair()
        self.addCleanup(self.far.close)
        self.addCleanup(near.close)
        self.transport = Server(near, Protocol(), ("", 0), None, 0, _Reactor())  # type: ignore[arg-type]
        self.received: List[bytes] = []
        self.inlet = Inlet(self.transport, self.received.append, 1000)

    def test_reads_what_is_there(self) -> None:
        """Each read is copied out before the next one: the buffer is everybody's."""
        self.far.sendall(b"one")
        self.assertIsNone(self.transport.doRead())
        self.far.sendall(b"two!")
        self.assertIsNone(self.transport.doRead())
        self.assertEqual([b"one", b"two!"], self.received)

    def test_size(self) -> None:
        """No more than ``size`` at a time."""
        self.far.sendall(b"x" * 1500)
        self.transport.doRead()
        self.inlet.size = MAX_READ_BYTES
        self.transport.doRead()
        self.assertEqual([1000, 500], [len(data) for data in self.received])

    def test_nothing_there(self) -> None:
        """A wake-up for nothing is nothing."""
        self.assertIsNone(self.transport.doRead())
        self.assertEqual([], self.received)

    def test_end(self) -> None:
        """EOF."""
        self.far.shutdown(socket.SHUT_WR)
        self.assertIs(CONNECTION_DONE, self.transport.doRead())

    def test_error(self) -> None:
        """A socket that can't be read is a lost connection."""
        self.transport.socket.close()
        self.assertIs(CONNECTION_LOST, self.transport.doRead())

    def test_lend(self) -> None:
        """Somebody else reads for a while."""
        self.far.sendall(b"x")
        self.inlet.lend(lambda: "theirs")
        self.assertEqual("theirs", self.transport.doRead())
        self.inlet.open()
        self.transport.doRead()
        self.assertEqual([b"x"], self.received)

    def test_close(self) -> None:
        """Nothing of it is left at the transport, and nothing comes back."""
        self.inlet.close()
        self.assertNotIn("doRead", vars(self.transport))
        self.inlet.open()
        self.inlet.lend(lambda: None)
        self.assertNotIn("doRead", vars(self.transport))

    def test_other_transports(self) -> None:
        """What is no plain connection reads for itself."""
        transport = StringTransport()
        Inlet(transport, self.received.append, 1000).lend(lambda: None)
        self.assertFalse(hasattr(transport, "doRead"))
