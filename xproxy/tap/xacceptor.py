"""``twistd xacceptor``: an acceptor for the proxies of this host, in a process of its own."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import succeed
from twisted.python.usage import UsageError

from ..acceptor.acceptor_service import AcceptorService
from ..admin import Sources
from ..config import Config, Overrides, Role
from ..config import checks as check
from ..startup import StartupError
from . import addresses
from .configured_tree import ConfiguredTree, Place
from .options import SlotsOptions, refuse
from .room import hard_limit, room_for
from .takeover import Takeover


class Options(SlotsOptions):
    """What ``twistd xacceptor`` understands."""

    program = "xacceptor"
    synopsis = "Usage: twistd [twistd options] xacceptor [options]"

    def __init__(self) -> None:
        super().__init__()
        self["handoff"] = None
        self["takeover"] = False
        self["admin"] = None

    def opt_handoff(self, path: str) -> None:
        """Where proxies ask for slots: the path of a UNIX socket. Needed, here or in the configuration."""
        self["handoff"] = self.checked("handoff", check.socket_path, path)

    def opt_admin(self, description: str) -> None:
        """Where status and metrics are shown, an endpoint description or "none". [default: none]"""
        self["admin"] = self.checked("admin", check.endpoint_or_none, description)

    def opt_takeover(self) -> None:
        """Take over from the acceptor that runs at the same handoff socket: its listening sockets, its slots, its proxies."""
        self["takeover"] = True

    role = Role.ACCEPTOR

    def overrides(self) -> Overrides:
        """See ConfiguredOptions."""
        return Overrides(acceptor=self.given("handoff", "admin"), **self.given("slots", "allow"))

    def look_at(self, config: Config) -> None:
        """See ConfiguredOptions."""
        if not config.acceptor.handoff:
            raise UsageError("--handoff is missing: proxies have no other way to reach this acceptor")


class XacceptorTree(ConfiguredTree):
    """The acceptor and its admin endpoint.

    :raises StartupError: from the constructor, for mistakes that are seen without listening.
    """

    def __init__(self, reactor: Any, options: Options) -> None:
        super().__init__(reactor, options, announce=self._say)
        self.acceptor: AcceptorService = AcceptorService(reactor, self.config, time.monotonic)
        sources = partial(
            Sources,
            program="xacceptor",
            census=lambda: succeed(self.acceptor.census()),
            ready=lambda: self.ready,
            clock=reactor,
            registrations=self.acceptor.acceptor.registrations,
            closings=self.acceptor.acceptor.closings,
            certificates=self.acceptor.certificate_ends,
            lost_lines=self.lost_lines,
        )
        self.add_admin(sources, lambda config: config.acceptor.admin, lambda: self.config.acceptor.admin_token)
        self.acceptor.succession.also = self.also
        self.acceptor.succession.handed_on = lambda: self.drain_asked("taken over")
        if options["takeover"] and options.former is None:
            self.hold_back()
            path = self.config.acceptor.handoff
            takeover = Takeover(reactor, path, self.acceptor, self.also(), self.take_up, self._end)
            takeover.setServiceParent(self)
        else:
            self.begin()
        self.parts.append(self.acceptor.prepare)
        self.drain_first(self.acceptor, self.acceptor.drain, lambda: self.config.proxy.drain_timeout)

    def take_up(self) -> None:
        """See ConfiguredTree."""
        self.admin.setServiceParent(self)
        self.acceptor.setServiceParent(self)
        self.serve()

    def _end(self, reason: str) -> None:
        self.end_in_failure(StartupError(reason))

    def places(self) -> list[Place]:
        """See ConfiguredTree."""
        ports = [listener.port for listener in self.acceptor.listeners]
        places = [("slots", addresses.plain(port.getHost())) for port in ports if port is not None]
        places += [("slots over TLS", addresses.plain(address)) for address in self.acceptor.tls_addresses()]
        places.append(("handoff", self.config.acceptor.handoff))
        if self.admin.port is not None:
            places.append(("admin", addresses.url(self.admin.port.getHost())))
        return places

    def _say(self) -> None:
        """Say in the log where everything is."""
        self.say_room(room_for(self.config, hard_limit(), accepts_slots=True, takes_clients=False))
        self.say_places(self.places())


def makeService(options: Options) -> IService:
    """See IServiceMaker."""
    from twisted.internet import reactor

    options.rehearse_start()
    try:
        return XacceptorTree(reactor, options)
    except StartupError as error:
        refuse(options.program, str(error))
