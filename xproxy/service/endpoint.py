"""``SlotsServerEndpoint``: a server endpoint that does not listen but dials out, to put any Twisted server on slots.

The endpoint holds what a port needs; ``port.SlotsPort`` does the work.
"""

from __future__ import annotations

from random import random
from typing import Any, Callable
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamClientEndpoint, IStreamServerEndpoint
from zope.interface import implementer

from xproxy.service.introduction import make_introduction
from xproxy.service.port import SlotsAddress, SlotsPort, check_count
from xproxy.slots.serving.dialling import jittered_backoff

DRAIN_TIMEOUT_S = 30.0
"""How long running requests may take when the endpoint stops, in seconds; the proxy's own drain_timeout."""


@implementer(IStreamServerEndpoint)
class SlotsServerEndpoint:
    """Dials ``count`` connections to an acceptor and serves each with a protocol of the factory, as if it had been accepted.

    :param reactor: IReactorTime.
    :param acceptor: where the acceptor's slots endpoint is.
    :param count: how many requests the service runs at once; see ``resize``.
    :param pool: the pool to join; empty: the one that the acceptor's endpoint is for.
    :param token: what the pool asks of its services.
    :param registration: ``proxy``, ``mxproxy`` or ``raw``; see ``introduction``.
    :param instance: how this service is named in status and logs; empty: host, process id and something random.
    :param drain_timeout_s: how long ``stopListening`` waits for running requests, in seconds.
    :param description: what is dialled, for logs.
    :param random: from 0 to 1, for the time between attempts to dial.
    :raises ValueError: one of these does not do.
    """

    def __init__(
        self,
        reactor: Any,
        acceptor: IStreamClientEndpoint,
        count: int,
        *,
        pool: str = "",
        token: str = "",
        registration: str = "proxy",
        instance: str = "",
        drain_timeout_s: float = DRAIN_TIMEOUT_S,
        description: str = "",
        random: Callable[[], float] = random,
    ) -> None:
        check_count(count)
        if not 0 <= drain_timeout_s < float("inf"):
            raise ValueError(f"drain={drain_timeout_s}: a number of seconds is needed")
        self.count = count
        self._reactor = reactor
        self._acceptor = acceptor
        self._random = random
        self._introduction = make_introduction(registration, pool, instance, token)
        self._drain_timeout_s = drain_timeout_s
        self.description = description or repr(acceptor)
        self._ports: WeakKeyDictionary[SlotsPort, None] = WeakKeyDictionary()

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Begin to dial. Fires at once: the acceptor may be started later, or be away for a while."""
        port = self.make_port(protocolFactory)
        port.startListening()
        return succeed(port)

    def resize(self, count: int) -> None:
        """Have so many slots from now on, whether it listens already or not; see ``SlotsPort.resize``.

        :raises ValueError: the number does not do; nothing is changed.
        """
        check_count(count, least=0)
        self.count = count
        for port in list(self._ports):
            port.resize(count)

    def make_port(self, factory: IProtocolFactory) -> SlotsPort:
        """A port that does nothing yet."""
        address = SlotsAddress(self.description, self.count)
        delay = jittered_backoff(self._random)
        port = SlotsPort(self._reactor, self._acceptor, factory, address, self._introduction, self._drain_timeout_s, delay)
        self._ports[port] = None
        return port
