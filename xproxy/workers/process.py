"""A worker as its parent has it: a process, and the control connection to it."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Callable, Dict, Mapping, Optional

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, implementer

from ..net.descriptors import adopt, descriptors_of
from ..startup import os_reason
from .link import WorkerLink
from .messages import FromWorker, Message
from .restarts import Watch

CONTROL = 3
"""The descriptor of the control connection in a worker."""

MAX_LINE_BYTES = 8192
"""The longest line that is taken from a worker's standard error, where Python itself writes; the rest is another line."""

LAST_WORDS_S = 1.0
"""How many seconds after a worker's end its last messages are waited for, where a process that it has started keeps the
connection open."""

_OF_SYSTEMD = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
"""Variables that systemd has set for the parent, and that a worker must not have."""


class IEmployer(Interface):
    """The owner of workers, told what becomes of them."""

    def worker_heard(worker: Any, message: FromWorker) -> None:  # noqa: N805
        """A message of the worker came."""

    def worker_muttered(worker: Any, line: str) -> None:  # noqa: N805
        """The worker has written a line to its standard error."""

    def worker_ended(worker: Any, how: str) -> None:  # noqa: N805
        """The worker's process is gone; ``how`` in words."""


class IWorker(Interface):
    """A worker, as the crew knows it."""

    number = Attribute("The number of its seat, from 1.")
    pid = Attribute("The number of its process; 0: there is none.")
    watch = Attribute("Counts the beats that the worker does not answer.")
    ended = Attribute("A Deferred that fires when the process is gone.")

    def say(message: Message) -> None:  # noqa: N805
        """Send a message."""

    def say_with(make: Callable[[int], Message], descriptor: int) -> None:  # noqa: N805
        """Send a message with a descriptor, which is the worker's from here on, and closed once it is sent."""

    def ping() -> None:
        """Ask the worker whether its loop turns."""

    def kill() -> None:
        """End the process at once."""


def environment() -> Dict[str, str]:
    """The variables that a worker is started with. PYTHONPATH has the parent's ``sys.path``, so that both find the same
    modules."""
    found = {name: value for name, value in os.environ.items() if name not in _OF_SYSTEMD}
    return {**found, "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path)}


@implementer(IWorker)
class WorkerProcess(ProcessProtocol):
    """The process of a worker, which starts when this object is made, and is gone when ``worker_ended`` was called, not before.

    :param number: of the seat.
    :param employer: an IEmployer.
    :param variables: the process' environment.
    """

    def __init__(self, reactor: Any, number: int, employer: Any, variables: Mapping[str, str]) -> None:
        self.number = number
        self.pid = 0
        self.watch = Watch()
        self.ended: Deferred[None] = Deferred()
        self._employer = employer
        self._mutter = b""
        self._process: Any = None
        self._reason = ""
        self._reactor = reactor
        self._silent = False
        """Nothing more comes over the control connection."""
        self._how: Optional[str] = None
        self._last_words: Optional[IDelayedCall] = None
        self._link = WorkerLink(reactor, lambda message: employer.worker_heard(self, message), self.watch.heard, self._lost)
        try:
            self._start(reactor, variables)
        except OSError as error:
            reactor.callLater(0, self._exited, f"could not be started: {sys.executable}: {os_reason(error)}")

    def _start(self, reactor: Any, variables: Mapping[str, str]) -> None:
        ours, theirs = descriptors_of(reactor).pair()
        with theirs:
            adopt(reactor, ours.detach(), self._link)
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            try:
                output = nothing if sys.__stdout__ is None else 1
                command = [sys.executable, "-m", "xproxy.workers", str(self.number), type(reactor).__module__]
                channels = {0: nothing, 1: output, 2: "r", CONTROL: theirs.fileno()}
                self._process = reactor.spawnProcess(self, sys.executable, command, dict(variables), childFDs=channels)
            except BaseException:
                self._link.drop("there is no worker")
                raise
            finally:
                os.close(nothing)
        self.pid = self._process.pid

    # -- to the worker

    def say(self, message: Message) -> None:
        """See IWorker."""
        self._link.say(message)

    def say_with(self, make: Callable[[int], Message], descriptor: int) -> None:
        """See IWorker."""
        self._link.say_with(make, descriptor)

    def ping(self) -> None:
        """See IWorker."""
        self._link.ping()

    def kill(self) -> None:
        """See IWorker."""
        try:
            if self._process is not None:
                self._process.signalProcess("KILL")
        except ProcessExitedAlready:
            pass  # The process has ended by itself.

    # -- from it

    def _lost(self, reason: str) -> None:
        """The control connection is gone. A worker that has not ended by itself then has nothing left to live for."""
        self._silent = True
        if self._link.was_dropped:
            self._reason = f" ({reason})"
            self.kill()
        if self._how is not None:
            self._over()

    def errReceived(self, data: bytes) -> None:
        """See ProcessProtocol."""
        *lines, self._mutter = (self._mutter + data).split(b"\n")
        if len(self._mutter) > MAX_LINE_BYTES:
            lines.append(self._mutter)
            self._mutter = b""
        for line in lines:
            if line.strip():
                self._employer.worker_muttered(self, line[:MAX_LINE_BYTES].decode("utf-8", "replace"))

    def processExited(self, reason: Failure) -> None:
        """See ProcessProtocol. Processes that the worker has started may keep its standard error open: that is not waited
        for."""
        self._exited(how_ended(reason.value) + self._reason)

    def _exited(self, how: str) -> None:
        """The process is gone. The last messages of the worker may not have been read yet."""
        self.pid = 0
        self._how = how
        if self._silent:
            self._over()
        else:
            self._last_words = self._reactor.callLater(LAST_WORDS_S, self._link.drop, "the worker has ended")

    def _over(self) -> None:
        if self._last_words is not None and self._last_words.active():
            self._last_words.cancel()
        if not self.ended.called:
            self._employer.worker_ended(self, self._how)
            self.ended.callback(None)


def how_ended(reason: Any) -> str:
    """The end of a process, in words: of ProcessDone or ProcessTerminated."""
    if isinstance(reason, ProcessDone):
        return "exit status 0"
    number = getattr(reason, "signal", None)
    if number is None:
        return f"exit status {getattr(reason, 'exitCode', None)}"
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:
        return f"killed by signal {number}"


__all__ = ["CONTROL", "IEmployer", "IWorker", "WorkerProcess", "environment", "how_ended"]
