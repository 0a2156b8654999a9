"""Spare descriptors."""

from __future__ import annotations

import errno
from typing import Any, List

from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.holders import descriptors
from xproxy.handoff.client import _Dialling
from xproxy.handoff.spare import REFILL_S, SpareDescriptors
from xproxy.net.descriptors import SystemDescriptors


class SpareTests(SynchronousTestCase):
    """SpareDescriptors."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.before = descriptors()
        self.spare = SpareDescriptors(self.clock, 3)
        self.addCleanup(self.spare.stop)

    def run_out(self, *left: int) -> None:
        """So many can be opened from here on, and no more."""
        room = list(left)

        def opened(_: SystemDescriptors) -> int:
            if not room:
                raise OSError(errno.EMFILE, "Too many open files")
            return room.pop()

        self.patch(SystemDescriptors, "spare", opened)

    def test_held_released_and_opened_again(self) -> None:
        self.spare.fill()
        self.assertEqual((len(self.spare), descriptors()), (3, self.before + 3))
        self.assertEqual(self.spare.release(), 3)
        self.assertEqual((len(self.spare), descriptors()), (0, self.before))
        self.assertEqual(self.spare.release(), 0)
        self.clock.advance(REFILL_S)
        self.assertEqual((len(self.spare), descriptors()), (3, self.before + 3))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_can_not_be_opened_is_tried_again(self) -> None:
        self.run_out()
        self.spare.fill()
        self.assertEqual(len(self.spare), 0)
        self.clock.pump([REFILL_S] * 5)
        self.assertEqual(len(self.spare), 0)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_only_when_there_is_a_shortage(self) -> None:
        self.spare.fill()
        self.spare.release_if_short()
        self.assertEqual((len(self.spare), descriptors()), (3, self.before + 3))
        self.run_out()
        self.spare.release_if_short()
        self.assertEqual((len(self.spare), descriptors()), (0, self.before))

    def test_stop(self) -> None:
        self.spare.fill()
        self.spare.release()
        self.spare.stop()
        self.assertEqual((self.clock.getDelayedCalls(), descriptors()), ([], self.before))


class DiallingTests(SynchronousTestCase):
    """An attempt to dial that has found no descriptor gives them to the next."""

    def dial(self, error: Exception) -> int:
        spare = SpareDescriptors(Clock(), 2)
        self.addCleanup(spare.stop)
        spare.fill()

        class Endpoint:
            def connect(self, factory: Any) -> Deferred[Any]:
                return fail(error)

        failed: List[Any] = []
        _Dialling(Endpoint(), spare).connect(Factory()).addErrback(failed.append)  # type: ignore[arg-type]
        self.assertIs(failed[0].value, error)
        return len(spare)

    def test_no_descriptor(self) -> None:
        self.assertEqual(self.dial(OSError(errno.EMFILE, "Too many open files")), 0)
        self.assertEqual(self.dial(OSError(errno.ENFILE, "Too many open files in system")), 0)

    def test_nobody_there(self) -> None:
        self.assertEqual(self.dial(OSError(errno.ENOENT, "No such file")), 2)
        self.assertEqual(self.dial(ValueError()), 2)
