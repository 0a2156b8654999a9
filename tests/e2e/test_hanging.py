"""A program is stopped (SIGSTOP), closes nothing, and goes on (SIGCONT)."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import ask, together
from tests.e2e.processes import Program, Xacceptor, Xproxy
from tests.e2e.services import SlotService

SLOTS = 4


def stop_turning(program: Program) -> None:
    """Stop it; returns when the kernel says that it is."""
    program.signal(signal.SIGSTOP)
    state = Path(f"/proc/{program.process.pid}/stat")
    program.eventually(lambda: state.read_text("ascii").rpartition(") ")[2].startswith("T"), "a stop")


class HangingTests(SynchronousTestCase):
    """An acceptor, two proxies, a service that dials again."""

    def setUp(self) -> None:
        self.acceptor = Xacceptor(self)
        self.acceptor.said("handoff at")
        self.first = Xproxy(self, "--acceptor", self.acceptor.handoff).ready()
        self.acceptor.ready()
        self.service = SlotService(self, self.acceptor.slots, SLOTS)
        self.first.eventually(lambda: self.first.status()["connections"]["slot"] == SLOTS, "all slots at the first proxy")

    def test_a_proxy(self) -> None:
        """It has every slot, idle; it is stopped: another one serves. It goes on: both serve. (How soon: tests/world.)"""
        stop_turning(self.first)
        second = Xproxy(self, "--acceptor", self.acceptor.handoff).ready()
        self.assertEqual(200, ask(second.http, "/second", "POST", b"1").status)
        self.acceptor.said(f"a proxy with {SLOTS} leases has not answered for")
        self.acceptor.has(slots=SLOTS)
        self.first.signal(signal.SIGCONT)
        calls = [partial(ask, proxy.http, f"/{n}", "POST", b"1") for n in range(10) for proxy in (self.first, second)]
        self.assertEqual([200] * 20, [answer.status for answer in together(*calls)])
        self.assertEqual((0, 21), (self.service.overlapping, len(self.service.requests)))
        self.assertLessEqual(self.service.most, SLOTS)
        self.acceptor.has(slots=SLOTS, in_flight=0, waiting=0)

    def test_the_acceptor(self) -> None:
        """A proxy with leases serves on and is ready; one that has none is not, and says so, until the acceptor goes on."""
        second = Xproxy(self, "--acceptor", self.acceptor.handoff).ready()
        second.eventually(lambda: second.status()["connections"]["slot"] > 0, "a fair share")
        stop_turning(self.acceptor)
        self.first.said("has not answered for")
        second.said("has not answered for")
        self.assertEqual(200, ask(self.first.http, "/first", "POST", b"1").status)
        self.assertEqual(200, ask(self.first.admin, "/readyz").status)
        self.service.stop()
        second.eventually(lambda: ask(second.admin, "/readyz").status == 503, "a proxy without slots not to be ready")
        self.acceptor.signal(signal.SIGCONT)
        second.said("answers again")
        second.eventually(lambda: ask(second.admin, "/readyz").status == 200, "the proxy to be ready")
        SlotService(self, self.acceptor.slots, 1)
        self.assertEqual([200, 200], [ask(proxy.http).status for proxy in (self.first, second)])
