"""A request in front of the guards of its route.

The verdict is asked for when the head of a request is there, before anything of the body is read and before the request stands
in any line; so a request that is refused costs no slot. Several guards are asked in the order of the route, each sees what
those before it have changed; the first refusal ends the hearing.

States of a Hearing::

    asking ──all admit──▶ over, told Admitted (all changes together)
      │ one denies, fails, is too late      └▶ over, told Denied
      │ cancelled: the client has left      └▶ over, nobody is told

A guard that fails is no open door: the request is refused (500 ``guard-failed``, 503 ``guard-timeout``), and the log says which
guard, at a bounded rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, List, Optional, Sequence, Tuple

import attr
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ...http1.request import RequestHead
from ...interfaces import Admitted, Denied, GuardedRequest, Verdict
from .answers import Answer
from .guards import ADMITTED, Guard, both, changed, checked
from .policy import Destination
from .provenance import Provenance

if TYPE_CHECKING:
    from .gateway import Gateway


class Hearing:
    """One request in front of the guards of its route. Owned by the request, which cancels it when its client leaves.

    :param clock: an IReactorTime.
    :param told: called once with the verdict, unless ``begin`` returned it.
    :param say: logs a guard's failure at a bounded rate (``refusals.RefusalLog.say``).
    """

    __slots__ = ("_guards", "_request", "_clock", "_told", "_say", "_next", "_verdict", "_waiting", "_timer", "_over")

    def __init__(
        self,
        guards: Sequence[Guard],
        request: GuardedRequest,
        clock: Any,
        told: Callable[[Verdict], object],
        say: Callable[..., object],
    ) -> None:
        self._guards = guards
        self._request = request
        self._clock = clock
        self._told = told
        self._say = say
        self._next = 0
        self._verdict = ADMITTED
        self._waiting: Optional[Deferred[Any]] = None
        self._timer: Optional[IDelayedCall] = None
        self._over = False

    def begin(self) -> Optional[Verdict]:
        """Ask the guards; the verdict when all of them answered at once, None when ``told`` will be called."""
        while self._next < len(self._guards):
            guard = self._guards[self._next]
            self._next += 1
            try:
                answer = guard.judge(self._request)
                if isinstance(answer, Deferred):
                    answer = self._wait(guard, answer)
                    if answer is None:
                        return None
                verdict = checked(answer)
            except Exception:  # noqa: BLE001 - a guard is somebody else's code; what it raises is logged and closes the door
                verdict = self._failed(guard, Failure())
            if isinstance(verdict, Denied):
                self._over = True
                return verdict
            self._admit(verdict)
        self._over = True
        return self._verdict

    def _admit(self, verdict: Admitted) -> None:
        """One guard admits: the next one sees what it changed."""
        if verdict.removed or verdict.added:
            self._verdict = both(self._verdict, verdict)
            self._request = attr.evolve(self._request, fields=changed(self._request.fields, verdict))

    def _wait(self, guard: Guard, answer: Deferred[Any]) -> Optional[object]:
        """What the Deferred has already, or None when it is waited for. Raises what it failed with already."""
        had: List[object] = []
        answer.addBoth(had.append)
        if had:
            if isinstance(had[0], Failure):
                had[0].raiseException()
            return had[0]
        # It has not fired: put the wait in the place of the list. ``append`` returned None, which is what comes next.
        self._waiting = answer
        self._timer = self._clock.callLater(guard.timeout_s, self._late, guard)
        answer.addCallback(lambda _: self._answered(guard, had[0]))
        return None

    def _answered(self, guard: Guard, answer: object) -> None:
        self._stop_waiting()
        if self._over:
            return
        try:
            verdict = self._failed(guard, answer) if isinstance(answer, Failure) else checked(answer)
        except Exception:  # noqa: BLE001 - as in ``begin``: the verdict is somebody else's value
            verdict = self._failed(guard, Failure())
        if isinstance(verdict, Denied):
            self._over = True
            self._told(verdict)
            return
        self._admit(verdict)
        whole = self.begin()
        if whole is not None:
            self._told(whole)

    def _failed(self, guard: Guard, failure: Failure) -> Verdict:
        self._say("guard {guard} failed: {reason}", guard=guard.name, reason=failure.getErrorMessage()[:200])
        return Denied(500, "guard-failed")

    def _late(self, guard: Guard) -> None:
        self._timer = None
        self._over = True
        self._say("guard {guard} gave no verdict in {timeout} s", guard=guard.name, timeout=guard.timeout_s)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
        self._told(Denied(503, "guard-timeout"))

    def cancel(self) -> None:
        """The client has left."""
        self._over = True
        waiting = self._waiting
        self._stop_waiting()
        if waiting is not None:
            waiting.cancel()

    def _stop_waiting(self) -> None:
        self._waiting = None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


def hear(
    head: RequestHead, to: Destination, provenance: Provenance, gateway: Gateway, told: Callable[[Verdict], object]
) -> Tuple[Hearing, Optional[Verdict]]:
    """Begin the hearing of a request.

    :returns: the hearing, and the verdict, None when ``told`` will be called with it.
    """
    scheme = b"https" if provenance.came_with_tls(head) else b"http"
    request = GuardedRequest(head.method, scheme, head.host, head.path, head.fields.passed_on, provenance.peer, to.pool_name)
    hearing = Hearing(to.guards, request, gateway.reactor, told, gateway.refusals.say)
    return hearing, hearing.begin()


def ruled(head: RequestHead, verdict: Verdict, provenance: Provenance) -> Tuple[RequestHead, Optional[Answer]]:
    """The head that goes on after a verdict, and the answer when the request does not."""
    if isinstance(verdict, Denied):
        answer = provenance.policy.pages.error(verdict.status, verdict.reason, head.fields.get(b"accept") or b"")
        return head, attr.evolve(answer, fields=answer.fields + verdict.added)
    if verdict is ADMITTED or not (verdict.removed or verdict.added):
        return head, None
    return head.with_fields(head.fields.with_lines(changed(head.fields.passed_on, verdict))), None
