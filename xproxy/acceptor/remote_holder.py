"""A proxy, as the acceptor sees it at the other end of the handoff socket.

Messages of the proxy become calls on its Holding, what the acceptor says becomes messages. See docs/architecture/handoff.md.
"""

from __future__ import annotations

from typing import Any, Callable, Collection, Dict, Optional, Sequence, Set, Tuple

from zope.interface import implementer

from ..handoff.board import ReceivedBoard
from ..handoff.boxes import Box
from ..handoff.connection import BoxConnection, Refused
from ..handoff.messages import (
    QUESTION,
    VERSION,
    Answered,
    Ask,
    Census,
    GiveBack,
    Grant,
    Hello,
    LeaseClosed,
    Recall,
    Registered,
    decode,
    encode,
    encode_answer,
    encode_error,
)
from ..handoff.pacing import Pacer
from ..interfaces import ILeaseHolder
from ..slots.book import BookError
from .acceptor import Acceptor, UnknownPool
from .holding import Holding

Arrivals = Tuple[float, ...]


def _recall_is_urgent(said: Arrivals, arrivals: Arrivals) -> bool:
    return not said and bool(arrivals)


@implementer(ILeaseHolder)
class RemoteHolder(BoxConnection):
    """One proxy's connection.

    :param clock: an IReactorTime.
    :param refused: told why, when the connection is cut for what the proxy did.
    """

    def __init__(self, acceptor: Acceptor, clock: Any, refused: Callable[[str], object]) -> None:
        super().__init__(clock)
        self._acceptor = acceptor
        self._clock = clock
        self._refused = refused
        self._holding: Optional[Holding] = None
        self._board: Optional[ReceivedBoard] = None
        self._recalls: Dict[str, Pacer[Arrivals]] = {}
        self._hello_tag = b""
        self._stopping = False

    # -- from the proxy

    def box_received(self, box: Box) -> None:
        """One message. Raises Refused or MalformedMessage."""
        message = decode(box)
        holding = self._holding
        if isinstance(message, Hello):
            self._hello(message, box[QUESTION])
        elif holding is None:
            raise Refused("it did not begin with Hello")
        elif isinstance(message, Census):
            self.send(encode_answer(box[QUESTION], self._acceptor.census()))
        else:
            try:
                if isinstance(message, Ask):
                    holding.ask(message.pool, message.arrivals, message.seen, message.more, message.question)
                elif isinstance(message, GiveBack):
                    holding.give_back(message.lease)
                elif isinstance(message, LeaseClosed):
                    holding.lease_closed(message.lease)
                else:
                    raise Refused("it sent what only an acceptor sends")
            except (BookError, UnknownPool) as error:
                raise Refused(str(error)) from error

    def _hello(self, hello: Hello, tag: bytes) -> None:
        if self._holding is not None:
            raise Refused("it said Hello twice")
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
        self.max_descriptors = 0
        self._hello_tag = tag
        self._holding = self._acceptor.hold(self, self._busy)
        self.acceptor_found()
        self._holding.say_registered()

    def _busy(self, leases: Collection[int]) -> Set[int]:
        assert self._board is not None
        return self._board.busy(leases)

    def ended(self, reason: str) -> None:
        """The connection is gone: so are the proxy's leases."""
        for pacer in self._recalls.values():
            pacer.stop()
        if self._holding is not None:
            self._holding.leave(alive=self.was_dropped)
        if self._board is not None:
            self._board.close()
        if not self._stopping and self.was_dropped:
            self._refused(reason)

    # -- from the acceptor

    def lease_granted(self, pool: str, lease: int, descriptor: int, service: str) -> None:
        """See ILeaseHolder."""
        self.send_with_descriptor(lambda ordinal: encode(Grant(pool, lease, service, ordinal)), descriptor)

    def leases_recalled(self, pool: str, arrivals: Sequence[float]) -> None:
        """See ILeaseHolder."""
        pacer = self._recalls.get(pool)
        if pacer is None:
            pacer = self._recalls[pool] = Pacer(self._clock, (), lambda said: self._say_recall(pool, said), _recall_is_urgent)
        pacer.say(tuple(arrivals))

    def _say_recall(self, pool: str, arrivals: Arrivals) -> None:
        self.send(encode(Recall(pool, arrivals)))

    def ask_answered(self, pool: str, question: int) -> None:
        """See ILeaseHolder."""
        self.send(encode(Answered(pool, question)))

    def service_registered(self, pool: str, registered: bool) -> None:
        """See ILeaseHolder."""
        self.send(encode(Registered(pool, int(registered))))

    def acceptor_found(self) -> None:
        """See ILeaseHolder: the answer to the proxy's Hello."""
        self.send(encode_answer(self._hello_tag, {"pools": list(self._acceptor.books)}))

    def acceptor_lost(self) -> None:
        """See ILeaseHolder: the acceptor stops, and the connection with it."""
        self._stopping = True
        self.drop("the acceptor stops")
