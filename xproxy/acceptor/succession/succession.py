"""The succession of one acceptor: the slots that it has from a former acceptor, and how it is handed on to the next one."""

from __future__ import annotations

from typing import Any, Callable, Collection, Optional

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall

from ..acceptor import Acceptor
from ..handoff_server import HandoffFactory
from ..parked import ParkedSlot
from .estate import Estate, Listening
from .giver import Giver
from .offers import Offers

LEFT_LOOK_S = 0.1
"""Seconds between two looks of an acceptor that was taken over, whether anything is left."""


class Succession:
    """See the module. A part of the acceptor's service.

    :param listening: gives the acceptor's listening services.
    :param bridged: gives the slots that can't move.
    :param has_something: says whether a service is registering, or a slot over TLS is left.
    :ivar handed_on: called when another acceptor has taken over: the program is to drain and end. None: this program would not
        end, and so can't be taken over.
    :ivar also: gives the other listening services of this program, by kind and description.
    :ivar offers: those of the handoff socket; None before ``over``.
    """

    def __init__(
        self,
        acceptor: Acceptor,
        reactor: Any,
        listening: Callable[[], Listening],
        bridged: Callable[[], Collection[ParkedSlot]],
        has_something: Callable[[], bool],
    ) -> None:
        self.handed_on: Optional[Callable[[], object]] = None
        self.also: Callable[[], Listening] = dict
        self.offers: Optional[Offers] = None
        self._acceptor = acceptor
        self._reactor = reactor
        self._listening = listening
        self._bridged = bridged
        self._has_something = has_something
        self._giver: Optional[Giver] = None
        self._left: Optional[LoopingCall] = None
        self._drained: Optional[Deferred[None]] = None

    def over(self, factory: HandoffFactory) -> None:
        """Take part in this handoff socket, by which proxies and another acceptor come."""
        self.offers = factory.offers
        factory.make_giver = self._make_giver

    def _all_listening(self) -> Listening:
        return {**self._listening(), **self.also()}

    def _make_giver(self) -> Optional[Giver]:
        """Another acceptor has connected; one at a time."""
        if (self._giver is not None and self._giver.is_giving) or self.offers is None:
            return None
        estate = Estate(self._acceptor, self.offers, self._all_listening, self._bridged)
        self._giver = Giver(estate, self._reactor, self.handed_on)
        return self._giver

    @property
    def is_over(self) -> bool:
        """Whether another acceptor has taken over."""
        return self._giver is not None and self._giver.is_gone

    def stop(self) -> None:
        """This acceptor stops: a takeover that runs is aborted, and leases stay with their proxies."""
        if self._giver is not None and self._giver.is_giving and not self._giver.is_gone:
            self._giver.drop("the acceptor stops")
        if self._left is not None and self._left.running:
            self._left.stop()
        if self.offers is not None:
            self.offers.close()

    def drain(self) -> Deferred[None]:
        """After another acceptor has taken over: pass on the slots that become idle; fires when nothing is left here."""
        if self._left is None:
            self._drained = Deferred()
            self._acceptor.lending.drain()
            self._left = LoopingCall(self._look)
            self._left.clock = self._reactor
            self._left.start(LEFT_LOOK_S)
        return self._drained if self._drained is not None else succeed(None)

    def _look(self) -> None:
        assert self._giver is not None and self._left is not None
        self._giver.pass_on()
        if not (self._acceptor.slots or self._has_something() or self._giver.has_unwritten):
            self._left.stop()
            drained, self._drained = self._drained, None
            if drained is not None:
                drained.callback(None)
