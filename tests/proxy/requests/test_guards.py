"""Tests for ``xproxy.proxy.requests.guards``."""

from __future__ import annotations

from typing import Any, List, Mapping

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.doubles.guards import PlayedGuard
from xproxy.http1.errors import BadMessage
from xproxy.interfaces import Admitted, Denied, GuardedRequest, IGuard, IGuardMaker
from xproxy.proxy.requests.guards import MAX_ADDED_BYTES, Guard, UnsoundVerdict, both, changed, checked, make_guard, makers

REQUEST = GuardedRequest(b"GET", b"https", b"example.com", b"/a?b", b"Accept: */*\r\nX-User: mallory\r\n", "192.0.2.1", "api")


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
