"""What a new program knows of the one that has started it, and how it begins otherwise than by itself."""

from __future__ import annotations

import os
import signal
import stat
from typing import Any, Callable, Dict, MutableMapping, Optional

import attr
from twisted.python.usage import Options

from ...admin.numbers import moment
from ..program_log import DAEMON_FILE
from .program import VARIABLE


@attr.frozen
class Former:
    """The former program.

    :ivar connection: a descriptor, whose other end it has.
    :ivar errors: another one, of its standard error.
    :ivar pid: of its process.
    """

    connection: int
    errors: int
    pid: int


def former_of(variables: MutableMapping[str, str]) -> Optional[Former]:
    """Who has started this program, so that it takes over; None: nobody that does. The variable is removed.

    Where it says something that is not so, as one that was inherited from somewhere else does, it is not heeded.
    """
    words = variables.pop(VARIABLE, "").split(",")
    if len(words) != 3 or not all(word.isdecimal() for word in words):
        return None
    connection, errors, pid = map(int, words)
    try:
        if pid != os.getppid() or not stat.S_ISSOCK(os.fstat(connection).st_mode):
            return None
        for descriptor in (connection, errors):
            os.set_inheritable(descriptor, False)
    except OSError:
        return None
    if variables.get("WATCHDOG_PID") == str(pid):
        variables["WATCHDOG_PID"] = str(os.getpid())
    return Former(connection, errors, pid)


def settle(twistd: Options) -> str:
    """The former program has done already what twistd would: it is no terminal's, and has given up its rights.

    :param twistd: twistd's own options, before it goes by them.
    :returns: the pid file, which is the former program's until we serve; empty: there is none.
    """
    if "nodaemon" not in twistd:
        return ""  # It is another program than twistd, such as twist, which does none of this.
    if not twistd.get("nodaemon"):
        twistd["nodaemon"] = True
        twistd["logfile"] = twistd.get("logfile") or DAEMON_FILE
    for name in ("uid", "gid", "chroot"):
        twistd[name] = None
    path, twistd["pidfile"] = str(twistd.get("pidfile") or ""), ""
    return path


def take_pid_file(path: str) -> None:
    """We are who the pid file is about. Raises OSError."""
    new = f"{path}.new"
    with open(new, "w", encoding="ascii") as file:
        file.write(str(os.getpid()))
    os.replace(new, path)


class Predecessor:
    """The former program while it drains.

    :param clock: an IReactorTime.
    :param wall_time: in seconds since 1970.
    :param gone: called when it is gone.
    :param kill: ends a process.
    """

    def __init__(
        self,
        clock: Any,
        pid: int,
        wall_time: float,
        gone: Callable[[], object],
        kill: Callable[[int], None] = lambda pid: os.kill(pid, signal.SIGKILL),
    ) -> None:
        self.pid = pid
        self.since = wall_time
        self._clock = clock
        self._told = gone
        self._kill = kill
        self._due: Any = None

    def drains(self, limit_s: float) -> None:
        """It may take so long. As long as its connection to us is there the number is its own."""
        self._due = self._clock.callLater(limit_s, self._kill, self.pid)

    def gone(self) -> None:
        """Its connection has ended, and so has it."""
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._told()

    def shown(self) -> Dict[str, Any]:
        """As ``/status`` has it."""
        return {"pid": self.pid, "state": "draining", "since": moment(self.since)}
