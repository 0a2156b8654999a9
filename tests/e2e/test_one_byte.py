"""A client of the paper's protocol on the handoff socket: one byte asks, one byte and a descriptor answer."""

from __future__ import annotations

import socket
from typing import Sequence

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import Waiting, ask, connect_unix, exchange, receive_slot
from tests.e2e.processes import Xacceptor, Xproxy, configuration
from tests.e2e.services import SlotService

WANTED = b"\x80"
REQUEST = b"GET /one-byte HTTP/1.1\r\nHost: x\r\n\r\n"


class OneByteTests(SynchronousTestCase):
    """An acceptor and clients of the one-byte protocol."""

    def start(self, *lines: str) -> None:
        """Start the acceptor, the pool with these lines of configuration."""
        text = "\n".join(["[pools.default]", 'slots = ["tcp:0:interface=127.0.0.1"]', *lines])
        self.acceptor = Xacceptor(self, "--config", configuration(self, text)).ready()

    def client(self) -> socket.socket:
        """A connection to the handoff socket."""
        connection = connect_unix(self.acceptor.handoff)
        self.addCleanup(connection.close)
        return connection

    def receive(self, client: socket.socket) -> Sequence[socket.socket]:
        """The slots that one answer brings, closed by the test's cleanup."""
        data, slots = receive_slot(client)
        for slot in slots:
            self.addCleanup(slot.close)
        self.assertEqual((b"*", 1), (data, len(slots)))
        return slots

    def assert_works(self, slot: socket.socket) -> None:
        """The descriptor is a connection to the service."""
        slot.sendall(REQUEST)
        self.assertIn(b"GET /one-byte 0 slot", slot.recv(65536))

    def test_working_slot(self) -> None:
        """0x80 is answered by ``*`` and a descriptor on which the service answers, request after request."""
        self.start()
        service = SlotService(self, self.acceptor.slots, 2)
        self.acceptor.has(slots=2)
        client = self.client()
        client.sendall(WANTED)
        (slot,) = self.receive(client)
        self.assert_works(slot)
        self.assert_works(slot)
        self.acceptor.has(slots=2, idle=1, shared=1, leased=0)
        self.assertEqual(2, service.dialled)

    def test_each_byte_is_answered(self) -> None:
        """Bytes sent at once are answered one by one; slots are shared in turn once none is idle."""
        self.start()
        SlotService(self, self.acceptor.slots, 2)
        self.acceptor.has(slots=2)
        client = self.client()
        client.sendall(WANTED * 6)
        for _ in range(6):
            (slot,) = self.receive(client)
            self.assert_works(slot)
        self.acceptor.has(slots=2, idle=0, shared=2)

    def test_waits_for_a_slot(self) -> None:
        """When no slot is there, the client waits for the first that registers."""
        self.start()
        client = self.client()
        client.sendall(WANTED)
        self.acceptor.has(waiting=1, slots=0)
        SlotService(self, self.acceptor.slots, 1)
        (slot,) = self.receive(client)
        self.assert_works(slot)

    def test_waits_no_longer_than_the_queue_timeout(self) -> None:
        """Then its connection is closed: it blocks a whole nginx worker."""
        self.start("queue_timeout = 0.5")
        client = self.client()
        client.sendall(WANTED)
        self.assertEqual((b"", []), receive_slot(client))
        self.acceptor.has(waiting=0)

    def test_dead_slots_are_not_handed_out(self) -> None:
        """A shared slot whose service is gone is found out before it is given to the next client."""
        self.start()
        first = SlotService(self, self.acceptor.slots, 1)
        self.acceptor.has(slots=1)
        client = self.client()
        client.sendall(WANTED)
        self.assert_works(*self.receive(client))
        first.stop()
        SlotService(self, self.acceptor.slots, 1)
        self.acceptor.has(idle=1)
        client.sendall(WANTED * 2)
        for _ in range(2):
            self.assert_works(*self.receive(client))
        self.acceptor.has(slots=1, shared=1)

    def test_beside_a_proxy(self) -> None:
        """A slot given to such a client is never leased; what is idle or leased is shared out by arrival."""
        self.start()
        SlotService(self, self.acceptor.slots, 2)
        proxy = Xproxy(self, "--acceptor", self.acceptor.handoff).ready()
        self.acceptor.has(slots=2)
        client = self.client()
        client.sendall(WANTED)
        (slot,) = self.receive(client)
        for _ in range(4):
            self.assertEqual(200, ask(proxy.http).status)
        self.acceptor.has(slots=2, shared=1, leased=1)
        self.assert_works(slot)

    def test_recalls_a_lease(self) -> None:
        """With the only slot leased, the client gets it when it is free; the proxy's next request waits for another one."""
        self.start()
        SlotService(self, self.acceptor.slots, 1)
        proxy = Xproxy(self, "--acceptor", self.acceptor.handoff).ready()
        self.acceptor.has(slots=1)
        self.assertEqual(200, ask(proxy.http).status)
        client = self.client()
        client.sendall(WANTED)
        self.assert_works(*self.receive(client))
        self.acceptor.has(slots=1, shared=1, leased=0)
        waiting = Waiting(proxy.http)
        proxy.has(queue_length=1)
        SlotService(self, self.acceptor.slots, 1)
        self.assertEqual(200, waiting.response().status)

    def test_anything_else_is_closed(self) -> None:
        """A byte that is not of the protocol ends that connection, and no other."""
        self.start()
        SlotService(self, self.acceptor.slots, 1)
        self.acceptor.has(slots=1)
        good = self.client()
        good.sendall(WANTED)
        self.receive(good)
        self.assertEqual(b"", exchange(self.client(), b"\x80A", half_close=False)[1:])
        good.sendall(WANTED)
        (slot,) = self.receive(good)
        self.assert_works(slot)
