"""``twistd xacceptor --takeover``: one acceptor after another while clients ask without a pause."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import List

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import ask, together
from tests.e2e.load import Load
from tests.e2e.processes import Xacceptor, Xproxy
from tests.e2e.services import SlotService
from tests.e2e.test_deaths import described

SLOTS = 4


class TakeoverTests(SynchronousTestCase):
    """An acceptor, two proxies, a service."""

    def setUp(self) -> None:
        self.acceptor = Xacceptor(self)
        self.acceptor.said("handoff at")
        proxies = [Xproxy(self, "--acceptor", self.acceptor.handoff) for _ in range(2)]
        self.acceptor.ready()
        self.proxies = [proxy.ready() for proxy in proxies]

    def successor(self, *options: str) -> Xacceptor:
        """Another one, which takes over."""
        return Xacceptor(self, "--takeover", *options, handoff=self.acceptor.handoff)

    def take_over(self) -> Xacceptor:
        """Another one has taken over, and the former one has ended in order."""
        successor = self.successor().ready()
        self.assertEqual((successor.slots, successor.admin), (self.acceptor.slots, self.acceptor.admin))
        self.assertEqual(0, self.acceptor.exit_status())
        self.acceptor.said("taken over: draining")
        self.acceptor = successor
        return successor

    def test_under_load(self) -> None:
        """Twice, with kept connections and one for each request, GET and POST: nothing fails, and no service has dialled."""
        service = SlotService(self, self.acceptor.slots, SLOTS)
        self.acceptor.has(slots=SLOTS)
        loads = [Load(self, proxy.http, 2, described, kept) for proxy in self.proxies for kept in (True, False)]
        for _ in range(2):
            self.go_on(loads)
            self.take_over()
            self.go_on(loads)
        for load in loads:
            load.stop()
            self.assertEqual({200}, set(load.outcomes), load.outcomes)
        self.assertEqual((SLOTS, 0), (service.dialled, service.overlapping))
        self.assertLessEqual(service.most, SLOTS)
        self.acceptor.has(slots=SLOTS, in_flight=0, waiting=0)
        expected = self.acceptor.descriptors()
        self.take_over().has(slots=SLOTS)
        self.acceptor.eventually(lambda: self.acceptor.descriptors() <= expected, f"{expected} descriptors as before")

    def go_on(self, loads: List[Load]) -> None:
        """Wait until some more requests were answered."""
        for load in loads:
            load.go_on(self.proxies[0], 20)

    def test_one_that_cannot_start(self) -> None:
        """It says why and exits with 1; the acceptor says so too and serves on: nobody notices."""
        service = SlotService(self, self.acceptor.slots, SLOTS)
        self.acceptor.has(slots=SLOTS)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            where = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            successor = self.successor("--slots", where)
            self.assertEqual(1, successor.exit_status())
        successor.said("^xacceptor: cannot take over .*cannot listen on " + where)
        self.acceptor.said("not taken over, this acceptor serves on: the successor is gone")
        for proxy in self.proxies:
            proxy.said("is back")
        calls = [partial(ask, self.proxies[number % 2].http, f"/{number}", "POST", b"1") for number in range(8)]
        self.assertEqual([200] * 8, [answer.status for answer in together(*calls)])
        self.assertEqual((SLOTS, 0), (service.dialled, service.overlapping))
        self.take_over().has(slots=SLOTS)

    def test_a_former_one_that_is_no_more(self) -> None:
        """Nobody is there: it starts as ever, and says so. It has what the proxies lease, as after any death."""
        service = SlotService(self, self.acceptor.slots, 2)
        for proxy in self.proxies:
            proxy.eventually(partial(self.leases, proxy, 1), "a lease")
        self.acceptor.kill()
        successor = self.successor().ready()
        successor.said("there is nothing to take over")
        successor.has(slots=2)
        self.assertEqual([200, 200], [ask(proxy.http).status for proxy in self.proxies])
        self.assertEqual(2, service.dialled)

    def leases(self, proxy: Xproxy, number: int) -> bool:
        """Whether a proxy has so many."""
        return bool(proxy.status()["connections"]["slot"] == number)


class UNIXTests(SynchronousTestCase):
    """Services on a UNIX socket."""

    def test_modes_and_files_stay(self) -> None:
        """The files of both sockets are what they were, with the same mode; the last acceptor removes them."""
        acceptor = Xacceptor(self)
        acceptor.said("handoff at")
        path = acceptor.handoff + ".slots"
        acceptor.stop()
        endpoint = f"unix:{path}:mode=600"
        acceptor = Xacceptor(self, slots=endpoint, handoff=acceptor.handoff).ready()
        before = [os.stat(each) for each in (path, acceptor.handoff)]
        successor = Xacceptor(self, "--takeover", slots=endpoint, handoff=acceptor.handoff).ready()
        self.assertEqual(0, acceptor.exit_status())
        after = [os.stat(each) for each in (path, acceptor.handoff)]
        self.assertEqual([(s.st_ino, s.st_mode) for s in after], [(s.st_ino, s.st_mode) for s in before])
        with socket.socket(socket.AF_UNIX) as service:
            service.connect(path)
            successor.has(slots=1)
        successor.has(slots=0)
        self.assertEqual(0, successor.stop())
        self.assertEqual([os.path.exists(each) for each in (path, acceptor.handoff)], [False, False])
