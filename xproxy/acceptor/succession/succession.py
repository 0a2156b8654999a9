"""The succession of one acceptor: the slots that it has from a former acceptor, and how it is handed on to the next one."""

from __future__ import annotations

from typing import Any, Callable, Collection, List, Optional

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ...net.descriptors import descriptors_of
from ..acceptor import Acceptor
from ..handoff_server import HandoffFactory
from ..parked import ParkedSlot
from .estate import Estate
from .giver import GIVE_S, Giver
from .listening import Listening
from .offers import Offers

LEFT_LOOK_S = 0.1
"""Seconds between two looks of an acceptor that was taken over, whether anything is left."""


class Succession:
    """See the module. A part of the acceptor's service.

    :param listening: gives the acceptor's listening services.
    :param bridged: gives the slots that can't move.
    :param has_something: says whether a service is registering, or a slot over TLS is left.
    :param let_in: lets a proxy in that is at the other end of a descriptor.
    :ivar handed_on: called when another acceptor has taken over: the program is to drain and end. None: this program would not
        end, and so can't be taken over.
    :ivar also: gives the other listening services of this program, by kind and description.
    :ivar offers: those of all ways by which proxies come.
    """

    _log = Logger()

    def __init__(
        self,
        acceptor: Acceptor,
        reactor: Any,
        listening: Callable[[], Listening],
        bridged: Callable[[], Collection[ParkedSlot]],
        has_something: Callable[[], bool],
        let_in: Callable[[int], None],
    ) -> None:
        self.handed_on: Optional[Callable[[], object]] = None
        self.also: Callable[[], Listening] = dict
        self.offers: Optional[Offers] = None
        self._acceptor = acceptor
        self._reactor = reactor
        self._listening = listening
        self._bridged = bridged
        self._has_something = has_something
        self._let_in = let_in
        self._waiting: List[int] = []
        """Connections of proxies that have come while another acceptor takes over."""
        self._givers: List[Giver] = []
        self._successor: Optional[Giver] = None
        """The connection to the acceptor that has taken over."""
        self._left: Optional[LoopingCall] = None
        self._drained: Optional[Deferred[None]] = None

    def over(self, factory: HandoffFactory) -> None:
        """Take part in this handoff socket, by which proxies and another acceptor come."""
        self.share_offers(factory)
        factory.make_giver = self._make_giver

    def share_offers(self, factory: HandoffFactory) -> None:
        """Proxies come by this one: what they may offer is the same wherever they come in."""
        if self.offers is None:
            self.offers = factory.offers
        factory.offers = self.offers

    def _all_listening(self) -> Listening:
        return {**self._listening(), **self.also()}

    def _make_giver(self) -> Optional[Giver]:
        """Another acceptor has connected; one at a time."""
        if any(giver.is_giving for giver in self._givers):
            return None
        return self.giver(self.handed_on)

    def giver(
        self,
        gone: Optional[Callable[[], object]],
        patience_s: float = GIVE_S,
        failed: Callable[[str], object] = lambda reason: None,
    ) -> Giver:
        """Our end of a connection to another acceptor, which is to take over. For the parameters see ``Giver``."""
        assert self.offers is not None
        estate = Estate(self._acceptor, self.offers, self._all_listening, self._bridged, self._thawed)

        def all_gone() -> None:
            self._successor = giver
            self._pass_waiting(giver.pass_proxy)
            assert gone is not None
            gone()

        giver = Giver(estate, self._reactor, None if gone is None else all_gone, patience_s, failed)
        self._givers = [other for other in self._givers if other.is_giving]
        self._givers.append(giver)
        return giver

    @property
    def is_over(self) -> bool:
        """Whether another acceptor has taken over."""
        return self._successor is not None

    # -- proxies that can't dial by themselves

    def proxy_came(self, descriptor: int) -> None:
        """One has come while another acceptor takes over, or later: it is for whoever serves then."""
        if self._successor is None:
            self._waiting.append(descriptor)
        else:
            self._successor.pass_proxy(descriptor)

    def _thawed(self) -> None:
        self._pass_waiting(self._take_back)

    def _take_back(self, descriptor: int) -> None:
        try:
            self._let_in(descriptor)
        except OSError as error:
            self._log.error("a proxy can't be let in: {error}", error=error)

    def _pass_waiting(self, take: Callable[[int], None]) -> None:
        waiting, self._waiting = self._waiting, []
        for descriptor in waiting:
            take(descriptor)

    def stop(self) -> None:
        """This acceptor stops: a takeover that runs is aborted, and leases stay with their proxies."""
        for giver in self._givers:
            if giver.is_giving and not giver.is_gone:
                giver.drop("the acceptor stops")
        self._pass_waiting(descriptors_of(self._reactor).close)
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
        assert self._successor is not None and self._left is not None
        self._successor.pass_on()
        if not (self._acceptor.slots or self._has_something() or self._successor.has_unwritten):
            self._left.stop()
            drained, self._drained = self._drained, None
            if drained is not None:
                drained.callback(None)
