"""The service that listens on an endpoint.

Everything in the project that listens (HTTP, slots, admin, handoff) does it through ``ListenService``, so that every mistake at
the start becomes one ``StartupError``.
"""

from __future__ import annotations

import resource
from typing import Any, Callable, Optional, Sequence

import attr
from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..config.checks import Place, place_of
from ..startup import StartupError, failure_reason, os_reason
from .accepting import BACKLOG, accept
from .inherited import adopt_port, hand_on, listen_beside
from .shortage import Shortage

_TAKES_BACKLOG = ("tcp", "tcp6", "ssl", "unix")


def _endpoint_with_backlog(reactor: Any, description: str) -> IStreamServerEndpoint:
    """``serverFromString``, with our BACKLOG where the description takes one and names none."""
    endpoint: IStreamServerEndpoint
    if description.partition(":")[0].lower() in _TAKES_BACKLOG and ":backlog=" not in description:
        try:
            endpoint = serverFromString(reactor, f"{description}:backlog={BACKLOG}")
            return endpoint
        except TypeError:
            pass  # It may have named one by its place, as in tcp:80:localhost:100.
    endpoint = serverFromString(reactor, description)
    return endpoint


def server_endpoint(reactor: Any, description: str) -> IStreamServerEndpoint:
    """``serverFromString``, with a longer backlog; its many ways to refuse a description all become StartupError."""
    try:
        return _endpoint_with_backlog(reactor, description)
    except TypeError as error:
        raise StartupError(f"bad endpoint {description!r}: an argument is missing or unknown") from error
    except Exception as error:
        reason = os_reason(error)
        if isinstance(error, LookupError) and description.startswith("systemd:"):
            reason = "systemd has not passed such a socket"
        raise StartupError(f"bad endpoint {description!r}: {reason}") from error


def ensure_deferred(result: Any) -> Deferred[Any]:
    """What may be a Deferred, as one. ``stopListening`` gives the one or the other."""
    return result if isinstance(result, Deferred) else succeed(result)


def use_all_descriptors() -> int:
    """Raise the soft limit of open descriptors to the hard one (getrlimit(2)), and give it.

    The soft one is 1,024 on most systems, for the sake of programs that use select(2); a client takes one descriptor, a slot
    one or two. The hard one is the administrator's word (``LimitNOFILE=`` of systemd).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class ListenService(Service):
    """Listens on one endpoint from ``privilegedStartService`` on, before twistd gives up its rights.

    :param description: the endpoint, as twistd's users write it.
    :param factory: what is listening; its connections are its own to close.
    :param check: asked about the port when it listens and before anybody is accepted; may raise StartupError.
    :param accept: makes the port accept; see ``accepting``.
    :param shortage: what happens when there is nothing to accept with; those that listen together may share one.
    :param endpoint: of that description, where it is made elsewhere.
    :param failed_late: told the error when an endpoint that takes its time (none of Twisted's own does) fails after the start.
    :raises StartupError: from the constructor for a bad description, from ``privilegedStartService`` when it can't listen.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        description: str,
        factory: IProtocolFactory,
        check: Optional[Callable[[IListeningPort], None]] = None,
        failed_late: Optional[Callable[[StartupError], None]] = None,
        accept: Callable[[IListeningPort, Shortage], None] = accept,
        shortage: Optional[Shortage] = None,
        endpoint: Optional[IStreamServerEndpoint] = None,
    ) -> None:
        self.description = description
        self.port: Optional[IListeningPort] = None
        self._endpoint = endpoint or server_endpoint(reactor, description)
        self._is_given = endpoint is not None
        self._factory = factory
        self._check = check
        self._failed_late = failed_late
        self._accept = accept
        self._shortage = shortage or Shortage(reactor)
        self._listening: Optional[Deferred[None]] = None
        self._closing: Deferred[None] = succeed(None)
        self._starting = False
        self._inherited = -1
        self._leaving: Sequence[ListenService] = ()
        self._reactor = reactor
        self._error: Optional[StartupError] = None

    def inherit(self, descriptor: int) -> None:
        """Listen by this descriptor, which another process has made, instead of by a new one."""
        self._inherited = descriptor

    def take_place(self, leaving: Sequence[ListenService]) -> None:
        """Listen also where one of those does, which stop next. An endpoint that is made elsewhere sees to that itself."""
        self._leaving = () if self._is_given else leaving

    def hand_on(self) -> None:
        """Another process listens by a copy of our socket: close ours, without anybody who dials noticing."""
        port, self.port = self.port, None
        if port is not None:
            hand_on(port)

    def privilegedStartService(self) -> None:
        """Listen, unless it does already. Raises StartupError."""
        if self._listening is not None:
            return
        super().privilegedStartService()
        self._error = None
        self._starting = True
        self._listening = maybeDeferred(self._listen).addCallback(self._listens)
        self._listening.addErrback(self._failed)
        self._starting = False
        self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            self._listening = None
            raise self._error

    def _listen(self) -> Any:
        inherited, self._inherited = self._inherited, -1
        if inherited >= 0:
            return adopt_port(self._reactor, inherited, self._factory)
        leaving, self._leaving = self._leaving, ()
        place = place_of(self.description)
        if place is not None and place.kind != "unix":
            ports = [other.port for other in leaving if other.is_in_the_way_of(place)]
            if ports:
                return adopt_port(self._reactor, listen_beside(place, ports), self._factory)
        return self._endpoint.listen(self._factory)

    def is_in_the_way_of(self, place: Place) -> bool:
        """Whether nobody else can listen there meanwhile."""
        own = place_of(self.description)
        host: Any = None if self.port is None else self.port.getHost()
        if own is None or not isinstance(host, (IPv4Address, IPv6Address)):
            return False
        return attr.evolve(own, port=host.port).clashes_with(place)

    def startService(self) -> None:
        """Listen, where nobody called ``privilegedStartService`` first. Raises StartupError."""
        if self._listening is None:
            self.privilegedStartService()
        super().startService()

    def serve(self, factory: IProtocolFactory) -> None:
        """Let another factory make the protocols of who comes from here on."""
        before, self._factory = self._factory, factory
        port: Any = self.port
        if factory is not before and port is not None:
            factory.doStart()
            port.factory = factory
            before.doStop()

    def _listens(self, port: IListeningPort) -> None:
        self.port = port
        self._accept(port, self._shortage)
        if self._check is not None:
            try:
                self._check(port)
            except StartupError as error:
                self._fail(error)
                self._closing = self._stop_listening()

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):  # Stopped before it had begun to listen.
            reason = failure_reason(failure)
            self._fail(StartupError(f"cannot listen on {self.description}: {reason}", self.description))

    def _fail(self, error: StartupError) -> None:
        if self._starting:
            self._error = error
            return
        self._log.critical("{error}", error=error)
        if self._failed_late is not None:
            self._failed_late(error)

    def stopService(self) -> Deferred[None]:
        """Listen no longer; fires when the port is closed, and those that the kernel has accepted for it are here."""
        super().stopService()
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()  # Does nothing when it listens already.
        if self.port is not None:
            self._closing = self._stop_listening()
        return self._closing

    def _stop_listening(self) -> Deferred[None]:
        port, self.port = self.port, None
        return succeed(None) if port is None else ensure_deferred(port.stopListening())
