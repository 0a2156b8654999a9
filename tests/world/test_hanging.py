"""A process stands still and closes nothing: what it does not use goes to others, and nothing meets when it goes on."""

from __future__ import annotations

from tests.world.parts import Stage
from tests.world.test_world import StageCase, answers, staged
from xproxy.acceptor.remote_holder import HUNG_S
from xproxy.handoff.liveness import PING_S, SILENT_S

TAKEN_BACK_S = 5.0
"""Idle leases of a proxy that hangs are others' by then."""


class HungProxyTests(StageCase):
    """One of two proxies hangs."""

    @staged(slots=4)
    def test_idle_leases_are_taken_back(self, stage: Stage) -> None:
        """The other one has them within five seconds; when the first wakes up, it finds them closed and gets some again."""
        first, second = stage.proxies
        stage.world.until(lambda: [len(proxy.pool.slots) for proxy in stage.proxies] == [2, 2], "a fair share")
        first.process.stopped = True
        began = stage.world.now
        stage.world.until(lambda: len(second.pool.slots) == 4, "the leases of the first")
        self.assertLess(stage.world.now - began, TAKEN_BACK_S)
        application = stage.services[0].application
        application.holding = True
        clients = [second.ask(f"/{number}") for number in range(4)]
        stage.world.until(lambda: len(application.held) == 4, "four at once")
        late = first.ask("/late", "POST")
        first.process.stopped = False
        stage.world.pass_time(1.0)
        self.assertEqual((application.most, answers(late)), (4, []))
        application.holding = False
        application.let_go(4)
        self.assertEqual([self.answered(stage, client)[0] for client in [*clients, late]], [200] * 5)
        self.assertEqual(application.asked.count("/late"), 1)
        self.assertEqual(application.most, 4)
        self.agree(stage, 4)

    @staged(slots=2)
    def test_what_it_uses_it_keeps(self, stage: Stage) -> None:
        """An exchange that ran when it stopped ends when it goes on; its slot was nobody else's."""
        first, second = stage.proxies
        client = self.running(stage, first)
        stage.world.pass_time(0.5)
        application = stage.services[0].application
        first.process.stopped = True
        application.holding = False
        stage.world.pass_time(SILENT_S + PING_S + 0.5)
        stage.world.until(lambda: len(second.pool.slots) == 1, "the other slot")
        application.let_go()
        stage.world.pass_time(2.0)
        self.assertEqual(len(second.pool.slots), 1)
        first.process.stopped = False
        self.assertEqual(self.answered(stage, client), (200, "service0 /held"))
        self.agree(stage, 2)

    @staged(slots=2)
    def test_for_too_long(self, stage: Stage) -> None:
        """After another ten seconds it is cut off, and what it used is closed too."""
        first, second = stage.proxies
        client = self.running(stage, first)
        stage.services[0].application.holding = False
        first.process.stopped = True
        stage.world.pass_time(SILENT_S + PING_S + HUNG_S)
        self.registered(stage, 2)
        stage.world.until(lambda: len(second.pool.slots) == 2, "both slots")
        first.process.stopped = False
        self.assertEqual(self.answered(stage, client)[0], 200)  # Tried again: a GET.
        self.agree(stage, 2)

    @staged(slots=1)
    def test_who_waits_waits_on(self, stage: Stage) -> None:
        """What the proxy had asked for when it stopped holds when it goes on."""
        first, second = stage.proxies
        running = self.running(stage, second)
        waiting = first.ask("/waiting")
        stage.world.pass_time(0.5)
        first.process.stopped = True
        stage.world.pass_time(SILENT_S + PING_S)
        stage.services[0].application.let_go()
        self.assertEqual(self.answered(stage, running), (200, "service0 /held"))
        stage.world.pass_time(1.0)
        self.assertEqual(len(second.pool.slots), 1, "nothing is granted to who hangs")
        stage.services[0].application.holding = False
        first.process.stopped = False
        self.assertEqual(self.answered(stage, waiting, 2.0), (200, "service0 /waiting"))
        self.agree(stage, 1)


class HungAcceptorTests(StageCase):
    """The acceptor hangs."""

    @staged(slots=2)
    def test_nobody_is_blamed(self, stage: Stage) -> None:
        """Proxies go on with what they have. When it goes on it does not take its own standstill for that of the proxies."""
        stage.world.until(lambda: [len(proxy.pool.slots) for proxy in stage.proxies] == [1, 1], "a fair share")
        sockets = [list(proxy.pool.slots) for proxy in stage.proxies]
        stage.acceptor.process.stopped = True
        stage.world.pass_time(2 * SILENT_S)
        self.assertEqual([proxy.client.answers for proxy in stage.proxies if proxy.client], [False, False])
        self.assertEqual(self.answered(stage, stage.proxies[0].ask("/meanwhile")), (200, "service0 /meanwhile"))
        stage.acceptor.process.stopped = False
        stage.world.pass_time(2 * PING_S)
        self.assertEqual([proxy.client.answers for proxy in stage.proxies if proxy.client], [True, True])
        self.assertEqual([list(proxy.pool.slots) for proxy in stage.proxies], sockets)
        self.agree(stage, 2)
