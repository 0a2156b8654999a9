"""The services of a command that has a configuration, which can be read again.

The options know from which file a configuration is read, and rehearse a start; the trees know the parts that go by it. See
docs/architecture/lifecycle.md.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Optional

from twisted.internet.defer import Deferred, succeed

from ..acceptor.acceptor_service import AcceptorService
from ..acceptor.succession.giver import Giver
from ..acceptor.succession.heir import AcceptorHeir, ListeningHeir, Sockets
from ..acceptor.succession.listening import ListeningEstate
from ..admin import AdminService, Controls, Sources, stand_of
from ..config import Config
from ..reload import Prepare, Reload, prepare_all
from ..startup import StartupError, os_reason
from .options import ConfiguredOptions
from .room import Room
from .tree import ServiceTree
from .upgrade.former import Predecessor, take_pid_file
from .upgrade.inheriting import Inheriting, take_standard_error
from .upgrade.program import NewProgram
from .upgrade.upgrade import Upgrade

Place = tuple[str, str]
"""The name of a listening endpoint, and its address: ``("slots", "127.0.0.1:9999")``."""

LEAVE_S = 10.0
"""How long after ``drain_timeout`` a former program may live: its workers have 3 seconds, and then it closes what is left."""

DRAINING = "draining: no configuration is read again"


class ConfiguredTree(ServiceTree):
    """A tree that reloads.

    :ivar reload: the configuration in force, and the way to another one.
    :ivar parts: the parts that go by a configuration, in the order in which they get ready for another one.
    :ivar admin: the admin endpoint.
    """

    admin: AdminService
    acceptor: Optional[AcceptorService]

    def __init__(self, reactor: Any, options: ConfiguredOptions, announce: Optional[Callable[[], None]] = None) -> None:
        super().__init__(reactor, options, announce)
        self.reload = Reload(options.config, options.role, lambda: options.load_again(self.config), self.apply, time.time)
        self.parts: list[Prepare] = []
        self.reload_with(self.reload.ask)
        self.replaced = False
        """Another program serves in place of this one."""
        self._options = options
        self._former = options.former

        def start(connection: int, ended: Callable[[str], object]) -> NewProgram:
            return NewProgram(reactor, options.origin, connection, ended)

        self.upgrade = Upgrade(reactor, start, self.give, self._replaced, time.time)

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.reload.config

    # -- one program after another

    def take_up(self) -> None:
        """Everything is this program's: begin, and serve. May raise StartupError."""
        raise NotImplementedError

    def also(self) -> dict[tuple[str, str], Any]:
        """What listens beside the acceptor, by kind and description."""
        listening = self.admin.listening
        return {} if listening is None else {("admin", listening.description): listening}

    def give(self, gone: Callable[[], object], patience_s: float, failed: Callable[[str], object]) -> Giver:
        """Our end of the connection to a new program."""
        if self.acceptor is None:
            return Giver(ListeningEstate(self._reactor, self.also), self._reactor, gone, patience_s, failed)
        return self.acceptor.succession.giver(gone, patience_s, failed)

    def begin(self, sockets: Sequence[Sockets] = (), warm_up: Callable[[], Deferred[None]] = lambda: succeed(None)) -> None:
        """Take everything up: now or, where there is a former program, when that has given it.

        :param sockets: what is not in ``also`` before a former program has given it.
        :param warm_up: gets ready what can be before that.
        """
        former = self._former
        if former is None:
            self.take_up()
            return
        self.hold_back()
        heir: ListeningHeir
        if self.acceptor is None:
            heir = ListeningHeir(self._reactor, self.also, self._inherit, self._disinherited, sockets, self._former_gone)
        else:
            also = self.also()
            heir = AcceptorHeir(
                self._reactor, self.acceptor, also, self._inherit, self._disinherited, sockets, self._former_gone
            )
        Inheriting(self._reactor, former, heir, warm_up).setServiceParent(self)

    def _inherit(self) -> None:
        former, path = self._former, self._options.pid_file
        assert former is not None and self._options.parent is not None
        take_standard_error(former)
        self.upgrade.former = Predecessor(self._reactor, former.pid, time.time(), self.upgrade.former_gone)
        self.upgrade.former.drains(self.config.proxy.drain_timeout + LEAVE_S)
        if path:
            try:
                take_pid_file(path)
                self._options.parent["pidfile"] = path
            except OSError as error:
                self._log.error("the pid file {path} can't be written: {why}", path=path, why=os_reason(error))
        self.take_up()

    def _disinherited(self, reason: str) -> None:
        assert self._former is not None
        self.end_in_failure(StartupError(f"cannot take over from process {self._former.pid}: {reason}"))

    def _former_gone(self) -> None:
        if self.upgrade.former is not None:
            self.upgrade.former.gone()

    def _replaced(self, pid: int) -> None:
        self.replaced = True
        self.notify.succeeded_by(pid)
        if self._options.parent is not None and "pidfile" in self._options.parent:
            self._options.parent["pidfile"] = ""  # It is the new program's.
        self.drain_asked(f"replaced by process {pid}")

    def listen(self) -> None:
        """See ServiceTree."""
        signal.signal(signal.SIGUSR2, lambda number, frame: self._reactor.callFromThread(self.upgrade.asked))
        super().listen()

    def drain_asked(self, by: str) -> bool:
        """See ServiceTree."""
        begins = super().drain_asked(by)
        if begins:
            self.upgrade.stopped()
        return begins

    # --

    def places(self) -> Sequence[Place]:
        """Every listening endpoint of the program, with its address."""
        raise NotImplementedError

    def add_admin(
        self, sources: Callable[..., Sources], description_of: Callable[[Config], str], token: Callable[[], str]
    ) -> None:
        """Make the admin endpoint, which ``take_up`` starts; the service manager is told what it shows.

        :param sources: makes the Sources, given ``reload`` and ``controls``.
        :param description_of: the admin endpoint of a configuration, or ``none``.
        :param token: gives ``admin_token``; empty: none is set.
        """
        controls = Controls(self.reload.ask, lambda: self.drain_asked("POST /drain"), token)
        made = sources(reload=self.reload, controls=controls, upgrade=self.upgrade.shown)
        self.notify.tell(lambda: stand_of(made))
        self.admin = AdminService(self._reactor, made, self.config, description_of)
        self.parts.append(self.admin.prepare)

    def apply(self, config: Config) -> Deferred[Any]:
        """Put a configuration in force in all parts; fires when the endpoints that are gone with it are closed.

        :raises StartupError: the configuration can't be used, and the one before is still in force.
        """
        before = self.places()
        change = prepare_all(self.parts, config)
        done = change.commit()
        self.say_places((place for place in self.places() if place not in before), "{what} at {where}")
        self.say_places((place for place in before if place not in self.places()), "no {what} at {where} any more")
        return done

    def say_places(self, places: Iterable[Place], text: str = "{what} at {where}") -> None:
        """Say in the log where endpoints are."""
        for what, where in places:
            self._log.info(text, what=what, where=where)

    def say_room(self, room: Room) -> None:
        """Say in the log what there are not enough descriptors for."""
        if room.complaint:
            (self._log.warn if room.is_serious else self._log.info)("{complaint}", complaint=room.complaint)

    # -- the end

    def stopService(self) -> Deferred[None]:
        """See ServiceTree."""
        self.reload.close(DRAINING)
        self.upgrade.stopped()
        return super().stopService()
