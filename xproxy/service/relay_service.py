"""The relay as a service: it parks slots while the backend answers, and none while it does not.

States: probing (at the start, and after a relay could not connect; no idle slots) and serving. A probe is a connection that is
closed again.
"""

from __future__ import annotations

from random import random
from typing import Any, Callable, List, Optional, Sequence

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from xproxy.service.backend import BackendConnection, BackendConnections
from xproxy.service.dialler import short_reason
from xproxy.service.endpoint import SlotsServerEndpoint
from xproxy.service.port import SlotsPort
from xproxy.service.relay import RelayFactory
from xproxy.slots.serving.dialling import RECENT_S, bounded_delay, jittered_backoff

MAX_PROBE_DELAY_S = 5.0
"""Between two probes, in seconds. Shorter than for slots: there is one prober, and the backend is usually on the same host.
See ``bounded_delay`` for one that was there a moment ago."""


class RelayService(Service):
    """Puts one backend behind the slots of several acceptors.

    :param reactor: IReactorTime.
    :param backend: the server that listens.
    :param slots: where its slots go.
    :param description: the backend, for the log.
    :param delay: from the number of failures in a row to seconds.
    :ivar ports: one for each of ``slots``, with a count of its own (``SlotsPort.resize``).
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        backend: IStreamClientEndpoint,
        slots: Sequence[SlotsServerEndpoint],
        description: str,
        delay: Optional[Callable[[int], float]] = None,
    ) -> None:
        self.serving = False
        self._reactor = reactor
        self._description = description
        self._delay = delay or jittered_backoff(random, MAX_PROBE_DELAY_S)
        self._connections = BackendConnections(reactor, backend)
        factory = RelayFactory(reactor, self._connections, self._unreachable)
        self.ports: List[SlotsPort] = [endpoint.make_port(factory) for endpoint in slots]
        self._failures = 0
        self._alive_at = -RECENT_S
        """When the backend was not known to be dead last."""
        self._probing: Optional[Deferred[Any]] = None
        self._retry: Optional[IDelayedCall] = None

    def startService(self) -> None:
        """Probe, then park the slots."""
        super().startService()
        self._probe()

    def stopService(self) -> Deferred[Any]:
        """Drain. Fires when the last slot is closed."""
        super().stopService()
        self.serving = False
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._probing is not None:
            self._probing.cancel()
        stopped = gatherResults([port.stopListening() for port in self.ports])
        return stopped.addCallback(self._stopped)

    @property
    def stand(self) -> str:
        """How things stand, for a person."""
        if not self.serving:
            return f"backend {self._description} does not answer"
        there, wanted = (sum(numbers) for numbers in zip(*((len(port.slots), port.getHost().count) for port in self.ports)))
        return f"backend {self._description} answers, {there} of {wanted} slots are there"

    def resize(self, count: int) -> None:
        """Let the backend have so many requests at once from each acceptor; see ``SlotsPort.resize``.

        :raises ValueError: the number does not do; nothing is changed.
        """
        for port in self.ports:
            port.resize(count)

    def _stopped(self, ports: List[None]) -> None:
        self._connections.close()

    def _probe(self) -> None:
        self._retry = None
        self._probing = probing = self._connections.connect()
        probing.addCallbacks(self._reached, self._probe_failed)

    def _reached(self, probe: BackendConnection) -> None:
        self._probing = None
        self._connections.drop(probe)
        self._failures = 0
        self.serving = True
        slots = ", ".join(f"{port.getHost().count} slots at {port.getHost().acceptor}" for port in self.ports)
        self._log.info("backend {backend} answers: {slots}", backend=self._description, slots=slots)
        for port in self.ports:
            port.startListening()
            port.offer()

    def _probe_failed(self, failure: Failure) -> None:
        self._probing = None
        if self.running:
            self._wait(failure)
        else:
            failure.trap(CancelledError)

    def _unreachable(self, failure: Failure) -> None:
        """A relay could not connect."""
        if self.serving:
            self.serving = False
            self._alive_at = self._reactor.seconds()
            for port in self.ports:
                port.withdraw()
            self._wait(failure)

    def _wait(self, failure: Failure) -> None:
        self._failures += 1
        delay = bounded_delay(self._delay, self._failures, self._reactor.seconds() - self._alive_at)
        if self._failures == 1:
            self._log.warn(
                "backend {backend} can't be reached: {why}; no slots until it answers",
                backend=self._description,
                why=short_reason(failure),
            )
        self._retry = self._reactor.callLater(delay, self._probe)
