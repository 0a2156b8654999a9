"""One acceptor takes over from another, and either of them, or a proxy, may die at any step."""

from __future__ import annotations

import struct
from functools import partial
from typing import Any, Callable, List

import attr
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from tests.world.descriptors import OWN
from tests.world.parts import HANDOFF, AcceptorPart, Stage
from tests.world.peers import Peer
from tests.world.rig import responses
from tests.world.test_world import StageCase, staged
from xproxy.acceptor.succession.giver import GIVE_S
from xproxy.acceptor.succession.offers import CLAIM_S
from xproxy.handoff import takeover
from xproxy.handoff.boxes import encode_box
from xproxy.handoff.spare import SPARE_DESCRIPTORS


def answered(client: Peer) -> bool:
    """Whether an answer has come."""
    return b"HTTP" in client.received


class TakeoverCase(StageCase):
    """What is done to acceptors."""

    def taken_over(self, stage: Stage) -> AcceptorPart:
        """A successor serves, and the former one has ended."""
        former = stage.acceptor
        stage.acceptor = stage.successor()
        stage.world.until(lambda: stage.acceptor.serves, f"the successor to serve {stage.acceptor.failure}")
        stage.world.until(lambda: former.process.dead, "the end of the former one")
        return former

    def leased(self, stage: Stage, *shares: int) -> None:
        """Until the proxies hold so many slots each."""
        stage.world.until(lambda: tuple(len(proxy.pool.slots) for proxy in stage.proxies) == shares, f"shares of {shares}")


class TakeoverTests(TakeoverCase):
    """Nobody dies."""

    @staged(slots=4)
    def test_services_notice_nothing(self, stage: Stage) -> None:
        """The proxies lease what they had, no service has dialled, and again and again no descriptor is left over."""
        self.leased(stage, 2, 2)
        before = [list(proxy.pool.slots) for proxy in stage.proxies]
        for _ in range(3):
            self.taken_over(stage)
            self.registered(stage, 4)
            self.assertEqual([list(proxy.pool.slots) for proxy in stage.proxies], before)
            self.assertEqual(stage.acceptor.service.acceptor.registrations, {("default", "offered"): 4})
            for proxy in stage.proxies:
                client = proxy.ask("/next", "POST")
                self.assertEqual(self.answered(stage, client), (200, "service0 /next"))
                client.close()
        self.agree(stage, 4)
        self.assertEqual(len(stage.acceptor.process.descriptors), 1 + 4 + 2 * 2)
        self.assertEqual([len(proxy.process.descriptors) for proxy in stage.proxies], [2 + 1 + SPARE_DESCRIPTORS] * 2)

    @staged(slots=2)
    def test_exchanges_and_waiters(self, stage: Stage) -> None:
        """What runs goes on, what waits is served in its turn by the successor; never more at once than slots."""
        running = [self.running(stage, proxy, f"/{proxy.port}") for proxy in stage.proxies]
        waiting = [proxy.ask(f"/waiting/{proxy.port}/{number}", "POST") for number in range(3) for proxy in stage.proxies]
        stage.world.pass_time(0.2)
        self.taken_over(stage)
        stage.world.until(lambda: stage.acceptor.counts() == {"slots": 2, "idle": 0, "leased": 2}, "both")
        application = stage.services[0].application
        application.holding = False
        application.let_go(2)
        self.assertEqual([self.answered(stage, client)[0] for client in [*running, *waiting]], [200] * 8)
        self.assertEqual((application.most, len(application.asked)), (2, 8))
        self.agree(stage, 2)

    @staged(slots=3)
    def test_under_load(self, stage: Stage) -> None:
        """Requests come all the time, at both proxies."""
        application = stage.services[0].application
        application.takes_s = lambda: 0.005
        clients: List[Peer] = []

        def go_on(steps: int) -> None:
            for number in range(steps):
                clients.append(stage.proxies[number % 2].ask(f"/{len(clients)}", "POST"))
                stage.world.pass_time(0.002)

        go_on(10)
        former = stage.acceptor
        stage.acceptor = stage.successor()
        go_on(40)
        stage.world.until(lambda: stage.acceptor.serves and former.process.dead, "the change")
        go_on(10)
        for number, client in enumerate(clients):
            self.assertEqual(self.answered(stage, client), (200, f"service0 /{number}"))
        self.assertEqual(len(application.asked), len(set(application.asked)))
        self.assertLessEqual(application.most, 3)
        self.agree(stage, 3)
        self.assertEqual(stage.acceptor.service.acceptor.registrations["default", "ok"], 0, "a service has dialled")

    @staged(slots=1)
    def test_a_slot_that_has_not_registered_yet(self, stage: Stage) -> None:
        """A service that says nothing is a slot after a second: the former acceptor passes it on then, and ends after that."""
        quiet = stage.world.dial(9999)
        stage.world.pass_time(0.3)
        former = stage.acceptor
        stage.acceptor = stage.successor()
        stage.world.until(lambda: stage.acceptor.serves, "the successor")
        self.assertFalse(former.process.dead)
        self.registered(stage, 2)
        stage.world.until(lambda: former.process.dead, "the end of the former one")
        self.assertFalse(quiet.over)
        self.agree(stage, 2)

    def test_idle_slots(self) -> None:
        """Without a proxy: the successor has what was in the ring, and reads it."""
        for seed in range(3):
            stage = Stage(seed)
            try:
                stage.service(70)
                self.registered(stage, 70)
                self.taken_over(stage)
                self.assertEqual(stage.acceptor.counts(), {"slots": 70, "idle": 70, "leased": 0})
                self.assertEqual(stage.services[0].application.most, 0)
                client = stage.proxy().ask("/", "POST")
                self.assertEqual(self.answered(stage, client)[0], 200)
                stage.services[0].process.kill()
                self.registered(stage, 0)
                self.assertEqual(len(stage.acceptor.process.descriptors), 1 + 2)
            finally:
                stage.close()

    @staged(slots=2)
    def test_a_pool_that_is_no_more(self, stage: Stage) -> None:
        """Slots of a pool that the successor does not have are closed, leased ones as soon as they are free."""
        client = self.running(stage, stage.proxies[0])
        pool = attr.evolve(stage.config.pools["default"], name="another")
        stage.config = attr.evolve(stage.config, pools={"another": pool})
        stage.acceptor = stage.successor()
        stage.world.until(lambda: stage.acceptor.serves, "the successor")
        stage.services[0].application.let_go()
        self.assertEqual(self.answered(stage, client)[0], 200)
        stage.world.until(lambda: not any(proxy.pool.slots for proxy in stage.proxies), "the slots to be closed")


class RefusalTests(TakeoverCase):
    """It does not come to a takeover, and the acceptor serves on."""

    def serves_on(self, stage: Stage, slots: int, before: int) -> None:
        """Everything is as it was."""
        self.registered(stage, slots)
        for proxy in stage.proxies:
            client = proxy.ask("/on", "POST")
            self.assertEqual(self.answered(stage, client), (200, "service0 /on"))
            client.close()
        self.agree(stage, slots)
        self.assertEqual(len(stage.acceptor.process.descriptors), before)
        self.assertEqual(stage.acceptor.service.acceptor.registrations["default", "ok"], slots, "a service has dialled")

    @staged(slots=4)
    def test_a_successor_that_hangs(self, stage: Stage) -> None:
        """After ten seconds."""
        self.leased(stage, 2, 2)
        before = len(stage.acceptor.process.descriptors)
        successor = stage.successor()
        stage.world.until(lambda: stage.acceptor.service.acceptor.handing_on, "the first word")
        successor.process.stopped = True
        stage.world.pass_time(GIVE_S + 1.0)
        self.serves_on(stage, 4, before)
        successor.process.stopped = False
        stage.world.until(lambda: successor.failure, "the successor to be told")
        self.assertEqual((successor.serves, successor.failure), (False, "the successor was not ready in time"))

    @staged(slots=2)
    def test_strangers(self, stage: Stage) -> None:
        """Who says nothing after the first byte, or what is no message, or another version, or the wrong thing, is told so."""
        self.leased(stage, 1, 1)
        before = len(stage.acceptor.process.descriptors)
        for data in (
            b"\x01",
            b"\x01\0\0",
            b"\x01" + b"\xff" * 10_000,
            b"\x01" + encode_box(takeover.encode(takeover.Ready())),
            b"\x01" + encode_box(takeover.encode(takeover.TakeOver(takeover.VERSION + 1))),
            b"\x01" + encode_box(takeover.encode(takeover.TakeOver(takeover.VERSION))) * 2,
            b"\x01" + encode_box(takeover.encode(takeover.TakeOver(takeover.VERSION))) + b"\0\0",
        ):
            stranger = stage.world.dial(HANDOFF, data)
            stage.world.pass_time(GIVE_S + 1.0)
            self.assertTrue(stranger.over, data)
            self.assertIn(b"Aborted", stranger.received)
            stranger.close()
            self.serves_on(stage, 2, before)

    @staged(slots=2)
    def test_again_before_the_proxies_are_back(self, stage: Stage) -> None:
        """A takeover comes to nothing, and the next one begins at once: what nobody has offered yet is given too."""
        self.leased(stage, 1, 1)
        client = self.running(stage, stage.proxies[0])
        failing = stage.successor()
        stage.world.until(lambda: stage.acceptor.service.acceptor.handing_on, "the first word")
        for proxy in stage.proxies:
            stage.world.until(lambda proxy=proxy: proxy.pool.asking.source is None, "the proxies to part")  # type: ignore[misc]
            proxy.process.stopped = True
        failing.process.kill()
        stage.world.until(lambda: not stage.acceptor.service.acceptor.handing_on, "the failure")
        self.taken_over(stage)
        for proxy in stage.proxies:
            proxy.process.stopped = False
        stage.services[0].application.holding = False
        stage.services[0].application.let_go()
        self.assertEqual(self.answered(stage, client), (200, "service0 /held"))
        self.registered(stage, 2)
        self.assertEqual(stage.acceptor.service.acceptor.registrations, {("default", "offered"): 2})
        self.agree(stage, 2)

    @staged(slots=2)
    def test_a_successor_that_cannot_listen(self, stage: Stage) -> None:
        """One of its endpoints is somebody else's."""
        self.leased(stage, 1, 1)
        before = len(stage.acceptor.process.descriptors)
        taken = stage.world.process("another")
        taken.listenTCP(9998, Factory())
        stage.configure(slots=("tcp:9999:interface=127.0.0.1", "tcp:9998:interface=127.0.0.1"))
        successor = stage.successor()
        stage.world.until(lambda: successor.failure, "the failure")
        self.assertIn("9998", successor.failure)
        self.serves_on(stage, 2, before)

    @staged(slots=1)
    def test_an_acceptor_that_is_a_part(self, stage: Stage) -> None:
        """Its program would go on without it."""
        stage.acceptor.service.succession.handed_on = None
        successor = stage.successor()
        stage.world.until(lambda: successor.failure, "the refusal")
        self.assertEqual(successor.failure, "that acceptor is a part of another program")

    @staged(slots=2, embedded=True)
    def test_an_acceptor_that_has_a_proxy_of_its_own(self, stage: Stage) -> None:
        """They live and die together."""
        successor = stage.successor()
        stage.world.until(lambda: successor.failure, "the refusal")
        self.assertEqual(successor.failure, "that acceptor has a proxy in its own process")

    @staged(slots=4)
    def test_a_proxy_that_hangs(self, stage: Stage) -> None:
        """It is waited for, for two seconds; what it leases is closed when it has not come for five more. It finds its way."""
        self.leased(stage, 2, 2)
        stage.proxies[0].process.stopped = True
        self.taken_over(stage)
        stage.world.until(lambda: stage.acceptor.counts()["slots"] == 2, "the other's")
        stage.world.pass_time(CLAIM_S)
        self.registered(stage, 4)
        stage.proxies[0].process.stopped = False
        self.assertEqual(self.answered(stage, stage.proxies[0].ask("/", "POST"))[0], 200)
        self.agree(stage, 4)


class DeathTests(SynchronousTestCase):
    """Somebody is killed after the first, second, third ... thing that happens."""

    EVERY = 3

    def play(self, kill: Callable[[Stage, AcceptorPart], None]) -> None:
        """Until the takeover is over before it comes to that."""
        for seed in range(2):
            steps = seed
            while self.one(seed, steps, kill):
                steps += self.EVERY
            self.assertGreater(steps, 20)

    def one(self, seed: int, steps: int, kill: Callable[[Stage, AcceptorPart], None]) -> bool:
        """Whether it came to that."""
        stage = Stage(seed)
        try:
            for _ in range(2):
                stage.proxy()
            stage.service(4)
            stage.world.until(lambda: [len(proxy.pool.slots) for proxy in stage.proxies] == [2, 2], "the leases")
            application = stage.services[0].application
            application.holding = True
            clients = [stage.proxies[0].ask("/held", "POST")]
            stage.world.until(lambda: application.held, "the request")
            former, successor = stage.acceptor, stage.successor()
            for _ in range(steps):
                if successor.serves and former.process.dead:
                    return False
                if not stage.world.step():
                    following = stage.world._next_time()
                    assert following is not None
                    stage.world._go_to(following)
            kill(stage, successor)
            stage.world.pass_time(2.0)
            if not (former.process.dead or former.service.acceptor.handing_on):
                stage.acceptor = former
            elif successor.serves and not successor.process.dead:
                stage.acceptor = successor
            else:
                stage.start_acceptor()
            alive = [proxy for proxy in stage.proxies if not proxy.process.dead]
            clients += [alive[number % len(alive)].ask(f"/{number}", "POST") for number in range(6)]
            stage.world.pass_time(0.5)
            application.holding = False
            application.let_go(len(application.held))
            for client in clients if len(alive) == 2 else clients[1:]:
                stage.world.until(partial(answered, client), f"an answer, after {steps} steps", 20.0)
                self.assertEqual([status for status, _, _ in responses(client.received)], [200], steps)
            self.assertLessEqual(application.most, 4)
            self.assertEqual(len(application.asked), len(set(application.asked)))
            stage.world.until(lambda: stage.acceptor.counts()["slots"] == 4, f"four slots, after {steps} steps", 20.0)
            stage.world.pass_time(CLAIM_S + 1.0)
            held = sum(len(proxy.pool.slots) for proxy in alive)
            self.assertEqual(stage.acceptor.counts(), {"slots": 4, "idle": 4 - held, "leased": held}, steps)
            self.assertEqual(len(stage.acceptor.process.descriptors), 1 + 4 + 2 * len(alive), steps)
            return True
        finally:
            stage.close()

    def test_the_successor(self) -> None:
        """Until it has said that it is ready, the former one serves on; after that it is as with any acceptor that dies."""
        self.play(lambda stage, successor: successor.process.kill())

    def test_the_former_one(self) -> None:
        """Once it has begun to give, the successor serves, with what it has."""
        self.play(lambda stage, successor: stage.acceptor.process.kill())

    def test_a_proxy(self) -> None:
        """Its slots end with it; the change goes on."""
        self.play(lambda stage, successor: stage.proxies[0].process.kill())


class LoanTests(TakeoverCase):
    """A slot is lent to a one-byte client."""

    def lent(self, stage: Stage, borrower: Peer) -> Peer:
        """What it was sent: the end of a pair."""
        data, ancillary, _, _ = borrower.socket.recvmsg(1, 64)
        self.assertEqual(data, b"*")
        (number,) = struct.unpack("i", ancillary[0][2])
        peer = Peer(OWN.take_up(number))
        OWN.close(number)
        stage.world.peers.append(peer)
        return peer

    @staged(slots=1)
    def test_it_is_passed_on_when_it_comes_back(self, stage: Stage) -> None:
        """Its exchange ends under the former acceptor; the slot is the successor's then, and the former one ends."""
        for proxy in stage.proxies:
            proxy.stop()
            proxy.process.end()
        stage.proxies.clear()
        application = stage.services[0].application
        application.holding = True
        borrower = stage.world.dial(HANDOFF)
        borrower.reading = False
        borrower.send(b"\x80")
        stage.world.until(lambda: borrower.socket.readable, "a slot")
        lent = self.lent(stage, borrower)
        lent.send(b"POST /lent HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        stage.world.until(lambda: application.held, "the request")
        former = stage.acceptor
        stage.acceptor = stage.successor()
        stage.world.until(lambda: stage.acceptor.serves, "the successor")
        stage.world.pass_time(1.0)
        self.assertFalse(former.process.dead)
        application.holding = False
        application.let_go()
        stage.world.until(lambda: b"service0 /lent" in lent.received, "the answer")
        lent.close()
        self.registered(stage, 1)
        stage.world.until(lambda: former.process.dead, "the end of the former one")
        self.assertEqual(self.answered(stage, stage.proxy().ask("/", "POST")), (200, "service0 /"))
        self.assertEqual(application.most, 1)


class OtherGiverTests(SynchronousTestCase):
    """What listens at the handoff socket is no acceptor of ours, or does what it may not."""

    def test_what_it_says(self) -> None:
        """The successor does not serve, says why, and has nothing left open."""
        giving = encode_box(takeover.encode(takeover.Giving()))
        slot = encode_box(takeover.encode(takeover.SlotGiven("default", "s", "idle", b"", 0, 0)))
        yours = encode_box(takeover.encode(takeover.Yours()))
        for said, reason in (
            (b"", "does not give itself"),
            (b"\0\0", "no command that is known here"),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "longer than 255 bytes"),
            (yours, "not for this moment of a takeover"),
            (giving * 2, "not for this moment of a takeover"),
            (giving + yours, "not for this moment of a takeover"),
            (giving + encode_box(takeover.encode(takeover.Given(1))), "0 sockets came, and that acceptor counts 1"),
            (giving + slot, "without the descriptor"),
            (encode_box(takeover.encode(takeover.Aborted(b"it does not want to"))), "it does not want to"),
        ):
            stage = Stage()
            try:
                stage.acceptor.process.kill()
                other = stage.world.process("other")
                other.listenUNIX(HANDOFF, Factory.forProtocol(partial(Saying, said)))
                successor = stage.successor()
                stage.world.until(partial(getattr, successor, "failure"), f"a failure by {said!r}")
                self.assertIn(reason, successor.failure)
                self.assertFalse(successor.serves)
                self.assertLessEqual(len(successor.process.descriptors), 1)  # The connection, for a moment yet.
            finally:
                stage.close()


class Saying(Protocol):
    """Says something, and closes where that is nothing."""

    def __init__(self, said: bytes) -> None:
        self._said = said

    def dataReceived(self, data: bytes) -> None:
        """Somebody has come."""
        transport: Any = self.transport
        transport.write(self._said)
        if not self._said:
            transport.loseConnection()
