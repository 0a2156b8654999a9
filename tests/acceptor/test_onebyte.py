"""The paper's protocol, from clients in plain Python."""

from __future__ import annotations

import os
import socket
from typing import List

import attr

from tests.doubles.handoff import HandoffTestCase, ended, readable, receive_slot, soon, until
from xproxy.acceptor import handoff_server, onebyte
from xproxy.acceptor.acceptor_service import AcceptorService
from xproxy.config import PoolConfig

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BODY = 8 << 20
"""More than all buffers on the way."""


class OneByteTestCase(HandoffTestCase):
    """Clients in plain Python."""

    async def take(self, client: socket.socket) -> socket.socket:
        """Ask for a slot and receive it; closed at the end of the test."""
        client.sendall(b"\x80")
        await until(lambda: readable(client))
        slot = receive_slot(client)
        self.sockets.append(slot)
        return slot

    def patch_wait(self, acceptor: AcceptorService, seconds: float) -> None:
        """How long clients wait for a slot."""
        config = acceptor.acceptor.config
        acceptor.acceptor.config = attr.evolve(config, acceptor=attr.evolve(config.acceptor, one_byte_timeout=seconds))


class OneByteTests(OneByteTestCase):
    """Bytes, descriptors, and who waits."""

    async def test_a_working_slot(self) -> None:
        acceptor = self.start_acceptor()
        (service,) = await self.slots(acceptor, 1)
        slot = await self.take(self.plain())
        self.assertFalse(os.get_blocking(slot.fileno()))
        slot.sendall(GET)
        await until(lambda: readable(service))
        self.assertEqual(service.recv(100), GET)
        service.sendall(OK)
        await until(lambda: readable(slot))
        self.assertEqual(slot.recv(100), OK)
        self.assertEqual(acceptor.acceptor.books["default"].lent, 1)

    async def test_several_at_once(self) -> None:
        """One byte after the other is answered, as slots come."""
        acceptor = self.start_acceptor()
        book = acceptor.acceptor.books["default"]
        await self.slots(acceptor, 2)
        client = self.plain()
        client.sendall(b"\x80" * 5)
        await until(lambda: book.lent == 2 and book.waiting == 1)
        for _ in range(5):
            await until(lambda: readable(client))
            receive_slot(client).close()
        await until(lambda: book.idle == 2)

    async def test_it_waits_for_a_slot(self) -> None:
        acceptor = self.start_acceptor()
        self.patch_wait(acceptor, 30.0)
        clients = [self.plain(), self.plain()]
        for client in clients:
            client.sendall(b"\x80\x80")
        await until(lambda: acceptor.acceptor.books["default"].waiting == 2)
        (service,) = await self.slots(acceptor, 1)
        for _ in range(4):
            await until(lambda: any(map(readable, clients)))
            receive_slot(next(filter(readable, clients))).close()
        self.assertFalse(readable(service))

    async def test_it_waits_no_longer_than_the_timeout(self) -> None:
        """Not as long as a request in the pool's line: its whole worker stands still."""
        acceptor = self.start_acceptor(PoolConfig("first", slots=("tcp:0:interface=127.0.0.1",), queue_timeout=100.0))
        client = self.plain()
        client.sendall(b"\x80")
        await until(lambda: ended(client))
        self.assertEqual(acceptor.acceptor.books["first"].waiting, 0)

    async def test_the_pool_is_the_one_named_default(self) -> None:
        acceptor = self.start_acceptor(PoolConfig("a"), PoolConfig("default"))
        self.patch_wait(acceptor, 30.0)
        self.plain().sendall(b"\x80")
        await until(lambda: acceptor.acceptor.books["default"].waiting == 1)
        self.assertEqual(acceptor.acceptor.books["a"].waiting, 0)

    async def test_it_leaves_while_it_waits(self) -> None:
        acceptor = self.start_acceptor()
        self.patch_wait(acceptor, 30.0)
        book = acceptor.acceptor.books["default"]
        client = self.plain()
        client.sendall(b"\x80\x80")
        await until(lambda: book.waiting == 1)
        client.close()
        await until(lambda: book.waiting == 0)
        await self.slots(acceptor, 1)
        self.assertEqual(book.idle, 1)

    async def test_a_loan_outlives_its_connection(self) -> None:
        """The client may hang up on us and go on with what it has."""
        acceptor = self.start_acceptor()
        (service,) = await self.slots(acceptor, 1)
        client = self.plain()
        slot = await self.take(client)
        client.close()
        await until(lambda: acceptor.acceptor.lending.clients == 0)
        slot.sendall(GET)
        await until(lambda: readable(service))
        self.assertEqual(acceptor.acceptor.books["default"].lent, 1)
        slot.close()
        await until(lambda: acceptor.acceptor.books["default"].registered == 0)

    async def test_other_bytes(self) -> None:
        self.start_acceptor()
        for data in (b"\x80G", b"\x80\x00", b"\x80" * 65):
            client = self.plain()
            client.sendall(data)
            await until(lambda: ended(client))  # noqa: B023

    async def test_the_acceptor_stops_while_it_waits(self) -> None:
        acceptor = self.start_acceptor()
        self.patch_wait(acceptor, 30.0)
        client = self.plain()
        client.sendall(b"\x80")
        await until(lambda: acceptor.acceptor.books["default"].waiting == 1)
        await self.stop(acceptor)
        await until(lambda: ended(client))

    async def test_a_dead_slot_is_not_handed_out(self) -> None:
        acceptor = self.start_acceptor()
        book = acceptor.acceptor.books["default"]
        dead, live = await self.slots(acceptor, 2)
        client = self.plain()
        dead.close()
        for number in range(3):
            slot = await self.take(client)
            slot.sendall(GET)
            await until(lambda: readable(live))
            live.recv(100)
            live.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
            await until(lambda: readable(slot))  # noqa: B023
            slot.close()
            await until(lambda: book.idle == 1)
        self.assertEqual(book.registered, 1)


class PaceTests(OneByteTestCase):
    """One side is slower than the other: what is under way is bounded."""

    async def send(self, sender: socket.socket, data: bytes) -> int:
        """Send as much of this as is taken; returns how much when nothing has been for a while."""
        sent = idle = 0
        while sent < len(data) and idle < 20:
            try:
                sent += sender.send(data[sent : sent + 65536])
                idle = 0
            except BlockingIOError:
                idle += 1
            await soon()
        return sent

    async def drain(self, receiver: socket.socket, size: int) -> None:
        """Receive so much."""
        while size:
            try:
                size -= len(receiver.recv(min(size, 65536)))
            except BlockingIOError:
                await soon()

    async def test_a_slow_client(self) -> None:
        acceptor = self.start_acceptor()
        (service,) = await self.slots(acceptor, 1)
        slot = await self.take(self.plain())
        slot.sendall(GET)
        await until(lambda: readable(service))
        body = bytes(BODY)
        service.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BODY)
        sent = await self.send(service, body)
        self.assertLess(sent, BODY)
        await self.drain(slot, sent)
        rest = await self.send(service, body[sent:])
        while rest:
            await self.drain(slot, rest)
            sent += rest
            rest = await self.send(service, body[sent:])
        self.assertEqual(sent, BODY)
        slot.close()
        await until(lambda: acceptor.acceptor.books["default"].lent == 0)

    async def test_a_slow_service(self) -> None:
        acceptor = self.start_acceptor()
        await self.slots(acceptor, 1)
        slot = await self.take(self.plain())
        slot.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % BODY)
        sent = await self.send(slot, bytes(BODY))
        self.assertLess(sent, BODY)
        slot.close()
        await until(lambda: acceptor.acceptor.books["default"].registered == 0)

    async def test_an_answer_that_comes_before_the_request_was_taken(self) -> None:
        """The service has not read all of the request: what it reads next would be the rest of it."""
        acceptor = self.start_acceptor()
        (service,) = await self.slots(acceptor, 1)
        slot = await self.take(self.plain())
        size = 600_000
        slot.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        service.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        if await self.send(slot, bytes(size)) < size:
            return  # The kernel's buffers are smaller here: then the request is not even whole.
        service.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        await until(lambda: readable(slot))
        slot.close()
        await until(lambda: acceptor.acceptor.books["default"].lent == 0)


class BoundTests(OneByteTestCase):
    """How many there may be, and for how long."""

    async def test_no_more_than_leave_room_for_proxies(self) -> None:
        self.patch(handoff_server, "MAX_ONE_BYTE", 2)
        acceptor = self.start_acceptor()
        await self.slots(acceptor, 3)
        clients = [self.plain() for _ in range(2)]
        for client in clients:
            await self.take(client)
        late = self.plain()
        late.sendall(b"\x80")
        await until(lambda: ended(late))
        await self.proxy()

    async def test_who_asks_for_nothing_is_closed(self) -> None:
        self.patch(handoff_server, "REST_LOOK_S", 0.01)
        self.patch(handoff_server, "RESTING_S", 0.05)
        acceptor = self.start_acceptor()
        self.patch_wait(acceptor, 30.0)
        waiting, resting = self.plain(), self.plain()
        (service,) = await self.slots(acceptor, 1)
        await self.take(resting)
        waiting.sendall(b"\x80")
        await until(lambda: ended(resting))
        self.assertFalse(ended(waiting))
        self.assertFalse(readable(service))

    async def test_strangers_cant_shut_us_out(self) -> None:
        self.patch(handoff_server, "MAX_FOREIGN", 2)
        users = iter([12345, 12345, 12345, os.geteuid(), 54321])
        self.patch(handoff_server, "peer_user", lambda connection: next(users))
        acceptor = self.start_acceptor()
        await self.slots(acceptor, 5)
        lending = acceptor.acceptor.lending
        opened: List[bool] = []
        for _ in range(5):
            client = self.plain()
            client.sendall(b"\x80")
            await until(lambda: lending.clients > opened.count(True) or ended(client))  # noqa: B023
            opened.append(not ended(client))
        self.assertEqual(opened, [True, True, False, True, True])

    def test_the_paper_says_connect_when_needed(self) -> None:
        self.assertGreater(onebyte.RESTING_S, handoff_server.REST_LOOK_S)
