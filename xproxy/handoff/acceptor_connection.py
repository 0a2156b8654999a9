"""One connection of a proxy to an acceptor: messages become calls on the proxy, and the proxy's calls messages.

Owned by ``handoff.client``, which dials. See docs/architecture/handoff.md.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any, Dict, MutableSequence, Optional, Tuple

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ..interfaces import BOARD_BYTES
from ..slots.tides import TABLE_BYTES, Tides
from .board import make_board
from .boxes import Box
from .connection import BoxConnection, DescriptorLost, Refused
from .messages import (
    ANSWER,
    ERROR,
    VERSION,
    Ask,
    AskAnswered,
    Census,
    Hello,
    LeaseAskedBack,
    LeaseClosed,
    LeaseGranted,
    LeasesRecalled,
    MalformedMessage,
    Message,
    Moving,
    Offer,
    OfferRefused,
    RecallDone,
    ServiceRegistered,
    decode,
    decode_answer,
    encode,
    error_text,
)
from .passing import watch_descriptors

if TYPE_CHECKING:
    from .client import HandoffClient

HELLO_S = 10.0
"""How long an acceptor may take to answer Hello; it has nothing to wait for."""

ASK_AGAIN_S = 0.1
"""How long after a grant whose descriptor was lost another is asked for, when nothing could be done about it."""

MAX_BOX_BYTES = 16 << 20
"""The longest answer taken: a census of 16,384 services (100 bytes each) in ten pools."""

MAX_OFFERS = 16384
"""Slots that a proxy offers to an acceptor; what it has beyond that is closed as it becomes free. As many descriptors can be on
their way, for they run ahead of their messages."""

Standing = Tuple[int, int, int]
"""A standing ask: how many wait, how many grants had been seen, the question."""


class AcceptorConnection(BoxConnection):
    """One connection to an acceptor, from Hello on. Belongs to a HandoffClient."""

    max_box_bytes = MAX_BOX_BYTES
    max_descriptors = 4096
    max_unwritten_descriptors = MAX_OFFERS

    def __init__(self, client: HandoffClient, clock: Any) -> None:
        super().__init__(clock)
        self._client = client
        self._clock = clock
        self._tags = count(1)
        self._questions: Dict[bytes, Deferred[Any]] = {}
        self._asks: Dict[str, Standing] = {}
        """What was said last, by pool."""
        self._missing: Counter[str] = Counter()
        """Grants that did not arrive and were not asked for again yet."""
        self._missed: Counter[str] = Counter()
        """Those that were. The acceptor counts them as grants, the holder does not."""
        self._asking_again: Optional[IDelayedCall] = None
        self._room = False
        self._tides: Optional[Tides] = None
        self._granting = -1
        """The lease that the holder is being told of."""
        self._offered = 0

    def connectionMade(self) -> None:
        """Connected: say Hello."""
        super().connectionMade()
        watch_descriptors(self.transport, self.descriptor_lost)
        try:
            descriptor, board = make_board(self.descriptors)
        except OSError as error:
            self._client.spare.release_if_short()
            self.drop(f"no board can be made: {error}")
            return
        tag, answered = self._question()
        answered.addTimeout(HELLO_S, self._clock)
        # The board is passed on and not kept: it is to be freed with the last lease that was granted under it.
        answered.addCallbacks(self._hello_answered, self._hello_failed, callbackArgs=(board,))
        self.send_with_descriptor(lambda ordinal: encode(Hello(VERSION, ordinal), tag), descriptor)

    def _hello_answered(self, answer: Any, board: MutableSequence[int]) -> None:
        try:
            tides = self._tides = self._received_tides(answer)
        except (Refused, OSError, KeyError, TypeError, ValueError) as error:
            self._client.spare.release_if_short()
            self.drop(f"no tide table came: {error}")
            return
        self.liveness.start()
        self._client.connection_found(self, board, tides)

    def _received_tides(self, answer: Any) -> Tides:
        """The table that came with the answer to Hello. Raises one of many things for an answer that is none."""
        descriptor = self.claim(answer["tides"])
        try:
            if self.descriptors.size(descriptor) != TABLE_BYTES:
                raise ValueError(f"a tide table has {TABLE_BYTES} bytes")
            return Tides(self.descriptors.mapped(descriptor, TABLE_BYTES), answer["column"])
        finally:
            self.descriptors.close(descriptor)

    def _hello_failed(self, failure: Failure) -> None:
        self.drop("it does not answer" if failure.check(TimeoutError) else failure.getErrorMessage())

    def _question(self) -> Tuple[bytes, Deferred[Any]]:
        tag = b"%x" % next(self._tags)
        answered: Deferred[Any] = Deferred()
        self._questions[tag] = answered
        return tag, answered

    # -- to the acceptor

    def say(self, message: Message) -> None:
        """Send what has no answer."""
        self.send(encode(message))

    def ask(self, pool: str, standing: Standing) -> None:
        """Say the standing ask of a pool, unless it was said last. How often that is, is the pool's to decide."""
        if standing != self._asks.get(pool):
            self._asks[pool] = standing
            waiting, seen, question = standing
            self.say(Ask(pool, waiting, seen + self._missed[pool], question))

    def offer(self, pool: str, descriptor: int, service: str) -> int:
        """Offer a slot; gives the number of its lease. Raises OSError; the descriptor is closed then."""
        if self._offered >= MAX_OFFERS:
            self.descriptors.close(descriptor)
            raise OSError(f"{MAX_OFFERS} slots were offered")
        lease = self._offered
        self._offered += 1
        self.send_with_descriptor(lambda ordinal: encode(Offer(pool, lease, service, ordinal)), descriptor)
        return lease

    def census(self) -> Deferred[Any]:
        """The acceptor's counts."""
        tag, answered = self._question()
        self.send(encode(Census(), tag))
        return answered

    # -- from the acceptor

    def box_received(self, box: Box) -> None:
        """One message or answer. Raises Refused or MalformedMessage."""
        if ANSWER in box or ERROR in box:
            self._answer_received(box)
            return
        message = decode(box)
        if isinstance(message, LeaseGranted):
            self._granted(message)
        elif isinstance(message, LeasesRecalled) and message.pool in self._asks:
            self._client.holder.leases_recalled(message.pool, message.waiting, message.number > 0)
            if message.number:
                self.say(RecallDone(message.pool, message.number))
        elif isinstance(message, LeaseAskedBack) and message.pool in self._asks:
            self._client.holder.lease_asked_back(message.pool, message.lease)
        elif isinstance(message, AskAnswered) and message.pool in self._asks:
            self._client.holder.ask_answered(message.pool, message.question)
        elif isinstance(message, Moving):
            self._client.acceptor_moves(self)
            self.hang_up("another acceptor takes over")
        elif isinstance(message, OfferRefused):
            self._client.holder.offer_refused(message.pool, message.lease)
        elif isinstance(message, ServiceRegistered) and self._tides is not None:
            self._tides.put(message.pool, message.place)
            self._client.holder.service_registered(message.pool, bool(message.registered))
        else:
            raise Refused("a message that no acceptor has to send now")

    def _granted(self, grant: LeaseGranted) -> None:
        """A lease; when its descriptor was lost, it is over, and the acceptor is asked again for another."""
        possible = grant.lease < BOARD_BYTES and grant.pool in self._asks
        try:
            descriptor = self.claim(grant.slot)
        except DescriptorLost:
            if not possible:
                raise
            self.say(LeaseClosed(grant.lease))
            self._missing[grant.pool] += 1
            if self._has_room():
                self._ask_again()
            elif self._asking_again is None:
                self._asking_again = self._clock.callLater(ASK_AGAIN_S, self._ask_later)
            return
        if not possible:
            self.descriptors.close(descriptor)
            raise Refused("a lease that can't be")
        self._granting = grant.lease
        self._client.holder.lease_granted(grant.pool, grant.lease, descriptor, grant.service)
        self._granting = -1

    def lease_closed(self, lease: int) -> None:
        """A lease is over. One that was just granted could perhaps not be used, for want of another descriptor."""
        if lease == self._granting:
            self._client.spare.release_if_short()
        self.say(LeaseClosed(lease))

    def descriptor_lost(self) -> None:
        """See BoxConnection. The next one may be on its way already."""
        self._room = self._client.descriptor_lost() or self._room
        super().descriptor_lost()

    def _has_room(self) -> bool:
        """Whether descriptors were released for what is lost. Asked once: then others may have taken them."""
        room, self._room = self._room or self._client.descriptor_lost(), False
        return room

    def _ask_later(self) -> None:
        self._asking_again = None
        self._ask_again()

    def _ask_again(self) -> None:
        """See for the holder the grants that it will never see, and ask for others in their place."""
        missing, self._missing = self._missing, Counter()
        self._missed.update(missing)
        for pool in missing:
            standing = self._asks.pop(pool)
            self.ask(pool, standing)

    def _answer_received(self, box: Box) -> None:
        answered = self._questions.pop(box.get(ANSWER) or box.get(ERROR, b""), None)
        if answered is None:
            raise Refused("an answer to a question that nobody asked")
        text = error_text(box)
        if text is not None:
            answered.errback(Refused(text))
            return
        try:
            answer = decode_answer(box)
        except MalformedMessage as error:
            answered.errback(error)
            raise
        answered.callback(answer)

    def answering(self, answers: bool) -> None:
        """The acceptor hangs, or does so no more. Nothing can be done about it: it would not answer another connection."""
        self._client.acceptor_answering(answers, self.liveness.silent_s)

    def drop(self, reason: str) -> None:
        """See BoxConnection. To the acceptor it looks as if this process had died, but the leases may be in use for a while."""
        if not self.was_dropped:
            self._client.connection_dropped(self)
        super().drop(reason)

    def ended(self, reason: str) -> None:
        """The connection is gone."""
        if self._asking_again is not None:
            self._asking_again.cancel()
            self._asking_again = None
        questions, self._questions = self._questions, {}
        for answered in questions.values():
            answered.errback(ConnectionLost(reason))
        self._client.connection_ended(self, reason)
        tides, self._tides = self._tides, None
        if tides is not None:
            tides.close()
