"""When a service dials the connections that it keeps at one acceptor: how many at once, how long it waits after a failure.

A slot that ended after it had worked is dialled again at once. Everything else (nobody answers; the acceptor closes the slot as
soon as it sees it, because it refuses the token, the address or one slot more) is a failure, and failures are waited out with
exponential backoff and jitter.

There is one backoff for all slots, not one for each: they dial the same place, so what happened to one is about to happen to
the others. While it lasts, one slot at a time tries, the probe; when that one has lived for ``SETTLED_S``, the others follow. A
thousand slots whose acceptor is down make one attempt every few seconds.

How many are wanted may change at any time, to none and back. A connection that its service ends itself is no failure; it counts
until it is gone, so that there are never more than were wanted, as long as none that is busy has to go.

Pure: what happened and the time go in, what to dial and when to look again come out.
"""

from __future__ import annotations

from enum import Enum
from typing import Callable, List, Optional, Set, Tuple

DIALS_AT_ONCE = 32
"""Connections being made at once. Below the backlog of a Twisted port (50), so that a thousand slots are not dropped there."""

SETTLED_S = 1.0
"""A slot that lived for so long, in seconds, was not refused."""
RECENTLY_SETTLED_S = 0.1
"""The same for the first slot at an acceptor that took our slots a moment ago, and was only away: it will take them again."""

INITIAL_DELAY_S = 0.5
MAX_DELAY_S = 30.0
"""Half of Twisted's ClientService: a service that is ready should not be missed for a minute."""
DELAY_FACTOR = 1.6
"""As gRPC's connection backoff."""

RECENT_S = 60.0
"""Whoever could be reached this long ago, in seconds, is probably only being restarted."""
RECENT_DELAY_S = 0.5
"""The longest wait, in seconds, for somebody who is: a restart takes seconds, and what comes on top of it is felt."""

MAX_REASONS = 8
"""How many different reasons are told before slots stay again. There are few; whoever makes up more is not worth a line."""


def jittered_backoff(random: Callable[[], float], max_delay_s: float = MAX_DELAY_S) -> Callable[[int], float]:
    """The wait in seconds before the n-th attempt: it grows up to ``max_delay_s``.

    A random 50 to 100 % of it is taken, so that a fleet of services does not dial in step.
    """
    return lambda attempt: min(INITIAL_DELAY_S * DELAY_FACTOR ** min(attempt - 1, 32), max_delay_s) * (0.5 + random() / 2)


def bounded_delay(delay: Callable[[int], float], attempt: int, away_s: float) -> float:
    """The wait in seconds before the n-th attempt to reach somebody who went away ``away_s`` seconds ago.

    For who was there a moment ago it does not grow, so that all of it stays random: many who lost the same one do not come back
    in step.
    """
    return min(delay(1), RECENT_DELAY_S) if away_s < RECENT_S else delay(attempt)


class Dial(Enum):
    """What is to be dialled now."""

    ONE = "one"
    PROBE = "probe"
    """The only attempt, as long as it is not known that slots stay."""


class News(Enum):
    """What the log is told."""

    FAILED = "failed"
    """Slots cannot be kept, for a reason that was not told yet."""
    FAILED_AGAIN = "failed again"
    SETTLED = "settled"
    """They can be again."""


class DialPlan:
    """See the module.

    After each call, and at ``wake_at``, its user dials what ``due`` says until that says nothing more.

    :param count: how many connections are wanted.
    :param delay: from the number of failures in a row to seconds; see ``jittered_backoff``.
    :ivar count: the same; see ``resize``.
    :ivar parked: connections that are there.
    :ivar dialling: connections being made.
    :ivar failures: in a row.
    :ivar news: what happened, with the reason, for the log; its user empties it.
    """

    def __init__(self, count: int, delay: Callable[[int], float]) -> None:
        self.parked = 0
        self.dialling = 0
        self.failures = 0
        self.news: List[Tuple[News, str]] = []
        self.count = count
        self._delay = delay
        self._running = False
        self._worked = 0
        """Slots that ended after they had worked and are still to be dialled again."""
        self._reachable = True
        """Whether the last attempt connected. While nobody is there, those that had worked wait like all the others."""
        self._alive_at = 0.0
        """When the acceptor was there last as far as we know: a slot that had worked ended, or we were told to begin."""
        self._told: Set[str] = set()
        """The reasons for these failures that were told: each is, once."""
        self._probing = False
        """The probe is being dialled."""
        self._retry_at: Optional[float] = None
        """When the wait after a failure is over."""
        self._settle_at: Optional[float] = None
        """When the probe has lived for long enough."""

    @property
    def wake_at(self) -> Optional[float]:
        """When ``due`` is to be asked again, whatever happens until then; None: not before something happens."""
        return self._retry_at if self._settle_at is None else self._settle_at

    # -- what happened

    def start(self, now: float) -> None:
        """Slots are wanted."""
        self._running = True
        self._worked = self.failures = 0
        self._told.clear()
        self._reachable = True
        self._alive_at = now  # Who is started with its acceptor should not find it late.

    def stop(self) -> None:
        """None are, from now on. Those that are there are left alone."""
        self._running = False
        self._retry_at = self._settle_at = None

    def resize(self, count: int) -> None:
        """So many connections are wanted from now on; a wait after a failure goes on."""
        self.count = count

    @property
    def surplus(self) -> int:
        """How many of those being dialled are not wanted any more."""
        wanted = self.count if self._running else 0
        return max(0, min(self.dialling, self.parked + self.dialling - wanted))

    def slot_parked(self) -> None:
        """A connection is there. (Whether its dial is over is another matter: a TLS handshake may follow.)"""
        self.parked += 1

    def slot_lost(self, now: float, worked: bool, why: str) -> None:
        """A connection ended.

        :param worked: it served, or at least was not refused.
        """
        self.parked -= 1
        if worked:
            self._alive_at = now
            self._worked += self._reachable
        else:
            self._failed(now, why, self._delay(self.failures + 1))

    def slot_closed(self) -> None:
        """A connection ended that we gave up ourselves."""
        self.parked -= 1

    def connected(self, now: float, dial: Dial) -> None:
        """A dial is over: the connection is made."""
        self._dial_over(dial)
        self._reachable = True
        if dial is Dial.PROBE and self._running and self._retry_at is None:
            self._settle_at = now + (RECENTLY_SETTLED_S if self._recent(now) else SETTLED_S)

    def given_up(self, dial: Dial) -> None:
        """A dial is over: we gave it up ourselves."""
        self._dial_over(dial)

    def not_connected(self, now: float, why: str, dial: Dial) -> None:
        """A dial is over: there is no connection."""
        self._dial_over(dial)
        if self._running:
            self._reachable = False
            self._worked = 0
            self._failed(now, why, bounded_delay(self._delay, self.failures + 1, now - self._alive_at))

    # -- what to do

    def due(self, now: float) -> Optional[Dial]:
        """What is to be dialled now; it counts as being dialled from here on. None: nothing (more)."""
        if self._settle_at is not None and now >= self._settle_at:
            self._settle_at = None
            self._settled()
        missing = self.count - self.parked - self.dialling
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            if missing <= 0 < self.count:
                self._settled()  # Others took the place of what failed.
        if not self._running or missing <= 0:
            self._worked = 0
            return None
        if self.dialling >= DIALS_AT_ONCE:
            return None
        if self._worked:
            self._worked -= 1
        elif self.failures:
            if self._probing or self._retry_at is not None or self._settle_at is not None:
                return None
            self._probing = True
            self.dialling += 1
            return Dial.PROBE
        self.dialling += 1
        return Dial.ONE

    def _dial_over(self, dial: Dial) -> None:
        self.dialling -= 1
        if dial is Dial.PROBE:
            self._probing = False

    def _recent(self, now: float) -> bool:
        return now - self._alive_at < RECENT_S

    def _failed(self, now: float, why: str, delay_s: float) -> None:
        if not self._running or self._retry_at is not None:
            return  # The others fail for the same reason, and the wait has begun.
        self._settle_at = None
        self.failures += 1
        if why not in self._told and len(self._told) < MAX_REASONS:
            self._told.add(why)
            self.news.append((News.FAILED, why))
        elif self._reachable or not self._recent(now):  # Else there would be two lines in a second.
            self.news.append((News.FAILED_AGAIN, why))
        self._retry_at = now + delay_s

    def _settled(self) -> None:
        self.failures = 0
        self._told.clear()
        self.news.append((News.SETTLED, ""))
