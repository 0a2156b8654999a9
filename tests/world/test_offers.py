"""An acceptor dies and another one takes its place: what proxies lease is leased on, and services notice nothing of it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.world.parts import ProxyPart, Stage
from tests.world.test_world import StageCase, staged
from xproxy.handoff.acceptor_connection import AcceptorConnection

OFFER = AcceptorConnection.offer


class CrashTests(StageCase):
    """The acceptor is killed."""

    def killed(self, stage: Stage) -> None:
        """It is, and both proxies notice."""
        stage.acceptor.process.kill()
        stage.world.until(lambda: all(proxy.pool.asking.source is None for proxy in stage.proxies), "the loss to be noticed")

    def leased(self, stage: Stage, *shares: int) -> None:
        """Until the proxies hold so many slots each."""
        stage.world.until(lambda: tuple(len(proxy.pool.slots) for proxy in stage.proxies) == shares, f"shares of {shares}")

    @staged(slots=4)
    def test_free_and_used_slots_are_leased_on(self, stage: Stage) -> None:
        """The successor has all four again before any service could dial, those in use among them; then they move as ever."""
        self.leased(stage, 2, 2)
        first, second = stage.proxies
        client = self.running(stage, first, "/held")
        before = [list(proxy.pool.slots) for proxy in stage.proxies]
        self.killed(stage)
        stage.start_acceptor()
        stage.world.until(lambda: stage.acceptor.counts() == {"slots": 4, "idle": 0, "leased": 4}, "all four")
        self.assertEqual([list(proxy.pool.slots) for proxy in stage.proxies], before)
        self.assertEqual(stage.acceptor.census()["in_flight"], 1)
        more = [second.ask(f"/{number}") for number in range(4)]
        stage.world.until(lambda: len(stage.services[0].application.held) == 4, "the first's free one to move")
        self.assertEqual(stage.services[0].application.most, 4)
        stage.services[0].application.holding = False
        stage.services[0].application.let_go(4)
        self.assertEqual([self.answered(stage, each)[0] for each in [client, *more]], [200] * 5)
        self.agree(stage, 4)
        self.assertEqual(stage.acceptor.service.acceptor.registrations, {("default", "offered"): 4})

    @staged(slots=1)
    def test_an_exchange_of_before(self, stage: Stage) -> None:
        """It ends under the new acceptor, and the slot is the next one's: at most one exchange at once, whoever asks."""
        client = self.running(stage, stage.proxies[0], "/post")
        self.killed(stage)
        waiting = stage.proxies[1].ask("/waiting", "POST")
        stage.start_acceptor()
        stage.world.pass_time(1.0)
        application = stage.services[0].application
        application.let_go()
        self.assertEqual(self.answered(stage, client), (200, "service0 /post"))
        stage.world.until(lambda: application.held, "the next")
        application.let_go()
        self.assertEqual(self.answered(stage, waiting), (200, "service0 /waiting"))
        self.assertEqual(application.most, 1)
        self.agree(stage, 1)

    @staged(slots=2)
    def test_a_proxy_that_dies_between(self, stage: Stage) -> None:
        """What it had ends with it, and is dialled again."""
        self.leased(stage, 1, 1)
        self.running(stage, stage.proxies[0], "/gone")
        self.killed(stage)
        stage.proxies[0].process.kill()
        stage.services[0].application.holding = False
        stage.start_acceptor()
        self.registered(stage, 2)
        self.assertEqual(self.answered(stage, stage.proxies[1].ask("/next", "POST")), (200, "service0 /next"))
        self.agree(stage, 2)

    @staged(slots=2)
    def test_again_and_again(self, stage: Stage) -> None:
        """Nobody dials, no descriptor is left over, whatever the number of deaths."""
        self.leased(stage, 1, 1)
        slots = [list(proxy.pool.slots) for proxy in stage.proxies]
        before = [len(proxy.process.descriptors) for proxy in stage.proxies]
        for number in range(5):
            self.killed(stage)
            stage.start_acceptor()
            self.registered(stage, 2)
            client = stage.proxies[number % 2].ask(f"/{number}", "POST")
            self.assertEqual(self.answered(stage, client)[0], 200)
            client.close()
        self.agree(stage, 2)
        self.assertEqual([list(proxy.pool.slots) for proxy in stage.proxies], slots)
        self.assertEqual([len(proxy.process.descriptors) for proxy in stage.proxies], before)
        self.assertEqual(len(stage.acceptor.process.descriptors), 1 + 2 + 2 * 2)

    @staged(slots=2)
    def test_a_service_that_has_gone_meanwhile(self, stage: Stage) -> None:
        """Its slots are seen to be over, wherever they are on their way."""
        self.leased(stage, 1, 1)
        self.killed(stage)
        stage.start_acceptor()
        stage.services[0].process.kill()
        stage.world.pass_time(2.0)
        self.assertEqual([len(proxy.pool.slots) for proxy in stage.proxies], [0, 0])
        self.agree(stage, 0)


class RedialTests(SynchronousTestCase):
    """What the acceptor had idle itself died with it, and is dialled again."""

    SERVICES, SLOTS = 20, 4

    def test_by_and_by(self) -> None:
        """All are back within three seconds, never half of them in the same tenth of one. See benchmarks/redials too."""
        stage = Stage(7)
        self.addCleanup(stage.close)
        wanted = self.SERVICES * self.SLOTS
        for _ in range(self.SERVICES):
            stage.service(self.SLOTS)
        stage.world.until(lambda: stage.acceptor.counts()["slots"] == wanted, "all")
        stage.acceptor.process.kill()
        stage.world.pass_time(2.0)
        stage.start_acceptor()
        back = [0]
        while back[-1] < wanted:
            stage.world.pass_time(0.1)
            back.append(stage.acceptor.counts()["slots"])
            self.assertLess(len(back), 30, back)
        self.assertLess(max(after - before for before, after in zip(back, back[1:])), wanted / 2, back)


class RefusalTests(StageCase):
    """What is offered is not wanted."""

    def successor(self, stage: Stage, **pool: Any) -> None:
        """The acceptor dies; the next one has another configuration."""
        stage.acceptor.process.kill()
        stage.configure(**pool)
        stage.start_acceptor()

    @staged(slots=3)
    def test_more_than_the_pool_has_room_for(self, stage: Stage) -> None:
        """What is too much is closed: at once where it is free, else when it is; its exchange ends as any other."""
        stage.world.until(lambda: sum(len(proxy.pool.slots) for proxy in stage.proxies) == 3, "the leases")
        clients = [self.running(stage, proxy, f"/{proxy.port}") for proxy in stage.proxies]
        self.successor(stage, max_slots=1)
        stage.world.until(lambda: sum(len(proxy.pool.slots) for proxy in stage.proxies) == 2, "the free one to be closed")
        stage.services[0].application.holding = False
        stage.services[0].application.let_go(2)
        self.assertEqual([self.answered(stage, client)[0] for client in clients], [200, 200])
        stage.world.until(lambda: sum(len(proxy.pool.slots) for proxy in stage.proxies) == 1, "the rest to be closed")
        self.agree(stage, 1)

    @staged(slots=2)
    def test_the_same_slot_from_another(self, stage: Stage) -> None:
        """Nobody can offer what the acceptor has: whoever comes first has it, the other is refused."""
        stage.world.until(lambda: [len(proxy.pool.slots) for proxy in stage.proxies] == [1, 1], "a fair share")
        first, second = stage.proxies
        (slot,) = first.pool.slots
        copy = second.process.descriptors.open(first.process.descriptors.description(slot.transport.fileno()))
        stage.acceptor.process.kill()
        stage.world.until(lambda: second.pool.asking.source is None, "the loss")
        self.patch(AcceptorConnection, "offer", self.with_a_copy(second, copy, OFFER))
        stage.start_acceptor()
        stage.world.pass_time(2.0)
        self.assertEqual(stage.acceptor.service.acceptor.registrations["default", "offered"], 2)
        identities = [slot.identity() for slot in stage.acceptor.service.acceptor.slots.values()]
        self.assertEqual(len(identities), len(set(identities)))

    def with_a_copy(self, cheat: ProxyPart, copy: int, offer: Any) -> Any:
        """A proxy that offers what is another's first."""

        def offering(connection: AcceptorConnection, pool: str, descriptor: int, service: str) -> Any:
            if connection._client is cheat.client:
                offer(connection, pool, copy, service)
            return offer(connection, pool, descriptor, service)

        return offering
