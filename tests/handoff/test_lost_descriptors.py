"""A lease whose descriptor does not arrive, because the proxy has none left: it costs that lease, and nothing else."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, List, Tuple

from twisted.internet.protocol import Factory, Protocol

from tests.doubles.handoff import HELLO_ANSWER, HandoffTestCase, no_descriptor_left, reactor, until
from tests.doubles.holders import RecordingHolder
from xproxy.handoff import acceptor_connection
from xproxy.handoff.boxes import BoxReader, encode_box
from xproxy.handoff.client import HandoffClient
from xproxy.handoff.messages import Ask, Hello, LeaseClosed, LeaseGranted, Message, Ping, Pong, decode, encode, encode_answer
from xproxy.net.descriptors import SystemDescriptors


class _Acceptor(Protocol):
    """Answers Hello, and remembers what else it is told."""

    def __init__(self, table: int) -> None:
        self.table = table
        self.heard: List[Message] = []
        self.reader = BoxReader(4096)
        self.over = False

    def fileDescriptorReceived(self, descriptor: int) -> None:
        os.close(descriptor)

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        for box in self.reader.feed(data):
            message = decode(box)
            if isinstance(message, Hello):
                transport.sendFileDescriptor(self.table)
                transport.write(encode_box(encode_answer(box[b"_ask"], HELLO_ANSWER)))
            elif not isinstance(message, (Ping, Pong)):
                self.heard.append(message)

    def grant(self, lease: int, ordinal: int, *descriptors: int) -> None:
        transport: Any = self.transport
        for descriptor in descriptors:
            transport.sendFileDescriptor(descriptor)
        transport.write(encode_box(encode(LeaseGranted("default", lease, "x", ordinal + 1))))

    def connectionLost(self, reason: Any = None) -> None:
        self.over = True


class LostDescriptorTests(HandoffTestCase):
    """What the proxy says, and goes on doing."""

    async def begin(self) -> Tuple[RecordingHolder, HandoffClient, _Acceptor]:
        """A proxy that is connected and asks for one slot."""
        made: List[_Acceptor] = []

        def build(_: Any) -> _Acceptor:
            made.append(_Acceptor(self.table()))
            return made[-1]

        factory: Any = Factory()
        factory.buildProtocol = build
        port = reactor.listenUNIX(self.path, factory)
        self.addCleanup(port.stopListening)
        holder = RecordingHolder()
        self.holders.append(holder)
        client = HandoffClient(reactor, self.path, holder, lambda attempt: 0.001)
        holder.source = client
        client.startService()
        self.services.append(client)
        await holder.until(lambda: "found" in holder.events)
        holder.ask(1.0)
        await until(lambda: made[0].heard)
        self.assertEqual(made[0].heard, [Ask("default", 1, 0)])
        return holder, client, made[0]

    def pair(self) -> Tuple[socket.socket, socket.socket]:
        pair = socket.socketpair()
        self.sockets += pair
        return pair

    async def test_the_lease_is_closed_and_another_asked_for(self) -> None:
        holder, client, acceptor = await self.begin()
        acceptor.grant(7, 0)
        await until(lambda: len(acceptor.heard) == 3)
        self.assertEqual(acceptor.heard[1:], [LeaseClosed(7), Ask("default", 1, 1)])
        self.assertEqual(len(client.spare), 0)
        acceptor.grant(0, 1, self.pair()[0].fileno())
        await holder.until(lambda: holder.grants)
        holder.ask()
        await until(lambda: len(acceptor.heard) == 4)
        self.assertEqual(acceptor.heard[3], Ask("default", 0, 2))
        self.assertEqual((holder.events, acceptor.over), (["found"], False))
        self.assertEqual(len([line for line in self.lines if "no descriptor is left" in line]), 1)

    async def test_without_spare_ones_another_is_asked_for_later(self) -> None:
        """Else slots would be closed as fast as they can be granted."""
        self.patch(acceptor_connection, "ASK_AGAIN_S", 3600)
        _, client, acceptor = await self.begin()
        client.spare.release()
        acceptor.grant(7, 0)
        acceptor.grant(8, 1)
        await until(lambda: len(acceptor.heard) == 3)
        client.ask("default", 2, 0)
        await until(lambda: len(acceptor.heard) == 4)
        self.assertEqual(acceptor.heard[1:], [LeaseClosed(7), LeaseClosed(8), Ask("default", 2, 0)])
        (later,) = [call for call in reactor.getDelayedCalls() if call.getTime() - reactor.seconds() > 3000]
        later.reset(0)
        await until(lambda: len(acceptor.heard) == 5)
        self.assertEqual(acceptor.heard[4], Ask("default", 2, 2))

    async def test_at_the_limit_of_the_process(self) -> None:
        """The kernel drops the first one without an error; there is room for the second, which is not taken for the first."""
        holder, _, acceptor = await self.begin()
        first, second = self.pair(), self.pair()
        with no_descriptor_left():
            acceptor.grant(0, 0, first[0].fileno())
            acceptor.grant(1, 1, second[0].fileno())
            await until(lambda: acceptor.over or (holder.grants and LeaseClosed(0) in acceptor.heard))
        self.assertEqual((holder.grants, holder.events, acceptor.over), ([("default", 1, "x")], ["found"], False))
        second[1].sendall(b"second")
        self.assertEqual(holder.sockets[1].recv(10), b"second")

    async def test_a_lease_that_can_not_be_used_for_want_of_one(self) -> None:
        """The holder closes it at once; then there is a spare one for the next."""
        holder, client, acceptor = await self.begin()
        holder.on_grant = lambda pool, lease: holder.close_lease(lease)
        acceptor.grant(0, 0, self.pair()[0].fileno())
        await holder.until(lambda: len(holder.grants) == 1)
        self.assertGreater(len(client.spare), 0)

        def none(_: SystemDescriptors) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(SystemDescriptors, "spare", none)
        acceptor.grant(0, 1, self.pair()[0].fileno())
        await holder.until(lambda: len(holder.grants) == 2)
        self.assertEqual(len(client.spare), 0)
