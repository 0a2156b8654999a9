"""What the service manager is told, over a datagram socket that the test reads."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from typing import Dict, List

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.logged import Logged
from xproxy.tap.notify import LEAST_WATCHDOG_S, STATUS_INTERVAL_S, Notify


class NotifyCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.setblocking(False)

    def at_a_path(self) -> str:
        """A socket in a directory; returns its name."""
        directory = tempfile.mkdtemp(prefix="xproxy-")
        self.addCleanup(shutil.rmtree, directory)
        return os.path.join(directory, "notify")

    def notify(self, **environment: str) -> Notify:
        """What tells, to a socket at a path."""
        path = self.at_a_path()
        self.manager.bind(path)
        return Notify(self.clock, {"NOTIFY_SOCKET": path, **environment}, self.clock.seconds)

    def heard(self) -> List[str]:
        """Every message since the last call."""
        found = []
        while True:
            try:
                found.append(self.manager.recv(4096).decode())
            except BlockingIOError:
                return found


class StateTests(NotifyCase):
    def test_a_life(self) -> None:
        notify = self.notify()
        self.assertEqual(self.heard(), [])
        notify.ready()
        self.assertEqual(self.heard(), ["READY=1"])
        notify.reloading()
        notify.ready()
        self.assertEqual(self.heard(), ["RELOADING=1\nMONOTONIC_USEC=1000000000", "READY=1"])
        notify.stopping()
        notify.stopping()
        self.assertEqual(self.heard(), ["STOPPING=1"])
        notify.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_another_process_goes_on(self) -> None:
        """That is said, and nothing more, not that this one stops: it would be heard as the end of the unit."""
        notify = self.notify()
        notify.ready()
        notify.succeeded_by(4711)
        notify.stopping()
        notify.ready()
        self.assertEqual(self.heard(), ["READY=1", "MAINPID=4711"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_reload_that_ends_while_it_stops(self) -> None:
        """Nothing is ready any more."""
        notify = self.notify()
        notify.ready()
        notify.reloading()
        notify.stopping()
        notify.ready()
        notify.reloading()
        self.assertEqual([message.splitlines()[0] for message in self.heard()], ["READY=1", "RELOADING=1", "STOPPING=1"])

    def test_an_abstract_socket(self) -> None:
        name = f"xproxy-{os.getpid()}-{id(self)}"
        self.manager.bind(f"\0{name}")
        Notify(self.clock, {"NOTIFY_SOCKET": f"@{name}"}, self.clock.seconds).ready()
        self.assertEqual(self.heard(), ["READY=1"])

    def test_nobody_to_tell(self) -> None:
        """Not under systemd: no timer, nothing asked, nothing said."""
        asked: List[int] = []

        def status() -> Deferred[str]:
            asked.append(1)
            return succeed("")

        notify = Notify(self.clock, {"WATCHDOG_USEC": "1000000"}, self.clock.seconds)
        notify.tell(status)
        logged = Logged(self)
        notify.ready()
        notify.reloading()
        notify.ready()
        self.clock.pump([STATUS_INTERVAL_S] * 3)
        notify.stopping()
        notify.end()
        self.assertEqual((asked, self.clock.getDelayedCalls(), logged.lines), ([], [], []))

    def test_a_socket_of_another_kind(self) -> None:
        logged = Logged(self)
        notify = Notify(self.clock, {"NOTIFY_SOCKET": "vsock:2:1234"}, self.clock.seconds)
        notify.ready()
        self.assertEqual(len(logged.lines), 1)
        self.assertIn("NOTIFY_SOCKET=vsock:2:1234", logged.lines[0])

    def test_what_is_not_heard_is_said_again(self) -> None:
        """The last state only; that nobody hears is said once."""
        path = self.at_a_path()
        notify = Notify(self.clock, {"NOTIFY_SOCKET": path}, self.clock.seconds)
        logged = Logged(self)
        notify.ready()
        notify.reloading()
        self.clock.advance(STATUS_INTERVAL_S)
        self.assertEqual(len(logged.lines), 1)
        self.assertIn("does not hear us", logged.lines[0])
        self.manager.bind(path)
        self.clock.advance(STATUS_INTERVAL_S)
        self.clock.advance(STATUS_INTERVAL_S)
        self.assertEqual(self.heard(), ["RELOADING=1\nMONOTONIC_USEC=1000000000"])

    def test_a_manager_that_does_not_read(self) -> None:
        """Its socket is full: we do not wait for it."""
        notify = self.notify(WATCHDOG_USEC="20000000")
        notify.ready()
        for _ in range(2000):
            notify.reloading()
        self.assertLess(len(self.heard()), 2000)
        self.clock.advance(STATUS_INTERVAL_S)
        self.assertEqual(len(self.heard()), 1)


class StatusTests(NotifyCase):
    def test_at_a_bounded_rate_and_only_news(self) -> None:
        told = iter(["one", "one", "two\nand more", "three"])
        notify = self.notify()
        notify.tell(lambda: succeed(next(told)))
        notify.ready()
        self.assertEqual(self.heard(), ["READY=1", "STATUS=one"])
        heard: Dict[int, List[str]] = {}
        for second in range(1, 3 * int(STATUS_INTERVAL_S) + 1):
            self.clock.advance(1)
            heard[second] = self.heard()
        self.assertEqual(
            {second: said for second, said in heard.items() if said}, {10: ["STATUS=two and more"], 15: ["STATUS=three"]}
        )
        notify.end()

    def test_it_can_not_be_found_out(self) -> None:
        """Once: that is no reason to tell nothing more."""
        results: List[Deferred[str]] = [fail(ZeroDivisionError("what")), succeed("well")]
        notify = self.notify()
        notify.tell(lambda: results.pop(0))
        notify.ready()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(STATUS_INTERVAL_S)
        self.assertEqual(self.heard(), ["READY=1", "STATUS=well"])
        notify.end()


class WatchdogTests(NotifyCase):
    def pings(self, **environment: str) -> List[int]:
        """In which tenths of a second, from the start, the watchdog hears us."""
        notify = self.notify(**environment)
        notify.ready()
        self.addCleanup(notify.end)
        found = []
        for tenth in range(25):
            found += [tenth] * self.heard().count("WATCHDOG=1")
            self.clock.advance(0.1)
        return found

    def test_at_half_its_time(self) -> None:
        self.assertEqual(self.pings(WATCHDOG_USEC="2000000"), [0, 10, 20])

    def test_for_this_process(self) -> None:
        self.assertEqual(self.pings(WATCHDOG_USEC="2000000", WATCHDOG_PID=str(os.getpid())), [0, 10, 20])

    def test_for_another_process(self) -> None:
        """As a child has its parent's environment."""
        self.assertEqual(self.pings(WATCHDOG_USEC="2000000", WATCHDOG_PID=str(os.getpid() + 1)), [])

    def test_none(self) -> None:
        for microseconds in ("", "0", "-1", "soon"):
            self.manager.close()
            self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.manager.setblocking(False)
            self.assertEqual(self.pings(WATCHDOG_USEC=microseconds), [], microseconds)

    def test_one_that_hardly_waits(self) -> None:
        self.assertEqual(LEAST_WATCHDOG_S, 0.02)
        notify = self.notify(WATCHDOG_USEC="1")
        notify.ready()
        self.clock.pump([LEAST_WATCHDOG_S] * 10)
        self.assertLess(self.heard().count("WATCHDOG=1"), 12)
        notify.end()

    def test_through_a_drain(self) -> None:
        """To the very end: a drain takes its time, and is no reason to be killed."""
        notify = self.notify(WATCHDOG_USEC="2000000")
        notify.ready()
        notify.stopping()
        self.heard()
        self.clock.advance(1)
        self.assertEqual(self.heard(), ["WATCHDOG=1"])
        notify.end()
        self.clock.advance(1)
        self.assertEqual(self.heard(), [])
