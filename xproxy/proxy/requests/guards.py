"""Guards in front of a route: whether a request may pass, and with which changes.

A guard is made by a plugin (``interfaces.IGuardMaker``) and named by routes. Its verdict is asked for when the head of a
request is there, before anything of the body is read and before the request stands in any line; so a request that is refused
costs no slot. Several guards are asked in the order of the route, each sees what those before it have changed; the first
refusal ends the hearing.

States of a Hearing::

    asking ──all admit──▶ over, told Admitted (all changes together)
      │ one denies, fails, is too late      └▶ over, told Denied
      │ cancelled: the client has left      └▶ over, nobody is told

A guard that fails is no open door: the request is refused (500 ``guard-failed``, 503 ``guard-timeout``), and the log says which
guard, at a bounded rate.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence

import attr
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...http1.forward import without_field
from ...http1.grammar import is_token
from ...http1.names import PLAIN, REQUEST, RESPONSE
from ...interfaces import Admitted, Denied, GuardedRequest, IGuard, IGuardMaker, Verdict

DEFAULT_TIMEOUT_S = 1.0
"""How long a guard may take for one request: a look-up over a local network takes milliseconds, and a client is waiting."""

MAX_ADDED_BYTES = 8192
"""What a guard may add to one request or answer in all, as one header line may have (``limits.header``)."""

_log = Logger()

ADMITTED = Admitted()


class UnsoundVerdict(Exception):
    """A guard's verdict that would make a message with two readings, or none at all."""


@attr.frozen
class Guard:
    """A guard as routes use it."""

    name: str
    judge: Callable[[GuardedRequest], object]
    timeout_s: float = DEFAULT_TIMEOUT_S


def makers(plugins: Iterable[IGuardMaker]) -> Dict[str, IGuardMaker]:
    """The kinds of guards by name; of two with one name the first."""
    found: Dict[str, IGuardMaker] = {}
    for maker in plugins:
        found.setdefault(maker.name, maker)
    return found


def make_guard(
    reactor: Any, name: str, kind: str, options: Mapping[str, object], timeout_s: float, known: Mapping[str, IGuardMaker]
) -> Guard:
    """A guard of the configuration.

    :param known: from ``makers``.
    :raises ValueError: there is no such kind, or the plugin does not take the options.
    """
    maker = known.get(kind)
    if maker is None:
        there = ", ".join(sorted(known)) or "none: they come with packages that bring a Twisted plugin"
        raise ValueError(f"there is no kind of guard called {kind!r}; there are {there}")
    guard = maker.make(reactor, options)
    if not IGuard.providedBy(guard):
        raise ValueError(f"the plugin {kind!r} made something that is no IGuard")
    return Guard(name, guard.judge, timeout_s)


def checked(verdict: object) -> Verdict:
    """A verdict that can be acted on. Raises UnsoundVerdict."""
    if not isinstance(verdict, (Admitted, Denied)):
        raise UnsoundVerdict(f"its verdict is a {type(verdict).__name__}")
    names = REQUEST
    if isinstance(verdict, Denied):
        names = RESPONSE
        if not 400 <= verdict.status <= 599 or not is_token(verdict.reason.encode("utf-8", "replace")):
            raise UnsoundVerdict("it denies with a status below 400 or above 599, or with a reason that is no word")
    for name, value in verdict.added:
        if not is_token(name) or names.look_up(name) not in (PLAIN, *names.kept):
            raise UnsoundVerdict(f"it adds a field that is not its to write: {name[:64]!r}")
        if any((byte < 32 and byte != 9) or byte == 127 for byte in value):
            raise UnsoundVerdict(f"it adds {name.decode('latin-1')} with control characters")
    if sum(len(name) + len(value) + 4 for name, value in verdict.added) > MAX_ADDED_BYTES:
        raise UnsoundVerdict(f"it adds more than {MAX_ADDED_BYTES} bytes")
    return verdict


def changed(lines: bytes, verdict: Admitted) -> bytes:
    """Header lines after the changes of a verdict."""
    for name in (*verdict.removed, *(name for name, _ in verdict.added)):
        lines = without_field(lines, name)
    return lines + b"".join(b"%b: %b\r\n" % field for field in verdict.added)


def both(first: Admitted, second: Admitted) -> Admitted:
    """The changes of two verdicts, one after the other."""
    gone = {name.lower() for name in (*second.removed, *(name for name, _ in second.added))}
    kept = tuple(field for field in first.added if field[0].lower() not in gone)
    return Admitted((*first.removed, *second.removed), (*kept, *second.added))


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
        say: Callable[..., object] = _log.info,
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
