"""``twistd xrelay``: puts servers that only listen behind slots."""

from __future__ import annotations

from typing import Any, List

from twisted.application.service import IService
from twisted.internet.defer import succeed
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
    synopsis = "Usage: twistd [twistd options] xrelay --backend DESC --slots slots:... [--slots ...] [--backend ...]"
    longdesc = (
        "Each slot carries one request at a time to its backend: the counts say how many it is to run at once. "
        "Of several backends, each has the --slots that follow it."
    )

    def __init__(self) -> None:
        super().__init__()
        self["relays"] = []
        self["slots"] = []

    def opt_backend(self, description: str) -> None:
        """A server that listens, a client endpoint description such as tcp:127.0.0.1:8000; repeatable."""
        self["relays"].append((description, []))

    def opt_slots(self, description: str) -> None:
        """Where the backend's slots go, such as slots:tcp:127.0.0.1:9999:count=8; repeatable."""
        if not description.lower().startswith("slots:"):
            raise UsageError(f"--slots {description}: needs a description such as {EXAMPLE}")
        relays = self["relays"]
        (relays[-1][1] if relays else self["slots"]).append(description)

    def postOptions(self) -> None:
        """Both ends are needed. What comes before the only backend is its too."""
        relays = self["relays"]
        if not relays:
            raise UsageError("--backend is missing: the server to put behind slots")
        if self["slots"] and len(relays) > 1:
            raise UsageError("of several backends, each has the --slots that follow it, and some come before the first")
        relays[0][1].extend(self["slots"])
        for backend, slots in relays:
            if not slots:
                missing = f"--slots is missing: where its slots go, such as {EXAMPLE}"
                raise UsageError(missing if len(relays) == 1 else f"--backend {backend}: {missing}")


def relay_services(reactor: Any, options: Options) -> List[RelayService]:
    """The relays that the options ask for, one for each backend.

    :raises StartupError: one of the descriptions does not do.
    """
    return [_relay_service(reactor, backend, slots) for backend, slots in options["relays"]]


def _relay_service(reactor: Any, description: str, slot_descriptions: List[str]) -> RelayService:
    try:
        backend = connector(reactor, description)
    except ValueError as error:
        raise StartupError(f"bad --backend {description!r}: {error}") from error
    slots: List[SlotsServerEndpoint] = []
    for slot_description in slot_descriptions:
        try:
            slots.append(serverFromString(reactor, slot_description))
        except ValueError as error:  # Its text, unlike the description, never has a token in it.
            raise StartupError(f"bad --slots: {error}") from error
    return RelayService(reactor, backend, slots, description)


def makeService(options: Options) -> IService:
    """The services of the command. Exits with one line when something is wrong."""
    from twisted.internet import reactor

    try:
        relays = relay_services(reactor, options)
    except StartupError as error:
        refuse(options.program, str(error))
    tree = ServiceTree(reactor, options)
    for relay in relays:
        relay.setServiceParent(tree)
    tree.notify.tell(lambda: succeed("; ".join(relay.stand for relay in relays)))
    service: IService = tree
    return service
