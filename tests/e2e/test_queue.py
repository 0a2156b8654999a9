"""The line in front of the slots: how long it may be, how long one may stand in it, and who leaves it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import Response, Waiting, ask
from tests.e2e.processes import Xproxy, configuration
from tests.e2e.services import Gate, SlotService

AT_ONCE_S = 2.0
"""Much less than the queue timeout of 30 s, much more than a busy machine needs."""


class QueueTests(SynchronousTestCase):
    """A proxy with its own acceptor; the default pool has one slot, whose service answers when it is told to."""

    def start(self, *lines: str) -> None:
        """Start the proxy, the pool with these lines of configuration, and the service."""
        text = "\n".join(["[pools.default]", 'slots = ["tcp:0:interface=127.0.0.1"]', *lines])
        self.proxy = Xproxy(self, "--config", configuration(self, text)).ready()
        self.gate = Gate()

    def serve(self) -> None:
        """Park the slot."""
        self.service = SlotService(self, self.proxy.slots, 1, self.gate)
        self.proxy.has(slots=1)

    def assert_busy(self, answer: Response) -> None:
        """503, and when to come again."""
        self.assertEqual(503, answer.status)
        self.assertTrue(answer.headers["retry-after"].isdigit())

    def test_full(self) -> None:
        """One more than ``queue_limit`` is told so at once; those who wait are served."""
        self.start("queue_limit = 3")
        self.serve()
        running = Waiting(self.proxy.http)
        self.gate.next()
        waiting = [Waiting(self.proxy.http) for _ in range(3)]
        self.proxy.has(queue_length=3)
        refused = ask(self.proxy.http)
        self.assert_busy(refused)
        self.assertLess(refused.seconds, AT_ONCE_S)
        self.gate.let_go(4)
        self.assertEqual([200] * 4, [client.response().status for client in [running, *waiting]])
        self.assertEqual(4, len(self.service.requests))
        self.assertEqual(1.0, self.proxy.metric("xproxy_requests_total", pool="default", code="503"))

    def test_no_service(self) -> None:
        """Without any slot a request waits until ``queue_timeout`` is over."""
        self.start("queue_timeout = 0.5")
        answer = ask(self.proxy.http)
        self.assert_busy(answer)
        self.assertGreaterEqual(answer.seconds, 0.5)
        self.assertEqual(0, self.proxy.pool()["queue_length"])

    def test_a_service_comes(self) -> None:
        """A request that came before any service is answered by the first that registers."""
        self.start()
        client = Waiting(self.proxy.http)
        self.proxy.has(queue_length=1, slots=0)
        self.gate.let_go()
        self.serve()
        self.assertEqual(200, client.response().status)

    def test_a_client_leaves(self) -> None:
        """Who resets its connection while waiting is never sent to the service."""
        self.start()
        self.serve()
        running = Waiting(self.proxy.http, "/first")
        self.gate.next()
        impatient = Waiting(self.proxy.http, "/impatient")
        self.proxy.has(queue_length=1)
        patient = Waiting(self.proxy.http, "/patient")
        self.proxy.has(queue_length=2)
        impatient.reset()
        self.proxy.has(queue_length=1)
        self.gate.let_go(2)
        self.assertEqual([200, 200], [running.response().status, patient.response().status])
        self.assertEqual(["/first", "/patient"], [request.target for request in self.service.requests])

    def test_a_client_leaves_while_its_request_runs(self) -> None:
        """The answer that nobody wants is read to its end, and the slot is as good as before."""
        self.start()
        self.serve()
        gone = Waiting(self.proxy.http, "/gone")
        self.gate.next()
        gone.leave()
        self.gate.let_go(2)
        self.assertEqual(200, ask(self.proxy.http, "/next").status)
        self.assertEqual(0, self.proxy.status()["connections"]["client"])
        self.assertEqual(1, self.service.dialled)

    def test_no_answer_in_time(self) -> None:
        """504 after ``response_timeout``; the slot is closed, and dialled again by the service."""
        self.start("response_timeout = 0.5")
        self.serve()
        answer = ask(self.proxy.http)
        self.assertEqual(504, answer.status)
        self.gate.let_go()
        self.proxy.has(slots=1, idle=1)
        self.gate.let_go()
        self.assertEqual(200, ask(self.proxy.http).status)
