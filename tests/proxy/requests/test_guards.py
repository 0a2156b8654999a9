"""Tests for ``xproxy.proxy.requests.guards``."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, cast

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from xproxy.http1.errors import BadMessage
from xproxy.interfaces import Admitted, Denied, GuardedRequest, IGuard, IGuardMaker, Verdict
from xproxy.proxy.requests.guards import (
    MAX_ADDED_BYTES,
    Guard,
    Hearing,
    UnsoundVerdict,
    both,
    changed,
    checked,
    make_guard,
    makers,
)

REQUEST = GuardedRequest(b"GET", b"https", b"example.com", b"/a?b", b"Accept: */*\r\nX-User: mallory\r\n", "192.0.2.1", "api")

Answer = Callable[[GuardedRequest], Any]


@implementer(IGuard)
class PlayedGuard:
    """Gives what it was made with, and keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: List[GuardedRequest] = []

    def judge(self, request: GuardedRequest) -> Any:
        self.asked.append(request)
        return self._answer(request)


@implementer(IGuardMaker)
class PlayedMaker:
    """A plugin with one option."""

    name = "played"

    def make(self, reactor: Any, options: Mapping[str, object]) -> Any:
        unknown = set(options) - {"status"}
        if unknown:
            raise ValueError(f"there is no option {min(unknown)}")
        if options["status"] == "broken":
            return object()
        return PlayedGuard(lambda request: Denied(int(str(options["status"]))))


class VerdictTests(SynchronousTestCase):
    def test_sound(self) -> None:
        asked = Denied(401, "who", ((b"WWW-Authenticate", b"Basic"),))
        for verdict in (Admitted(), Denied(), Admitted((b"cookie",), ((b"X-User", b"alice"),)), asked):
            self.assertIs(checked(verdict), verdict)

    def test_unsound(self) -> None:
        """What would give a message two readings, or take a field that is the proxy's, is no verdict."""
        fields: List[Any] = [
            (b"Content-Length", b"5"),
            (b"transfer_encoding", b"chunked"),
            (b"Host", b"x"),
            (b"Connection", b"close"),
            (b"X-Forwarded-For", b"127.0.0.1"),
            (b"X_Forwarded_For", b"127.0.0.1"),
            (b"X User", b"alice"),
            (b"", b"x"),
            (b"X-User", b"alice\r\nX-Admin: 1"),
            (b"X-User", b"a\x00"),
            (b"X-User", b"a" * MAX_ADDED_BYTES),
        ]
        for field in fields:
            self.assertRaises((UnsoundVerdict, BadMessage), checked, Admitted(added=(field,)))
        verdicts: List[Any] = [None, True, "403", Denied(200), Denied(600), Denied(403, "two words")]
        for verdict in (*verdicts, Denied(401, added=((b"Content-Length", b"1"),))):
            self.assertRaises(UnsoundVerdict, checked, verdict)

    def test_changes(self) -> None:
        verdict = Admitted((b"accept",), ((b"X-User", b"alice"),))
        self.assertEqual(changed(REQUEST.fields + b"x_user: eve\r\n", verdict), b"X-User: alice\r\n")

    def test_both(self) -> None:
        """Two verdicts one after the other are the same as their sum."""
        first = Admitted((b"a",), ((b"b", b"1"), (b"c", b"1")))
        second = Admitted((b"B",), ((b"c", b"2"),))
        lines = b"a: 0\r\nb: 0\r\nc: 0\r\nd: 0\r\n"
        self.assertEqual(changed(lines, both(first, second)), changed(changed(lines, first), second))
        self.assertEqual(changed(lines, both(first, second)), b"d: 0\r\nc: 2\r\n")


class HearingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.told: List[Verdict] = []
        self.said: List[Dict[str, Any]] = []

    def say(self, format: str, **fields: Any) -> None:
        self.said.append(fields)

    def hear(self, *answers: Answer, timeout_s: float = 1.0) -> Optional[Verdict]:
        self.guards = [PlayedGuard(answer) for answer in answers]
        guards = [Guard(f"guard{number}", guard.judge, timeout_s) for number, guard in enumerate(self.guards)]
        self.hearing = Hearing(guards, REQUEST, self.clock, self.told.append, self.say)
        return self.hearing.begin()

    def over(self, *told: Verdict) -> None:
        """Nothing is left behind, and this was told."""
        self.assertEqual(self.told, list(told))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_at_once(self) -> None:
        """Guards that know at once cost no timer; each sees what those before it have changed."""
        verdict = self.hear(
            lambda request: Admitted(added=((b"X-User", b"alice"),)), lambda request: succeed(Admitted((b"accept",)))
        )
        self.assertEqual(verdict, Admitted((b"accept",), ((b"X-User", b"alice"),)))
        self.assertEqual(self.guards[1].asked[0].fields, b"Accept: */*\r\nX-User: alice\r\n")
        self.over()

    def test_first_denial_ends_it(self) -> None:
        verdict = self.hear(lambda request: Denied(429, "slowly"), lambda request: Admitted())
        self.assertEqual((verdict, self.guards[1].asked), (Denied(429, "slowly"), []))
        self.over()

    def test_later(self) -> None:
        first: Deferred[Verdict] = Deferred()
        second: Deferred[Verdict] = Deferred()
        self.assertIsNone(self.hear(lambda request: first, lambda request: second, lambda request: Admitted((b"accept",))))
        first.callback(Admitted(added=((b"X-User", b"alice"),)))
        self.assertEqual(self.told, [])
        second.callback(Admitted())
        self.over(Admitted((b"accept",), ((b"X-User", b"alice"),)))

    def test_denied_later(self) -> None:
        answer: Deferred[Verdict] = Deferred()
        self.hear(lambda request: answer, lambda request: Admitted())
        answer.callback(Denied(401))
        self.assertEqual(self.guards[1].asked, [])
        self.over(Denied(401))

    def test_failure_closes_the_door(self) -> None:
        """Raised, failed, later failed, and no verdict at all: refused, and the log says who it was."""

        def raises(request: GuardedRequest) -> Verdict:
            raise RuntimeError("no database")

        for answer in (
            raises,
            lambda request: fail(RuntimeError("no database")),
            lambda request: None,
            lambda request: Admitted(added=((b"content_length", b"1"),)),
            lambda request: Admitted(added=(cast(Any, ("str", "str")),)),
        ):
            self.assertEqual(self.hear(answer), Denied(500, "guard-failed"))
            self.assertEqual(self.said.pop()["guard"], "guard0")
        for late in (None, RuntimeError("no database"), Denied(200)):
            answered: Deferred[Any] = Deferred()
            self.assertIsNone(self.hear(lambda request, answered=answered: answered))  # type: ignore[misc]
            answered.errback(late) if isinstance(late, Exception) else answered.callback(late)
            self.assertEqual((self.told.pop(), self.said.pop()["guard"]), (Denied(500, "guard-failed"), "guard0"))
        self.over()

    def test_too_late(self) -> None:
        """The guard is told to stop, and what it says afterwards is nothing."""
        cancelled: List[object] = []
        answer: Deferred[Verdict] = Deferred(cancelled.append)
        self.hear(lambda request: answer, timeout_s=2.0)
        self.clock.advance(1.9)
        self.assertEqual(self.told, [])
        self.clock.advance(0.2)
        self.assertEqual((cancelled, len(self.said)), ([answer], 1))
        self.over(Denied(503, "guard-timeout"))
        self.assertEqual(self.flushLoggedErrors(CancelledError), [])

    def test_client_left(self) -> None:
        cancelled: List[object] = []
        answer: Deferred[Verdict] = Deferred(cancelled.append)
        self.hear(lambda request: answer)
        self.hearing.cancel()
        self.assertEqual((cancelled, self.said), ([answer], []))
        self.over()

    def test_client_left_before_a_stubborn_guard(self) -> None:
        """One that ends its cancelled Deferred with a verdict all the same lets nobody in."""
        answer: Deferred[Verdict] = Deferred(lambda cancelled: cancelled.callback(Admitted()))
        self.hear(lambda request: answer, lambda request: Admitted())
        self.hearing.cancel()
        self.assertEqual(self.guards[1].asked, [])
        self.over()


class MakingTests(SynchronousTestCase):
    def make(self, kind: str, **options: object) -> Guard:
        known = makers([PlayedMaker()])
        return make_guard(None, "office", kind, options, 0.5, known)

    def test_made(self) -> None:
        guard = self.make("played", status=418)
        self.assertEqual((guard.name, guard.timeout_s, guard.judge(REQUEST)), ("office", 0.5, Denied(418)))

    def test_mistakes(self) -> None:
        for kind, options, words in (
            ("other", {}, "there are played"),
            ("played", {"colour": 1}, "there is no option colour"),
            ("played", {"status": "broken"}, "no IGuard"),
        ):
            error = self.assertRaises(ValueError, self.make, kind, **options)
            self.assertIn(words, str(error))

    def test_interfaces(self) -> None:
        verifyObject(IGuardMaker, PlayedMaker())
        verifyObject(IGuard, PlayedGuard(lambda request: Admitted()))
