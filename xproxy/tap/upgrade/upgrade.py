"""A program replaces itself by a new one: the side of the one that runs. See docs/architecture/upgrade.md.

Between SIGUSR2, which asks for it, the new process, and the Giver, which gives it all that listens and all slots.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Protocol, Tuple

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ...acceptor.succession.giver import GONE
from ...admin.numbers import moment
from ...net.descriptors import adopt, descriptors_of
from ...startup import os_reason
from .former import Predecessor
from .program import NewProgram
from .states import NEXT, Event, Stage

START_S = 120.0
"""How long a new program may take until it asks for what listens: PyPy with many workers on a busy machine takes ten."""

END_S = 5.0
"""How long one may live that has got nothing: it says why, and ends."""


class Give(Protocol):
    """Makes our end of the connection to the new program, a ``Giver``."""

    def __call__(self, gone: Callable[[], object], patience_s: float, failed: Callable[[str], object]) -> Any:
        """For the parameters see ``Giver``."""


class Upgrade:
    """See the module.

    :param reactor: an IReactorTime, IReactorSocket, and for ``start`` an IReactorProcess.
    :param start: starts the new program: given its end of the connection, and what is to be told how it has ended.
    :param replaced: told the number of the new process, which serves: this program is to drain and to end.
    :param wall_time: in seconds since 1970.
    :ivar former: the former program, while it is there.
    :ivar failure: when the last new program has come to nothing, and why.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        start: Callable[[int, Callable[[str], object]], NewProgram],
        give: Give,
        replaced: Callable[[int], object],
        wall_time: Callable[[], float],
    ) -> None:
        self.stage = Stage.SETTLED
        self.former: Optional[Predecessor] = None
        self.failure: Optional[Tuple[float, str]] = None
        self._reactor = reactor
        self._start = start
        self._give = give
        self._replaced = replaced
        self._wall_time = wall_time
        self._program: Optional[NewProgram] = None
        self._giver: Any = None
        self._not_given = ""
        self._due: Optional[IDelayedCall] = None

    def _step(self, event: Event) -> Stage:
        before = self.stage
        self.stage = NEXT[before, event]
        return before

    # -- what happens

    def asked(self) -> None:
        """SIGUSR2 came."""
        former = self.former
        before = self._step(Event.ASKED if former is None else Event.ASKED_EARLY)
        if before is Stage.SETTLED and self.stage is Stage.STARTING:
            self._begin()
        elif former is not None and self.stage is Stage.WAITING:
            text = "SIGUSR2: a new program is started when the former one, process {pid}, has drained"
            self._log.info(text, pid=former.pid)
        elif self.stage is Stage.STARTING:
            self._log.info("SIGUSR2: a new program starts already")
        else:
            self._log.info("SIGUSR2: this program ends, and starts no new one")

    def former_gone(self) -> None:
        """The former program has ended."""
        self.former = None
        before = self._step(Event.FORMER_GONE)
        if before is Stage.WAITING:
            self._begin()

    def stopped(self) -> None:
        """This program ends. One that starts is not to take over."""
        if self._step(Event.STOPPED) is Stage.STARTING:
            self._giver.drop("the program stops")
            if self._program is not None:
                self._program.kill()

    # -- the new program

    def _begin(self) -> None:
        self._not_given = ""
        self._giver = self._give(self._took_over, START_S, self._given_nothing)
        try:
            ours, theirs = descriptors_of(self._reactor).pair()
            with theirs:
                adopt(self._reactor, ours.detach(), self._giver)
                self._program = self._start(theirs.fileno(), self._ended)
        except OSError as error:
            self._fail(f"it can't be started: {os_reason(error)}")
            if self._giver.transport is not None:
                self._giver.drop("there is no new program")
            return
        self._log.info("SIGUSR2: a new program is started, process {pid}", pid=self._program.pid)

    def _took_over(self) -> None:
        self._step(Event.TOOK_OVER)
        assert self._program is not None
        self._log.info("the new program serves, process {pid}", pid=self._program.pid)
        self._replaced(self._program.pid)

    def _given_nothing(self, reason: str) -> None:
        """The connection is over, and nothing was given."""
        self._not_given = reason
        if self._program is not None and self._due is None:
            self._due = self._reactor.callLater(END_S, self._program.kill)

    def _ended(self, how: str) -> None:
        due, self._due = self._due, None
        if due is not None and due.active():
            due.cancel()
        program, self._program = self._program, None
        if self.stage is Stage.REPLACED:
            self._log.error("the new program has ended: {how}", how=how)
        elif program is not None:
            late = f"{self._not_given}; " if self._not_given not in ("", GONE) else ""
            self._fail(late + how)

    def _fail(self, reason: str) -> None:
        if self._step(Event.FAILED) is Stage.STARTING:
            self.failure = self._wall_time(), reason
            self._log.error("the new program has not come to serve, this one carries on: {reason}", reason=reason)

    def shown(self) -> Dict[str, Any]:
        """What ``/status`` says of it."""
        former, failure = self.former, self.failure
        return {
            "old_generations": [] if former is None else [former.shown()],
            "failed_upgrade": None if failure is None else {"at": moment(failure[0]), "reason": failure[1]},
        }
