"""When workers are started again, and which of them hang."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xproxy.workers.restarts import (
    FIRST_DELAY_S,
    HUNG_BEATS,
    LONGEST_DELAY_S,
    STARTING_BEATS,
    STEADY_S,
    Restarts,
    Watch,
)


class RestartTests(SynchronousTestCase):
    def test_at_once(self) -> None:
        """Who has lived for long is replaced at once, as often as it happens."""
        restarts = Restarts(lambda: 0.5)
        self.assertEqual([0.0] * 3, [restarts.died(STEADY_S) for _ in range(3)])

    def test_backoff(self) -> None:
        """Who dies early waits longer each time, up to a bound, for ever; one long life, and it begins anew."""
        restarts = Restarts(lambda: 0.5)
        delays = [restarts.died(STEADY_S - 1) for _ in range(2000)]
        self.assertEqual(FIRST_DELAY_S, delays[0])
        self.assertEqual(FIRST_DELAY_S * 2, delays[1])
        self.assertEqual(sorted(delays), delays)
        self.assertEqual(LONGEST_DELAY_S, delays[-1])
        restarts.died(STEADY_S)
        self.assertEqual(FIRST_DELAY_S, restarts.died(0.0))

    def test_jitter(self) -> None:
        """Those that die together do not come together."""
        least, most = Restarts(lambda: 0.0).died(0.0), Restarts(lambda: 0.999).died(0.0)
        self.assertTrue(0 < least < FIRST_DELAY_S < most, (least, most))


class WatchTests(SynchronousTestCase):
    def test_answers(self) -> None:
        """Whoever answers now and then does not hang."""
        watch = Watch()
        watch.starting = False
        for _ in range(20):
            beats = [watch.beat() for _ in range(HUNG_BEATS)]
            self.assertNotIn(True, beats)
            watch.heard()

    def test_hangs(self) -> None:
        """Whoever leaves so many beats unanswered does."""
        watch = Watch()
        watch.starting = False
        self.assertEqual([False] * HUNG_BEATS + [True], [watch.beat() for _ in range(HUNG_BEATS + 1)])

    def test_starting(self) -> None:
        """Who starts has longer."""
        watch = Watch()
        self.assertEqual([False] * STARTING_BEATS + [True], [watch.beat() for _ in range(STARTING_BEATS + 1)])
