"""A route's guards are asked on every way in, before the body, the line and the slot."""

from __future__ import annotations

from typing import Any, List, Type

from twisted.internet.defer import Deferred

from tests.doubles.guards import Answer, PlayedGuard, PlayedMaker
from tests.world.rig import OK, RigCase, request_head
from tests.world.ways import WAYS, Ask, Way
from xproxy import config as cfg
from xproxy.interfaces import Admitted, Denied, Verdict
from xproxy.proxy.requests import guards

USER = Admitted((b"cookie",), ((b"X-User", b"alice"),))


def always(answer: object) -> Answer:
    """A guard's answer, whatever the request."""
    return lambda request: answer


class GuardedTests(RigCase):
    """Each over all ways."""

    def guarded(self, kind: Type[Way], answer: Answer, *others: cfg.RouteConfig, **route: Any) -> Way:
        """A way to a proxy with a route that has this guard."""
        self.guard = PlayedGuard(answer)
        self.patch(guards, "getPlugins", lambda interface: [PlayedMaker(self.guard)])
        routes = (cfg.RouteConfig(guards=("office",), **route), *others)
        way = kind(routes=routes, guards={"office": cfg.GuardConfig("office", "played")})
        self.addCleanup(way.rig.stop)
        return way

    def test_admitted_at_once(self) -> None:
        """What the guard adds reaches the service, what it removes does not, a field of its own can't be forged."""
        for kind in WAYS:
            way = self.guarded(kind, always(USER))
            service = way.rig.slot()
            way.ask(Ask(path=b"/a", fields=((b"Cookie", b"secret"), (b"X-User", b"root"), (b"X-Own", b"1"))))
            head = request_head(way.rig.exchange(service, OK))
            seen = [head.fields.get(name) for name in (b"x-user", b"cookie", b"x-own")]
            self.assertEqual((head.target, seen), (b"/a", [b"alice", None, b"1"]))
            self.assertEqual(way.got().status, 200, kind.name)
            asked = self.guard.asked[0]
            self.assertEqual(
                (asked.target, asked.host, asked.peer, asked.pool), (b"/a", b"example.com", "192.0.2.1", "default")
            )
            self.assertEqual(asked.scheme, b"https" if kind.secure else b"http")

    def test_denied(self) -> None:
        """With or without a body, at once or later: an answer of ours, and no slot was asked."""
        denied = Denied(401, "who-are-you", ((b"WWW-Authenticate", b"Basic"),))
        for kind in WAYS:
            for ask in (Ask(), Ask(b"POST", body=b"x" * 5000), Ask(b"POST", body=b"x" * 5000, length=False)):
                for later in (False, True):
                    waits: Deferred[Verdict] = Deferred()
                    way = self.guarded(kind, always(waits if later else denied))
                    service = way.rig.slot()
                    way.ask(ask)
                    if later:
                        self.assertEqual(way.got().status, 0)
                        waits.callback(denied)
                    got = way.got()
                    self.assertEqual((got.status, got.fields.get(b"www-authenticate")), (401, b"Basic"), kind.name)
                    self.assertIn(b"who-are-you", got.content)
                    self.assertEqual(service.take(), b"")

    def test_admitted_later(self) -> None:
        """Nothing goes to a slot before; then the whole request does, whatever came of it meanwhile."""
        bodies: List[Ask] = [Ask(), Ask(b"PUT", body=b"\1" * 5000), Ask(b"PUT", body=b"\1" * 40000, length=False)]
        for kind in WAYS:
            for ask in bodies:
                for buffering in (True, False):
                    waits: Deferred[Verdict] = Deferred()
                    way = self.guarded(kind, always(waits), buffering=buffering)
                    service = way.rig.slot()
                    way.ask(ask)
                    self.assertEqual(service.take(), b"", kind.name)
                    waits.callback(USER)
                    way.got()
                    sent = way.rig.exchange(service, OK)
                    self.assertIn(b"X-User: alice", sent, kind.name)
                    self.assertEqual(sent.count(b"\1"), len(ask.body or b""), (kind.name, ask.method, buffering))
                    self.assertEqual(way.got().status, 200, kind.name)

    def test_client_leaves(self) -> None:
        """The guard is told, and nothing goes to a slot."""
        for kind in WAYS:
            cancelled: List[object] = []
            waits: Deferred[Verdict] = Deferred(cancelled.append)
            way = self.guarded(kind, always(waits))
            service = way.rig.slot()
            way.ask(Ask())
            way.leave()
            self.assertEqual((cancelled, service.take()), ([waits], b""), kind.name)

    def test_too_late(self) -> None:
        """A guard has its time."""
        for kind in WAYS:
            way = self.guarded(kind, always(Deferred()))
            way.ask(Ask())
            way.rig.pass_time(1.1)
            self.assertEqual(way.got().status, 503, kind.name)

    def test_two_readings(self) -> None:
        """A guarded route can't be passed by."""
        for kind in WAYS:
            way = self.guarded(kind, always(Denied()), cfg.RouteConfig(), path="/admin")
            for path in (b"/admin/x", b"/%61dmin", b"/x/%2e%2e/admin"):
                way.ask(Ask(path=path))
                self.assertIn(way.got().status, (400, 403), (kind.name, path))
