"""Tests for ``xproxy.proxy.requests.hearing``."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, cast

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.guards import Answer, PlayedGuard
from xproxy.interfaces import Admitted, Denied, GuardedRequest, Verdict
from xproxy.proxy.requests.guards import Guard
from xproxy.proxy.requests.hearing import Hearing

REQUEST = GuardedRequest(b"GET", b"https", b"example.com", b"/a?b", b"Accept: */*\r\nX-User: mallory\r\n", "192.0.2.1", "api")


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
