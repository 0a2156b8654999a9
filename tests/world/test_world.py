"""The real acceptor, handoff, proxies and services in one process: who has which slot, whoever dies."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.world.parts import Stage
from tests.world.peers import Peer
from tests.world.rig import GET, responses, statuses

SEEDS = range(4)
"""0 is everything in order and at once."""


def answered(*clients: Peer) -> bool:
    """Whether each has a whole answer."""
    try:
        return all(statuses(client.received) for client in clients)
    except AssertionError:
        return False


class StageCase(SynchronousTestCase):
    """A stage for each seed."""

    def stage(self, seed: int, **parts: Any) -> Stage:
        stage = Stage(seed, **parts)
        self.addCleanup(stage.close)
        return stage

    def two_proxies(self, seed: int, slots: int) -> Stage:
        """One service, two proxies that know the acceptor."""
        stage = self.stage(seed)
        stage.proxy()
        stage.proxy()
        stage.service(slots)
        stage.world.until(lambda: stage.acceptor.counts()["slots"] == slots, "the slots")
        stage.world.pass_time(0.5)
        return stage

    def assert_agreed(self, stage: Stage, slots: int) -> None:
        """Acceptor and proxies agree on who has what; nothing runs."""
        stage.world.pass_time(2.0)
        counts = stage.acceptor.counts()
        held = sum(len(proxy.pool.slots) for proxy in stage.proxies if not proxy.process.dead)
        self.assertEqual((counts["slots"], counts["leased"]), (slots, held), (stage.world.seed, counts))
        self.assertEqual(counts["idle"] + counts["leased"], slots)
        for proxy in stage.proxies:
            self.assertEqual(proxy.pool.counts.in_flight, 0)


class LeaseTests(StageCase):
    """Leases come, move and go."""

    def test_answered_through_both(self) -> None:
        """One slot, two proxies: each request is answered, and the slot moves."""
        for seed in SEEDS:
            stage = self.two_proxies(seed, 1)
            for number in range(6):
                client = stage.proxies[number % 2].ask(GET)
                stage.world.until(partial(answered, client), "the answer")
                self.assertEqual([(status, body) for status, _, body in responses(client.received)], [(200, b"service0")])
                client.close()
            self.assertEqual(stage.services[0].application.most, 1)
            self.assert_agreed(stage, 1)
