"""The paper's protocol, from clients in plain Python."""

from __future__ import annotations

from tests.doubles.handoff import HandoffTestCase, ended, readable, receive_slot, until
from xproxy.config import PoolConfig


class OneByteTests(HandoffTestCase):
    """The paper's protocol, from a client in plain Python."""

    async def test_a_working_slot(self) -> None:
        acceptor = self.start_acceptor()
        (service,) = await self.slots(acceptor, 1)
        client = self.plain()
        client.sendall(b"\x80")
        await until(lambda: readable(client))
        with receive_slot(client) as slot:
            slot.sendall(b"GET / HTTP/1.0\r\n\r\n")
            await until(lambda: readable(service))
            self.assertEqual(service.recv(100), b"GET / HTTP/1.0\r\n\r\n")
            service.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            self.assertEqual(slot.recv(100), b"HTTP/1.0 200 OK\r\n\r\n")
        self.assertEqual(acceptor.census()["default"]["shared"], 1)

    async def test_several_at_once(self) -> None:
        acceptor = self.start_acceptor()
        services = await self.slots(acceptor, 2)
        client = self.plain()
        client.sendall(b"\x80" * 5)
        for number in range(5):
            await until(lambda: readable(client))
            with receive_slot(client) as slot:
                slot.sendall(b"%d" % number)
        await until(lambda: all(map(readable, services)))
        self.assertEqual([service.recv(10) for service in services], [b"024", b"13"])

    async def test_it_waits_for_a_slot(self) -> None:
        acceptor = self.start_acceptor()
        clients = [self.plain(), self.plain()]
        for client in clients:
            client.sendall(b"\x80\x80")
        await until(lambda: acceptor.census()["default"]["waiting"] == 2)
        (service,) = await self.slots(acceptor, 1)
        for client in clients:
            for _ in range(2):
                await until(lambda: readable(client))  # noqa: B023
                receive_slot(client).close()
        self.assertFalse(readable(service))

    async def test_it_waits_no_longer_than_the_queue_timeout(self) -> None:
        acceptor = self.start_acceptor(
            PoolConfig("first", slots=("tcp:0:interface=127.0.0.1",), queue_timeout=0.01),
            PoolConfig("second", queue_timeout=100.0),
        )
        client = self.plain()
        client.sendall(b"\x80")
        await until(lambda: ended(client))
        self.assertEqual(acceptor.census()["first"]["waiting"], 0)

    async def test_the_pool_is_the_one_named_default(self) -> None:
        acceptor = self.start_acceptor(PoolConfig("a"), PoolConfig("default"))
        self.plain().sendall(b"\x80")
        await until(lambda: acceptor.census()["default"]["waiting"] == 1)
        self.assertEqual(acceptor.census()["a"]["waiting"], 0)

    async def test_it_leaves_while_it_waits(self) -> None:
        acceptor = self.start_acceptor()
        client = self.plain()
        client.sendall(b"\x80\x80")
        await until(lambda: acceptor.census()["default"]["waiting"] == 1)
        client.close()
        await until(lambda: acceptor.census()["default"]["waiting"] == 0)
        await self.slots(acceptor, 1)
        self.assertEqual(acceptor.census()["default"]["idle"], 1)

    async def test_other_bytes(self) -> None:
        self.start_acceptor()
        for data in (b"\x80G", b"\x80\x00", b"\x80" * 65):
            client = self.plain()
            client.sendall(data)
            await until(lambda: ended(client))  # noqa: B023

    async def test_the_acceptor_stops_while_it_waits(self) -> None:
        acceptor = self.start_acceptor()
        client = self.plain()
        client.sendall(b"\x80")
        await until(lambda: acceptor.census()["default"]["waiting"] == 1)
        await self.stop(acceptor)
        await until(lambda: ended(client))

    async def test_a_dead_slot_is_not_handed_out(self) -> None:
        acceptor = self.start_acceptor()
        dead, live = await self.slots(acceptor, 2)
        client = self.plain()
        client.sendall(b"\x80\x80")
        await until(lambda: acceptor.census()["default"]["shared"] == 2)
        for _ in range(2):
            await until(lambda: readable(client))
            receive_slot(client).close()
        dead.close()
        for _ in range(3):
            client.sendall(b"\x80")
            await until(lambda: readable(client))
            with receive_slot(client) as slot:
                slot.sendall(b"x")
        await until(lambda: readable(live))
        self.assertEqual(live.recv(10), b"xxx")
        self.assertEqual(acceptor.census()["default"]["slots"], 1)
