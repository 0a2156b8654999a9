"""The proxy as a service of a parent: its doors, its secrets and its crew.

It stands in the service tree where ``ProxyService`` stands in one process.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from random import random
from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Sequence, Tuple

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from ..admin.work import Work
from ..admin.work import worker as shown
from ..config import Config
from ..net.descriptors import descriptors_of
from ..net.sharing.opened import SharedSocket
from ..proxy.requests.guards import make_guards
from ..reload import Change, prepare_all
from ..startup import StartupError, os_reason
from .crew import Crew
from .doors import Doors
from .messages import Configure, Connect, Listen, Reopen, Share
from .numbers import Tree
from .orders import Orders, packed, without_files
from .page import Page, made_page
from .process import IWorker, WorkerProcess, environment
from .secrets import Secrets

ACCEPT_S = 10.0
"""How many seconds a reload waits until all workers go by it; a worker that does not answer is seen by its missing beats."""

Room = Callable[[Config], Tuple[int, int]]
"""How many clients and files one worker has descriptors for."""


class WholeProxy(MultiService):
    """A proxy in several processes.

    :param count: how many workers a configuration wants.
    :param handoff: the path of an acceptor's handoff socket; empty: ``take_proxy`` has one.
    :param take_proxy: gives the acceptor of this process one end of a socket pair, whose descriptor is the acceptor's from
        then on.
    :param room: see Room.
    :param goes_on: whether the program is not about to end.
    :param hire: starts a worker; another one in tests.
    :raises StartupError: from the constructor and from ``privilegedStartService``, for endpoints, certificates
        and guards that can't be used.
    :ivar generation: of the orders. It rises faster than the configuration's: renewed certificates are new orders too.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        config: Config,
        count: Callable[[Config], int],
        room: Room,
        handoff: str = "",
        take_proxy: Optional[Callable[[int], None]] = None,
        goes_on: Callable[[], bool] = lambda: True,
        hire: Optional[Callable[[int, Any], IWorker]] = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._config = config
        self._count = count
        self._room = room
        self._handoff = handoff
        self._take_proxy = take_proxy
        self._descriptors = descriptors_of(reactor)
        self._page_descriptor = -1
        self._page: Optional[Page] = None
        self._variables: Dict[str, str] = {}
        self._opened = self._begun = False
        self._is_cold = False
        """Its workers have started, and have no orders yet."""
        self.generation = 1
        self._configured_at = [1]
        """The generations of orders that brought another configuration."""
        self.doors = Doors(reactor)
        make_guards(reactor, config)  # Workers make theirs; here it is seen whether they can.
        self.secrets = Secrets(reactor, config.proxy, self._changed, random_bytes)
        self.secrets.setServiceParent(self)
        self.crew = Crew(
            reactor,
            count(config),
            hire or self._start_worker,
            self._brief,
            self._dialled,
            lambda: self._config.proxy.drain_timeout,
            self._freed,
            goes_on,
            random,
        )

    # -- the beginning

    def privilegedStartService(self) -> None:
        """Listen. Raises StartupError."""
        super().privilegedStartService()
        if not self._opened:
            self._opened = True
            try:
                self._page_descriptor, self._page = made_page(self._descriptors)
            except OSError as error:
                raise StartupError(f"no memory can be shared with workers: {os_reason(error)}") from error
            self.doors.take(self.doors.opened(self._config, self._count(self._config)))

    def startService(self) -> None:
        """Start the workers. Raises StartupError, where nobody called ``privilegedStartService`` first."""
        if not self._opened:
            self.privilegedStartService()
        super().startService()
        self._begun = True
        if not self._is_cold:
            self._variables = environment()
            self.crew.start()
            return
        self._is_cold = False
        for worker in self.crew.seating.workers:
            self._brief(worker)

    def _start_worker(self, number: int, crew: Any) -> IWorker:
        return WorkerProcess(self._reactor, number, crew, self._variables)

    # -- what workers are told

    def orders(self) -> bytes:
        """The orders of this moment, packed for a worker: see ``orders``."""
        clients, files = self._room(self._config)
        secrets = self.secrets
        config = without_files(self._config)
        return packed(Orders(config, secrets.certificates, secrets.ticket_keys, self._handoff, clients, files))

    def _brief(self, worker: IWorker) -> None:
        """Send a new worker the page, its sockets and the orders, unless it has to wait for them."""
        if self._is_cold:
            return
        try:
            worker.say_with(Share, os.dup(self._page_descriptor))
            for door in self.doors.sockets():
                self._listen(worker, door)
        except OSError as error:
            self._log.error("worker {number} can't be given its sockets: {why}", number=worker.number, why=os_reason(error))
            worker.kill()
            return
        worker.say(Configure(self.orders(), self.generation))

    def _listen(self, worker: IWorker, door: Any) -> None:
        description = door.description
        worker.say_with(lambda ordinal: Listen(description, ordinal), door.copy(worker.number))

    def _changed(self) -> None:
        """Certificates or ticket keys are others: give new orders."""
        if self._begun:
            self._tell_all(())

    def _tell_all(self, added: Iterable[SharedSocket]) -> Deferred[Any]:
        """Give new orders to all workers that do not leave; fires when these go by them, after ACCEPT_S at the latest.

        :param added: the sockets on which workers are to listen besides.
        """
        self.generation += 1
        orders = Configure(self.orders(), self.generation)
        for worker in self.crew.seating.staying:
            try:
                for door in added:
                    self._listen(worker, door)
            except OSError as error:
                self._log.error("worker {number} can't be given a socket: {why}", number=worker.number, why=os_reason(error))
                worker.kill()
            worker.say(orders)
        return self.crew.accepted(self.generation, ACCEPT_S)

    def _dialled(self, worker: IWorker) -> None:
        """A worker wants a connection to the acceptor of this process."""
        if self._take_proxy is None:
            return
        try:
            ours, theirs = self._descriptors.pair()
        except OSError as error:
            self._log.error("worker {number} can't be connected: {why}", number=worker.number, why=os_reason(error))
            worker.kill()
            return
        worker.say_with(Connect, theirs.detach())
        self._take_proxy(ours.detach())

    def _freed(self, number: int, leaving: bool) -> None:
        """A worker is gone, and its clients with it: no client of it is counted any more."""
        if self._page is not None:
            self._page.write(number, 0, leaving)

    # -- another configuration

    def prepare(self, config: Config) -> Change:
        """Get ready for another configuration: see ``Change``. Raises StartupError."""
        make_guards(self._reactor, config)
        return prepare_all((self._prepare_secrets, self._prepare_doors), config)

    def _prepare_secrets(self, config: Config) -> Change:
        return self.secrets.prepare(config.proxy)

    def _prepare_doors(self, config: Config) -> Change:
        opened = self.doors.opened(config, self._count(config))

        def commit() -> Deferred[Any]:
            self._config = config
            self._configured_at.append(self.generation + 1)
            self.doors.take(opened)  # Before the workers are told: theirs are then the last copies of what is gone.
            self.crew.shrink(opened.count)
            done = self._tell_all(opened.added.values())
            self.crew.grow(opened.count)
            return done

        return Change(commit, opened.close)

    def reopen_logs(self) -> None:
        """The files of logs were moved away."""
        self.crew.say(Reopen())

    def warm_up(self) -> Deferred[None]:
        """Start the workers, which get their orders with ``startService``; fires when they can take them.

        Fails with StartupError where one has ended instead.
        """
        self._is_cold = True
        self._variables = environment()
        warm = self.crew.seating.warm_up()
        self.crew.start()
        return warm

    # -- what is known

    def addresses(self) -> Sequence[IAddress]:
        """Where clients arrive without TLS."""
        return self.doors.addresses(secure=False)

    def secure_addresses(self) -> Sequence[IAddress]:
        """Where clients arrive with TLS."""
        return self.doors.addresses(secure=True)

    def certificate_ends(self) -> Sequence[Tuple[str, str, float]]:
        """Name, kind of key and end (seconds since 1970) of each certificate in use."""
        return self.secrets.ends()

    @property
    def can_serve(self) -> bool:
        """Whether a worker serves."""
        return self.crew.seating.serving

    async def _ask_all(self) -> Work:
        whole = await self.crew.numbers()
        workers = [self._shown(worker, whole.told.get(worker)) for worker in self.crew.seating.workers]
        return Work(whole.status, whole.counts, whole.lost_lines, workers, self.crew.deaths)

    def _shown(self, worker: IWorker, told: Optional[Tree]) -> Mapping[str, Any]:
        generation = bisect_right(self._configured_at, self.crew.generation_of(worker))
        state = self.crew.seating.state_of(worker).value
        connections = None if told is None else told["counts"].get("connections", {})
        return shown(worker.number, worker.pid, generation, state, connections, {} if told is None else told["status"])

    def work(self) -> Deferred[Work]:
        """The numbers of all workers, together and each. Fires within ``tally.ANSWER_S``."""
        return Deferred.fromCoroutine(self._ask_all())

    # -- the end

    def drain(self) -> Deferred[Any]:
        """Stop listening and have the workers drain; fires when no worker lives."""
        self.doors.close()
        return self.crew.drain()

    def stopService(self) -> Deferred[Any]:
        """Kill the workers that are left; fires when their processes are gone."""
        self.doors.close()
        gone = self.crew.stop() if self._begun else None
        if self._page_descriptor >= 0:
            self._descriptors.close(self._page_descriptor)
            self._page_descriptor = -1
        stopped = super().stopService()
        return DeferredList([each for each in (gone, stopped) if isinstance(each, Deferred)], consumeErrors=True)
