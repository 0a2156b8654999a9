"""Tests for ``xproxy.net.turn``."""

from __future__ import annotations

from typing import Callable, List

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xproxy.net.turn import Turn


class Told:
    """A sender that does something when it is told."""

    def __init__(self, does: Callable[[], object]) -> None:
        self._does = does

    def turn_ended(self) -> None:
        self._does()


class TurnTests(SynchronousTestCase):
    """Who is told, and when."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.turn = Turn(self.clock)
        self.told: List[int] = []

    def add(self, number: int) -> None:
        self.turn.add(Told(lambda: self.told.append(number)))

    def test_one_timer_for_all_in_order(self) -> None:
        for number in range(3):
            self.add(number)
        self.assertEqual((len(self.clock.getDelayedCalls()), self.told), (1, []))
        self.clock.advance(0)
        self.assertEqual((len(self.clock.getDelayedCalls()), self.told), (0, [0, 1, 2]))
        self.add(3)
        self.clock.advance(0)
        self.assertEqual(self.told, [0, 1, 2, 3])

    def test_who_comes_while_others_are_told(self) -> None:
        self.turn.add(Told(lambda: self.add(2)))
        self.add(1)
        self.clock.advance(0)  # In which a Clock does what is to be done at once, too.
        self.assertEqual(self.told, [1, 2])

    def test_one_that_fails(self) -> None:
        self.add(1)
        self.turn.add(Told(lambda: 1 // 0))
        self.add(2)
        self.turn.add(Told(lambda: self.add(3)))
        self.assertRaises(ZeroDivisionError, self.clock.advance, 0)
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(self.told, [1, 2, 3])
        self.assertEqual(self.clock.getDelayedCalls(), [])
