"""Keeps N connections to one acceptor: when to dial, how many at once, how long to wait.

A slot that ended after it had worked is dialled again at once. Everything else (nobody answers; the acceptor closes the slot as
soon as it sees it, because it refuses the token, the address or one slot more) is a failure, and failures are waited out with
exponential backoff and jitter.

There is one backoff for all slots, not one for each: they dial the same place, so what happened to one is about to happen to
the others. While it lasts, one slot at a time tries; when that one has lived for ``SETTLED_S``, the others follow. A thousand
slots whose acceptor is down make one attempt every few seconds, with one timer.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Set

from twisted.application.internet import backoffPolicy
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from xproxy.service.handshake import HandshakeFailed
from xproxy.service.refusal import SlotRefused

DIALS_AT_ONCE = 32
"""Connections being made at once. Below the backlog of a Twisted port (50), so that a thousand slots are not dropped there."""

SETTLED_S = 1.0
"""A slot that lived for so long, in seconds, was not refused."""
RECENTLY_SETTLED_S = 0.1
"""The same for the first slot at an acceptor that took our slots a moment ago, and was only away: it will take them again."""

INITIAL_DELAY_S = 0.5
MAX_DELAY_S = 30.0
"""Half of ClientService's: a service that is ready should not be missed for a minute."""
DELAY_FACTOR = 1.6
"""As gRPC's connection backoff."""

RECENT_S = 60.0
"""Whoever could be reached this long ago, in seconds, is probably only being restarted."""
RECENT_DELAY_S = 0.5
"""The longest wait, in seconds, for somebody who is: a restart takes seconds, and what comes on top of it is felt."""


MAX_REASONS = 8
"""How many different reasons are logged before slots stay again. There are few; whoever makes up more is not worth a line."""


def jittered_backoff(random: Callable[[], float], max_delay_s: float = MAX_DELAY_S) -> Callable[[int], float]:
    """The wait in seconds before the n-th attempt: Twisted's exponential policy, a random 50 to 100 % of it.

    Twisted's own jitter is added and at most a second, which at a wait of 30 s leaves a fleet of services nearly in step.
    """
    steps = backoffPolicy(INITIAL_DELAY_S / DELAY_FACTOR, max_delay_s, DELAY_FACTOR, jitter=lambda: 0.0)
    return lambda attempt: steps(attempt) * (0.5 + random() / 2)


def bounded_delay(delay_s: float, away_s: float) -> float:
    """The wait in seconds before the next attempt to reach somebody who went away ``away_s`` seconds ago."""
    return min(delay_s, RECENT_DELAY_S) if away_s < RECENT_S else delay_s


def short_reason(failure: Failure) -> str:
    """What went wrong, as part of a log line."""
    return " ".join(failure.getErrorMessage().split()).rstrip(".")


class Dialler:
    """See the module. It counts connections; whose they are is its user's business.

    :param clock: IReactorTime.
    :param connect: dials once; the Deferred fires when the connection is made and can be cancelled.
    :param count: how many connections are wanted.
    :param delay: from the number of failures in a row to seconds; see ``jittered_backoff``.
    :param target: what is dialled, for the log.
    """

    _log = Logger()

    def __init__(
        self, clock: Any, connect: Callable[[], Deferred[Any]], count: int, delay: Callable[[int], float], target: str
    ) -> None:
        self.parked = 0
        """Connections that are there."""
        self.failures = 0
        """In a row."""
        self._clock = clock
        self._connect = connect
        self._count = count
        self._delay = delay
        self._target = target
        self._running = False
        self._filling = False
        self._dials: Dict[Deferred[Any], None] = {}
        self._worked = 0
        """Slots that ended after they had worked and are still to be dialled again."""
        self._reachable = True
        """Whether the last attempt connected. While nobody is there, those that had worked wait like all the others."""
        self._alive_at = -RECENT_S
        """When the acceptor was there last as far as we know: a slot that had worked ended, or we were told to begin."""
        self._said: Set[str] = set()
        """The reasons for these failures that were logged; each is logged once, the attempts in between at debug level."""
        self._probe_due = False
        self._retry: Optional[IDelayedCall] = None
        self._settle: Optional[IDelayedCall] = None

    def start(self) -> None:
        """Dial from now on."""
        self._running = True
        self._worked = self.failures = 0
        self._said.clear()
        self._reachable = True
        self._alive_at = self._clock.seconds()  # Who is started with its acceptor should not find it late.
        self._fill()

    def stop(self) -> None:
        """Dial no more. Connections being made are cancelled, those that are there are left alone."""
        self._running = False
        self._cancel_timers()
        for dial in list(self._dials):
            dial.cancel()

    def slot_parked(self) -> None:
        """A connection is made."""
        self.parked += 1

    def slot_lost(self, worked: bool, reason: Failure) -> None:
        """A connection ended.

        :param worked: it served, or at least was not refused.
        """
        self.parked -= 1
        if not worked:
            said = short_reason(reason)
            told = reason.check(HandshakeFailed, SlotRefused)
            self._failed(said if told else f"closed at once, registration refused? ({said})", self._delay(self.failures + 1))
        else:
            self._alive_at = self._clock.seconds()
            self._worked += self._reachable
        self._fill()

    @property
    def dialling(self) -> int:
        """Connections being made."""
        return len(self._dials)

    def _fill(self) -> None:
        if self._filling:  # A connection that is made, or fails, while we dial it.
            return
        self._filling = True
        try:
            while self._running and self.parked + len(self._dials) < self._count and len(self._dials) < DIALS_AT_ONCE:
                if self._worked:
                    self._worked -= 1
                    self._dial(probe=False)
                elif not self.failures:
                    self._dial(probe=False)
                elif self._probe_due:
                    self._probe_due = False
                    self._dial(probe=True)
                else:
                    return
        finally:
            self._filling = False

    def _dial(self, probe: bool) -> None:
        dial = maybeDeferred(self._connect)
        self._dials[dial] = None
        dial.addCallbacks(self._connected, self._not_connected, callbackArgs=(dial, probe), errbackArgs=(dial,))
        dial.addErrback(lambda failure: self._log.failure("a dial went wrong", failure))

    def _connected(self, connection: object, dial: Deferred[Any], probe: bool) -> None:
        del self._dials[dial]
        self._reachable = True
        if probe and self._running and self._retry is None:
            recent = self._away_s() < RECENT_S
            self._settle = self._clock.callLater(RECENTLY_SETTLED_S if recent else SETTLED_S, self._settled)
        self._fill()

    def _not_connected(self, failure: Failure, dial: Deferred[Any]) -> None:
        del self._dials[dial]
        if self._running:
            self._reachable = False
            self._worked = 0
            self._failed(short_reason(failure), bounded_delay(self._delay(self.failures + 1), self._away_s()))
            self._fill()

    def _away_s(self) -> float:
        return float(self._clock.seconds()) - self._alive_at

    def _failed(self, why: str, delay: float) -> None:
        if not self._running or self._retry is not None:
            return  # The others fail for the same reason, and the wait has begun.
        self._cancel_timers()
        self._probe_due = False
        self.failures += 1
        if why not in self._said and len(self._said) < MAX_REASONS:
            self._said.add(why)
            self._log.warn("slots at {target}: {why}; trying again until they stay", target=self._target, why=why)
        elif self._reachable or self._away_s() >= RECENT_S:  # Twisted's log shows debug lines too, and there would be many.
            self._log.debug(
                "slots at {target}: {why}; next attempt in {delay:.1f} s", target=self._target, why=why, delay=delay
            )
        self._retry = self._clock.callLater(delay, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        if self.parked + len(self._dials) >= self._count:
            self._settled()  # Others took the place of what failed.
            return
        self._probe_due = True
        self._fill()

    def _settled(self) -> None:
        self._settle = None
        self.failures = 0
        self._said.clear()
        self._log.info("slots at {target}: accepted again", target=self._target)
        self._fill()

    def _cancel_timers(self) -> None:
        for timer in (self._retry, self._settle):
            if timer is not None:
                timer.cancel()
        self._retry = self._settle = None
