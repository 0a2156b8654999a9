"""The real acceptor, handoff, proxies and services in one process: who has which slot, whoever dies.

Each test runs once in order and without delay, and once for each of some seeds, by which turns are taken and bytes are under
way.
"""

from __future__ import annotations

from functools import partial, wraps
from typing import Any, Callable, List

from twisted.trial.unittest import SynchronousTestCase

from tests.world.parts import SLOTS_PORT, ProxyPart, Stage
from tests.world.peers import Peer
from tests.world.rig import responses
from xproxy.slots.preambles.registration import build_registration

SEEDS = range(5)

SERVICE_TIME_S = 0.01
"""As long as ``ASK_INTERVAL_S``, the time by which a request may overtake: so that this is no more than a few places."""

MAX_PLACES = 8
"""By how many places a request may be overtaken here, two for each slot; 18 where each proxy serves its own first."""


def answers(client: Peer) -> List[Any]:
    """Status and content of what a client was answered, as far as it is whole."""
    try:
        return [(status, content.decode()) for status, _, content in responses(client.received)]
    except AssertionError:
        return []


def staged(slots: int, embedded: bool = False) -> Callable[[Callable[[Any, Stage], None]], Callable[[Any], None]]:
    """Play a test on a stage for each seed: one service with so many slots, and two proxies that know the acceptor.

    :param embedded: the first of them has the acceptor in its process.
    """

    def decorate(play: Callable[[Any, Stage], None]) -> Callable[[Any], None]:
        @wraps(play)
        def test(case: StageCase) -> None:
            for seed in SEEDS:
                stage = Stage(seed)
                try:
                    stage.proxy(embedded)
                    stage.proxy()
                    stage.service(slots)
                    case.registered(stage, slots)
                    play(case, stage)
                finally:
                    stage.close()

        return test

    return decorate


class StageCase(SynchronousTestCase):
    """What is asked of a stage."""

    def registered(self, stage: Stage, slots: int) -> None:
        """Wait until the acceptor has so many slots."""
        stage.world.until(lambda: stage.acceptor.counts()["slots"] == slots, f"{slots} slots")

    def answered(self, stage: Stage, client: Peer, limit_s: float = 60.0) -> Any:
        """Wait for the answer, and give it."""
        stage.world.until(partial(answers, client), "the answer", limit_s)
        (answer,) = answers(client)
        return answer

    def running(self, stage: Stage, proxy: ProxyPart, path: str = "/held") -> Peer:
        """A client whose request the service has and does not answer."""
        application = stage.services[0].application
        application.holding = True
        before = len(application.held)
        client = proxy.ask(path)
        stage.world.until(lambda: len(application.held) > before, "the request at the service")
        return client

    def agree(self, stage: Stage, slots: int) -> None:
        """Nothing runs, and acceptor and proxies agree on who has what."""
        stage.world.pass_time(2.0)
        counts = stage.acceptor.counts()
        alive = [proxy for proxy in stage.proxies if not proxy.process.dead]
        held = sum(len(proxy.pool.slots) for proxy in alive)
        self.assertEqual((counts["slots"], counts["leased"]), (slots, held), (stage.world.seed, counts))
        self.assertEqual(counts["idle"] + counts["leased"], slots)
        self.assertEqual([proxy.pool.counts.in_flight for proxy in alive], [0] * len(alive))


class LeaseTests(StageCase):
    """Leases come, move and go."""

    @staged(slots=1)
    def test_one_slot_for_two(self, stage: Stage) -> None:
        """Leased, kept, recalled for the other, given back, leased again."""
        self.one_after_the_other(stage)

    @staged(slots=1, embedded=True)
    def test_one_slot_for_two_of_whom_one_has_the_acceptor(self, stage: Stage) -> None:
        """The same when the acceptor is in the first one's process."""
        self.one_after_the_other(stage)

    def one_after_the_other(self, stage: Stage) -> None:
        for number in range(6):
            client = stage.proxies[number % 2].ask(f"/{number}")
            self.assertEqual(self.answered(stage, client, 2.0), (200, f"service0 /{number}"))
            client.close()
        self.assertEqual(stage.services[0].application.most, 1)
        self.agree(stage, 1)

    @staged(slots=1)
    def test_who_waits_has_the_next(self, stage: Stage) -> None:
        """A request at one proxy waits for the slot that the other one uses, and both are answered in order."""
        first, second = stage.proxies
        clients = [self.running(stage, first, "/0"), second.ask("/1")]
        stage.world.pass_time(1.0)
        clients.append(first.ask("/2"))
        stage.world.pass_time(1.0)
        application = stage.services[0].application
        for number, client in enumerate(clients):
            stage.world.until(lambda: application.held, "the request")
            application.let_go()
            self.assertEqual(self.answered(stage, client), (200, f"service0 /{number}"))
        self.assertEqual(application.most, 1)
        self.agree(stage, 1)

    @staged(slots=4)
    def test_many(self, stage: Stage) -> None:
        """Five times as many requests as slots: never more at once than slots, everybody is answered what he asked."""
        clients = [stage.proxies[number % 2].ask(f"/{number}") for number in range(20)]
        for number, client in enumerate(clients):
            self.assertEqual(self.answered(stage, client), (200, f"service0 /{number}"))
        self.assertLessEqual(stage.services[0].application.most, 4)
        self.agree(stage, 4)

    @staged(slots=4)
    def test_order_of_arrival(self, stage: Stage) -> None:
        """A slot that is free goes to whoever has waited longest, whichever proxy that is at, and whoever had the slot."""
        application = stage.services[0].application
        application.takes_s = lambda: SERVICE_TIME_S
        clients = []
        for number in range(40):
            clients.append(stage.proxies[number % 2].ask(f"/{number}"))
            stage.world.pass_time(0.0005 if number % 4 else 0.002)
        for client in clients:
            self.assertEqual(self.answered(stage, client)[0], 200)
        served = [int(path[1:]) for path in application.asked]
        self.assertEqual(sorted(served), list(range(40)))
        self.assertLessEqual(max(place - number for place, number in enumerate(served)), MAX_PLACES, served)

    @staged(slots=1)
    def test_kept(self, stage: Stage) -> None:
        """A proxy that has a slot uses it again without asking: the acceptor lends it once."""
        for number in range(5):
            self.assertEqual(self.answered(stage, stage.proxies[0].ask(f"/{number}"))[0], 200)
            self.assertEqual(len(stage.proxies[0].pool.slots), 1)
        self.assertEqual(stage.proxies[0].pool.asking._seen, 1)

    @staged(slots=2)
    def test_a_proxy_that_stops(self, stage: Stage) -> None:
        """It gives its leases back, and the other one has them."""
        first, second = stage.proxies
        self.assertEqual(self.answered(stage, first.ask("/0")), (200, "service0 /0"))
        first.stop()
        stage.world.pass_time(1.0)
        first.process.end()
        clients = [second.ask(f"/{number}") for number in range(4)]
        self.assertEqual([self.answered(stage, client)[0] for client in clients], [200] * 4)
        self.agree(stage, 2)


class LateTests(StageCase):
    """A service that stood still between its connect and its first write was taken for raw."""

    def test_a_preamble_while_a_proxy_has_the_slot(self) -> None:
        """It comes in pieces, and the slot changes its pool without being dialled again."""
        preamble = build_registration("other", "late:1", None)
        for seed, embedded in [(seed, seed % 2 == 0) for seed in SEEDS]:
            stage = Stage(seed, pools=("other",))
            self.addCleanup(stage.close)
            proxy = stage.proxy(embedded)
            slot = stage.world.dial(SLOTS_PORT)
            stage.world.until(partial(len, proxy.pool.slots), "the slot at the proxy")
            for piece in (preamble[:2], preamble[2:20], preamble[20:]):
                slot.send(piece)
                stage.world.pass_time(0.5)
            self.assertEqual((len(proxy.pool.slots), stage.acceptor.counts()["slots"]), (0, 0))
            (service,) = stage.acceptor.census("other")["services"]
            self.assertEqual((service["name"], service["slots"], slot.over, slot.received), ("late:1", 1, False, b""))

    def test_after_it_was_given_back_it_is_none(self) -> None:
        """It may have been used: what looks like a preamble may be the content of an answer."""
        stage = Stage(pools=("other",))
        self.addCleanup(stage.close)
        proxy = stage.proxy()
        slot = stage.world.dial(SLOTS_PORT)
        stage.world.until(lambda: len(proxy.pool.slots) == 1, "the slot at the proxy")
        proxy.stop()
        stage.world.pass_time(0.5)
        slot.send(build_registration("other", "late:1", None))
        stage.world.until(lambda: slot.over, "the end of the slot")
        self.assertEqual(stage.acceptor.counts("other")["slots"], 0)


class DeathTests(StageCase):
    """Somebody is killed: the kernel closes what he had, and nothing else is said."""

    @staged(slots=2)
    def test_a_service(self, stage: Stage) -> None:
        """What ran on it is a 502 unless it can be tried again elsewhere; its slots are gone, and another one's are used."""
        safe, unsafe = self.running(stage, stage.proxies[0]), stage.proxies[1].ask("/unsafe", "POST")
        stage.world.until(lambda: len(stage.services[0].application.held) == 2, "both")
        stage.service(1)
        self.registered(stage, 3)
        stage.services[0].process.kill()
        self.assertEqual(self.answered(stage, safe), (200, "service1 /held"))
        self.assertEqual(self.answered(stage, unsafe)[0], 502)
        self.agree(stage, 1)

    @staged(slots=3)
    def test_a_proxy(self, stage: Stage) -> None:
        """The slot of its exchange is closed and dialled again, the others are the other's."""
        first, second = stage.proxies
        client = self.running(stage, first)
        application = stage.services[0].application
        first.process.kill()
        stage.world.until(lambda: client.over and not application.held, "the end at both sides")
        application.holding = False
        self.registered(stage, 3)
        clients = [second.ask(f"/{number}") for number in range(9)]
        self.assertEqual([self.answered(stage, client) for client in clients], [(200, f"service0 /{n}") for n in range(9)])
        self.agree(stage, 3)

    @staged(slots=2)
    def test_an_acceptor(self, stage: Stage) -> None:
        """What runs goes on over orphans, which are used until there is another acceptor, and are closed then."""
        first, second = stage.proxies
        client = self.running(stage, first)
        application = stage.services[0].application
        self.killed(stage)
        application.let_go()
        self.assertEqual(self.answered(stage, client), (200, "service0 /held"))
        application.holding = False
        self.assertEqual(self.answered(stage, first.ask("/orphan")), (200, "service0 /orphan"))
        stage.start_acceptor()
        self.registered(stage, 2)
        self.assertEqual(self.answered(stage, second.ask("/new")), (200, "service0 /new"))
        self.agree(stage, 2)

    def killed(self, stage: Stage) -> None:
        """Kill the acceptor; both proxies notice."""
        stage.acceptor.process.kill()
        stage.world.until(lambda: all(proxy.pool.asking.source is None for proxy in stage.proxies), "the loss to be noticed")

    @staged(slots=1)
    def test_an_orphan_that_is_in_use(self, stage: Stage) -> None:
        """An exchange that began before the acceptor died ends when a new one is there: its slot does not come back twice."""
        client = self.running(stage, stage.proxies[0])
        self.killed(stage)
        stage.start_acceptor()
        stage.world.until(lambda: all(proxy.pool.asking.source is not None for proxy in stage.proxies), "the new one")
        waiting = stage.proxies[1].ask("/waiting")
        stage.world.pass_time(1.0)
        stage.services[0].application.holding = False
        stage.services[0].application.let_go()
        self.assertEqual(self.answered(stage, client), (200, "service0 /held"))
        self.assertEqual(self.answered(stage, waiting), (200, "service0 /waiting"))
        self.assertEqual(stage.services[0].application.most, 1)
        self.agree(stage, 1)

    @staged(slots=1)
    def test_a_service_while_its_slot_is_an_orphan(self, stage: Stage) -> None:
        """Nobody but the proxy can notice, which does."""
        client = self.running(stage, stage.proxies[0])
        self.killed(stage)
        stage.services[0].process.kill()
        stage.world.pass_time(1.0)
        self.assertEqual(len(stage.proxies[0].pool.slots), 0)
        stage.start_acceptor()
        stage.service(1)
        self.assertEqual(self.answered(stage, client), (200, "service1 /held"))
        self.agree(stage, 1)
