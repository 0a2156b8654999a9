"""A server factory on slots: the ``IListeningPort`` that ``SlotsServerEndpoint.listen`` fires with.

The port owns the slots. The dialler says when to dial, the client endpoint connects, ``ServedSlotFactory`` puts a protocol of
the server factory on the connection, and the port hears of each slot's beginning and end. Stopping drains: idle slots are
closed politely at once, the others when they have answered, what is left after ``drain_timeout_s`` is cut.

How many slots are wanted changes by ``resize``, and to none and back by ``withdraw`` and ``offer``. Where there are more than
that, those that are idle are closed politely at once, others when they have answered, those that may never end last; where
there are fewer, those that run and were to be closed are kept, and the rest is dialled.
"""

from __future__ import annotations

from operator import index
from typing import Any, Dict, List, Optional

import attr
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorCore,
    IStreamClientEndpoint,
)
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import HTTPFactory
from zope.interface import implementer

from xproxy.service.dialler import Dialler
from xproxy.service.introduction import Introduction
from xproxy.service.served_slot import ServedSlot
from xproxy.slots.serving.dialling import SETTLED_S
from xproxy.slots.serving.tracker import Phase
from xproxy.slots.serving.unasked import SlotRefused

MAX_COUNT = 16384
"""As the acceptor's max_slots: more would be refused anyway, and is a slip of the finger."""

_may_never_end = frozenset((Phase.TUNNEL, Phase.UNCLEAR, Phase.RAW_OWED))


def check_count(count: int, least: int = 1) -> None:
    """Raise ValueError unless a port can have so many slots; TypeError for what is no whole number."""
    if not least <= index(count) <= MAX_COUNT:
        raise ValueError(f"count={count}: a number from {least} to {MAX_COUNT} is needed")


def _reluctance(slot: ServedSlot) -> int:
    """Slots with a lower number are closed first: those that wait, then those that answer a request."""
    if slot.end.last_words() is not None:
        return 0
    return 2 if slot.end.tracker.phase in _may_never_end else 1


@implementer(IAddress)
@attr.frozen
class SlotsAddress:
    """Where the slots of a port are: ``getHost()``. There is no local address, nothing listens."""

    acceptor: str
    """What is dialled."""
    count: int


class ServedSlotFactory(WrappingFactory):
    """Puts a protocol of the server factory on each connection that the client endpoint makes.

    :ivar port: the port whose slots these are.
    """

    noisy = False

    def __init__(self, wrapped: IProtocolFactory, port: SlotsPort) -> None:
        super().__init__(wrapped)
        self.port = port

    def doStart(self) -> None:
        """Called for each attempt to connect; the server factory is started once, by the port."""

    def doStop(self) -> None:
        """See ``doStart``."""

    def registerProtocol(self, p: Any) -> None:
        """The port keeps the slots."""

    def unregisterProtocol(self, p: Any) -> None:
        """See ``registerProtocol``."""

    def buildProtocol(self, addr: Optional[IAddress]) -> Any:
        """A slot around a protocol of the server factory; None, so that the connection is closed, when that has none."""
        wrapped: Optional[IProtocol] = self.wrappedFactory.buildProtocol(addr)
        if wrapped is None:
            return None
        http = isinstance(self.wrappedFactory, HTTPFactory)
        if http:
            # A client that says nothing for a minute is to be got rid of; a slot that waits does what it is there for. A proxy
            # sends requests whole, and a host that vanished is noticed by TCP.
            wrapped.timeOut = None  # type: ignore[attr-defined]
        return ServedSlot(self, wrapped, needs_ports=http)


def _when_ready(connection: Any) -> Any:
    """A connection over TLS is made when its handshake is done, or has failed."""
    return connection.when_ready() if isinstance(connection, ServedSlot) else connection


@implementer(IListeningPort)
class SlotsPort:
    """See the module.

    :param reactor: IReactorTime; where it is IReactorCore too, its shutdown closes idle slots politely even if nobody calls
        ``stopListening`` (daphne does not).
    :param acceptor: dialled ``address.count`` times.
    :param factory: the server factory.
    :param delay: see ``Dialler``.
    :ivar offered: slots are wanted.
    :ivar slots: those that are there, the oldest first.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        acceptor: IStreamClientEndpoint,
        factory: IProtocolFactory,
        address: SlotsAddress,
        introduction: Introduction,
        drain_timeout_s: float,
        delay: Any,
    ) -> None:
        self.reactor = reactor
        self.introduction = introduction
        self.slots: Dict[ServedSlot, None] = {}
        self._factory = factory
        self._address = address
        self._drain_timeout_s = drain_timeout_s
        self._slot_factory = ServedSlotFactory(factory, self)
        self._acceptor = acceptor
        self._dialler = Dialler(reactor, self._connect, address.count, delay, address.acceptor)
        self._started = False
        self.offered = False
        self._waiters: List[Deferred[None]] = []
        self._drain_end: Optional[IDelayedCall] = None
        self._trigger: Any = None
        self._going: Dict[ServedSlot, None] = {}
        """The slots whose end the shutdown of the reactor waits for."""
        self._gone: Optional[Deferred[None]] = None

    # -- IListeningPort

    def startListening(self) -> None:
        """Dial. See IListeningPort."""
        if self._started:
            return
        self._started = True
        self._factory.doStart()
        if IReactorCore.providedBy(self.reactor):
            self._trigger = self.reactor.addSystemEventTrigger("before", "shutdown", self._reactor_stops)
        self.offer()

    def stopListening(self) -> Deferred[None]:
        """Drain. Fires when the last slot is closed; may be called again."""
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        if self._started and self._drain_end is None:
            self._drain_end = self.reactor.callLater(self._drain_timeout_s, self._drain_over)
            self.withdraw()
        self._check_stopped()
        return waiter

    def getHost(self) -> SlotsAddress:
        """See IListeningPort."""
        return self._address

    # -- whether there are to be slots

    def _connect(self) -> Deferred[Any]:
        return self._acceptor.connect(self._slot_factory).addCallback(_when_ready)

    def offer(self) -> None:
        """Dial and keep the slots up."""
        if not self.offered:
            self.offered = True
            self._trim()
            self._dialler.start()

    def withdraw(self) -> None:
        """Close each slot politely as soon as it is idle, and dial no more until ``offer`` is called.

        What runs goes on, for as long as it likes, and counts as a slot: offered again, there are never more than ``count``.
        """
        self.offered = False
        self._dialler.stop()
        self._trim()

    def resize(self, count: int) -> None:
        """Have so many slots from now on, 0 (a pause) to ``MAX_COUNT``. Of several calls the last one holds. No request fails.

        :raises ValueError: the number does not do; nothing is changed.
        :raises TypeError: it is no whole number; nothing is changed.
        """
        check_count(count, least=0)
        self._address = attr.evolve(self._address, count=count)
        self._trim()
        self._dialler.resize(count)

    @property
    def _wanted(self) -> int:
        return self._address.count if self.offered else 0

    def _trim(self) -> None:
        """Have no more slots than are wanted, once they have answered; see the module."""
        kept = [slot for slot in self.slots if not slot.draining and not slot.end.closing]
        missing = self._wanted - len(kept)
        if missing > 0:
            leaving = [slot for slot in self.slots if slot.draining and not slot.end.closing]
            for slot in leaving[:missing]:
                slot.keep()
        elif missing < 0:
            for slot in sorted(kept, key=_reluctance)[:-missing]:
                slot.drain()

    # -- what the slots tell

    def slot_parked(self, slot: ServedSlot) -> None:
        """A connection is made."""
        self.slots[slot] = None
        self._dialler.slot_parked()

    def slot_made(self) -> None:
        """The protocol of a slot is there. While it was dialled, the port may have stopped, or shrunk."""
        if len(self.slots) > self._wanted:
            self._trim()

    def slot_lost(self, slot: ServedSlot, reason: Failure) -> None:
        """A connection is gone."""
        self.slots.pop(slot, None)
        # Requests, not bytes: what answers every connection with an error at once is not an acceptor.
        lived_s = 0.0 if slot.parked_at is None else self.reactor.seconds() - slot.parked_at
        worked = not reason.check(SlotRefused) and (slot.end.tracker.requests > 0 or lived_s >= SETTLED_S)
        if slot.draining:
            self._dialler.slot_closed()
        else:
            self._dialler.slot_lost(worked, reason)
        if slot in self._going:
            del self._going[slot]
            if not self._going and self._gone is not None:
                self._gone.callback(None)
        self._check_stopped()

    # -- stopping

    def _reactor_stops(self) -> Optional[Deferred[None]]:
        """Nobody may have called ``stopListening``: what is idle is closed politely, which takes no time.

        What runs is not waited for here. A server that wants that stops listening; one that does not has its own idea of
        the end.
        """
        self._trigger = None
        self.stopListening()
        self._going = {slot: None for slot in self.slots if slot.end.closing}
        if not self._going:
            return None
        self._gone = Deferred()
        return self._gone

    def _drain_over(self) -> None:
        self._log.warn(
            "{running} slots at {acceptor} were still in use after {seconds} s and are cut",
            running=len(self.slots),
            acceptor=self._address.acceptor,
            seconds=self._drain_timeout_s,
        )
        for slot in list(self.slots):
            slot.abortConnection()  # Not closed: nobody is to take what was sent for a whole response.

    def _check_stopped(self) -> None:
        if not self._waiters or self.slots:
            return
        if self._drain_end is not None:
            if self._drain_end.active():
                self._drain_end.cancel()
            self._drain_end = None
            self._started = False
            self._factory.doStop()
        if self._trigger is not None:
            self.reactor.removeSystemEventTrigger(self._trigger)
            self._trigger = None
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)
