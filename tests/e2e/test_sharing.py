"""Two proxies on one acceptor: the slots bound what a service sees, and the order of arrival holds across both."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import List

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import PATIENCE_S, Waiting, ask, together
from tests.e2e.processes import Xacceptor, Xproxy
from tests.e2e.services import Gate, Request, SlotService, describe

SLOTS = 4
CLIENTS = 10 * SLOTS

SERVICE_TIME_S = 0.01
"""As long as ``ASK_INTERVAL_S``, the time by which a request may overtake: so that this is no more than a few places."""

MAX_PLACES = 2 * SLOTS
"""By how many places a request may overtake here: one is seen on an idle machine; 18 where each proxy serves its own first."""


class SharingTests(SynchronousTestCase):
    """One acceptor, two proxies, a service with four slots."""

    def setUp(self) -> None:
        self.acceptor = Xacceptor(self)
        self.acceptor.said("handoff at")
        proxies = [Xproxy(self, "--acceptor", self.acceptor.handoff) for _ in range(2)]
        self.acceptor.ready()
        self.proxies = [proxy.ready() for proxy in proxies]

    def test_never_more_than_the_slots(self) -> None:
        """Ten times as many clients as slots, half of them at each proxy: everybody is answered, four at a time."""
        four_at_once = threading.Barrier(SLOTS, timeout=PATIENCE_S)

        def answer(request: Request) -> bytes:
            four_at_once.wait()
            return describe(request)

        service = SlotService(self, self.acceptor.slots, SLOTS, answer)
        self.acceptor.has(slots=SLOTS)
        answers = together(*[partial(ask, self.proxies[number % 2].http, f"/{number}") for number in range(CLIENTS)])
        self.assertEqual([200] * CLIENTS, [answered.status for answered in answers])
        for number, answered in enumerate(answers):
            self.assertTrue(answered.body.startswith(b"GET /%d 0 " % number), answered.body)
        self.assertEqual(CLIENTS, len(service.requests))
        self.assertEqual((SLOTS, 0), (service.most, service.overlapping))
        self.assertEqual(SLOTS, service.dialled)

    def test_saturated(self) -> None:
        """While every slot is busy the rest waits, wherever it arrived; nobody sees more than four requests on their way."""
        gate = Gate()
        service = SlotService(self, self.acceptor.slots, SLOTS, gate)
        self.acceptor.has(slots=SLOTS)
        waiting = [Waiting(self.proxies[number % 2].http, f"/{number}") for number in range(CLIENTS)]
        for _ in range(SLOTS):
            gate.next()
        self._wait_for_line(CLIENTS - SLOTS)
        self.acceptor.has(leased=SLOTS, idle=0, in_flight=SLOTS)
        self.assertEqual(SLOTS, sum(proxy.pool()["in_flight"] for proxy in self.proxies))
        self.assertEqual(SLOTS, service.running)
        gate.let_go(CLIENTS)
        self.assertEqual([200] * CLIENTS, [client.response().status for client in waiting])
        self.assertEqual((SLOTS, 0), (service.most, service.overlapping))
        self.acceptor.has(in_flight=0, waiting=0, slots=SLOTS)

    def test_order_of_arrival(self) -> None:
        """A slot that is free goes to whoever has waited longest, whichever proxy that is at, and whoever had the slot."""
        one_at_a_time = threading.Lock()

        def work(request: Request) -> bytes:
            with one_at_a_time:
                time.sleep(SERVICE_TIME_S)
            return describe(request)

        gate = Gate(work)
        service = SlotService(self, self.acceptor.slots, SLOTS, gate)
        self.acceptor.has(slots=SLOTS)
        clients = self._line_up(gate)
        gate.let_go(CLIENTS)
        self.assertEqual([200] * CLIENTS, [client.response().status for client in clients])
        served = [int(request.target[1:]) for request in service.requests]
        self.assertEqual(list(range(CLIENTS)), sorted(served))
        overtaken = [place - number for place, number in enumerate(served)]
        self.assertLessEqual(max(overtaken), MAX_PLACES, served)

    def _line_up(self, gate: Gate) -> List[Waiting]:
        """Requests at the two proxies by turns: the first four run, the others wait.

        Each is in line before the next one is sent, so the order in which they are sent is that of their arrival.
        """
        clients: List[Waiting] = []
        for number in range(CLIENTS):
            proxy = self.proxies[number % 2]
            clients.append(Waiting(proxy.http, f"/{number}"))
            if number < SLOTS:
                gate.next()
            else:
                proxy.has(queue_length=(number - SLOTS) // 2 + 1)
        self._wait_for_line(CLIENTS - SLOTS)
        return clients

    def _wait_for_line(self, length: int) -> None:
        """Until so many requests wait, and the acceptor knows of each."""
        self.proxies[0].eventually(
            lambda: sum(proxy.pool()["queue_length"] for proxy in self.proxies) == length, f"{length} waiting requests"
        )
        self.acceptor.has(waiting=length)

    def test_leases_are_kept(self) -> None:
        """A proxy that has a slot uses it again without asking: the acceptor lends it once."""
        SlotService(self, self.acceptor.slots, 1)
        self.acceptor.has(slots=1)
        for _ in range(5):
            self.assertEqual(200, ask(self.proxies[0].http).status)
        self.assertEqual(1, self.proxies[0].status()["connections"]["slot"])

    def test_leases_are_recalled(self) -> None:
        """A kept lease goes to the other proxy as soon as that one has a request."""
        service = SlotService(self, self.acceptor.slots, 1)
        self.acceptor.has(slots=1)
        for number in range(6):
            self.assertEqual(200, ask(self.proxies[number % 2].http).status)
        self.assertEqual(1, service.dialled)
        self.assertEqual([0, 1], [proxy.status()["connections"]["slot"] for proxy in self.proxies])

    def test_a_proxy_that_stops_gives_back(self) -> None:
        """The idle leases of a proxy that stops in order are idle slots again; no connection is lost by it."""
        service = SlotService(self, self.acceptor.slots, SLOTS)
        self.acceptor.has(slots=SLOTS)
        together(*[partial(ask, self.proxies[0].http) for _ in range(SLOTS)])
        self.assertGreater(self.proxies[0].status()["connections"]["slot"], 0)
        self.assertEqual(0, self.proxies[0].stop())
        self.acceptor.has(slots=SLOTS, idle=SLOTS, leased=0)
        self.assertEqual(SLOTS, service.dialled)
