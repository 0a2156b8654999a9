"""The services of a command that has a configuration, which can be read again.

The options know from which file a configuration is read, and rehearse a start; the trees know the parts that go by it. See
docs/architecture/lifecycle.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Optional

from twisted.internet.defer import Deferred

from ..admin import AdminService, Controls, Sources, stand_of
from ..config import Config
from ..reload import Prepare, Reload, prepare_all
from .options import ConfiguredOptions
from .room import Room
from .tree import ServiceTree

Place = tuple[str, str]
"""The name of a listening endpoint, and its address: ``("slots", "127.0.0.1:9999")``."""

DRAINING = "draining: no configuration is read again"


class ConfiguredTree(ServiceTree):
    """A tree that reloads.

    :ivar reload: the configuration in force, and the way to another one.
    :ivar parts: the parts that go by a configuration, in the order in which they get ready for another one.
    :ivar admin: the admin endpoint.
    """

    admin: AdminService

    def __init__(self, reactor: Any, options: ConfiguredOptions, announce: Optional[Callable[[], None]] = None) -> None:
        super().__init__(reactor, options, announce)
        self.reload = Reload(options.config, options.role, lambda: options.load_again(self.config), self.apply, time.time)
        self.parts: list[Prepare] = []
        self.reload_with(self.reload.ask)

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.reload.config

    def places(self) -> Sequence[Place]:
        """Every listening endpoint of the program, with its address."""
        raise NotImplementedError

    def add_admin(
        self, sources: Callable[..., Sources], description_of: Callable[[Config], str], token: Callable[[], str]
    ) -> None:
        """Add the admin endpoint; the service manager is told what it shows.

        :param sources: makes the Sources, given ``reload`` and ``controls``.
        :param description_of: the admin endpoint of a configuration, or ``none``.
        :param token: gives ``admin_token``; empty: none is set.
        """
        controls = Controls(self.reload.ask, lambda: self.drain_asked("POST /drain"), token)
        made = sources(reload=self.reload, controls=controls)
        self.notify.tell(lambda: stand_of(made))
        self.admin = AdminService(self._reactor, made, self.config, description_of)
        self.admin.setServiceParent(self)
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
        return super().stopService()
