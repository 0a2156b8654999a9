"""What the service manager is told of this program, by sd_notify(3): ready, reloading, stopping, alive, and how things stand.

Between the service tree, which knows what happens, and the datagram socket that systemd names in NOTIFY_SOCKET. Without such a
socket nothing is sent. Nothing waits for the service manager: a message that it does not take is dropped, but for the last one
about the program's state, which is sent again until it is taken.

The watchdog is fed by the reactor, so a process whose loop does not turn feeds it no more; and only by the process that
WATCHDOG_PID names, not by its children.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Callable, List, Mapping, Optional

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..startup import os_reason

STATUS_INTERVAL_S = 5.0
"""Seconds between two looks at how things stand, and between two attempts to send a state that was not taken: a person reads
it in ``systemctl status``, and systemd passes it on to whoever watches the unit."""

LEAST_WATCHDOG_S = 0.02
"""Seconds. A watchdog that is to be fed more often is a mistake, and would be most of this program's work."""


class Notify:
    """See the module. One for each program; its states come in this order: ready, (reloading, ready) again and again, stopping.

    :param clock: IReactorTime.
    :param environment: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are looked at, and stay where they are.
    :param monotonic: CLOCK_MONOTONIC in seconds: the service manager's clock too.
    """

    _log = Logger()

    def __init__(self, clock: Any, environment: Mapping[str, str], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._environment = environment
        self._monotonic = monotonic
        self._address = self._socket_name()
        self._status: Optional[Callable[[], Deferred[str]]] = None
        self._told = ""
        """The STATUS= that was taken last."""
        self._owed = ""
        """The state that was not taken yet; empty: none."""
        self._stopping = False
        self._failed = False
        """The log has said that the service manager takes nothing."""
        self._calls: List[LoopingCall] = []

    def tell(self, status: Callable[[], Deferred[str]]) -> None:
        """Send the service manager the line that ``status`` gives, asked for every ``STATUS_INTERVAL_S``."""
        self._status = status

    # -- what happens

    def ready(self) -> None:
        """Everything listens; or a reload is over, however it ended. More calls than needed do no harm."""
        if self._stopping or not self._address:
            return
        self._say("READY=1")
        if not self._calls:
            self._every(STATUS_INTERVAL_S, self._look)
            watchdog_s = self._watchdog_s()
            if watchdog_s:
                self._every(max(LEAST_WATCHDOG_S, watchdog_s / 2), self._feed)

    def reloading(self) -> None:
        """A reload begins, of which ``ready`` is the end."""
        if not self._stopping:
            self._say(f"RELOADING=1\nMONOTONIC_USEC={int(self._monotonic() * 1e6)}")

    def stopping(self) -> None:
        """The end begins, a drain included, and is not taken back. The watchdog is fed until ``end``."""
        if not self._stopping:
            self._stopping = True
            self._say("STOPPING=1")

    def succeeded_by(self, pid: int) -> None:
        """Another process is this program from here on: nothing more is said but that. That one says that it is ready."""
        self._send(f"MAINPID={pid}")
        self._owed = ""
        self._stopping = True
        self.end()

    def end(self) -> None:
        """Send nothing more."""
        calls, self._calls = self._calls, []
        for call in calls:
            if call.running:
                call.stop()

    # -- again and again

    def _every(self, seconds: float, what: Callable[[], Any]) -> None:
        call = LoopingCall(what)
        call.clock = self._clock
        self._calls.append(call)
        call.start(seconds).addErrback(lambda failure: self._log.failure("the service manager is told nothing more", failure))

    def _feed(self) -> None:
        self._send("WATCHDOG=1")

    def _look(self) -> Optional[Deferred[None]]:
        if self._owed:
            self._say(self._owed)
        if self._status is None:
            return None
        return self._status().addCallbacks(self._tell_status, self._no_status)

    def _tell_status(self, status: str) -> None:
        line = " ".join(status.split())
        if line != self._told and self._send(f"STATUS={line}"):
            self._told = line

    def _no_status(self, failure: Failure) -> None:
        self._log.failure("how things stand could not be found out", failure)

    # -- the socket

    def _socket_name(self) -> str:
        name = self._environment.get("NOTIFY_SOCKET", "")
        if name and name[0] not in "/@":
            self._log.warn("NOTIFY_SOCKET={name}: neither a path nor an abstract socket; nobody is told anything", name=name)
            return ""
        return "\0" + name[1:] if name.startswith("@") else name

    def _watchdog_s(self) -> float:
        """After how many seconds of silence the watchdog ends this process; 0: none waits for it."""
        pid, microseconds = (self._environment.get(name, "") for name in ("WATCHDOG_PID", "WATCHDOG_USEC"))
        if not microseconds.isdecimal() or (pid and pid != str(os.getpid())):
            return 0.0
        return int(microseconds) / 1e6

    def _say(self, state: str) -> None:
        self._owed = "" if self._send(state) else state

    def _send(self, message: str) -> bool:
        """Send a message; gives whether it was taken, or there is no service manager to take it."""
        if not self._address:
            return True
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message.encode("utf-8", "replace"), self._address)
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._log.warn("the service manager does not hear us: {why}", why=os_reason(error))
            return False
        self._failed = False
        return True
