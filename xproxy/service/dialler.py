"""Keeps N connections to one acceptor as the plan says (``slots.dialling``): dials, holds the one timer, writes the log."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from xproxy.service.handshake import HandshakeFailed
from xproxy.slots.serving.dialling import Dial, DialPlan, News
from xproxy.slots.serving.unasked import SlotRefused


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
        self.plan = DialPlan(count, delay)
        self._clock = clock
        self._connect = connect
        self._target = target
        self._acting = False
        self._dials: Dict[Deferred[Any], Dial] = {}
        """Those that go on, and are still wanted."""
        self._timer: Optional[IDelayedCall] = None
        self._timer_at = 0.0

    def start(self) -> None:
        """Dial from now on."""
        self.plan.start(self._clock.seconds())
        self._act()

    def stop(self) -> None:
        """Dial no more. Connections being made are cancelled, those that are there are left alone."""
        self.plan.stop()
        self._act()
        self._give_up_surplus()

    def resize(self, count: int) -> None:
        """So many connections are wanted from now on. Those that are there are left alone, whatever their number."""
        shrinks = count < self.plan.count
        self.plan.resize(count)
        if shrinks:
            self._give_up_surplus()
        self._act()

    def _give_up_surplus(self) -> None:
        for dial in list(reversed(self._dials)):
            if not self.plan.surplus:
                return
            self.plan.given_up(self._dials.pop(dial))
            dial.cancel()

    def slot_parked(self) -> None:
        """A connection is made."""
        self.plan.slot_parked()

    def slot_lost(self, worked: bool, reason: Failure) -> None:
        """A connection ended.

        :param worked: it served, or at least was not refused.
        """
        said = short_reason(reason)
        if not reason.check(HandshakeFailed, SlotRefused):
            said = f"closed at once, registration refused? ({said})"
        self.plan.slot_lost(self._clock.seconds(), worked, said)
        self._act()

    def slot_closed(self) -> None:
        """A connection ended that was given up: no failure, and not to be dialled again."""
        self.plan.slot_closed()
        self._act()

    def _act(self, at: float = 0.0) -> None:
        """Do what the plan says.

        :param at: when a timer was set for, which may be a rounding error after the time that the clock shows now.
        """
        if self._acting:  # A connection that is made, or fails, while we dial it.
            return
        self._acting = True
        try:
            while True:
                dial = self.plan.due(max(self._clock.seconds(), at))
                self._report()
                if dial is None:
                    break
                self._dial(dial)
        finally:
            self._acting = False
        self._set_timer()

    def _set_timer(self) -> None:
        at = self.plan.wake_at
        if self._timer is not None:
            if at == self._timer_at:
                return
            self._timer.cancel()
            self._timer = None
        if at is not None:
            self._timer_at = at
            self._timer = self._clock.callLater(max(0.0, at - self._clock.seconds()), self._wake, at)

    def _wake(self, at: float) -> None:
        self._timer = None
        self._act(at)

    def _dial(self, kind: Dial) -> None:
        dial = maybeDeferred(self._connect)
        self._dials[dial] = kind
        dial.addCallbacks(self._connected, self._not_connected, callbackArgs=(dial,), errbackArgs=(dial,))
        dial.addErrback(lambda failure: self._log.failure("a dial went wrong", failure))

    def _connected(self, connection: object, dial: Deferred[Any]) -> None:
        self.plan.connected(self._clock.seconds(), self._dials.pop(dial))
        self._act()

    def _not_connected(self, failure: Failure, dial: Deferred[Any]) -> None:
        kind = self._dials.pop(dial, None)
        if kind is not None:  # Else it was given up, which the plan knows.
            self.plan.not_connected(self._clock.seconds(), short_reason(failure), kind)
            self._act()

    def _report(self) -> None:
        news, self.plan.news = self.plan.news, []
        for kind, why in news:
            if kind is News.FAILED:
                self._log.warn("slots at {target}: {why}; trying again until they stay", target=self._target, why=why)
            elif kind is News.FAILED_AGAIN:
                self._log.debug("slots at {target}: {why}; trying again", target=self._target, why=why)
            else:
                self._log.info("slots at {target}: accepted again", target=self._target)
