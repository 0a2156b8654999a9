"""A day in a world, drawn from a seed: clients come and leave, services, proxies and acceptors are killed and started again,
acceptors are taken over.

``python -m tests.world.simulation SEED`` plays one; so a seed that fails anywhere can be looked at anywhere.
"""

from __future__ import annotations

import sys
from typing import Callable, Dict, List

from tests.world.parts import ProxyPart, ServicePart, Stage
from tests.world.peers import Peer
from tests.world.rig import responses
from xproxy.handoff.spare import SPARE_DESCRIPTORS

SLOTS = 3
"""Of each service."""

LONGEST_ANSWER_S = 0.3

MAY_FAIL = (502, 503, 504)
"""What a client may be answered while others die."""


class Simulation:
    """See the module. Whatever must hold and does not raises AssertionError.

    :param seed: not 0.
    :ivar outcomes: how often which status, and how many connections ended without one.
    """

    def __init__(self, seed: int) -> None:
        self.stage = Stage(seed)
        self.world = self.stage.world
        self.outcomes: Dict[int, int] = {}
        self.clients: Dict[str, Peer] = {}
        self._asked = 0
        for _ in range(2):
            self.stage.proxy()
            self._start_service()
        self._deeds: List[Callable[[], None]] = [
            *[self._ask] * 30,
            *[self._leave] * 3,
            self._lose_service,
            self._start_service,
            self._lose_proxy,
            self._lose_acceptor,
            self._take_over,
            self._hold,
        ]

    def play(self, deeds: int) -> None:
        """Do so much, then repair everything, and see that everything is as it was."""
        for _ in range(deeds):
            self.world.random.choice(self._deeds)()
            self.world.pass_time(self.world.random.uniform(0.0, 0.05))
            self._check()
        self._repair()

    # -- what happens

    def _ask(self) -> None:
        alive = [proxy for proxy in self.stage.proxies if not proxy.process.dead]
        if alive:
            self._asked += 1
            path = f"/{self._asked}"
            self.clients[path] = self.world.random.choice(alive).ask(path, self.world.random.choice(("GET", "POST")))

    def _leave(self) -> None:
        if self.clients:
            self.clients.pop(self.world.random.choice(list(self.clients))).close()

    def _services(self) -> List[ServicePart]:
        return [service for service in self.stage.services if not service.process.dead]

    def _lose_service(self) -> None:
        alive = self._services()
        if alive:
            self.world.random.choice(alive).process.kill()

    def _start_service(self) -> None:
        if len(self._services()) < 3:
            self.stage.service(SLOTS).application.takes_s = lambda: self.world.random.uniform(0.0, LONGEST_ANSWER_S)

    def _lose_proxy(self) -> None:
        proxy = self.world.random.choice(self.stage.proxies)
        if proxy.process.dead:
            self._start(proxy)
        else:
            proxy.process.kill()

    def _start(self, proxy: ProxyPart) -> None:
        self.stage.proxies.remove(proxy)
        self.stage.proxy(port=proxy.port)

    def _lose_acceptor(self) -> None:
        if self.stage.acceptor.process.dead:
            self.stage.start_acceptor()
        else:
            self.stage.acceptor.process.kill()

    def _take_over(self) -> None:
        """Another acceptor takes over, and perhaps one of the two is killed meanwhile, or both."""
        former = self.stage.acceptor
        if former.process.dead:
            return
        successor = self.stage.successor()
        for dies in (successor, former):
            if self.world.random.random() < 0.2:
                self.world.pass_time(self.world.random.uniform(0.0, 0.01))
                dies.process.kill()
        self.world.until(lambda: successor.serves or successor.process.dead, "the end of the takeover", 30.0)
        if successor.serves:
            self.stage.acceptor = successor
            self.world.until(lambda: former.process.dead, "the end of the former acceptor", 30.0)

    def _hold(self) -> None:
        for service in self._services():
            service.application.holding = not service.application.holding
            service.application.let_go(len(service.application.held))

    # -- what must hold

    def _check(self) -> None:
        for service in self.stage.services:
            assert service.application.most <= SLOTS, f"{service.application.most} at once on {SLOTS} slots"
        for path, client in list(self.clients.items()):
            self._look_at(path, client)

    def _look_at(self, path: str, client: Peer) -> None:
        try:
            found = responses(client.received)
        except AssertionError:
            found = []
        if not found and not client.over:
            return
        del self.clients[path]
        client.close()
        if not found:
            self.outcomes[0] = self.outcomes.get(0, 0) + 1  # Its proxy died.
            return
        ((status, _, content),) = found
        self.outcomes[status] = self.outcomes.get(status, 0) + 1
        if status == 200:
            assert content.split()[1].decode() == path, f"{path} was answered {content!r}"
        else:
            assert status in MAY_FAIL, f"{path} was answered {status}"

    def _all_answered(self) -> bool:
        self._check()
        return not self.clients

    def _repair(self) -> None:
        stage = self.stage
        for proxy in [proxy for proxy in stage.proxies if proxy.process.dead]:
            self._start(proxy)
        if stage.acceptor.process.dead:
            stage.start_acceptor()
        if not self._services():
            self._start_service()
        for service in self._services():
            service.application.holding = False
            service.application.let_go(len(service.application.held))
        slots = SLOTS * len(self._services())
        self.world.until(lambda: stage.acceptor.counts()["slots"] == slots, "the slots", 120.0)
        self.world.until(self._all_answered, "the last answers", 120.0)
        before = dict(self.outcomes)
        for _ in range(4 * slots):
            self._ask()
        self.world.until(self._all_answered, "an answer to everybody", 60.0)
        assert self.outcomes[200] == before.get(200, 0) + 4 * slots, (before, self.outcomes)
        self._count_everything(slots)

    def _count_everything(self, slots: int) -> None:
        """Nothing runs: acceptor, proxies and services have what they should have, and no descriptor more."""
        stage = self.stage
        self.world.pass_time(3.0)
        counts = stage.acceptor.counts()
        held = [len(proxy.pool.slots) for proxy in stage.proxies]
        assert counts == {"slots": slots, "idle": slots - sum(held), "leased": sum(held)}, (counts, held)
        assert [proxy.pool.counts.in_flight for proxy in stage.proxies] == [0] * len(held)
        # The tide table; each proxy's connection and board.
        assert len(stage.acceptor.process.descriptors) == slots + 1 + 2 * len(held)
        for proxy, number in zip(stage.proxies, held):
            expected = number + 1 + SPARE_DESCRIPTORS
            assert len(proxy.process.descriptors) == expected, (len(proxy.process.descriptors), number)
        assert [len(service.process.descriptors) for service in self._services()] == [SLOTS] * (slots // SLOTS)

    def close(self) -> None:
        """End everything."""
        self.stage.close()


def digest(seed: int, deeds: int) -> str:
    """Play, and give what happened in a word."""
    simulation = Simulation(seed)
    try:
        simulation.play(deeds)
        return simulation.world.digest
    finally:
        simulation.close()


if __name__ == "__main__":
    sys.stdout.write(digest(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300) + "\n")
