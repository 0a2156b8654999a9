"""What plain transports can do beyond their interfaces, on real socket pairs."""

from __future__ import annotations

import os
import socket
from typing import Any, List, Tuple

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from xproxy.net.plain import hear_last_words, is_quiet, plain_below, unreceived_bytes, write_at_once

reactor: Any = _reactor


@implementer(IHalfCloseableProtocol)
class Ends(Protocol):
    """Notes what happens, in order."""

    transport: Any

    def __init__(self) -> None:
        self.events: List[Any] = []
        self.over: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)

    def readConnectionLost(self) -> None:
        self.events.append("end")

    def writeConnectionLost(self) -> None:
        self.events.append("our end")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.events.append(reason.value.__class__.__name__)
        self.over.callback(None)


class PlainTestCase(TestCase):
    """A transport of the reactor's, and the socket at its other end."""

    timeout = 10
    family = socket.AF_INET

    async def pair(self) -> Tuple[Ends, socket.socket]:
        listening = socket.socket(self.family, socket.SOCK_STREAM)
        self.addCleanup(listening.close)
        if self.family == socket.AF_INET:
            listening.bind(("127.0.0.1", 0))
        else:
            path = self.mktemp()[-60:].replace("/", "_")
            listening.bind(path)
            self.addCleanup(os.unlink, path)
        listening.listen(1)
        far = socket.socket(self.family, socket.SOCK_STREAM)
        self.addCleanup(far.close)
        far.connect(listening.getsockname())
        near, _ = listening.accept()
        near.setblocking(False)
        factory: Any = ServerFactory.forProtocol(Ends)
        factory.noisy = False
        ends = Ends()
        factory.buildProtocol = lambda addr: ends
        with near:
            reactor.adoptStreamConnection(near.fileno(), self.family, factory)
        self.addCleanup(self.close, ends)
        return ends, far

    def close(self, ends: Ends) -> Any:
        if not ends.over.called:
            ends.transport.abortConnection()
        return ends.over


class PlainTests(PlainTestCase):
    """Over TCP."""

    async def test_write_at_once(self) -> None:
        ends, far = await self.pair()
        write_at_once(ends.transport, b"now")
        far.setblocking(False)
        self.assertEqual(far.recv(10), b"now")

    async def test_in_order(self) -> None:
        """What waits goes first, what the kernel does not take follows."""
        ends, far = await self.pair()
        ends.transport.write(b"a")
        write_at_once(ends.transport, b"b")
        write_at_once(ends.transport, b"c")
        expected = b"abc"
        while not ends.transport.dataBuffer or expected == b"abc":
            write_at_once(ends.transport, b"d" * 1_000_000)
            expected += b"d" * 1_000_000
            await deferLater(reactor, 0)
        write_at_once(ends.transport, b"e")
        expected += b"e"
        far.setblocking(False)
        received = b""
        while len(received) < len(expected):
            try:
                received += far.recv(1_000_000)
            except BlockingIOError:
                await deferLater(reactor, 0)
        self.assertEqual(received, expected)

    async def test_nothing_after_the_end(self) -> None:
        ends, far = await self.pair()
        ends.transport.loseWriteConnection()
        write_at_once(ends.transport, b"late")
        while "our end" not in ends.events:
            await deferLater(reactor, 0)
        write_at_once(ends.transport, b"too late")
        self.assertEqual((far.recv(100), far.recv(100)), (b"late", b""))

    async def test_quiet(self) -> None:
        ends, far = await self.pair()
        ends.transport.pauseProducing()
        self.assertTrue(is_quiet(ends.transport))
        far.send(b"x")
        self.assertFalse(is_quiet(ends.transport))
        ends.transport.resumeProducing()
        while not ends.events:
            await deferLater(reactor, 0)
        ends.transport.pauseProducing()
        self.assertTrue(is_quiet(ends.transport))
        far.close()
        self.assertFalse(is_quiet(ends.transport))
        transport = ends.transport
        transport.abortConnection()
        await ends.over
        self.assertFalse(is_quiet(transport))

    def last_words(self, ends: Ends, far: socket.socket) -> None:
        """The other end has something to say, and closes; nobody has read what we sent."""
        write_at_once(ends.transport, b"unread")
        far.send(b"last words")
        far.close()

    async def test_last_words(self) -> None:
        ends, far = await self.pair()
        hear_last_words(ends.transport)
        ends.transport.pauseProducing()
        self.last_words(ends, far)
        ends.transport.write(b"x")  # Fails before anything is read.
        await ends.over
        self.assertEqual(ends.events[0], b"last words")
        self.assertEqual(ends.events[-1], "ConnectionLost")
        self.assertNotIn("connectionLost", vars(ends.transport or object))

    async def test_without_them(self) -> None:
        """An orderly end, and one by us, are told as always."""
        ends, far = await self.pair()
        hear_last_words(ends.transport)
        ends.transport.abortConnection()
        far.send(b"x")
        await ends.over
        self.assertEqual(ends.events, ["ConnectionAborted"])
        ends, far = await self.pair()
        hear_last_words(ends.transport)
        ends.transport.loseConnection()
        await ends.over
        self.assertEqual(ends.events, ["ConnectionDone"])

    async def test_unreceived(self) -> None:
        """The other end closes; what was sent after that is never acknowledged, what was sent before is."""
        ends, far = await self.pair()
        write_at_once(ends.transport, b"1234")
        while unreceived_bytes(ends.transport):
            await deferLater(reactor, 0)
        self.assertEqual(far.recv(4), b"1234")
        ends.transport.pauseProducing()
        far.close()
        self.assertEqual(unreceived_bytes(ends.transport), 0)
        write_at_once(ends.transport, b"12345")
        self.assertEqual(unreceived_bytes(ends.transport), 5)
        write_at_once(ends.transport, b"67")
        self.assertEqual(unreceived_bytes(ends.transport), 7)


class UNIXTests(PlainTestCase):
    """Over a UNIX socket."""

    family = socket.AF_UNIX

    async def test_unreceived(self) -> None:
        """What the kernel has taken may have been read."""
        ends, far = await self.pair()
        write_at_once(ends.transport, b"1234")
        self.assertEqual(unreceived_bytes(ends.transport), 0)
        ends.transport.pauseProducing()
        far.recv(4)
        far.close()
        self.assertFalse(is_quiet(ends.transport))
        write_at_once(ends.transport, b"12345")
        self.assertEqual(unreceived_bytes(ends.transport), 5)

    async def test_last_words(self) -> None:
        ends, far = await self.pair()
        hear_last_words(ends.transport)
        ends.transport.pauseProducing()
        far.send(b"last words")
        far.close()
        ends.transport.write(b"x")
        await ends.over
        self.assertEqual(ends.events, [b"last words", "end", "ConnectionLost"])


class OtherTransportTests(TestCase):
    """In memory: nothing below."""

    def test_memory(self) -> None:
        transport = StringTransport()
        self.assertIsNone(plain_below(transport))
        write_at_once(transport, b"x")
        hear_last_words(transport)
        self.assertEqual((transport.value(), is_quiet(transport), unreceived_bytes(transport)), (b"x", True, 0))
