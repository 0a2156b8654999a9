"""The sweep: whoever is late is told, again and again until it has a new deadline."""

from __future__ import annotations

from typing import Callable, List, Optional

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xproxy.net.sweep import NEVER, SWEEP_INTERVAL_S, Sweep


class Late:
    """Something with a deadline, that does ``then`` when it has passed."""

    def __init__(self, deadline: float, then: Optional[Callable[[], None]] = None) -> None:
        self.deadline = deadline
        self.told: List[float] = []
        self._then = then

    def deadline_passed(self, now: float) -> None:
        self.told.append(now)
        if self._then is not None:
            self._then()


class SweepTests(SynchronousTestCase):
    """In virtual time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sweep = Sweep(self.clock, self.clock.seconds)
        self.sweep.start()

    def pass_time(self, sweeps: int) -> None:
        """Let so many sweeps pass."""
        self.clock.pump([SWEEP_INTERVAL_S] * sweeps)

    def test_told_at_the_next_sweep(self) -> None:
        """Not before its time, and at each sweep from then on."""
        late = Late(1.1)
        self.sweep.add(late)
        self.pass_time(4)
        self.assertEqual(late.told, [])
        self.pass_time(1)
        self.assertEqual(late.told, [1.25])
        self.pass_time(1)
        self.assertEqual(late.told, [1.25, 1.5])
        late.deadline = NEVER
        self.pass_time(8)
        self.assertEqual(len(late.told), 2)

    def test_the_moment_itself_is_in_time(self) -> None:
        """A deadline is the last moment that is good."""
        late = Late(0.5)
        self.sweep.add(late)
        self.pass_time(2)
        self.assertEqual(late.told, [])
        self.pass_time(1)
        self.assertEqual(late.told, [0.75])

    def test_discard(self) -> None:
        """Whoever is taken off is not told; taking off twice does no harm."""
        late = Late(0.1)
        self.sweep.add(late)
        self.sweep.discard(late)
        self.sweep.discard(late)
        self.pass_time(4)
        self.assertEqual(late.told, [])

    def test_one_puts_off_the_other(self) -> None:
        """A deadline that was set anew, or taken off, by what another one did in the same sweep is not acted upon."""
        members: List[Late] = []

        def put_off() -> None:
            members[0].deadline = members[1].deadline = NEVER

        members += [Late(0.1, put_off), Late(0.1, put_off)]
        for member in members:
            self.sweep.add(member)
        self.pass_time(1)
        self.assertEqual(sum(len(member.told) for member in members), 1)

    def test_members_come_and_go_meanwhile(self) -> None:
        """A sweep may add and take off."""
        new = Late(0.1)

        def swap() -> None:
            self.sweep.add(new)
            self.sweep.discard(old)

        old = Late(0.1, swap)
        self.sweep.add(old)
        self.pass_time(1)
        self.assertEqual((len(old.told), len(new.told)), (1, 0))
        self.pass_time(1)
        self.assertEqual((len(old.told), len(new.told)), (1, 1))

    def test_stop(self) -> None:
        """No timer is left; stopping twice does no harm."""
        late = Late(0.1)
        self.sweep.add(late)
        self.sweep.stop()
        self.sweep.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.pass_time(4)
        self.assertEqual(late.told, [])
