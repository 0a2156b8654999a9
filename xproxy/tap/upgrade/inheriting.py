"""A new program takes over from the one that has started it: the side of the new one. See docs/architecture/upgrade.md."""

from __future__ import annotations

import os
from typing import Any, Callable, Optional

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ...acceptor.succession.heir import ListeningHeir
from ...acceptor.succession.taker import Taker
from ...net.descriptors import adopt
from ...startup import StartupError
from .former import Former


class Inheriting(Service):
    """Takes over when all is ready that can be before.

    :param heir: takes what comes.
    :param warm_up: gets ready; its Deferred may fail with StartupError.
    """

    def __init__(self, reactor: Any, former: Former, heir: ListeningHeir, warm_up: Callable[[], Deferred[None]]) -> None:
        self._reactor = reactor
        self._former = former
        self._heir = heir
        self._warm_up = warm_up
        self._taker: Optional[Taker] = None

    def startService(self) -> None:
        """Get ready, then ask for everything."""
        super().startService()
        self._warm_up().addCallbacks(self._ask, self._failed)

    def _ask(self, _: object) -> None:
        if self.running:
            self._taker = Taker(self._heir, self._reactor)
            try:
                adopt(self._reactor, self._former.connection, self._taker)
            except OSError:
                self._heir.failed("it is gone")

    def _failed(self, failure: Failure) -> None:
        failure.trap(StartupError)
        if self.running:
            self._heir.failed(failure.getErrorMessage())

    def stopService(self) -> None:
        """This program stops: where it does not serve yet, the former one serves on."""
        super().stopService()
        if self._taker is not None:
            self._taker.drop("it stops")


def take_standard_error(former: Former) -> None:
    """Say on the former program's standard error what we have to say, and no more to the former program itself."""
    os.dup2(former.errors, 2)
    os.close(former.errors)
