"""``twistd xrelay``: puts a server that only listens behind slots."""

from __future__ import annotations

from typing import Any, List

from twisted.application.service import IService
from twisted.internet.endpoints import serverFromString
from twisted.python.usage import UsageError

from ..service.endpoint import SlotsServerEndpoint
from ..service.plugin import EXAMPLE, connector
from ..service.relay_service import RelayService
from ..startup import StartupError
from .options import StrictOptions, refuse
from .tree import ServiceTree


class Options(StrictOptions):
    """What ``twistd xrelay`` understands."""

    program = "xrelay"
    synopsis = "Usage: twistd [twistd options] xrelay --backend DESC --slots slots:... [--slots ...]"
    longdesc = "Each slot carries one request at a time to the backend: the counts say how many it is to run at once."

    def __init__(self) -> None:
        super().__init__()
        self["backend"] = None
        self["slots"] = []

    def opt_backend(self, description: str) -> None:
        """The server that listens, a client endpoint description such as tcp:127.0.0.1:8000."""
        if self["backend"] is not None:
            raise UsageError("--backend is given twice: a relay has one, run several relays for several")
        self["backend"] = description

    def opt_slots(self, description: str) -> None:
        """Where its slots go, such as slots:tcp:127.0.0.1:9999:count=8; repeatable."""
        if not description.lower().startswith("slots:"):
            raise UsageError(f"--slots {description}: needs a description such as {EXAMPLE}")
        self["slots"].append(description)

    def postOptions(self) -> None:
        """Both ends are needed."""
        if self["backend"] is None:
            raise UsageError("--backend is missing: the server to put behind slots")
        if not self["slots"]:
            raise UsageError(f"--slots is missing: where its slots go, such as {EXAMPLE}")


def relay_service(reactor: Any, options: Options) -> RelayService:
    """The relay that the options ask for.

    :raises StartupError: one of the descriptions does not do.
    """
    try:
        backend = connector(reactor, options["backend"])
    except ValueError as error:
        raise StartupError(f"bad --backend {options['backend']!r}: {error}") from error
    slots: List[SlotsServerEndpoint] = []
    for description in options["slots"]:
        try:
            slots.append(serverFromString(reactor, description))
        except ValueError as error:  # Its text, unlike the description, never has a token in it.
            raise StartupError(f"bad --slots: {error}") from error
    return RelayService(reactor, backend, slots, options["backend"])


def makeService(options: Options) -> IService:
    """The services of the command. Exits with one line when something is wrong."""
    from twisted.internet import reactor

    try:
        relay = relay_service(reactor, options)
    except StartupError as error:
        refuse(options.program, str(error))
    tree = ServiceTree(reactor, options)
    relay.setServiceParent(tree)
    service: IService = tree
    return service
