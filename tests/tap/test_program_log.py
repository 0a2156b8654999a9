"""Tests for the program's own log: where it goes, that twistd uses it, and what it says of itself."""

from __future__ import annotations

import os
from typing import Any

from twisted.application.service import Application
from twisted.logger import ILogObserver, LogLevel
from zope.interface.verify import verifyObject

from tests.doubles.commands import CommandTestCase, FakeReactor, TwistdOptions
from tests.doubles.memory_log import MemoryLog
from xproxy.log_file import LogFile
from xproxy.startup import StartupError
from xproxy.tap import program_log
from xproxy.tap.options import StrictOptions
from xproxy.tap.tree import ServiceTree


def event(text: str, time: float = 0.0) -> dict[str, Any]:
    """An event of the log."""
    return {"log_format": text, "log_time": time, "log_namespace": "some", "log_level": LogLevel.info}


class WhereTests(CommandTestCase):
    """What twistd's options ask for."""

    def setUp(self) -> None:
        super().setUp()
        directory = self.mktemp()
        os.mkdir(directory)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(directory)

    def path(self, **values: Any) -> str:
        """Where the log goes, relative to the current directory."""
        log = program_log.for_twistd(TwistdOptions(**{"nodaemon": 0, "logfile": None, "logger": None, "syslog": 0, **values}))
        if log is None:
            return "not ours"
        log.file.close()
        return os.path.relpath(log.file.path) if log.file.path != "-" else "-"

    def test_where(self) -> None:
        self.assertEqual(self.path(nodaemon=1), "-")
        self.assertEqual(self.path(debug=1), "-")
        self.assertEqual(self.path(nodaemon=1, logfile="-"), "-")
        self.assertEqual(self.path(nodaemon=1, logfile="a.log"), "a.log")
        self.assertEqual(self.path(logfile="a.log"), "a.log")
        self.assertEqual(self.path(), "twistd.log")

    def test_not_ours(self) -> None:
        self.assertEqual(self.path(syslog=1), "not ours")
        self.assertEqual(self.path(logger=object), "not ours")
        self.assertEqual(self.path(logfile="-"), "not ours", "twistd refuses that")
        self.assertIsNone(program_log.for_twistd(None))
        self.assertIsNone(program_log.for_twistd(TwistdOptions()), "twist has no --logfile")

    def test_a_daemon_has_no_thread_yet(self) -> None:
        """It forks first."""
        log = program_log.for_twistd(TwistdOptions(nodaemon=0, logfile="a.log"))
        assert log is not None
        log(event("one"))
        self.assertIsNone(log.file._thread)
        log.file.close()

    def test_cannot_be_opened(self) -> None:
        options = TwistdOptions(nodaemon=1, logfile="nowhere/a.log")
        error = self.assertRaises(StartupError, program_log.for_twistd, options)
        self.assertIn("nowhere/a.log: no such file or directory", str(error))


class TreeLogTests(CommandTestCase):
    """A tree below twistd's application."""

    def tree(self, logfile: str) -> ServiceTree:
        options = StrictOptions()
        options.program = "xproxy"
        options.parent = TwistdOptions(nodaemon=1, logfile=logfile)
        return ServiceTree(FakeReactor(), options)

    def test_twistd_is_given_it(self) -> None:
        tree = self.tree(self.mktemp())
        application = Application("x")
        tree.setServiceParent(application)
        assert tree.log is not None
        self.assertIs(ILogObserver(application), tree.log)
        verifyObject(ILogObserver, tree.log)
        tree.log.file.close()

    def test_a_mistake_is_one_line(self) -> None:
        line = self.refused(self.tree("/nowhere/log").setServiceParent, Application("x"))
        self.assertEqual(line, "xproxy: log file /nowhere/log: no such file or directory")

    def test_moved_away(self) -> None:
        """The program's log is opened again with the others."""
        name = self.mktemp()
        tree = self.tree(name)
        tree.setServiceParent(Application("x"))
        assert tree.log is not None
        os.rename(name, name + ".1")
        tree.reopen_logs("SIGUSR1")
        tree.log(event("after"))
        self.assertTrue(tree.log.file.drain())
        tree.log.file.close()
        with open(name, encoding="utf-8") as file:
            self.assertRegex(file.read(), r"^1970-01-01T.* \[some#info\] after\n$")


class SaidTests(CommandTestCase):
    """Lines."""

    def setUp(self) -> None:
        super().setUp()
        self.file = MemoryLog()
        file: Any = self.file
        self.log = program_log.ProgramLog(file)

    def test_as_twistd(self) -> None:
        self.log(event("grüße \udcff\tand\nmore"))
        self.assertRegex(self.file.text, r"^1970-01-01T\S+ \[some#info\] gr\S+ \\udcff\tand\n\tmore\n$")

    def test_nothing_to_say(self) -> None:
        self.log({"log_time": 0.0})
        self.assertEqual(self.file.text, "")

    def test_lost_lines(self) -> None:
        """They are told when lines are taken again, and seldom."""
        self.file.losing = True
        self.log(event("one", 1.0))
        self.file.losing = False
        self.log(event("two", 2.0))
        self.file.lost += 1
        self.log(event("three", 3.0))
        self.log(event("four", 63.0))
        told = [line.partition("] ")[2] for line in self.file.text.splitlines()]
        expected = [f"{count} lines of this log are lost so far: nobody takes them" for count in (1, 2)]
        self.assertEqual(told, [expected[0], "two", "three", expected[1], "four"])
        self.assertIn(" [xproxy.tap.program_log#warn] 1 lines of", self.file.text)

    def test_not_opened_again(self) -> None:
        self.file.not_opened = "permission denied"
        self.log(event("one"))
        self.log(event("two"))
        told = [line.partition("] ")[2] for line in self.file.text.splitlines()]
        self.assertEqual(told, ["log file access.log: permission denied; the old file is written on", "one", "two"])


class RealFileTests(CommandTestCase):
    """Over a real file."""

    def test_a_full_disk(self) -> None:
        """Nothing is raised."""
        log = program_log.ProgramLog(LogFile("/dev/full"))
        for _ in range(3):
            log(event("x"))
        log.file.begin()  # Not before: once a line is lost, the next one brings a line that says so, which is lost too.
        self.assertTrue(log.file.drain())
        self.assertEqual(log.file.lost, 3)
        log.file.close()
