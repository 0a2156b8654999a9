"""The admin endpoint as a service: one endpoint or none, and another one when the configuration says so."""

from __future__ import annotations

from typing import Any, Callable, Optional

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort

from ..config import Config
from ..config.checks import parts_of
from ..net.listening import ListenService
from ..reload import Change
from ..startup import StartupError
from .numbers import Sources
from .site import admin_factory

_MODE = "mode=600"


def private(description: str) -> str:
    """An endpoint description; a UNIX socket whose description has no ``mode=`` can be opened by its owner alone."""
    by_place, by_name = parts_of(description)
    if by_place[0].lower() != "unix" or "mode" in by_name or len(by_place) > 2:
        return description
    return f"{description}:{_MODE}"


class AdminService(MultiService):
    """Listens where the configuration wants the admin endpoint.

    :param description_of: the endpoint of a configuration, or ``none``.
    :raises StartupError: for an endpoint that can't be used.
    """

    def __init__(self, reactor: Any, sources: Sources, config: Config, description_of: Callable[[Config], str]) -> None:
        super().__init__()
        self._reactor = reactor
        self._factory = admin_factory(sources)
        self._description_of = description_of
        self._description = "none"
        self._listening: Optional[ListenService] = None
        self.prepare(config).commit()

    @property
    def listening(self) -> Optional[ListenService]:
        """The listening service of the admin endpoint; None: there is no endpoint."""
        return self._listening

    @property
    def port(self) -> Optional[IListeningPort]:
        """The listening port of the admin endpoint; None: nothing listens."""
        return None if self._listening is None else self._listening.port

    def prepare(self, config: Config) -> Change:
        """Get ready for the admin endpoint of another configuration: see ``Change``. Connections stay. Raises StartupError."""
        description = self._description_of(config)
        before = self._listening
        if description == self._description:
            return Change(lambda: succeed(None), lambda: None)
        listening: Optional[ListenService] = None
        if description != "none":
            listening = ListenService(self._reactor, private(description), self._factory)
            if before is not None:
                listening.take_place([before])
            try:
                listening.setServiceParent(self)
            except StartupError:
                listening.disownServiceParent()
                raise

        def commit() -> Deferred[Any]:
            self._description, self._listening = description, listening
            return succeed(None) if before is None else maybeDeferred(before.disownServiceParent)

        def abort() -> None:
            if listening is not None:
                listening.disownServiceParent()

        return Change(commit, abort)
