"""twistd's pid file: written only where an option asks for one, and never a reason not to start when it is certainly stale.

twistd writes ``twistd.pid`` into the current directory by itself, and does not start while the number in it is some process':
another program of ours in the same directory, a stranger that has got the number, or, in a container that is started again,
this very process.
"""

from __future__ import annotations

import os
from typing import Optional

from twisted.python.usage import Options

CLOCK_MARGIN_S = 5.0
"""How much later than the file a process must have begun to be another one than its writer: the wall clock may have been set
meanwhile, and the start of a process is known to a hundredth of a second."""


def settle(twistd: Optional[Options]) -> None:
    """See to the pid file of the twistd whose command is about to start: called before twistd looks at it.

    :param twistd: twistd's own options; None, or those of another program such as ``twist``: nothing is done.
    """
    path = None if twistd is None else twistd.get("pidfile")
    if twistd is None or not path:
        return
    if path is twistd.defaults.get("pidfile"):  # An argument of the command line is another object, even with the same text.
        twistd["pidfile"] = ""
    elif _is_stale(path):
        remove(path)


def _is_stale(path: str) -> bool:
    """Whether the process that the file names can't be the one that wrote it."""
    try:
        with open(path, "rb") as file:
            pid = int(file.read(32))
            written = os.fstat(file.fileno()).st_mtime
        return pid == os.getpid() or began_at(pid) > written + CLOCK_MARGIN_S
    except (OSError, ValueError):
        return False  # There is no pid file, or one about which twistd has something to say.


def began_at(pid: int) -> float:
    """When a process began, in seconds since 1970, by proc(5).

    :raises OSError: there is no such process, or no proc.
    """
    with open(f"/proc/{pid}/stat", "rb") as file:
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    with open("/proc/stat", "rb") as file:
        boot = next(int(line.split()[1]) for line in file if line.startswith(b"btime "))
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def remove(path: str) -> None:
    """Remove a pid file; one that can't be removed is looked at again by the next start."""
    try:
        os.unlink(path)
    except OSError:
        pass


def remove_own(path: Optional[str]) -> None:
    """Remove the pid file of this process after a failed start: twistd does, except when the failure is an exit."""
    if not path:
        return
    try:
        with open(path, "rb") as file:
            ours = file.read(32).strip() == b"%d" % os.getpid()
    except OSError:
        return  # The pid file was never written.
    if ours:
        remove(path)
