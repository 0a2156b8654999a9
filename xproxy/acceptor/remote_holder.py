"""A proxy, as the acceptor sees it at the other end of the handoff socket.

Messages of the proxy become calls on its Holding, what the acceptor says becomes messages. See docs/architecture/handoff.md.
"""

from __future__ import annotations

from typing import Any, Callable, Collection, Dict, Optional, Set, Tuple

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ..handoff.acceptor_connection import MAX_OFFERS
from ..handoff.board import ReceivedBoard
from ..handoff.boxes import Box
from ..handoff.connection import BoxConnection, DescriptorLost, Refused
from ..handoff.messages import (
    QUESTION,
    VERSION,
    Ask,
    AskAnswered,
    Census,
    GiveBack,
    Hello,
    LeaseAskedBack,
    LeaseClosed,
    LeaseGranted,
    LeasesRecalled,
    Message,
    Moving,
    Offer,
    OfferRefused,
    RecallDone,
    ServiceRegistered,
    SlotSpoke,
    decode,
    encode,
    encode_answer,
    encode_error,
)
from ..handoff.pacing import Pacer
from ..slots.actions import BookError
from ..slots.tides import TableFull
from .acceptor import Acceptor
from .holding import Holding
from .succession.offers import Offers

Recalls = Tuple[int, int]
"""How many wait at others, and the number that is to be confirmed, 0 for none."""

NOTHING_RECALLED: Recalls = (0, 0)


def _recall_is_urgent(said: Recalls, newest: Recalls) -> bool:
    return newest[1] > 0 or newest[0] > said[0] == 0


HELLO_DUE_S = 10.0
"""How long a connection may take to say Hello once it has begun to: a proxy has it ready."""

HUNG_S = 10.0
"""How long a proxy that does not answer keeps the leases that it uses. Then their slots are closed, and their services dial
again: a third of the default ``queue_timeout``, so that those who wait for them are served yet."""


class RemoteHolder(BoxConnection):
    """One proxy's connection.

    :param clock: an IReactorTime.
    :param refused: told why, when the connection is cut for what the proxy did.
    :param offers: knows which slots can be offered.
    """

    _log = Logger()

    def __init__(self, acceptor: Acceptor, clock: Any, refused: Callable[[str], object], offers: Offers) -> None:
        super().__init__(clock)
        self._offers = offers
        self._acceptor = acceptor
        self._clock = clock
        self._refused = refused
        self._holding: Optional[Holding] = None
        self._board: Optional[ReceivedBoard] = None
        self._recalls: Dict[str, Pacer[Recalls]] = {}
        self._stopping = False
        self._due: Optional[IDelayedCall] = None
        """When the proxy must have said Hello; later, when it has been hung for too long."""

    def connectionMade(self) -> None:
        """Connected: Hello is due."""
        super().connectionMade()
        self._due = self._clock.callLater(HELLO_DUE_S, self.drop, "it did not say Hello in time")

    def _stop_due(self) -> None:
        due, self._due = self._due, None
        if due is not None and due.active():
            due.cancel()

    # -- from the proxy

    def box_received(self, box: Box) -> None:
        """One message. Raises Refused or MalformedMessage."""
        message = decode(box)
        holding = self._holding
        if isinstance(message, Hello):
            self._hello(message, box[QUESTION])
        elif holding is None:
            raise Refused("it did not begin with Hello")
        elif isinstance(message, Offer):
            self._offered(holding, message)
        elif isinstance(message, Census):
            self.send(encode_answer(box[QUESTION], self._acceptor.census()))
        else:
            try:
                self._pass_on(holding, message)
            except BookError as error:
                raise Refused(str(error)) from error

    @staticmethod
    def _pass_on(holding: Holding, message: Message) -> None:
        """Do what the proxy says. Raises Refused or BookError."""
        if isinstance(message, Ask):
            holding.ask(message.pool, message.waiting, message.seen, message.question)
        elif isinstance(message, GiveBack):
            holding.give_back(message.lease)
        elif isinstance(message, LeaseClosed):
            holding.lease_closed(message.lease)
        elif isinstance(message, RecallDone):
            holding.recall_done(message.pool, message.number)
        elif isinstance(message, SlotSpoke):
            holding.spoke(message.lease, message.data)
        else:
            raise Refused("it sent what only an acceptor sends")

    def _offered(self, holding: Holding, offer: Offer) -> None:
        """The proxy has a slot from an acceptor that is gone. Raises Refused."""
        if offer.lease != holding.next_offer:
            raise Refused("it offered a slot too late")
        try:
            slot = self._offers.admit(holding, offer.pool, offer.service, self.claim(offer.slot))
        except DescriptorLost:
            slot = None
        holding.offered(offer.lease, slot)
        if slot is None:
            self.send(encode(OfferRefused(offer.pool, offer.lease)))

    def _hello(self, hello: Hello, tag: bytes) -> None:
        if self._holding is not None:
            raise Refused("it said Hello twice")
        if self._acceptor.handing_on:
            raise Refused("another acceptor takes over")
        descriptor = self.claim(hello.board)
        try:
            self._board = ReceivedBoard(descriptor, self.descriptors)
        except ValueError as error:
            raise Refused(str(error)) from error
        if hello.version != VERSION:
            transport: Any = self.transport
            self.send(encode_error(tag, b"VERSION", f"this acceptor speaks version {VERSION}, not {hello.version}"))
            transport.loseConnection()
            return
        self.max_descriptors = MAX_OFFERS
        try:
            holding = self._holding = self._acceptor.hold(self, self._busy)
            tides = self._acceptor.another_table()
        except (OSError, TableFull) as error:
            raise Refused(f"no tide table for another proxy: {error}") from error
        self._stop_due()
        self.liveness.start()
        answer = {"pools": list(self._acceptor.books), "column": holding.column}
        self.send_with_descriptor(lambda ordinal: encode_answer(tag, {**answer, "tides": ordinal}), tides)
        self._acceptor.greet(holding)

    def _busy(self, leases: Collection[int]) -> Set[int]:
        assert self._board is not None
        return self._board.busy(leases)

    def ended(self, reason: str) -> None:
        """The connection is gone: so are the proxy's leases."""
        self._stop_due()
        for pacer in self._recalls.values():
            pacer.stop()
        if self._holding is not None:
            self._holding.leave(alive=self.was_dropped)
        if self._board is not None:
            self._board.close()
        if not self._stopping and self.was_dropped:
            self._refused(reason)

    def answering(self, answers: bool) -> None:
        """The proxy hangs, or does so no more. What it leases and does not use is closed, so that its services dial again and
        others have it; what it uses is its own until it is cut off.
        """
        self._stop_due()
        leases = 0 if self._holding is None else len(self._holding.leases)
        if answers:
            self._log.info("a proxy with {leases} leases answers again", leases=leases)
            if self._holding is not None:
                self._holding.wake()
            return
        taken = 0 if self._holding is None else self._holding.hang()
        self._log.warn(
            "a proxy with {leases} leases has not answered for {seconds:.0f} s: the {taken} that it does not use are taken "
            "from it, and it is cut off in {left:.0f} s",
            leases=leases,
            taken=taken,
            seconds=self.liveness.silent_s,
            left=HUNG_S,
        )
        self._due = self._clock.callLater(HUNG_S, self.drop, "it does not answer")

    # -- from the acceptor

    def part(self, holding: Holding) -> None:
        """Another acceptor takes over: tell the proxy to dial it. What it says until it hangs up is for ``holding``."""
        self._holding = holding
        self.send(encode(Moving()))

    def lease_granted(self, pool: str, lease: int, descriptor: int, service: str) -> None:
        """See ILeaseHolder."""
        self.send_with_descriptor(lambda ordinal: encode(LeaseGranted(pool, lease, service, ordinal)), descriptor)

    def leases_recalled(self, pool: str, waiting: int, number: int) -> None:
        """See LeaseEnd."""
        pacer = self._recalls.get(pool)
        if pacer is None:
            pacer = self._recalls[pool] = Pacer(self._clock, NOTHING_RECALLED, self._recall_of(pool), _recall_is_urgent)
        pacer.say((waiting, number))

    def _recall_of(self, pool: str) -> Callable[[Recalls], None]:
        return lambda said: self.send(encode(LeasesRecalled(pool, *said)))

    def lease_asked_back(self, pool: str, lease: int) -> None:
        """See ILeaseHolder."""
        self.send(encode(LeaseAskedBack(pool, lease)))

    def ask_answered(self, pool: str, question: int) -> None:
        """See ILeaseHolder."""
        self.send(encode(AskAnswered(pool, question)))

    def service_registered(self, pool: str, registered: bool, place: int) -> None:
        """See LeaseEnd."""
        self.send(encode(ServiceRegistered(pool, int(registered), place)))

    def acceptor_lost(self) -> None:
        """See ILeaseHolder: the acceptor stops, and the connection with it."""
        self._stopping = True
        self.drop("the acceptor stops")
