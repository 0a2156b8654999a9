"""Slots that are lent to one-byte clients: nobody reads another's answer, and what comes back is clean or closed."""

from __future__ import annotations

import errno
import socket
from typing import Any, List

from tests.acceptor.scene import SceneTestCase
from tests.doubles.holders import RecordingBorrower, SlotTransport
from xproxy.acceptor.loan import COOL_S, IDLE_S, SILENT_S
from xproxy.net.descriptors import SystemDescriptors
from xproxy.net.sweep import SWEEP_INTERVAL_S
from xproxy.slots.preambles.registration import build_registration

GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d"


class LoanTestCase(SceneTestCase):
    """One slot and more, and clients that say what they do."""

    def setUp(self) -> None:
        super().setUp()
        self.acceptor.lending.sweep.start()

    def answer(self, slot: SlotTransport, number: int, response: bytes = b"") -> None:
        """The service has received this request, and answers it."""
        self.assertEqual(slot.service.recv(100), GET % number)
        slot.service.sendall(response or OK % number)
        self.scene.turn()

    def send(self, borrower: RecordingBorrower, data: bytes) -> None:
        borrower.sockets[0].sendall(data)
        self.scene.turn()

    def leave(self, borrower: RecordingBorrower) -> None:
        borrower.close()
        self.scene.turn()

    def read(self, borrower: RecordingBorrower) -> bytes:
        return borrower.sockets[0].recv(1000)

    def at(self, **counts: int) -> None:
        """Where the slots are."""
        found = self.scene.counts()
        self.assertEqual({key: found[key] for key in counts}, counts)

    def closings(self) -> Any:
        return {reason: number for (_, reason), number in self.acceptor.closings.items()}


class ExchangeTests(LoanTestCase):
    """Requests and answers, one client after the other."""

    def test_its_close_is_the_give_back(self) -> None:
        slot = self.scene.slot()
        for number in range(3):
            client = self.scene.borrower()
            self.at(idle=0, lent=1)
            self.send(client, GET % number)
            self.assertEqual(self.acceptor.census()["default"]["in_flight"], 1)
            self.answer(slot, number)
            self.assertEqual(self.acceptor.census()["default"]["in_flight"], 0)
            self.assertEqual(self.read(client), OK % number)
            self.leave(client)
            self.at(idle=1, lent=0, slots=1)
            self.assertTrue(slot.reading)

    def test_a_client_that_gives_up_leaves_nothing_to_the_next(self) -> None:
        """Its answer is on a slot that nobody is given any more."""
        first, second = self.scene.slot(), self.scene.slot()
        alice = self.scene.borrower()
        self.send(alice, GET % 1)
        self.leave(alice)
        self.assertEqual(first.service.recv(100), GET % 1)
        self.assertTrue(first.service_sees_end())
        self.at(slots=1, idle=1)
        bob = self.scene.borrower()
        self.send(bob, GET % 2)
        self.answer(second, 2)
        self.assertEqual(self.read(bob), OK % 2)
        self.assertEqual(self.closings(), {"loan_closed": 1})

    def test_who_waits_is_served_when_another_has_closed(self) -> None:
        slot = self.scene.slot()
        first, second = self.scene.borrower(), self.scene.borrower()
        self.at(lent=1, waiting=1)
        self.send(first, GET % 1)
        self.answer(slot, 1)
        self.assertEqual(second.sockets, [])
        self.leave(first)
        self.assertEqual(len(second.sockets), 1)
        self.send(second, GET % 2)
        self.answer(slot, 2)
        self.assertEqual(self.read(second), OK % 2)

    def test_several_requests_on_one_loan(self) -> None:
        slot = self.scene.slot()
        client = self.scene.borrower()
        for number in range(3):
            self.send(client, GET % number)
            self.answer(slot, number)
            self.assertEqual(self.read(client), OK % number)
        self.leave(client)
        self.at(idle=1)

    def test_a_client_that_asks_for_nothing(self) -> None:
        self.scene.slot()
        self.leave(self.scene.borrower())
        self.at(idle=1, slots=1)

    def test_what_leaves_a_slot_that_is_not_clean(self) -> None:
        """In the middle of a request, of an answer, after close, after too much: the slot is closed with the loan."""
        half = (OK % 1)[:-1]
        for request, response in (
            (GET[:-2] % 1, b""),
            (GET % 1, b""),
            (GET % 1, half),
            (GET % 1, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
            (GET % 1, OK % 1 + b"x"),
            (GET % 1, b"HTTP/1.1 200 OK\r\n\r\nuntil the end"),
            (GET % 1 + GET % 2, OK % 1),
            (b"what is this?\r\n", b"something else\r\n"),
        ):
            slot = self.scene.slot()
            client = self.scene.borrower()
            self.send(client, request)
            self.assertEqual(slot.service.recv(1000), request)
            slot.service.sendall(response)
            self.scene.turn()
            self.leave(client)
            self.assertTrue(slot.lost, (request, response))
            self.at(slots=0)

    def test_bytes_that_nobody_asked_for_are_no_answer(self) -> None:
        for before in (False, True):
            slot = self.scene.slot()
            client = self.scene.borrower()
            if before:
                self.send(client, GET % 1)
                self.answer(slot, 1)
                self.assertEqual(self.read(client), OK % 1)
            slot.service.sendall(OK % 2)
            self.scene.turn()
            self.assertEqual(self.read(client), b"")
            self.assertTrue(slot.lost)
        self.assertEqual(self.closings(), {"unasked": 2})

    def test_bytes_that_wait_when_it_comes_back(self) -> None:
        slot = self.scene.slot()
        client = self.scene.borrower()
        client.close()
        slot.service.sendall(OK % 1)
        self.scene.clock.turn()
        self.assertTrue(slot.lost)
        self.assertEqual(self.closings(), {"unasked": 1})

    def test_a_client_that_closes_only_its_sending_side(self) -> None:
        slot = self.scene.slot()
        client = self.scene.borrower()
        self.send(client, GET % 1)
        client.sockets[0].shutdown(socket.SHUT_WR)
        self.scene.turn()
        self.at(lent=1)
        self.answer(slot, 1)
        self.assertEqual(self.read(client), OK % 1)
        self.assertEqual(self.read(client), b"")
        self.at(idle=1)

    def test_a_client_that_says_close_to_a_service_that_does_not_care(self) -> None:
        """nginx says so by itself. The first time it is seen whether the service closes."""
        slot = self.scene.slot()
        request = b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n"
        for number in range(3):
            client = self.scene.borrower()
            self.send(client, request)
            self.assertEqual(slot.service.recv(100), request)
            slot.service.sendall(OK % number)
            self.scene.turn()
            self.assertEqual(self.read(client), OK % number)
            self.leave(client)
            if number == 0:
                self.at(lent=1, idle=0)
                self.scene.clock.advance(COOL_S)
            self.at(lent=0, idle=1)

    def test_a_client_that_says_close_to_a_service_that_does(self) -> None:
        for end in (b"", b"x"):
            slot = self.scene.slot()
            client = self.scene.borrower()
            self.send(client, b"GET / HTTP/1.0\r\n\r\n")
            slot.service.recv(100)
            slot.service.sendall(OK % 1)
            self.scene.turn()
            self.leave(client)
            if end:
                slot.service.sendall(end)
            else:
                slot.service.close()
            self.scene.turn()
            self.at(slots=0)
            self.assertTrue(slot.lost)
        self.assertEqual(self.closings(), {"ended": 1, "unasked": 1})

    def test_the_service_ends(self) -> None:
        slot = self.scene.slot()
        client = self.scene.borrower()
        self.send(client, GET % 1)
        self.assertEqual(slot.service.recv(100), GET % 1)
        slot.service.sendall(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        slot.service.close()
        self.scene.turn()
        self.assertEqual(self.read(client), b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        self.assertEqual(self.read(client), b"")
        self.at(slots=0)
        self.assertEqual(self.closings(), {"ended": 1})


class TimeTests(LoanTestCase):
    """Nobody has a slot for ever."""

    def after(self, seconds: float) -> None:
        self.scene.clock.pump([SWEEP_INTERVAL_S] * round(seconds / SWEEP_INTERVAL_S))
        self.scene.turn()

    def test_a_client_that_sends_nothing(self) -> None:
        self.scene.slot()
        client = self.scene.borrower()
        self.after(IDLE_S - 0.5)
        self.at(lent=1)
        self.after(1.0)
        self.assertEqual(self.read(client), b"")
        self.at(idle=1)

    def test_a_client_that_does_not_close(self) -> None:
        slot = self.scene.slot()
        client = self.scene.borrower()
        self.send(client, GET % 1)
        self.answer(slot, 1)
        self.after(IDLE_S + 0.5)
        self.assertEqual(self.read(client), OK % 1)
        self.assertEqual(self.read(client), b"")
        self.at(idle=1)

    def test_a_request_that_has_come_in_the_last_moment(self) -> None:
        slot = self.scene.slot()
        client = self.scene.borrower()
        self.scene.clock.advance(IDLE_S)
        client.sockets[0].sendall(GET % 1)
        self.scene.clock.advance(SWEEP_INTERVAL_S)
        self.scene.turn()
        self.answer(slot, 1)
        self.assertEqual(self.read(client), OK % 1)

    def test_a_service_that_does_not_answer(self) -> None:
        slot = self.scene.slot()
        client = self.scene.borrower()
        self.send(client, GET % 1)
        self.after(SILENT_S - 0.5)
        self.at(lent=1)
        self.after(1.0)
        self.assertEqual(self.read(client), b"")
        self.assertTrue(slot.lost)

    def test_each_byte_is_a_sign_of_life(self) -> None:
        slot = self.scene.slot()
        client = self.scene.borrower()
        self.send(client, GET % 1)
        for byte in OK % 1:
            self.after(SILENT_S - 1.0)
            slot.service.sendall(bytes((byte,)))
            self.scene.turn()
        self.assertEqual(self.read(client), OK % 1)


class LendingTests(LoanTestCase):
    """Who gets which slot, and who none."""

    def test_a_dead_slot_is_not_lent(self) -> None:
        dead, live = self.scene.slot(), self.scene.slot()
        dead.service.shutdown(socket.SHUT_WR)
        client = self.scene.borrower()
        self.send(client, GET % 1)
        self.answer(live, 1)
        self.at(slots=1, lent=1)

    def test_a_slot_with_bytes_is_not_lent(self) -> None:
        self.scene.slot().service.sendall(b"x")
        client = self.scene.borrower()
        self.at(slots=0, waiting=1)
        self.scene.slot()
        self.assertEqual(len(client.sockets), 1)

    def test_it_waits_no_longer(self) -> None:
        client = self.scene.borrower()
        for _ in range(2):
            self.acceptor.lending.borrow_no_more(client)
        self.scene.slot()
        self.assertEqual(client.sockets, [])
        self.at(idle=1)

    def test_it_leaves_while_a_slot_comes(self) -> None:
        """Between the book's decision and its being carried out."""
        proxy = self.scene.proxy()
        client = self.scene.borrower()
        proxy.ask(-1.0)

        def granted(pool: str, lease: int) -> None:
            proxy.give_back(lease)  # The book lends it now, but that is carried out later.
            self.acceptor.lending.borrow_no_more(client)

        proxy.on_grant = granted
        slot = self.scene.slot()
        self.assertEqual(client.sockets, [])
        self.at(idle=1, lent=0)
        self.assertTrue(slot.reading)

    def test_no_descriptor_left(self) -> None:
        """The client is told at once, and the slot is as good as before."""
        self.scene.slot()

        def none_left(descriptors: object) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

        patched = self.patch(SystemDescriptors, "pair", none_left)
        client = self.scene.borrower()
        patched.restore()
        self.assertEqual((client.sockets, client.unavailable), ([], 1))
        self.at(idle=1, lent=0)

    def test_beside_a_proxy(self) -> None:
        """A proxy waits for a slot that is lent as for any other, and gives back one that a client waits for."""
        slot = self.scene.slot()
        proxy, client = self.scene.proxy(), self.scene.borrower()
        proxy.ask(5.0)
        self.send(client, GET % 1)
        self.answer(slot, 1)
        self.leave(client)
        self.assertEqual(len(proxy.grants), 1)
        proxy.ask()
        other = self.scene.borrower()
        self.assertEqual(proxy.recalls, [("default", 1)])
        proxy.give_back(0)
        self.send(other, GET % 2)
        self.answer(slot, 2)
        self.assertEqual(self.read(other), OK % 2)

    def test_draining(self) -> None:
        """Nothing more is lent; what runs may end."""
        first, second = self.scene.slot(), self.scene.slot()
        running, resting = self.scene.borrower(), self.scene.borrower()
        waiting = self.scene.borrower()
        self.send(running, GET % 1)
        drained: List[Any] = []
        self.acceptor.lending.drain().addCallback(drained.append)
        self.assertEqual((drained, waiting.unavailable), ([], 1))
        self.assertEqual(self.read(resting), b"")
        late = self.scene.borrower()
        self.assertEqual(late.unavailable, 1)
        self.answer(first, 1)
        self.leave(running)
        self.assertEqual(drained, [None])
        self.acceptor.lending.drain().addCallback(drained.append)
        self.assertEqual(drained, [None, None])
        self.assertFalse(second.lost)


class PreambleTests(LoanTestCase):
    """A slot that was taken for raw introduces itself while it is lent."""

    registration = "auto"

    PREAMBLE = build_registration("other", "web:1", None)

    def test_before_a_request(self) -> None:
        slot = self.scene.slot()
        client = self.scene.borrower()
        slot.service.sendall(self.PREAMBLE[:5])
        self.scene.turn()
        self.assertEqual(self.read(client), b"")
        self.at(slots=0)
        slot.service.sendall(self.PREAMBLE[5:])
        self.scene.turn()
        self.assertEqual(self.scene.counts("other")["idle"], 1)
        self.assertEqual(self.acceptor.census()["other"]["services"][0]["name"], "web:1")

    def test_after_a_request(self) -> None:
        """The request may be read yet, as one of whatever pool the service is in: it can't be another's slot."""
        slot = self.scene.slot()
        client = self.scene.borrower()
        self.send(client, GET % 1)
        slot.service.sendall(self.PREAMBLE)
        self.scene.turn()
        self.assertEqual(self.read(client), b"")
        self.assertTrue(slot.lost)

    def test_when_it_comes_before_it_is_lent(self) -> None:
        """It waits unread when the slot's turn comes."""
        slot = self.scene.slot()
        slot.service.sendall(self.PREAMBLE)
        client = self.scene.borrower()
        self.at(slots=0, waiting=1)
        self.scene.turn()
        self.assertEqual(client.sockets, [])
        self.assertEqual(self.scene.counts("other")["idle"], 1)
