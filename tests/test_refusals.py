"""A stranger can't fill the log."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.logged import Logged
from xproxy import refusals
from xproxy.refusals import LINES_PER_PERIOD, REPEAT_S, RefusalLog


class RefusalLogTests(SynchronousTestCase):
    """RefusalLog."""

    def setUp(self) -> None:
        self.clock = Clock()
        logged = Logged(self)
        self.events = logged.events
        self.log = RefusalLog(Logger("xproxy.test"), self.clock.seconds)

    def test_once_for_each_event(self) -> None:
        self.assertTrue(self.log.say("{peer}: {reason}", peer="a", reason="x"))
        self.assertFalse(self.log.say("{peer}: {reason}", peer="a", reason="x"))
        self.assertTrue(self.log.say("{peer}: {reason}", peer="a", reason="y"))
        self.assertTrue(self.log.say("{peer}: {reason}", peer="b", reason="x"))
        self.assertEqual(len(self.events), 3)

    def test_again_after_a_while_with_what_was_left_out(self) -> None:
        self.log.say("{peer}", peer="a")
        self.log.say("{peer}", peer="a")
        self.clock.advance(REPEAT_S)
        self.assertTrue(self.log.say("{peer}", peer="a"))
        self.assertEqual([event.get("silent") for event in self.events], [None, 1, None])

    def test_many_peers(self) -> None:
        self.assertEqual(sum(self.log.say("{peer}", peer=number) for number in range(10000)), LINES_PER_PERIOD)
        self.clock.advance(REPEAT_S)
        self.assertTrue(self.log.say("{peer}", peer="another"))

    def test_what_is_remembered_is_bounded(self) -> None:
        self.patch(refusals, "REMEMBERED", 3)
        for number in range(10):
            self.log.say("{peer}", peer=number)
        self.assertEqual(len(self.log._said), 3)
