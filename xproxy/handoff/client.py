"""A proxy's end of the handoff socket: a slot source behind which is an acceptor in another process.

It dials, says Hello with a new board, and turns messages into calls on the proxy, and the proxy's calls into messages. When the
acceptor is lost it dials again, for as long as the service runs. See docs/architecture/handoff.md.
"""

from __future__ import annotations

from random import random
from typing import Any, Callable, Dict, MutableSequence, Optional

from twisted.application.internet import ClientService, backoffPolicy
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..interfaces import BOARD_BYTES, ILeaseHolder, ISlotSource
from ..net.descriptors import descriptors_of
from ..slots.tides import ASHORE, Tide, Tides
from .acceptor_connection import AcceptorConnection, Standing
from .messages import MAX_SPOKEN_BYTES, GiveBack, SlotSpoke
from .path import check_acceptor
from .spare import SHORTAGES, SpareDescriptors

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0
"""Between two attempts to dial the acceptor: a restart takes about a second, and a UNIX socket costs nothing to try."""

SETTLE_S = 5.0
"""How long the successor of an acceptor is waited for at the end: as long as that waits for who has its slots."""

SETTLE_LOOK_S = 0.02
"""Between two looks whether it is there."""

SAY_LOST_S = 60.0
"""How often it is said."""


def redial_delay(random: Callable[[], float] = random) -> Callable[[int], float]:
    """The delay before each attempt, in seconds, by its number; random in part, so that many proxies do not come at once."""
    return backoffPolicy(FIRST_DELAY_S, LONGEST_DELAY_S, jitter=lambda: random() * FIRST_DELAY_S)


class _Dialled(Factory):
    """Makes the connections of a client."""

    noisy = False

    def __init__(self, make: Callable[[], AcceptorConnection]) -> None:
        self._make = make

    def buildProtocol(self, addr: Optional[IAddress]) -> AcceptorConnection:
        return self._make()


@implementer(IStreamClientEndpoint)
class _Dialling:
    """Dials; when there is no descriptor to dial with, the next attempt will have a spare one."""

    def __init__(self, endpoint: IStreamClientEndpoint, spare: SpareDescriptors) -> None:
        self._endpoint = endpoint
        self._spare = spare

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See IStreamClientEndpoint."""
        dialled: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return dialled.addErrback(self._failed)

    def _failed(self, failure: Failure) -> Failure:
        if failure.check(OSError) and getattr(failure.value, "errno", None) in SHORTAGES:
            self._spare.release()
        return failure


@implementer(ISlotSource)
class HandoffClient(Service):
    """The slot source of a proxy whose acceptor is another process.

    :param path: the handoff socket.
    :param holder: the proxy.
    :param retry_policy: the delay before each attempt to dial, by its number; ``redial_delay`` unless a test knows better.
    :param endpoint: dials, where there is no path to dial; ``path`` is what messages call the acceptor then.
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
        endpoint: Optional[IStreamClientEndpoint] = None,
    ) -> None:
        self.board: MutableSequence[int] = bytearray(BOARD_BYTES)
        self.holder = holder
        self.looks = True
        """It is no start without an acceptor; else one may come later."""
        self.spare = SpareDescriptors(reactor)
        self._clock = reactor
        self._said_lost_at = float("-inf")
        self._path = path
        self._has_path = endpoint is None
        self._connection: Optional[AcceptorConnection] = None
        self._asks: Dict[str, Standing] = {}
        self._tides: Optional[Tides] = None
        self._lost = self._moving = False
        self.expects_successor = False
        """The acceptor was taken over, and another one is to be dialled."""
        self._attempts = 0
        self._delay = retry_policy or redial_delay()
        self._dialling = ClientService(
            _Dialling(endpoint or UNIXClientEndpoint(reactor, path), self.spare),
            _Dialled(lambda: AcceptorConnection(self, reactor)),
            retryPolicy=lambda _: self._next_delay(),
            clock=reactor,
        )

    def _next_delay(self) -> float:
        """Not by ClientService's count: a connection that was made but whose Hello was not answered is a failure too."""
        if self._moving:
            self._moving = False
            return 0.0
        self._attempts += 1
        return self._delay(self._attempts)

    # -- the service

    def privilegedStartService(self) -> None:
        """Look whether there is an acceptor to dial. Raises StartupError."""
        super().privilegedStartService()
        if self._has_path and self.looks:
            check_acceptor(self._path)

    def startService(self) -> None:
        """Dial, and go on dialling."""
        super().startService()
        self.spare.fill()
        self._dialling.startService()

    def stopService(self) -> Deferred[None]:
        """Hang up; the acceptor takes back what this proxy leases."""
        super().stopService()
        self.spare.stop()
        if self._connection is not None:
            self._connection.drop("this proxy stops")  # Not waiting until an acceptor reads that is perhaps stuck.
        return self._dialling.stopService()

    def settled(self) -> Deferred[None]:
        """Fires when the successor of an acceptor that was taken over was offered what this proxy leases, or does not come.

        A proxy that ends is to wait for it: what nobody was offered would be closed. It fires at once where none is awaited.
        """
        done: Deferred[None] = Deferred()
        latest = self._clock.seconds() + SETTLE_S

        def look() -> None:
            connection = self._connection
            waits = self.expects_successor if connection is None else connection.has_unwritten
            if waits and self.running and self._clock.seconds() < latest:
                self._clock.callLater(SETTLE_LOOK_S, look)
            else:
                done.callback(None)

        look()
        return done

    # -- from the connection

    def connection_found(self, connection: AcceptorConnection, board: MutableSequence[int], tides: Tides) -> None:
        """An acceptor has answered Hello."""
        self._connection = connection
        self._tides = tides
        self._attempts = 0
        self.expects_successor = False
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

    def descriptor_lost(self) -> bool:
        """A lease came without its descriptor; gives whether there are descriptors for the next."""
        now = self._clock.seconds()
        if now - self._said_lost_at >= SAY_LOST_S:
            self._said_lost_at = now
            self._log.warn("no descriptor is left to receive a lease with: its slot is closed")
        return bool(self.running) and self.spare.release() > 0

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
            self._forget_connection()

    def acceptor_moves(self, connection: AcceptorConnection) -> None:
        """Another acceptor takes over: nothing is said to this one any more, and its successor is dialled at once."""
        self._log.info("the acceptor at {path} is taken over: dialling its successor", path=self._path)
        self._lost = self._moving = self.expects_successor = True
        self._forget_connection()

    def _forget_connection(self) -> None:
        self._connection = self._tides = None
        self.board = bytearray(BOARD_BYTES)
        # What was seen was seen of that connection's grants.
        self._asks = {pool: (waiting, 0, question) for pool, (waiting, _, question) in self._asks.items() if waiting}
        self.holder.acceptor_lost()

    # -- ISlotSource

    def tide(self, pool: str) -> Tide:
        """See ISlotSource. Without an acceptor nobody knows of each other."""
        return ASHORE if self._tides is None else self._tides.tide(pool)

    def ask(self, pool: str, waiting: int, seen: int, question: int = 0) -> None:
        """See ISlotSource. Without an acceptor it is remembered, until there is one."""
        standing = (waiting, seen, question)
        self._asks[pool] = standing
        if self._connection is not None:
            self._connection.ask(pool, standing)

    def offer(self, pool: str, descriptor: int, service: str, busy: bool) -> int:
        """See ISlotSource."""
        connection = self._connection
        if connection is None:
            descriptors_of(self._clock).close(descriptor)
            raise OSError("no acceptor answers")
        lease = connection.offer(pool, descriptor, service)
        self.board[lease] = int(busy)  # Nothing is written before the next turn of the reactor.
        return lease

    def give_back(self, lease: int) -> None:
        """See ISlotSource. Nothing happens without an acceptor: it has taken its leases with it."""
        if self._connection is not None:
            self._connection.say(GiveBack(lease))

    def lease_closed(self, lease: int) -> None:
        """See ISlotSource. Nothing happens without an acceptor."""
        if self._connection is not None:
            self._connection.lease_closed(lease)

    def spoke(self, lease: int, data: bytes) -> None:
        """See ISlotSource. Nothing happens without an acceptor."""
        if self._connection is not None:
            self._connection.say(SlotSpoke(lease, data[:MAX_SPOKEN_BYTES]))

    def census(self) -> Deferred[dict[str, Any]]:
        """See ISlotSource. Fails with ConnectionLost."""
        if self._connection is None:
            return fail(ConnectionLost("no acceptor answers"))
        return self._connection.census()
