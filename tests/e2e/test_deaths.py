"""Processes are killed in the middle of their work: service, proxy, acceptor. Nothing hangs, nothing is counted wrong."""

from __future__ import annotations

import http.client
import random
import socket
import sys
from functools import partial
from pathlib import Path
from typing import List

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import Waiting, ask, together
from tests.e2e.load import Load
from tests.e2e.processes import Answering, Program, Xacceptor, Xproxy
from tests.e2e.services import Gate, SlotService, describe

SLOT_SERVICE = str(Path(__file__).parent / "applications" / "slot_service.py")


def slot_service(test: SynchronousTestCase, acceptor: Answering, count: int, name: str) -> Program:
    """A service that can be killed, parked."""
    service = Program(test, [sys.executable, SLOT_SERVICE, *map(str, acceptor.slots), str(count), name])
    service.said("parked")
    return service


def described(method: str, target: str, body: bytes) -> bytes:
    """What ``services.describe`` answers."""
    return f"{method} {target} {len(body)} slot".encode()


def fixed_slots() -> str:
    """A slots endpoint that a second acceptor can use again: outside the range from which the kernel gives ports to clients."""
    while True:
        port = random.randrange(20000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return f"tcp:{port}:interface=127.0.0.1"


def was_back(proxy: Xproxy, times: int) -> bool:
    """Whether a proxy has said so often that its acceptor is back."""
    return sum("is back" in line for line in proxy.lines) >= times


class ServiceDeathTests(SynchronousTestCase):
    """A service is killed while it works on a request; another one is there."""

    def setUp(self) -> None:
        self.proxy = Xproxy(self).ready()

    def kill_while(self, target: str, method: str = "GET", body: bytes = b"") -> Waiting:
        """Send a request to the only service, kill that one when it has read the request, while another one is parked."""
        doomed = slot_service(self, self.proxy, 1, "doomed")
        self.proxy.has(slots=1)
        client = Waiting(self.proxy.http, target, method, body or None)
        doomed.said(f"got {method} {target} {len(body)}")
        self.other = SlotService(self, self.proxy.slots, 1)
        self.proxy.has(slots=2, in_flight=1)
        doomed.kill()
        return client

    def test_get_is_answered_by_another_slot(self) -> None:
        """What can safely be sent again is."""
        answer = self.kill_while("/never").response()
        self.assertEqual((200, b"GET /never 0 slot 0\n"), (answer.status, answer.body))
        self.proxy.has(slots=1, in_flight=0)
        self.assertEqual(1.0, self.proxy.metric("xproxy_retries_total", pool="default", reason="slot-lost"))

    def test_put_is_answered_by_another_slot(self) -> None:
        """PUT is idempotent, and its body is kept until there is an answer."""
        answer = self.kill_while("/never", "PUT", b"x" * 100_000).response()
        self.assertEqual((200, b"PUT /never 100000 slot 0\n"), (answer.status, answer.body))

    def test_post_is_not_sent_twice(self) -> None:
        """Whether the service has acted on it nobody knows: 502, and no other service sees the request."""
        answer = self.kill_while("/never", "POST", b"pay once").response()
        self.assertEqual(502, answer.status)
        self.assertEqual([], self.other.requests)
        self.proxy.has(slots=1, in_flight=0)
        self.assertEqual(200, ask(self.proxy.http, "/next", "POST", b"1").status)

    def test_half_an_answer(self) -> None:
        """What has begun cannot be sent again: the client is told by the end of its connection, and never thinks it had all."""
        client = self.kill_while("/half")
        try:
            self.assertRaises(http.client.IncompleteRead, client.response)
        except ConnectionResetError:
            pass  # As good a way to say it.
        self.assertEqual([], self.other.requests)
        self.proxy.has(slots=1, in_flight=0)

    def test_the_last_one(self) -> None:
        """With no other service, a request that can be sent again waits for the next one that comes."""
        doomed = slot_service(self, self.proxy, 1, "doomed")
        self.proxy.has(slots=1)
        client = Waiting(self.proxy.http, "/never")
        doomed.said("got GET /never")
        doomed.kill()
        self.proxy.has(slots=0, in_flight=0, queue_length=1)
        SlotService(self, self.proxy.slots, 1)
        self.assertEqual(200, client.response().status)

    def test_idle_service(self) -> None:
        """A service that dies while nothing runs on it is out of the ring at once, whether its slots were used or not."""
        doomed = slot_service(self, self.proxy, 3, "doomed")
        self.proxy.has(slots=3)
        self.assertEqual(b"doomed", ask(self.proxy.http).body)
        doomed.kill()
        self.proxy.has(slots=0)
        SlotService(self, self.proxy.slots, 1)
        self.assertEqual(200, ask(self.proxy.http, "/", "POST", b"1").status)
        self.assertEqual(0.0, self.proxy.metric("xproxy_requests_total", pool="default", code="502"))

    def test_a_service_that_always_breaks_off(self) -> None:
        """A request is tried three times, then given up with 502. A slot that is over at the first look is no attempt, once."""
        service = SlotService(self, self.proxy.slots, 5, lambda request: None)
        self.proxy.has(slots=5)
        self.assertEqual(502, ask(self.proxy.http).status)
        self.assertIn(len(service.requests), (3, 4))


class ProxyDeathTests(SynchronousTestCase):
    """One of two proxies is killed."""

    def test_leases_return(self) -> None:
        """Idle leases go back to the ring; only the slots in an exchange are closed, and their service dials again."""
        acceptor = Xacceptor(self)
        acceptor.said("handoff at")
        proxies = [Xproxy(self, "--acceptor", acceptor.handoff) for _ in range(2)]
        acceptor.ready()
        doomed, other = [proxy.ready() for proxy in proxies]
        gate = Gate()
        service = SlotService(self, acceptor.slots, 6, gate)
        acceptor.has(slots=6)
        # At least five leases: of these, two are in an exchange.
        clients = [Waiting(doomed.http, f"/{number}") for number in range(5)]
        for _ in clients:
            gate.next()
        gate.let_go(5)
        for client in clients:
            self.assertEqual(200, client.response().status)
        acceptor.has(leased=0, idle=6, in_flight=0)
        running = [Waiting(doomed.http, f"/running/{number}") for number in range(2)]
        for _ in running:
            gate.next()
        acceptor.has(leased=2, idle=4, in_flight=2)
        before = acceptor.descriptors()
        doomed.kill()
        acceptor.has(leased=0, in_flight=0)
        for client in running:
            self.assertRaises((ConnectionError, http.client.HTTPException), client.response)
        gate.let_go(2)
        acceptor.has(slots=6, idle=6)
        self.assertEqual(6 + 2, service.dialled)
        self.assertEqual(2.0, acceptor.metric("xproxy_slots_closed_total", pool="default", reason="holder_lost"))
        # Its connection and its board are gone; so is, soon, what the last look at the numbers has used.
        acceptor.eventually(lambda: acceptor.descriptors() <= before - 2, f"two descriptors fewer than {before}")
        gate.let_go(12)
        answers = together(*[partial(ask, other.http, f"/{number}") for number in range(12)])
        self.assertEqual([200] * 12, [answer.status for answer in answers])
        self.assertEqual(0, service.overlapping)


class AcceptorDeathTests(SynchronousTestCase):
    """The acceptor is killed, and a new one is started on the same path."""

    def setUp(self) -> None:
        self.endpoint = fixed_slots()
        self.acceptor = Xacceptor(self, slots=self.endpoint)
        self.acceptor.said("handoff at")
        proxies = [Xproxy(self, "--acceptor", self.acceptor.handoff) for _ in range(2)]
        self.acceptor.ready()
        self.proxies = [proxy.ready() for proxy in proxies]

    def restart(self) -> Xacceptor:
        """A new acceptor where the old one was."""
        return Xacceptor(self, handoff=self.acceptor.handoff, slots=self.endpoint).ready()

    def test_takes_over(self) -> None:
        """Proxies go on with the leases they hold and say in the log that they dial; with a new acceptor all is as before."""
        gate = Gate(lambda request: describe(request) if request.target != "/slow" else gate_of_slow(request))
        gate_of_slow = Gate()
        self.addCleanup(gate_of_slow.give_up)
        gate.let_go(1000)
        service = SlotService(self, self.acceptor.slots, 4, gate)
        self.acceptor.has(slots=4)
        holder, other = self.proxies
        slow = Waiting(holder.http, "/slow")
        gate_of_slow.next()
        self.assertEqual(200, ask(holder.http).status)
        self.acceptor.has(leased=1, idle=3)

        self.acceptor.kill()
        for proxy in self.proxies:
            proxy.said(r"acceptor at .* is lost .*dialling it again")
        self.assertEqual([200] * 5, [ask(holder.http).status for _ in range(5)])
        self.assertFalse(holder.status()["acceptor"])
        # The other has what was dealt to it, three leases at most: of four clients that stay, one waits at least.
        waiting = [Waiting(other.http, "/slow") for _ in range(4)]
        other.eventually(lambda: other.pool()["queue_length"] > 0, "somebody waits")
        gate_of_slow.let_go(5)
        self.assertEqual(200, slow.response().status)

        acceptor = self.restart()
        for proxy in self.proxies:
            proxy.said(r"acceptor at .* is back")
        self.assertEqual([200] * 4, [client.response().status for client in waiting])
        acceptor.has(slots=4)
        answers = together(*[partial(ask, self.proxies[number % 2].http) for number in range(20)])
        self.assertEqual([200] * 20, [answer.status for answer in answers])
        self.assertEqual(0, service.overlapping)
        self.assert_counts(acceptor, 4)

    def test_a_request_that_runs_across_the_change(self) -> None:
        """The exchange that was running when the acceptor died, and still is when the next one is there, is answered."""
        gate = Gate()
        service = SlotService(self, self.acceptor.slots, 2, gate)
        self.acceptor.has(slots=2)
        slow = Waiting(self.proxies[0].http, "/slow")
        gate.next()
        self.acceptor.kill()
        acceptor = self.restart()
        self.proxies[0].said("is back")
        acceptor.has(slots=2, leased=1)
        gate.let_go()
        self.assertEqual(b"GET /slow 0", slow.response().body[:11])
        acceptor.has(slots=2, leased=0)
        gate.let_go()
        self.assertEqual(200, ask(self.proxies[1].http).status)
        self.assertEqual(0, service.overlapping)

    def test_services_notice_nothing(self) -> None:
        """What proxies lease, in use or not, is the next acceptor's without any service having dialled."""
        gate = Gate()
        service = SlotService(self, self.acceptor.slots, 4, gate)
        for proxy in self.proxies:
            proxy.eventually(partial(self.has_leases, proxy, 2), "two leases")
        slow = Waiting(self.proxies[0].http, "/slow", "POST", b"once")
        gate.next()
        self.acceptor.kill()
        acceptor = self.restart()
        acceptor.has(slots=4, leased=1)
        self.assertEqual(4.0, acceptor.metric("xproxy_registrations_total", pool="default", result="offered"))
        gate.let_go(5)
        self.assertEqual(200, slow.response().status)
        self.assertEqual([200] * 4, [ask(self.proxies[number % 2].http).status for number in range(4)])
        self.assertEqual((4, 5, 0), (service.dialled, len(service.requests), service.overlapping))

    def test_one_that_stops_in_order(self) -> None:
        """SIGTERM instead: its socket is gone, the proxies are in the same position, and the next one finds no leftovers."""
        service = SlotService(self, self.acceptor.slots, 2)
        self.acceptor.has(slots=2)
        self.assertEqual(200, ask(self.proxies[0].http).status)
        self.assertEqual(0, self.acceptor.stop())
        self.assertFalse(Path(self.acceptor.handoff).exists())
        self.proxies[0].said("is lost")
        self.assertEqual(200, ask(self.proxies[0].http).status)
        acceptor = self.restart()
        acceptor.has(slots=2)
        self.assertEqual([200, 200], [ask(proxy.http).status for proxy in self.proxies])
        self.assertEqual(0, service.overlapping)

    def test_under_load(self) -> None:
        """Killed, and then stopped in order, under load at both proxies: not one request is lost or answered wrongly."""
        service = SlotService(self, self.acceptor.slots, 4)
        self.acceptor.has(slots=4)
        loads = [Load(self, proxy.http, 3, described) for proxy in self.proxies]
        acceptor = self.acceptor
        for number, end in enumerate((Xacceptor.kill, Xacceptor.stop)):
            self.go_on(loads)
            end(acceptor)
            acceptor = self.restart()
            for proxy in self.proxies:
                proxy.eventually(partial(was_back, proxy, number + 1), "the acceptor to be back")
            self.go_on(loads)
        for load in loads:
            load.stop()
            self.assertEqual({200}, set(load.outcomes), load.outcomes)
        self.assertEqual(0, service.overlapping)
        self.assert_counts(acceptor, 4)

    def has_leases(self, proxy: Xproxy, number: int) -> bool:
        """Whether a proxy has so many."""
        return bool(proxy.status()["connections"]["slot"] == number)

    def go_on(self, loads: List[Load]) -> None:
        """Wait until some more requests were answered at each proxy."""
        for load, proxy in zip(loads, self.proxies):
            load.go_on(proxy)

    def assert_counts(self, acceptor: Xacceptor, slots: int) -> None:
        """Every slot is idle, and the proxies hold no others, once what they gave back is there."""

        def agreed() -> bool:
            pool = acceptor.has(slots=slots, in_flight=0, waiting=0)
            held = [proxy.status()["connections"]["slot"] for proxy in self.proxies]
            return pool["idle"] == slots and sum(held) <= slots

        acceptor.eventually(agreed, "the acceptor and the proxies to agree on who has what")
