"""A new program: started as this one was, by the files that are installed now.

It gets two descriptors beside the usual ones: its end of a connection to us, and our standard error. Its own standard error
comes here until it serves, so that we can say why it does not.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Callable, Dict, List, Mapping, Sequence

import attr
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from ...workers.process import how_ended

VARIABLE = "XPROXY_FORMER"
"""Tells the new program the numbers of its two descriptors, and of our process."""

FIRST_PASSED = 3
"""The number of the first socket that systemd passes (sd_listen_fds(3))."""

MAX_SAID_BYTES = 16384
"""Of what the new program says on standard error: the end is kept."""


@attr.frozen
class Origin:
    """How this program was started."""

    command: Sequence[str]
    directory: str
    passed: int = 0
    """How many sockets systemd has passed to it."""
    variables: Mapping[str, str] = attr.field(factory=dict)
    """Those of the environment about them, which Twisted takes away when it has read them."""

    @classmethod
    def here(cls) -> Origin:
        """As seen before anybody has gone to another directory. Raises OSError where there is no proc(5)."""
        with open("/proc/self/cmdline", "rb") as file:
            words = file.read().split(b"\0")[:-1]
        with open("/proc/self/environ", "rb") as file:
            entries = [os.fsdecode(entry).partition("=") for entry in file.read().split(b"\0")]
        variables = {name: value for name, _, value in entries if name.startswith("LISTEN_")}
        passed = passed_by_systemd(variables, os.getpid())
        return cls([sys.executable, *map(os.fsdecode, words[1:])], os.getcwd(), passed, variables if passed else {})


def environment(variables: Mapping[str, str], passed: int, pid: int) -> Dict[str, str]:
    """What the new program is started with.

    :param passed: how many sockets of systemd there are.
    :param pid: of this process.
    """
    first = FIRST_PASSED + passed
    return {**variables, VARIABLE: f"{first},{first + 1},{pid}"}


def passed_by_systemd(variables: Mapping[str, str], pid: int) -> int:
    """How many sockets systemd has passed to this process."""
    count = variables.get("LISTEN_FDS", "")
    return int(count) if variables.get("LISTEN_PID") == str(pid) and count.isdecimal() else 0


def command_of(origin: Origin) -> List[str]:
    """What is to be executed. Where systemd has passed sockets, a shell says first that they are for the new process: its
    number is not known before.
    """
    if not origin.passed:
        return list(origin.command)
    return ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *origin.command]


class NewProgram(ProcessProtocol):
    """A process that starts. Raises OSError when it can't.

    :param connection: the descriptor of its end of the connection, which stays the caller's.
    :param ended: told why, when it is gone.
    """

    def __init__(self, reactor: Any, origin: Origin, connection: int, ended: Callable[[str], object]) -> None:
        self._ended = ended
        self._said = b""
        first = FIRST_PASSED + origin.passed
        command = command_of(origin)
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        errors = nothing
        try:
            streams = [number if _is_open(number) else nothing for number in range(3)]
            errors = os.dup(streams[2])
            channels: Dict[int, Any] = {0: streams[0], 1: streams[1], 2: "r", first: connection, first + 1: errors}
            channels.update((number, number) for number in range(FIRST_PASSED, first))
            variables = environment({**os.environ, **origin.variables}, origin.passed, os.getpid())
            self._process = reactor.spawnProcess(self, command[0], command, variables, path=origin.directory, childFDs=channels)
        finally:
            os.close(nothing)
            if errors != nothing:
                os.close(errors)
        self.pid = int(self._process.pid)

    def errReceived(self, data: bytes) -> None:
        """See ProcessProtocol."""
        self._said = (self._said + data)[-MAX_SAID_BYTES:]

    @property
    def last_words(self) -> str:
        """The last line on its standard error; empty: there is none."""
        lines = [line.strip() for line in self._said.decode("utf-8", "replace").splitlines()]
        return next((line for line in reversed(lines) if line), "")

    def kill(self) -> None:
        """End it at once."""
        try:
            self._process.signalProcess(signal.SIGKILL)
        except ProcessExitedAlready:
            pass

    def processEnded(self, reason: Failure) -> None:
        """See ProcessProtocol: it has ended, and all that it has said is here."""
        how = how_ended(reason.value)
        words = self.last_words
        self._ended(f"{words} ({how})" if words else how)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
