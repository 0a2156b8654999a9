"""A proxy's end of the handoff socket: a slot source behind which is an acceptor in another process.

It dials, says Hello with a new board, and turns messages into calls on the proxy, and the proxy's calls into messages. When the
acceptor is lost it dials again, for as long as the service runs. See docs/architecture/handoff.md.
"""

from __future__ import annotations

from itertools import count
from random import random
from typing import Any, Callable, Dict, MutableSequence, Optional, Sequence, Tuple

from twisted.application.internet import ClientService, backoffPolicy
from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError, fail
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..interfaces import BOARD_BYTES, ILeaseHolder, ISlotSource
from .board import make_board
from .boxes import Box
from .connection import BoxConnection, Refused
from .messages import (
    ANSWER,
    ERROR,
    MAX_SPOKEN_BYTES,
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
    MalformedMessage,
    Message,
    RecallDone,
    ServiceRegistered,
    SlotSpoke,
    decode,
    decode_answer,
    encode,
    error_text,
)
from .pacing import Pacer
from .path import check_acceptor

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0
"""Between two attempts to dial the acceptor: a restart takes about a second, and a UNIX socket costs nothing to try."""

HELLO_S = 10.0
"""How long an acceptor may take to answer Hello; it has nothing to wait for."""

MAX_BOX_BYTES = 16 << 20
"""The longest answer taken: a census of 16,384 services (100 bytes each) in ten pools."""

Standing = Tuple[Tuple[float, ...], int, int, int]
"""A standing ask: the arrivals, how many grants had been seen, how many more wait, the question."""

NOTHING_ASKED: Standing = ((), 0, 0, 0)


def redial_delay(random: Callable[[], float] = random) -> Callable[[int], float]:
    """The delay before each attempt, in seconds, by its number; random in part, so that many proxies do not come at once."""
    return backoffPolicy(FIRST_DELAY_S, LONGEST_DELAY_S, jitter=lambda: random() * FIRST_DELAY_S)


def _ask_is_urgent(said: Standing, standing: Standing) -> bool:
    """Somebody more waits than the acceptor knows of, which has struck one for each grant: an idle slot may be there for it."""
    granted = standing[1] - said[1]
    return len(standing[0]) + standing[2] > len(said[0]) + said[2] - granted


class AcceptorConnection(BoxConnection):
    """One connection to an acceptor, from Hello on. Belongs to a HandoffClient."""

    max_box_bytes = MAX_BOX_BYTES
    max_descriptors = 4096

    def __init__(self, client: HandoffClient, clock: Any) -> None:
        super().__init__(clock)
        self._client = client
        self._clock = clock
        self._tags = count(1)
        self._questions: Dict[bytes, Deferred[Any]] = {}
        self._asks: Dict[str, Pacer[Standing]] = {}

    def connectionMade(self) -> None:
        """Connected: say Hello."""
        super().connectionMade()
        try:
            descriptor, board = make_board(self.descriptors)
        except OSError as error:
            self.drop(f"no board can be made: {error}")
            return
        tag, answered = self._question()
        answered.addTimeout(HELLO_S, self._clock)
        # The board is passed on and not kept: it is to be freed with the last lease that was granted under it.
        answered.addCallbacks(self._hello_answered, self._hello_failed, callbackArgs=(board,))
        self.send_with_descriptor(lambda ordinal: encode(Hello(VERSION, ordinal), tag), descriptor)

    def _hello_answered(self, answer: Any, board: MutableSequence[int]) -> None:
        self.liveness.start()
        self._client.connection_found(self, board)

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
        """Say the standing ask of a pool, now or soon."""
        pacer = self._asks.get(pool)
        if pacer is None:
            pacer = self._asks[pool] = Pacer(
                self._clock, NOTHING_ASKED, lambda said: self.say(Ask(pool, *said)), _ask_is_urgent
            )
        if standing != pacer.newest:
            pacer.say(standing)

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
            descriptor = self.claim(message.slot)
            if message.lease >= BOARD_BYTES or message.pool not in self._asks:
                self.descriptors.close(descriptor)
                raise Refused("a lease that can't be")
            self._client.holder.lease_granted(message.pool, message.lease, descriptor, message.service)
        elif isinstance(message, LeasesRecalled) and message.pool in self._asks:
            self._client.holder.leases_recalled(message.pool, message.arrivals, message.more)
            if message.number:
                self.say(RecallDone(message.pool, message.number))
        elif isinstance(message, LeaseAskedBack) and message.pool in self._asks:
            self._client.holder.lease_asked_back(message.pool, message.lease)
        elif isinstance(message, AskAnswered) and message.pool in self._asks:
            self._client.holder.ask_answered(message.pool, message.question)
        elif isinstance(message, ServiceRegistered):
            self._client.holder.service_registered(message.pool, bool(message.registered))
        else:
            raise Refused("a message that no acceptor has to send now")

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
        for pacer in self._asks.values():
            pacer.stop()
        questions, self._questions = self._questions, {}
        for answered in questions.values():
            answered.errback(ConnectionLost(reason))
        self._client.connection_ended(self, reason)


class _Dialled(Factory):
    """Makes the connections of a client."""

    noisy = False

    def __init__(self, make: Callable[[], AcceptorConnection]) -> None:
        self._make = make

    def buildProtocol(self, addr: Optional[IAddress]) -> AcceptorConnection:
        return self._make()


@implementer(ISlotSource)
class HandoffClient(Service):
    """The slot source of a proxy whose acceptor is another process.

    :param path: the handoff socket.
    :param holder: the proxy.
    :param retry_policy: the delay before each attempt to dial, by its number; ``redial_delay`` unless a test knows better.
    :ivar board: the board of the current connection, a new object for each: an exchange that began under an older board goes on
        writing to that one, where it counts nowhere.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        path: str,
        holder: ILeaseHolder,
        retry_policy: Optional[Callable[[int], float]] = None,
    ) -> None:
        self.board: MutableSequence[int] = bytearray(BOARD_BYTES)
        self.holder = holder
        self._path = path
        self._connection: Optional[AcceptorConnection] = None
        self._asks: Dict[str, Standing] = {}
        self._lost = False
        self._attempts = 0
        self._delay = retry_policy or redial_delay()
        self._dialling = ClientService(
            UNIXClientEndpoint(reactor, path),
            _Dialled(lambda: AcceptorConnection(self, reactor)),
            retryPolicy=lambda _: self._next_delay(),
            clock=reactor,
        )

    def _next_delay(self) -> float:
        """Not by ClientService's count: a connection that was made but whose Hello was not answered is a failure too."""
        self._attempts += 1
        return self._delay(self._attempts)

    # -- the service

    def privilegedStartService(self) -> None:
        """Look whether there is an acceptor to dial. Raises StartupError."""
        super().privilegedStartService()
        check_acceptor(self._path)

    def startService(self) -> None:
        """Dial, and go on dialling."""
        super().startService()
        self._dialling.startService()

    def stopService(self) -> Deferred[None]:
        """Hang up; the acceptor takes back what this proxy leases."""
        super().stopService()
        if self._connection is not None:
            self._connection.drop("this proxy stops")  # Not waiting until an acceptor reads that is perhaps stuck.
        return self._dialling.stopService()

    # -- from the connection

    def connection_found(self, connection: AcceptorConnection, board: MutableSequence[int]) -> None:
        """An acceptor has answered Hello."""
        self._connection = connection
        self._attempts = 0
        self.board = board
        if self._lost:
            self._log.info("the acceptor at {path} is back", path=self._path)
            self._lost = False
        self.holder.acceptor_found()
        for pool, standing in list(self._asks.items()):
            connection.ask(pool, standing)

    @property
    def answers(self) -> bool:
        """See ISlotSource."""
        return self._connection is not None and self._connection.liveness.answers

    def acceptor_answering(self, answers: bool, silent_s: float) -> None:
        """The acceptor hangs, or does so no more."""
        if answers:
            self._log.info("the acceptor at {path} answers again", path=self._path)
        else:
            self._log.warn(
                "the acceptor at {path} has not answered for {seconds:.0f} s: only leases that are here can be used",
                path=self._path,
                seconds=silent_s,
            )

    def connection_dropped(self, connection: AcceptorConnection) -> None:
        """We are about to cut the connection: say that every lease is in use, so that the acceptor gives none to others.

        Unless this proxy stops: then it uses none any more, and the acceptor may have them back.
        """
        if connection is self._connection and self.running:
            self.board[:] = b"\1" * BOARD_BYTES

    def connection_ended(self, connection: AcceptorConnection, reason: str) -> None:
        """A connection is gone, or came to nothing."""
        found = connection is self._connection
        if (found or not self._lost) and self.running:
            self._lost = True
            self._log.warn("the acceptor at {path} is lost ({reason}): dialling it again", path=self._path, reason=reason)
        if found:
            self._connection = None
            self.board = bytearray(BOARD_BYTES)
            # What was seen was seen of that connection's grants.
            self._asks = {pool: (asked[0], 0, *asked[2:]) for pool, asked in self._asks.items() if asked[0]}
            self.holder.acceptor_lost()

    # -- ISlotSource

    def ask(self, pool: str, arrivals: Sequence[float], seen: int, more: int = 0, question: int = 0) -> None:
        """See ISlotSource. Without an acceptor it is remembered, until there is one."""
        standing = (tuple(arrivals), seen, more, question)
        self._asks[pool] = standing
        if self._connection is not None:
            self._connection.ask(pool, standing)

    def give_back(self, lease: int) -> None:
        """See ISlotSource. Nothing happens without an acceptor: it has taken its leases with it."""
        if self._connection is not None:
            self._connection.say(GiveBack(lease))

    def lease_closed(self, lease: int) -> None:
        """See ISlotSource. Nothing happens without an acceptor."""
        if self._connection is not None:
            self._connection.say(LeaseClosed(lease))

    def spoke(self, lease: int, data: bytes) -> None:
        """See ISlotSource. Nothing happens without an acceptor."""
        if self._connection is not None:
            self._connection.say(SlotSpoke(lease, data[:MAX_SPOKEN_BYTES]))

    def census(self) -> Deferred[dict[str, Any]]:
        """See ISlotSource. Fails with ConnectionLost."""
        if self._connection is None:
            return fail(ConnectionLost("no acceptor answers"))
        return self._connection.census()
