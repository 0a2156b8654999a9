"""Whether the other end of a handoff connection still answers."""

from __future__ import annotations

from typing import List

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xproxy.handoff.liveness import PING_S, SILENT_S, Liveness


class LivenessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.pings: List[float] = []
        self.changes: List[bool] = []
        self.liveness = Liveness(self.clock, lambda: self.pings.append(self.clock.seconds()), self.changes.append)
        self.liveness.start()

    def test_who_answers_is_asked_and_left_alone(self) -> None:
        for _ in range(10):
            self.clock.advance(PING_S)
            self.liveness.heard()
        self.assertEqual((len(self.pings), self.changes, self.liveness.answers), (10, [], True))

    def test_who_hangs_is_told_of_once_and_once_more_when_it_is_back(self) -> None:
        self.clock.pump([PING_S] * 10)
        self.assertEqual((self.changes, self.liveness.answers), ([False], False))
        self.assertGreaterEqual(self.liveness.silent_s, SILENT_S)
        self.liveness.heard()
        self.assertEqual((self.changes, self.liveness.answers), ([False, True], True))

    def test_nothing_is_left_when_it_stops(self) -> None:
        self.liveness.stop()
        self.clock.advance(10 * SILENT_S)
        self.assertEqual((self.pings, self.changes, self.clock.getDelayedCalls()), ([], [], []))
