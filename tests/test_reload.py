"""Tests for ``xproxy.reload``: all or nothing, one at a time, and the record of it."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, List, Optional, Union

import attr
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.logged import Logged
from xproxy.config import Config, ConfigError, Mistake, PoolConfig, ProxyConfig, Role, from_toml
from xproxy.config.schema import AcceptorConfig
from xproxy.reload import Change, Outcome, Reload, prepare_all
from xproxy.startup import StartupError

ReadResult = Union[Config, Exception]


class PrepareAllTests(SynchronousTestCase):
    """Several parts."""

    def setUp(self) -> None:
        self.events: List[str] = []

    def part(self, name: str, gone: Optional[Deferred[Any]] = None) -> Callable[[Config], Change]:
        def go(name: str) -> Deferred[Any]:
            self.events.append(f"{name} goes")
            return gone or succeed(None)

        def prepare(config: Config) -> Change:
            self.events.append(f"{name} ready")
            return Change(partial(go, name), partial(self.events.append, f"{name} back"))

        return prepare

    def test_all(self) -> None:
        """They go when all of them are ready; it is over when all is closed."""
        gone: Deferred[None] = Deferred()
        change = prepare_all([self.part("a", gone), self.part("b")], Config())
        self.assertEqual(self.events, ["a ready", "b ready"])
        over = change.commit()
        self.assertEqual(self.events[2:], ["a goes", "b goes"])
        self.assertNoResult(over)
        gone.callback(None)
        self.successResultOf(over)

    def test_none(self) -> None:
        """One that can't sends those before it back, the last one first; so does whoever has the whole."""

        def refuse(config: Config) -> Change:
            raise StartupError("cannot")

        self.assertRaises(StartupError, prepare_all, [self.part("a"), self.part("b"), refuse, self.part("c")], Config())
        self.assertEqual(self.events, ["a ready", "b ready", "b back", "a back"])
        change = prepare_all([self.part("d")], Config())
        change.abort()
        self.assertEqual(self.events[4:], ["d ready", "d back"])


class ReloadTests(SynchronousTestCase):
    """One after the other."""

    def setUp(self) -> None:
        self.log = Logged(self)
        self.now = 100.0
        self.reads: List[ReadResult] = []
        self.applied: List[Config] = []
        self.result: Callable[[], Deferred[Any]] = lambda: succeed(None)
        self.first = Config()
        self.reload = Reload(self.first, Role.EMBEDDED, self.read, self.apply, lambda: self.now)

    def said(self, level: str) -> List[str]:
        return [event["log_format"].format(**event) for event in self.log.of_level(level)]

    def read(self) -> Config:
        read = self.reads.pop(0)
        if isinstance(read, Exception):
            raise read
        return read

    def apply(self, config: Config) -> Deferred[Any]:
        self.applied.append(config)
        return self.result()

    def ask(self) -> Outcome:
        outcome: Outcome = self.successResultOf(self.reload.ask())
        return outcome

    def test_good(self) -> None:
        """It is in force, one generation later."""
        self.assertEqual((self.reload.generation, self.reload.loaded_at), (1, 100.0))
        self.now = 200.0
        second = Config(proxy=ProxyConfig(name="second"))
        self.reads = [second]
        self.assertEqual(self.ask(), Outcome())
        self.assertEqual((self.applied, self.reload.config), ([second], second))
        self.assertEqual((self.reload.generation, self.reload.loaded_at), (2, 200.0))
        self.assertEqual((self.reload.results, self.reload.failed_at), ({"ok": 1, "failed": 0}, None))

    def test_a_bad_file(self) -> None:
        """Nothing is put in force; all of it is said, and remembered when a later one is good."""
        mistakes = [Mistake(("proxy", "nmae"), "unknown key", 3), Mistake(("limits", "body"), "must be a number", 7)]
        self.reads = [ConfigError("x.toml", mistakes), Config()]
        self.now = 200.0
        outcome = self.ask()
        self.assertEqual(outcome, Outcome(tuple(mistakes), "x.toml"))
        self.assertEqual(outcome.lines, ["x.toml:3: proxy.nmae: unknown key", "x.toml:7: limits.body: must be a number"])
        self.assertEqual((self.applied, self.reload.generation, self.reload.loaded_at), ([], 1, 100.0))
        self.assertEqual(self.said("error"), [f"not reloaded, nothing has changed: {line}" for line in outcome.lines])
        self.now = 300.0
        self.ask()
        self.assertEqual((self.reload.generation, self.reload.results), (2, {"ok": 1, "failed": 1}))
        self.assertEqual((self.reload.failed_at, self.reload.failure), (200.0, outcome.lines))

    def test_what_can_not_be_applied(self) -> None:
        """The line of the endpoint is said, where it is one."""
        first, second = "tcp:1:interface=127.0.0.1", "haproxy:tcp:2:interface=127.0.0.1"
        source = f'[proxy]\ntrusted_proxies = ["127.0.0.1"]\nhttp = [\n  "{first}",\n  "{second}",\n]\n'
        read = from_toml(source, "x.toml")
        self.reads = [read, read]

        def in_use() -> Deferred[Any]:
            raise StartupError("cannot listen on tcp:2: address already in use", "tcp:2:interface=127.0.0.1")

        self.result = in_use
        self.assertEqual(self.ask().lines, ["x.toml:5: proxy.http[1]: cannot listen on tcp:2: address already in use"])
        self.assertIs(self.reload.config, self.first)

        def other() -> Deferred[Any]:
            raise StartupError("worker 3: guard office: no such plugin")

        self.result = other
        self.assertEqual(self.ask().lines, ["x.toml: worker 3: guard office: no such plugin"])
        self.assertEqual((self.reload.generation, self.reload.results["failed"]), (1, 2))

    def test_a_bug(self) -> None:
        """It is told like a mistake, and the next one goes well."""
        self.reads = [RuntimeError("oops"), Config()]
        self.assertEqual(self.ask().lines, ["RuntimeError: oops"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.ask(), Outcome())

    def test_what_holds_from_the_start(self) -> None:
        """It is named, and stays as it was; the rest is put in force."""
        before = Config(pools={"default": PoolConfig("default"), "gone": PoolConfig("gone", dispatch="x")})
        self.reload.config = before
        after = Config(
            acceptor=AcceptorConfig(handoff="/run/h", registration_timeout=1.0),
            pools={"default": PoolConfig("default", dispatch="other", queue_limit=3), "new": PoolConfig("new", dispatch="y")},
        )
        self.reads = [after]
        self.assertEqual(self.ask().kept, ("acceptor.handoff", "pools.default.dispatch"))
        self.assertEqual(self.reload.kept, ("acceptor.handoff", "pools.default.dispatch"))
        default = PoolConfig("default", queue_limit=3)
        acceptor = AcceptorConfig(registration_timeout=1.0)
        self.assertEqual(self.applied, [attr.evolve(after, acceptor=acceptor, pools={**after.pools, "default": default})])
        self.assertEqual(len(self.said("warn")), 2)

    def test_who_asks_while_one_runs(self) -> None:
        """They are told of the next one, all of the same."""
        running: List[Deferred[Any]] = [Deferred(), Deferred()]
        self.result = lambda: running[len(self.applied) - 1]
        self.reads = [Config(), ConfigError("x.toml", [Mistake((), "cannot be read")])]
        first = self.reload.ask()
        second, third = self.reload.ask(), self.reload.ask()
        self.assertEqual(len(self.applied), 1)
        running[0].callback(None)
        self.assertEqual(self.successResultOf(first), Outcome())
        told: Outcome = self.successResultOf(second)
        self.assertEqual((told.lines, told.refused), (["x.toml: cannot be read"], False))
        self.assertIs(self.successResultOf(third), told)
        self.assertEqual((self.reads, self.reload.results), ([], {"ok": 1, "failed": 1}))

    def test_closed(self) -> None:
        """Nothing is read; that is no failure of a configuration."""
        self.reload.close("draining")
        outcome = self.ask()
        self.assertEqual((outcome.refused, outcome.lines), (True, ["draining"]))
        self.assertEqual((self.reload.results, self.reload.failed_at), ({"ok": 0, "failed": 0}, None))
        self.assertEqual(self.said("warn"), ["not reloaded: draining"])
