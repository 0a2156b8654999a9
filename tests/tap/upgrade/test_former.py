"""What a new program has from the one that has started it, and how it is started."""

from __future__ import annotations

import os
import socket
import sys
from typing import Dict

from twisted.python.usage import Options
from twisted.trial.unittest import SynchronousTestCase

from xproxy.tap.upgrade.former import Former, former_of, settle, take_pid_file
from xproxy.tap.upgrade.program import VARIABLE, Origin, command_of, environment, passed_by_systemd


class FormerTests(SynchronousTestCase):
    def test_is_there(self) -> None:
        """The variable is taken away, descriptors are not for others, and the watchdog is fed by us."""
        ours, theirs = socket.socketpair()
        errors = os.open(os.devnull, os.O_RDWR)
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        self.addCleanup(os.close, errors)
        for descriptor in (theirs.fileno(), errors):
            os.set_inheritable(descriptor, True)
        parent = os.getppid()
        variables = {VARIABLE: f"{theirs.fileno()},{errors},{parent}", "WATCHDOG_PID": str(parent), "HOME": "/h"}
        self.assertEqual(Former(theirs.fileno(), errors, parent), former_of(variables))
        self.assertEqual({"WATCHDOG_PID": str(os.getpid()), "HOME": "/h"}, variables)
        self.assertEqual([False, False], [os.get_inheritable(each) for each in (theirs.fileno(), errors)])

    def test_is_not(self) -> None:
        """Nothing is said, or what is not so: a start like any other."""
        file = os.open(os.devnull, os.O_RDWR)
        self.addCleanup(os.close, file)
        parent = os.getppid()
        for words in ("", "x", "3,4", "3,4,x", f"{file},{file},{parent}", f"{file},{file},1{parent}", f"65000,65001,{parent}"):
            variables: Dict[str, str] = {VARIABLE: words}
            self.assertEqual((None, {}), (former_of(variables), variables), words)

    def test_twistd(self) -> None:
        """It is no daemon again, changes nobody's rights, and leaves the pid file alone."""
        options = Options()
        options.update(nodaemon=0, logfile=None, uid=5, gid=6, chroot="/c", pidfile="/run/x.pid")
        self.assertEqual("/run/x.pid", settle(options))
        self.assertEqual((True, "twistd.log", ""), (options["nodaemon"], options["logfile"], options["pidfile"]))
        self.assertEqual([None] * 3, [options[name] for name in ("uid", "gid", "chroot")])
        options.update(nodaemon=1, logfile=None, pidfile="")
        self.assertEqual("", settle(options))
        self.assertIsNone(options["logfile"])

    def test_twist(self) -> None:
        """It has none of these options, and gets none."""
        options = Options()
        self.assertEqual(("", {}), (settle(options), dict(options)))

    def test_pid_file(self) -> None:
        """It is replaced in one step."""
        path = self.mktemp()
        with open(path, "w", encoding="ascii") as file:
            file.write("1")
        before = os.stat(path).st_ino
        take_pid_file(path)
        with open(path, encoding="ascii") as file:
            self.assertEqual(str(os.getpid()), file.read())
        self.assertNotEqual(before, os.stat(path).st_ino)


class OriginTests(SynchronousTestCase):
    def test_here(self) -> None:
        origin = Origin.here()
        self.assertEqual((sys.executable, os.getcwd()), (origin.command[0], origin.directory))
        with open("/proc/self/cmdline", "rb") as file:
            self.assertEqual(file.read().split(b"\0")[1:-1], list(map(os.fsencode, origin.command[1:])))

    def test_systemd(self) -> None:
        """Its sockets keep their numbers; ours come behind. A shell says whose they are, where there are some."""
        self.assertEqual(2, passed_by_systemd({"LISTEN_PID": "7", "LISTEN_FDS": "2"}, 7))
        self.assertEqual(0, passed_by_systemd({"LISTEN_PID": "8", "LISTEN_FDS": "2"}, 7))
        self.assertEqual(0, passed_by_systemd({}, 7))
        self.assertEqual({"A": "b", VARIABLE: "5,6,7"}, environment({"A": "b"}, 2, 7))
        origin = Origin(["/python", "twistd", "-n"], "/")
        self.assertEqual(["/python", "twistd", "-n"], command_of(origin))
        self.assertEqual(
            ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", "/python", "twistd", "-n"],
            command_of(Origin(origin.command, "/", 2)),
        )
