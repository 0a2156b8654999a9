"""Tests for ``xproxy.tap.tree``: the order of starting and stopping, signals, and starts that fail."""

from __future__ import annotations

import os
import signal
from typing import Any, Optional

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed

from tests.doubles.commands import CommandTestCase, FakeReactor, TwistdOptions
from xproxy.startup import StartupError
from xproxy.tap.notify import Notify
from xproxy.tap.options import StrictOptions
from xproxy.tap.tree import ServiceTree


class Recorded(Service):
    """A service that writes down what happens to it."""

    def __init__(self, label: str, events: list[str], stop: Optional[Deferred[Any]] = None) -> None:
        self.label = label
        self.events = events
        self.stop = stop

    def privilegedStartService(self) -> None:
        self.events.append(f"{self.label} listens")

    def startService(self) -> None:
        super().startService()
        self.events.append(f"{self.label} starts")

    def stopService(self) -> Any:
        super().stopService()
        self.events.append(f"{self.label} stops")
        return self.stop


class Refusing(Service):
    """A service that cannot start."""

    def __init__(self, while_listening: bool) -> None:
        self.while_listening = while_listening

    def privilegedStartService(self) -> None:
        if self.while_listening:
            raise StartupError("cannot listen on tcp:1: address already in use")

    def startService(self) -> None:
        raise StartupError("cannot begin:\nnot at all")


class Command(StrictOptions):
    """The options of a command."""

    program = "xproxy"


class TreeTestCase(CommandTestCase):
    """A tree over a reactor without sockets."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = FakeReactor()
        self.events: list[str] = []
        self.options = Command()
        self.tree = ServiceTree(self.reactor, self.options, announce=lambda: self.events.append("announced"))
        self.installed: dict[int, Any] = {}
        self.patch(signal, "signal", self.installed.__setitem__)
        self.patch(signal, "getsignal", lambda number: signal.SIG_DFL)

    def add(self, label: str, stop: Optional[Deferred[Any]] = None) -> Recorded:
        service = Recorded(label, self.events, stop)
        service.setServiceParent(self.tree)
        return service

    def started(self) -> None:
        self.tree.privilegedStartService()
        self.tree.startService()
        self.reactor.run()
        del self.events[:]


class Told(Notify):
    """Notes what the service manager is told."""

    def __init__(self, events: list[str]) -> None:
        super().__init__(None, {}, lambda: 0.0)
        self.events = events

    def ready(self) -> None:
        self.events.append("READY")

    def reloading(self) -> None:
        self.events.append("RELOADING")

    def stopping(self) -> None:
        self.events.append("STOPPING")

    def end(self) -> None:
        self.events.append("nothing more is told")


class NotifyTests(TreeTestCase):
    """When the service manager is told what."""

    def setUp(self) -> None:
        super().setUp()
        self.add("a")
        self.tree.notify = Told(self.events)

    def test_ready_at_the_end_of_the_start(self) -> None:
        self.tree.privilegedStartService()
        self.tree.startService()
        self.reactor.run()
        self.assertEqual(self.events, ["a listens", "a starts", "announced", "READY"])

    def test_a_reload(self) -> None:
        """Also when there is nothing to read again: who asked waits for its end."""
        self.started()
        self.tree.reload_asked("SIGHUP")
        self.tree.reload_with(lambda: self.events.append("reloads"))
        self.tree.reload_asked("SIGHUP")
        self.assertEqual(self.events, ["RELOADING", "READY", "RELOADING", "reloads", "READY"])

    def test_a_reload_that_takes_its_time(self) -> None:
        """It is over when it is, and however."""
        self.started()
        for end in (None, RuntimeError("cannot")):
            reloaded: Deferred[None] = Deferred()
            self.tree.reload_with(lambda reloaded=reloaded: reloaded)  # type: ignore[misc]
            self.tree.reload_asked("SIGHUP")
            self.assertEqual(self.events, ["RELOADING"])
            reloaded.callback(end) if end is None else reloaded.errback(end)
            self.assertEqual(self.events, ["RELOADING", "READY"])
            del self.events[:]

    def test_the_end(self) -> None:
        """It begins with the signal, and is over when everything has stopped."""
        self.started()
        drained: Deferred[None] = Deferred()
        self.tree.drain_first(self.tree.services[0], lambda: drained)
        self.tree.stop_asked("SIGTERM")
        self.assertEqual(self.events, ["STOPPING"])
        self.tree.stopService()
        del self.events[:]
        drained.callback(None)
        self.assertEqual(self.events, ["a stops", "nothing more is told"])


class StartTests(TreeTestCase):
    """Starting."""

    def test_order(self) -> None:
        self.add("a")
        self.add("b")
        self.tree.privilegedStartService()
        self.assertEqual(self.events, ["a listens", "b listens"])
        self.tree.startService()
        self.assertEqual(self.events[2:], ["a starts", "b starts"])
        self.assertFalse(self.tree.ready)
        self.reactor.run()
        self.assertEqual(self.events[4:], ["announced"])
        self.assertTrue(self.tree.ready)

    def test_nobody_called_for_privileges(self) -> None:
        self.add("a")
        self.tree.startService()
        self.assertEqual(self.events, ["a listens", "a starts"])

    def test_signals_are_ours_before_the_announcement(self) -> None:
        announced: list[set[int]] = []
        self.tree = ServiceTree(self.reactor, self.options, announce=lambda: announced.append(set(self.installed)))
        self.tree.startService()
        self.assertEqual(set(self.installed), {signal.SIGHUP, signal.SIGUSR1}, "these would end the process")
        self.reactor.run()
        self.assertEqual(announced, [{signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}])

    def test_stop_signals_wait_until_they_are_ours(self) -> None:
        """One that comes between would be the reactor's, and end the process without what a stop has to do."""
        self.tree.privilegedStartService()
        self.tree.startService()
        self.assertLessEqual({signal.SIGTERM, signal.SIGINT}, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        self.reactor.run()
        self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGTERM, signal.SIGINT}, set())

    def test_a_signal_that_is_ignored_on_purpose_stays_so(self) -> None:
        self.patch(signal, "getsignal", lambda number: signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
        self.tree.startService()
        self.reactor.run()
        self.assertEqual(set(self.installed), {signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1})

    def test_a_hangup_reads_again(self) -> None:
        self.tree.reload_with(lambda: self.events.append("read again"))
        self.started()
        self.installed[signal.SIGHUP](signal.SIGHUP, None)
        self.reactor.run()
        self.assertEqual(self.events, ["read again"])

    def test_logs_are_opened_again(self) -> None:
        """When they were moved away, and with everything else that is read again."""
        self.tree.reopen_with(lambda: self.events.append("opened again"))
        self.started()
        for number in (signal.SIGUSR1, signal.SIGHUP):
            self.installed[number](number, None)
        self.assertEqual(self.events, ["opened again"] * 2)

    def test_a_hangup_with_nothing_to_read_is_harmless(self) -> None:
        self.started()
        self.installed[signal.SIGHUP](signal.SIGHUP, None)
        self.reactor.run()
        self.assertEqual(self.events, [])
        self.assertTrue(self.tree.ready)


class RefusalTests(TreeTestCase):
    """Starts that fail."""

    def test_while_listening(self) -> None:
        Refusing(while_listening=True).setServiceParent(self.tree)
        line = self.refused(self.tree.privilegedStartService)
        self.assertEqual(line, "xproxy: cannot listen on tcp:1: address already in use")
        self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGTERM, signal.SIGINT}, set())

    def test_while_starting(self) -> None:
        Refusing(while_listening=False).setServiceParent(self.tree)
        self.assertEqual(self.refused(self.tree.startService), "xproxy: cannot begin: not at all")

    def test_our_pid_file_is_removed(self) -> None:
        name = self.mktemp()
        with open(name, "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
        self.options.parent = TwistdOptions(nodaemon=1, pidfile=name)
        Refusing(while_listening=True).setServiceParent(self.tree)
        self.refused(self.tree.privilegedStartService)
        self.assertFalse(os.path.exists(name))

    def test_a_pid_file_of_others_stays(self) -> None:
        name = self.mktemp()
        with open(name, "w", encoding="ascii") as file:
            file.write("1")
        self.options.parent = TwistdOptions(nodaemon=1, pidfile=name)
        Refusing(while_listening=True).setServiceParent(self.tree)
        self.refused(self.tree.privilegedStartService)
        self.assertTrue(os.path.exists(name))

    def test_a_daemon_hands_the_line_to_twistd(self) -> None:
        self.options.parent = TwistdOptions(nodaemon=0, pidfile="")
        Refusing(while_listening=True).setServiceParent(self.tree)
        error = self.assertRaises(StartupError, self.tree.privilegedStartService)
        self.assertEqual(str(error), "cannot listen on tcp:1: address already in use")
        self.assertEqual(self.err.getvalue(), "")


class StopTests(TreeTestCase):
    """Stopping."""

    delay_s = 0.0

    def drained_by(self, service: Service, drained: Deferred[Any], limit_s: Optional[float] = None) -> None:
        def drain() -> Deferred[Any]:
            self.events.append("drains")
            return drained

        self.tree.drain_first(service, drain, lambda: limit_s, lambda: self.delay_s)

    def test_order(self) -> None:
        drained: Deferred[Any] = Deferred()
        stopping: Deferred[Any] = Deferred()
        proxy = self.add("proxy", stopping)
        self.add("admin")
        self.add("acceptor")
        self.drained_by(proxy, drained)
        self.started()
        stopped = self.tree.stopService()
        self.assertFalse(self.tree.ready)
        self.assertEqual(self.events, ["drains"])
        drained.callback(None)
        self.assertEqual(self.events, ["drains", "proxy stops"])
        self.assertNoResult(stopped)
        stopping.callback(None)
        self.assertEqual(self.events, ["drains", "proxy stops", "acceptor stops", "admin stops"])
        self.successResultOf(stopped)

    def test_nothing_to_drain(self) -> None:
        self.add("a")
        self.add("b")
        self.started()
        self.successResultOf(self.tree.stopService())
        self.assertEqual(self.events, ["b stops", "a stops"])

    def test_a_drain_that_takes_too_long(self) -> None:
        self.drained_by(self.add("acceptor"), Deferred(), limit_s=30.0)
        self.started()
        stopped = self.tree.stopService()
        self.reactor.advance(29.9)
        self.assertNoResult(stopped)
        self.reactor.advance(0.2)
        self.successResultOf(stopped)
        self.assertEqual(self.events, ["drains", "acceptor stops"])

    def test_a_delay(self) -> None:
        """Meanwhile everything goes on, and it is said that it will not for long."""
        self.delay_s = 5.0
        self.drained_by(self.add("proxy"), succeed(None))
        self.started()
        self.installed[signal.SIGTERM](signal.SIGTERM, None)
        self.assertFalse(self.tree.ready)
        stopped = self.tree.stopService()
        self.reactor.advance(4.9)
        self.assertEqual(self.events, [])
        self.reactor.advance(0.2)
        self.successResultOf(stopped)
        self.assertEqual(self.events, ["drains", "proxy stops"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_second_signal_ends_the_delay(self) -> None:
        self.delay_s = 5.0
        self.drained_by(self.add("proxy"), Deferred())
        self.started()
        self.installed[signal.SIGTERM](signal.SIGTERM, None)
        stopped = self.tree.stopService()
        self.installed[signal.SIGTERM](signal.SIGTERM, None)
        self.successResultOf(stopped)
        self.assertEqual(self.events, ["drains", "proxy stops"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_drain_in_time_leaves_no_timer(self) -> None:
        self.drained_by(self.add("acceptor"), succeed(None), limit_s=30.0)
        self.started()
        self.successResultOf(self.tree.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_drain_that_fails(self) -> None:
        self.drained_by(self.add("proxy"), fail(RuntimeError("cannot")))
        self.started()
        self.successResultOf(self.tree.stopService())
        self.assertEqual(self.events, ["drains", "proxy stops"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_service_that_fails_to_stop(self) -> None:
        self.add("a")
        self.add("b", fail(RuntimeError("cannot")))
        self.started()
        self.successResultOf(self.tree.stopService())
        self.assertEqual(self.events, ["b stops", "a stops"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_asked_twice(self) -> None:
        self.add("a")
        self.started()
        self.assertIs(self.tree.stopService(), self.tree.stopService())
        self.assertEqual(self.events, ["a stops"])


class SignalTests(TreeTestCase):
    """Stop signals."""

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.installed[number](number, None)

    def test_the_first_one_stops_the_reactor(self) -> None:
        self.started()
        self.signal()
        self.assertEqual(self.reactor.stops, 1)

    def test_the_second_one_does_not_wait(self) -> None:
        proxy = self.add("proxy")
        self.tree.drain_first(proxy, Deferred)
        self.started()
        self.signal()
        stopped = self.tree.stopService()
        self.assertNoResult(stopped)
        self.signal(signal.SIGINT)
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.stops, 1)

    def test_two_before_anything_has_stopped(self) -> None:
        proxy = self.add("proxy")
        self.tree.drain_first(proxy, Deferred)
        self.started()
        self.signal()
        self.signal()
        self.successResultOf(self.tree.stopService())

    def test_one_after_another_way_of_stopping(self) -> None:
        proxy = self.add("proxy")
        self.tree.drain_first(proxy, Deferred)
        self.started()
        stopped = self.tree.stopService()
        self.signal()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.stops, 0)

    def test_a_drain_that_ends_after_all(self) -> None:
        drained: Deferred[Any] = Deferred()
        proxy = self.add("proxy")
        self.tree.drain_first(proxy, lambda: drained)
        self.started()
        self.signal()
        stopped = self.tree.stopService()
        self.signal()
        self.assertEqual(self.events, ["proxy stops"])
        self.successResultOf(stopped)
        drained.callback(None)
        self.assertEqual(self.events, ["proxy stops"])

    def test_everything_is_stopped_before_the_reactor_ends(self) -> None:
        """In the same order, whoever takes long."""
        for name in ("admin", "acceptor"):
            self.add(name, Deferred())
        proxy = self.add("proxy", Deferred())
        self.tree.drain_first(proxy, Deferred)
        self.started()
        self.signal()
        stopped = self.tree.stopService()
        stopped.addCallback(lambda _: self.events.append("stopped"))
        self.signal()
        self.assertEqual(self.events, ["proxy stops", "acceptor stops", "admin stops", "stopped"])
