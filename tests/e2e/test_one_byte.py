"""A client of the paper's protocol on the handoff socket: one byte asks, one byte and a descriptor answer."""

from __future__ import annotations

import os
import random
import socket
import threading
from typing import List, Optional, Sequence

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import PATIENCE_S, Waiting, connect_unix, exchange, receive_slot
from tests.e2e.processes import Xacceptor, Xproxy, configuration
from tests.e2e.services import Request, SlotService, respond

WANTED = b"\x80"
REQUEST = b"GET /one-byte HTTP/1.1\r\nHost: x\r\n\r\n"

REQUESTS = 600
"""Of all workers of the played nginx together."""

PATIENT = "one_byte_timeout = 20.0"
"""For clients that are meant to wait."""


class OneByteTestCase(SynchronousTestCase):
    """An acceptor and clients of the one-byte protocol."""

    def start(self, *lines: str) -> None:
        """Start the acceptor, with these lines of its own configuration."""
        text = "\n".join(["[acceptor]", *lines, "[pools.default]", 'slots = ["tcp:0:interface=127.0.0.1"]'])
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


class OneByteTests(OneByteTestCase):
    """Bytes, descriptors, and who waits."""

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
        slot.sendall(REQUEST[:10])
        self.acceptor.has(slots=2, idle=1, leased=1, in_flight=1)
        slot.sendall(REQUEST[10:])
        slot.recv(65536)
        slot.close()
        self.acceptor.has(slots=2, idle=2)
        self.assertEqual(2, service.dialled)

    def test_each_byte_is_answered(self) -> None:
        """Bytes sent at once are answered one by one, each when a slot is there for it."""
        self.start(PATIENT)
        SlotService(self, self.acceptor.slots, 2)
        self.acceptor.has(slots=2)
        client = self.client()
        client.sendall(WANTED * 6)
        for _ in range(6):
            (slot,) = self.receive(client)
            self.assert_works(slot)
            slot.close()
        self.acceptor.has(slots=2, idle=2)

    def test_waits_for_a_slot(self) -> None:
        """When no slot is there, the client waits for the first that registers."""
        self.start(PATIENT)
        client = self.client()
        client.sendall(WANTED)
        self.acceptor.has(waiting=1, slots=0)
        SlotService(self, self.acceptor.slots, 1)
        (slot,) = self.receive(client)
        self.assert_works(slot)

    def test_waits_not_long(self) -> None:
        """Then its connection is closed: it blocks a whole nginx worker."""
        self.start()
        client = self.client()
        client.sendall(WANTED)
        self.assertEqual((b"", []), receive_slot(client))
        self.acceptor.has(waiting=0)

    def test_dead_slots_are_not_handed_out(self) -> None:
        """A slot whose service is gone is found out before it is lent."""
        self.start()
        first = SlotService(self, self.acceptor.slots, 1)
        self.acceptor.has(slots=1)
        first.stop()
        SlotService(self, self.acceptor.slots, 1)
        self.acceptor.has(slots=1)
        client = self.client()
        client.sendall(WANTED)
        self.assert_works(*self.receive(client))

    def test_beside_a_proxy(self) -> None:
        """A slot lent to such a client is never leased; when it has closed, everybody may have it."""
        self.start(PATIENT)
        SlotService(self, self.acceptor.slots, 1)
        proxy = Xproxy(self, "--acceptor", self.acceptor.handoff).ready()
        self.acceptor.has(slots=1)
        client = self.client()
        client.sendall(WANTED)
        (slot,) = self.receive(client)
        waiting = Waiting(proxy.http)
        proxy.has(queue_length=1)
        self.assert_works(slot)
        slot.close()
        self.assertEqual(200, waiting.response().status)
        client.sendall(WANTED)  # The proxy has it now, and gives it back.
        self.assert_works(*self.receive(client))

    def test_anything_else_is_closed(self) -> None:
        """A byte that is not of the protocol ends that connection, and no other."""
        self.start()
        SlotService(self, self.acceptor.slots, 1)
        self.acceptor.has(slots=1)
        good = self.client()
        good.sendall(WANTED)
        self.receive(good)[0].close()
        self.assertEqual(b"", exchange(self.client(), b"\x80A", half_close=False)[1:])
        self.acceptor.has(idle=1)
        good.sendall(WANTED)
        (slot,) = self.receive(good)
        self.assert_works(slot)

    def test_mode_and_group(self) -> None:
        """Whoever may connect is said by the file; nobody but the same user unless it is asked for."""
        self.start()
        self.assertEqual(0o600, os.stat(self.acceptor.handoff).st_mode & 0o777)
        self.acceptor.stop()
        self.start('handoff_mode = "0660"', f'handoff_group = "{os.getgid()}"')
        status = os.stat(self.acceptor.handoff)
        self.assertEqual((0o660, os.getgid()), (status.st_mode & 0o777, status.st_gid))


class PlayedNginxTests(OneByteTestCase):
    """Many workers of the paper's nginx, some of whose clients give up in the middle: nobody gets another's answer."""

    def play(self, workers: int, keep_alive: bool) -> None:
        """REQUESTS requests by so many workers at once, of which one in a hundred is given up once it was sent."""
        seed = random.Random(f"{workers} {keep_alive}")
        give_up = [seed.random() < 0.01 for _ in range(REQUESTS)]
        mistakes: List[str] = []
        numbers = iter(range(REQUESTS))
        lock = threading.Lock()

        def work() -> None:
            handoff = connect_unix(self.acceptor.handoff)
            with handoff:
                while True:
                    with lock:
                        number = next(numbers, None)
                    if number is None:
                        return
                    mistake = self.one(handoff, number, keep_alive, give_up[number])
                    if mistake is not None:
                        mistakes.append(mistake)
                        return

        threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        self.assertEqual([], mistakes)
        self.acceptor.has(waiting=0, in_flight=0)

    def one(self, handoff: socket.socket, number: int, keep_alive: bool, give_up: bool) -> Optional[str]:
        """One request; says what was wrong."""
        handoff.sendall(WANTED)
        data, slots = receive_slot(handoff)
        if data != b"*" or len(slots) != 1:
            return f"{number}: no slot"
        with slots[0] as slot:
            version, more = ("1.1", "") if keep_alive else ("1.0", "Connection: close\r\n")
            slot.sendall(f"GET /{number} HTTP/{version}\r\nHost: x\r\n{more}\r\n".encode())
            if give_up:
                return None
            answer = b""
            wanted = b"\r\n\r\n/%d;" % number
            while not answer.endswith(b";"):
                piece = slot.recv(65536)
                if not piece:
                    return f"{number}: cut off after {answer!r}"
                answer += piece
            return None if answer.endswith(wanted) else f"{number}: {answer!r}"

    def test_no_wrong_answer(self) -> None:
        """At concurrency 4 and 32, with keep-alive and without, over 8 slots."""
        self.start(PATIENT)

        def answer(request: Request) -> bytes:
            return respond(request.target.encode() + b";")

        service = SlotService(self, self.acceptor.slots, 8, answer)
        self.acceptor.has(slots=8)
        for workers in (4, 32):
            for keep_alive in (True, False):
                self.play(workers, keep_alive)
        self.assertLessEqual(service.most, 8)
        self.assertEqual(0, service.overlapping)
