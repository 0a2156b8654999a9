"""Descriptors on their way: the right ones arrive, and all are closed."""

from __future__ import annotations

import os
import socket
import tempfile
from typing import Any, List, Tuple

from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.doubles.handoff import HandoffTestCase, ended, reactor, readable, soon, until
from xproxy.handoff import outbox as outbox_module
from xproxy.handoff.outbox import Outbox


class OutboxTests(HandoffTestCase):
    """Outbox on a real transport."""

    async def connect(self) -> Tuple[Any, Outbox, socket.socket]:
        """An outbox's transport, the outbox, and a plain socket at the other end."""
        self.overflows = 0
        made: List[Any] = []

        class Sender(Protocol):
            def connectionMade(self) -> None:
                made.append(self)

            def connectionLost(self, reason: Any = None) -> None:
                outbox.close()

        port = reactor.listenUNIX(self.path, Factory.forProtocol(Sender))
        self.addCleanup(port.stopListening)
        plain = self.plain()
        await until(lambda: made)
        transport = made[0].transport

        def overflowed() -> None:
            self.overflows += 1

        outbox = Outbox(transport, overflowed)
        self.addCleanup(transport.abortConnection)
        return transport, outbox, plain

    def file(self, content: bytes) -> int:
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.flush()
            return os.dup(file.fileno())

    def content(self, plain: socket.socket) -> Tuple[bytes, List[bytes]]:
        data, fds, _, _ = socket.recv_fds(plain, 65536, 64)
        contents = []
        for descriptor in fds:
            contents.append(os.pread(descriptor, 100, 0))
            os.close(descriptor)
        return data, contents

    async def test_interface(self) -> None:
        verifyObject(IPullProducer, (await self.connect())[1])

    async def test_it_arrives_and_is_closed(self) -> None:
        _, outbox, plain = await self.connect()
        descriptor = self.file(b"one")
        outbox.send(b"box", descriptor)
        os.fstat(descriptor)  # Not written yet, so not closed yet.
        await until(lambda: readable(plain))
        data, contents = self.content(plain)
        self.assertEqual((data[:1], contents), (b"b", [b"one"]))
        await soon()
        self.assertRaises(OSError, os.fstat, descriptor)

    async def test_a_number_is_not_used_again_before_it_is_written(self) -> None:
        """The hazard: files that are opened between send and write must not take the number that is on its way."""
        transport, outbox, plain = await self.connect()
        transport.stopWriting()
        numbers = [self.file(b"right %d" % number) for number in range(3)]
        for number in numbers:
            outbox.send(b"x", number)
        later = [self.file(b"wrong") for _ in range(3)]
        self.assertEqual(set(later) & set(numbers), set())
        for number in later:
            os.close(number)
        found: List[bytes] = []
        while len(found) < 3:
            await until(lambda: readable(plain))
            found += self.content(plain)[1]
        self.assertEqual(found, [b"right 0", b"right 1", b"right 2"])

    async def test_behind_many_bytes_that_are_not_read(self) -> None:
        """It is kept until the peer has made room, then sent with its own bytes, and closed."""
        _, outbox, plain = await self.connect()
        filling = b"f" * 1000000
        outbox.send(filling)
        await soon()
        descriptor = self.file(b"late")
        outbox.send(b"!", descriptor)
        for _ in range(5):
            await soon()
            os.fstat(descriptor)
        received, found = b"", []
        while not received.endswith(b"!"):
            await until(lambda: readable(plain))
            data, contents = self.content(plain)
            received += data
            found += contents
        self.assertEqual((len(received), found), (1000001, [b"late"]))
        await soon()
        self.assertRaises(OSError, os.fstat, descriptor)

    async def test_the_peer_is_lost_first(self) -> None:
        transport, outbox, plain = await self.connect()
        outbox.send(b"f" * 1000000)
        descriptor = self.file(b"never")
        outbox.send(b"!", descriptor)
        plain.close()
        await until(lambda: transport.disconnected)
        self.assertRaises(OSError, os.fstat, descriptor)

    async def test_after_the_end(self) -> None:
        transport, outbox, plain = await self.connect()
        outbox.close()
        descriptor = self.file(b"never")
        outbox.send(b"!", descriptor)
        self.assertRaises(OSError, os.fstat, descriptor)
        outbox.send(b"!")
        await soon()
        self.assertFalse(readable(plain))
        self.assertIsNone(transport.producer)

    async def test_closing_waits_for_what_is_unwritten(self) -> None:
        transport, outbox, plain = await self.connect()
        outbox.send(b"last", self.file(b"words"))
        transport.loseConnection()
        await until(lambda: readable(plain))
        self.assertEqual(self.content(plain)[1], [b"words"])
        await until(lambda: ended(plain))

    async def test_too_many_bytes(self) -> None:
        """One message may be as long as it likes, but nothing comes after it before it is written."""
        self.patch(outbox_module, "MAX_UNWRITTEN_BYTES", 1000)
        _, outbox, _ = await self.connect()
        outbox.send(bytes(1000000))
        self.assertEqual(self.overflows, 0)
        descriptor = self.file(b"never")
        outbox.send(b"x", descriptor)
        self.assertEqual(self.overflows, 1)
        self.assertRaises(OSError, os.fstat, descriptor)
        outbox.send(b"x")
        self.assertEqual(self.overflows, 1)

    async def test_too_many_descriptors(self) -> None:
        _, outbox, _ = await self.connect()
        outbox._most = 3
        for _ in range(5):
            outbox.send(b"x", self.file(b""))
        self.assertEqual(self.overflows, 1)

    async def test_what_is_read_does_not_count(self) -> None:
        self.patch(outbox_module, "MAX_UNWRITTEN_BYTES", 1000)
        _, outbox, plain = await self.connect()
        for _ in range(20):
            outbox.send(bytes(900))
            await until(lambda: readable(plain))
            plain.recv(65536)
            await soon()
        self.assertEqual(self.overflows, 0)


class EmptyTests(SynchronousTestCase):
    """An outbox that never sent anything."""

    def test_close(self) -> None:
        outbox = Outbox(None, lambda: None)
        outbox.close()
        outbox.stopProducing()
        outbox.resumeProducing()
