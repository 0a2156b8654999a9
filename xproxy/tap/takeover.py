"""``--takeover``: an acceptor that takes over from the one that runs; where none runs, a start like any other."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Tuple

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..acceptor.acceptor_service import AcceptorService
from ..acceptor.succession.heir import AcceptorHeir
from ..acceptor.succession.taker import Taker
from ..handoff.path import Found, look_at


class Takeover(Service):
    """Starts the acceptor once that is the one that serves. Stands in the service tree until then.

    :param path: the handoff socket.
    :param also: the other listening services of this program, by kind and description.
    :param start: starts all services of this program.
    :param failed: told why this program is not to serve; the program ends then.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        path: str,
        acceptor: AcceptorService,
        also: Mapping[Tuple[str, str], Any],
        start: Callable[[], object],
        failed: Callable[[str], object],
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._start = start
        self._failed = failed
        self._heir = AcceptorHeir(reactor, acceptor, also, start, self._came_to_nothing)
        self._dialling: Optional[Deferred[Any]] = None
        self._is_there = False
        self._taker: Optional[Taker] = None

    def privilegedStartService(self) -> None:
        """Look whether an acceptor runs at the handoff socket; start everything if none does. Raises StartupError."""
        super().privilegedStartService()
        self._is_there = look_at(self._path) is Found.LIVE
        if not self._is_there:
            self._log.info("no acceptor runs at {path}: there is nothing to take over", path=self._path)
            self._start()

    def startService(self) -> None:
        """Ask the acceptor that runs for everything it has."""
        super().startService()
        if self._is_there:
            endpoint = UNIXClientEndpoint(self._reactor, self._path)
            taking = Factory.forProtocol(lambda: Taker(self._heir, self._reactor))
            taking.noisy = False
            self._dialling = endpoint.connect(taking)
            self._dialling.addCallbacks(self._connected, self._not_connected)

    def _connected(self, protocol: Any) -> None:
        self._taker = protocol

    def _not_connected(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._came_to_nothing(failure.getErrorMessage())

    def _came_to_nothing(self, reason: str) -> None:
        if self.running:
            self._failed(f"cannot take over from the acceptor at {self._path}: {reason}")

    def stopService(self) -> None:
        """This program stops: a takeover that is not over fails, and the acceptor that runs serves on."""
        super().stopService()
        if self._dialling is not None:
            self._dialling.cancel()
        if self._taker is not None:
            self._taker.drop("the successor stops")
