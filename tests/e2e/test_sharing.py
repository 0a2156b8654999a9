"""Two proxies on one acceptor: the slots bound what a service sees. The order of arrival across both is in ``tests/world``."""

from __future__ import annotations

import threading
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import PATIENCE_S, Waiting, ask, together
from tests.e2e.processes import Xacceptor, Xproxy
from tests.e2e.services import Gate, Request, SlotService, describe

SLOTS = 4
CLIENTS = 10 * SLOTS


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

    def _wait_for_line(self, length: int) -> None:
        """Until so many requests wait, and the acceptor knows of each."""
        self.proxies[0].eventually(
            lambda: sum(proxy.pool()["queue_length"] for proxy in self.proxies) == length, f"{length} waiting requests"
        )
        self.acceptor.has(waiting=length)
