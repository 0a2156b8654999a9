"""How often a standing list is said."""

from __future__ import annotations

from typing import List, Tuple

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xproxy.handoff.pacing import ASK_INTERVAL_S, Pacer


class PacerTests(SynchronousTestCase):
    """Pacer, whose values are urgent when they grow."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.said: List[Tuple[float, int]] = []
        self.pacer = Pacer(
            self.clock, 0, lambda value: self.said.append((self.clock.seconds(), value)), lambda said, value: value > said
        )

    def test_what_is_urgent_is_said_at_once(self) -> None:
        for value in (1, 2, 3):
            self.pacer.say(value)
        self.assertEqual(self.said, [(0, 1), (0, 2), (0, 3)])

    def test_the_rest_is_said_soon_and_only_the_newest(self) -> None:
        self.pacer.say(9)
        for value in (8, 7, 6, 5):
            self.pacer.say(value)
        self.assertEqual(self.said, [(0, 9)])
        self.clock.advance(ASK_INTERVAL_S)
        self.assertEqual(self.said, [(0, 9), (ASK_INTERVAL_S, 5)])
        self.clock.advance(1)
        self.assertEqual(len(self.said), 2)

    def test_after_a_pause_it_is_said_at_once(self) -> None:
        self.pacer.say(9)
        self.clock.advance(1)
        self.pacer.say(5)
        self.assertEqual(self.said, [(0, 9), (1, 5)])

    def test_what_is_urgent_takes_the_place_of_what_was_to_be_said(self) -> None:
        self.pacer.say(9)
        self.pacer.say(5)
        self.pacer.say(10)
        self.clock.advance(1)
        self.assertEqual(self.said, [(0, 9), (0, 10)])

    def test_the_same_again_is_said_again(self) -> None:
        self.pacer.say(9)
        self.pacer.say(9)
        self.clock.advance(1)
        self.assertEqual(self.said, [(0, 9), (1, 9)])

    def test_at_most_so_many(self) -> None:
        for number in range(1000, 0, -1):
            self.pacer.say(number)
            self.clock.advance(0.001)
        self.assertLessEqual(len(self.said), 102)

    def test_stop(self) -> None:
        self.pacer.say(9)
        self.pacer.say(5)
        self.pacer.stop()
        self.clock.advance(1)
        self.assertEqual(self.said, [(0, 9)])
        self.assertEqual(self.clock.getDelayedCalls(), [])
