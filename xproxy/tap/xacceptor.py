"""``twistd xacceptor``: an acceptor for the proxies of this host, in a process of its own."""

from __future__ import annotations

import time
from typing import Any, Optional

from twisted.application.service import IService
from twisted.internet.defer import succeed
from twisted.logger import Logger
from twisted.python.usage import UsageError

from ..acceptor.acceptor_service import AcceptorService
from ..admin import Sources, admin_factory, stand_of
from ..config import Config, Overrides, Role
from ..config import checks as check
from ..net.listening import ListenService
from ..startup import StartupError
from . import addresses
from .options import SlotsOptions, refuse
from .room import hard_limit, room_for
from .tree import ServiceTree

_log = Logger()


class Options(SlotsOptions):
    """What ``twistd xacceptor`` understands."""

    program = "xacceptor"
    synopsis = "Usage: twistd [twistd options] xacceptor [options]"

    def __init__(self) -> None:
        super().__init__()
        self["handoff"] = None
        self["admin"] = None

    def opt_handoff(self, path: str) -> None:
        """Where proxies ask for slots: the path of a UNIX socket. Needed, here or in the configuration."""
        self["handoff"] = self.checked("handoff", check.socket_path, path)

    def opt_admin(self, description: str) -> None:
        """Where status and metrics are shown, an endpoint description or "none". [default: none]"""
        self["admin"] = self.checked("admin", check.endpoint_or_none, description)

    role = Role.ACCEPTOR

    def overrides(self) -> Overrides:
        """See ConfiguredOptions."""
        return Overrides(acceptor=self.given("handoff", "admin"), **self.given("slots", "allow"))

    def look_at(self, config: Config) -> None:
        """See ConfiguredOptions."""
        if not config.acceptor.handoff:
            raise UsageError("--handoff is missing: proxies have no other way to reach this acceptor")


class XacceptorTree(ServiceTree):
    """The acceptor and its admin endpoint.

    :raises StartupError: from the constructor, for what can be seen to be wrong without listening.
    """

    def __init__(self, reactor: Any, options: Options) -> None:
        super().__init__(reactor, options, announce=self._say)
        config = options.config
        self._config = config
        self.acceptor = AcceptorService(reactor, config, time.monotonic)
        self.admin: Optional[ListenService] = None
        sources = Sources(
            program="xacceptor",
            census=lambda: succeed(self.acceptor.census()),
            ready=lambda: self.ready,
            clock=reactor,
            registrations=self.acceptor.acceptor.registrations,
            closings=self.acceptor.acceptor.closings,
            certificates=self.acceptor.certificate_ends,
            lost_lines=self.lost_lines,
        )
        self.notify.tell(lambda: stand_of(sources))
        if config.acceptor.admin != "none":
            self.admin = ListenService(reactor, config.acceptor.admin, admin_factory(sources))
            self.admin.setServiceParent(self)
        self.acceptor.setServiceParent(self)
        self.drain_first(self.acceptor, self.acceptor.drain, lambda: self._config.proxy.drain_timeout)
        if self.acceptor.certificates is not None:
            self.reload_with(self.acceptor.reload)

    def _say(self) -> None:
        """Say in the log where everything is."""
        self.say_room(room_for(self._config, hard_limit(), accepts_slots=True, takes_clients=False))
        for listener in self.acceptor.listeners:
            if listener.port is not None:
                _log.info("slots at {where}", where=addresses.plain(listener.port.getHost()))
        for address in self.acceptor.tls_addresses():
            _log.info("slots over TLS at {where}", where=addresses.plain(address))
        _log.info("handoff at {where}", where=self._config.acceptor.handoff)
        if self.admin is not None and self.admin.port is not None:
            _log.info("admin at {where}", where=addresses.url(self.admin.port.getHost()))


def makeService(options: Options) -> IService:
    """See IServiceMaker."""
    from twisted.internet import reactor

    options.rehearse_start()
    try:
        return XacceptorTree(reactor, options)
    except StartupError as error:
        refuse(options.program, str(error))
