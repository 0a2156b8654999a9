"""Tests for twistd's pid file: none unless asked for, and a stale one is no reason not to start."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Optional

from twisted.python.usage import Options
from twisted.trial.unittest import SynchronousTestCase

from xproxy.tap import pid_file, xrelay


class Twistd(Options):
    """twistd's options, as far as its pid file is concerned."""

    optParameters = [["pidfile", "", "twistd.pid", "Name of the pidfile"]]


class PidFileTests(SynchronousTestCase):
    """``settle``."""

    def file(self, content: str, age_s: float = 0.0) -> str:
        """A pid file, written so long ago."""
        name = self.mktemp()
        with open(name, "w", encoding="ascii") as file:
            file.write(content)
        then = os.stat(name).st_mtime - age_s
        os.utime(name, (then, then))
        return name

    def settled(self, *words: str) -> str:
        """What twistd takes for its pid file after these words."""
        twistd = Twistd()
        twistd.parseOptions(list(words))
        pid_file.settle(twistd)
        return str(twistd["pidfile"])

    def test_none_by_itself(self) -> None:
        self.assertEqual(self.settled(), "")

    def test_asked_for(self) -> None:
        """By whatever name: twistd's own too."""
        for name in ("twistd.pid", "other.pid", ""):
            self.assertEqual(self.settled(f"--pidfile={name}"), name)

    def test_our_own_number(self) -> None:
        """A container that is started again."""
        name = self.file(f"{os.getpid()}\n")
        self.settled("--pidfile", name)
        self.assertFalse(os.path.exists(name))

    def test_number_of_a_younger_process(self) -> None:
        """Whoever has the number now can't have written the file, an hour ago, before it was born."""
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
            name = self.file(str(stranger.pid), age_s=3600)
            self.settled("--pidfile", name)
            stranger.kill()
        self.assertFalse(os.path.exists(name))

    def test_number_of_an_older_process(self) -> None:
        """It may be the writer: twistd says that it runs."""
        name = self.file(str(os.getppid()))
        self.settled("--pidfile", name)
        self.assertTrue(os.path.exists(name))

    def test_what_twistd_sees_to(self) -> None:
        """A number that nobody has, and what is none."""
        for content in ("4194305", "rubbish", ""):
            name = self.file(content, age_s=3600)
            self.settled("--pidfile", name)
            self.assertTrue(os.path.exists(name))

    def test_what_cannot_be_removed(self) -> None:
        """twistd says what it thinks of that."""
        directory = self.mktemp()
        os.mkdir(directory)
        pid_file.remove(directory)
        self.assertTrue(os.path.exists(directory))

    def test_began(self) -> None:
        """This process began a while ago, and not before its parent."""
        self.assertLess(pid_file.began_at(os.getpid()), os.stat(self.file("")).st_mtime + 1)
        self.assertGreaterEqual(pid_file.began_at(os.getpid()), pid_file.began_at(os.getppid()))
        self.assertRaises(OSError, pid_file.began_at, 4194305)

    def test_every_command(self) -> None:
        """What all commands have in common asks for it; another program above is left alone."""
        for above, expected in ((Twistd(), ""), (Options(), None), (None, None)):
            options = xrelay.Options()
            options.parent = above
            options.parseOptions(["--backend", "tcp:127.0.0.1:1", "--slots", "slots:tcp:127.0.0.1:1:count=1"])
            found: Optional[str] = None if above is None else above.get("pidfile")
            self.assertEqual(found, expected)
