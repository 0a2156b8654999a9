"""Where services register: the factory and protocol of a slots endpoint.

A connection is checked (address, preamble, token, room) and then parked at the acceptor; from then on the protocol only passes
on that its service spoke or hung up. What a preamble looks like is in the pure ``slots.registration``.
"""

from __future__ import annotations

import socket
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..config import PoolConfig
from ..net.descriptors import unread
from ..net.keepalive import watch_peer
from ..net.peers import peer_host
from ..refusals import RefusalLog
from ..slots.access import allowed
from ..slots.goodbye import is_goodbye
from ..slots.preamble import PreambleError
from ..slots.registration import AUTO_RAW_S, Registration, RegistrationParser
from .acceptor import Acceptor
from .admission import token_matches
from .parked import ParkedSlot

MAX_REGISTERING = 4096
"""Connections of one endpoint that have not registered yet; one more is refused. When an acceptor comes back, several
services of 1,000 slots dial at once."""

SERVICE_NAME_BYTES = 200
"""A longer name of a service is cut, for status and logs; a handoff message takes 255."""


def plain_socket(transport: Any) -> Optional[socket.socket]:
    """The socket of a transport whose bytes are what is on the wire; None for TLS and other wrappers, which can't be lent."""
    handle = transport.getHandle() if hasattr(transport, "getHandle") else None
    return handle if isinstance(handle, socket.socket) else None


class SlotConnection(Protocol):
    """One connection of a service, registering and then parked.

    :param peer: the address of the service's host; empty for a UNIX socket.
    :param pools: the pools that it may join; it is for the first one where it names none.
    :ivar on_lost: called when the connection is gone, or our copy of its descriptor is.
    """

    def __init__(self, factory: SlotFactory, peer: str, pools: Sequence[PoolConfig]) -> None:
        self.on_lost: Callable[[], object] = lambda: None
        self._factory = factory
        self._peer = peer
        self._pools = pools
        self._parser: Optional[RegistrationParser] = None
        self._timer: Optional[IDelayedCall] = None
        self._slot: Optional[ParkedSlot] = None
        self._lent: Optional[socket.socket] = None

    @property
    def parked(self) -> Optional[ParkedSlot]:
        """What it has become; None while it has not registered."""
        return self._slot

    def connectionMade(self) -> None:
        """Connected: the preamble comes, or nothing."""
        factory = self._factory
        factory.registering[self] = None
        transport: Any = self.transport
        self._lent = plain_socket(transport)
        if self._lent is None:
            self._refuse("refused_transport", "slots over this kind of connection can't be lent")
            return
        try:
            watch_peer(self._lent)
        except OSError:
            self._refuse("gone", "it hung up")
            return
        self._parser = RegistrationParser(factory.mode)
        if self._parser.immediate is not None:
            self._register(self._parser.immediate)
        elif factory.mode == "auto":
            self._timer = factory.clock.callLater(AUTO_RAW_S, self._silent)
        else:
            self._timer = factory.clock.callLater(factory.timeout_s, self._too_late)

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the preamble; or of a slot that is idle and should be silent."""
        if self._slot is not None:
            self._factory.spoke(self._slot, data)
            return
        if self._parser is None:
            return
        try:
            found = self._parser.feed(data)
        except PreambleError as error:
            self._refuse("bad_preamble", str(error))
            return
        if found is not None:
            registration, rest = found
            if rest:
                self._refuse("bad_preamble", "bytes after the preamble")
            else:
                self._register(registration)

    def _silent(self) -> None:
        """Nothing came in the time that an automatic listener waits for a preamble to begin."""
        self._timer = None
        assert self._parser is not None
        registration = None if self._unread() else self._parser.silent()
        if registration is not None:
            self._register(registration)
        else:
            self._timer = self._factory.clock.callLater(self._factory.timeout_s, self._too_late)

    def _unread(self) -> bool:
        """Whether something waits to be read: the service was in time, but we were too busy to look, with a thousand others."""
        assert self._lent is not None
        return unread(self._lent) is not None

    def _too_late(self) -> None:
        self._timer = None
        self._refuse("timeout", "its preamble is not whole in time")

    def _register(self, registration: Registration) -> None:
        admitted = self._factory.admit(registration, self._peer, self._pools)
        if not isinstance(admitted, PoolConfig):
            self._refuse(*admitted)
            return
        self._leave()
        assert self._lent is not None
        self._slot = self._factory.park(admitted, registration, self._peer, self.transport, self._lent)

    def _refuse(self, result: str, reason: str) -> None:
        self._leave()
        self._factory.count_refused(result, reason, self._peer)
        transport: Any = self.transport
        transport.loseConnection()  # Nothing was written, so nothing can keep it open.

    def _leave(self) -> None:
        """Not registering any more."""
        self._parser = None
        self._factory.registering.pop(self, None)
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """The listener stops: a connection that has not registered is closed."""
        self._leave()
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone: by the service, or by us."""
        if self._slot is not None:
            self._factory.hung_up(self._slot)
        elif self._parser is not None:
            self._leave()
            self._factory.count_refused("gone", "it hung up before it had registered", self._peer)
        self.on_lost()


class SlotFactory(Factory):
    """What listens on one slots endpoint.

    :param pools: the pools that list this endpoint; a preamble may name any of them, one that names none is for the first.
    :param mode: how services register here: auto, raw, mxproxy or proxy.
    :param timeout_s: how long a preamble may take, in seconds.
    :param clock: an IReactorTime.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        acceptor: Acceptor,
        pools: Sequence[PoolConfig],
        mode: str,
        timeout_s: float,
        clock: Any,
        monotonic: Callable[[], float],
    ) -> None:
        self.mode = mode
        self.timeout_s = timeout_s
        self.clock = clock
        self.registering: Dict[SlotConnection, None] = {}
        self._acceptor = acceptor
        self._pools = tuple(pools)
        self._refusals = RefusalLog(self._log, monotonic)

    # -- connections

    def buildProtocol(self, addr: Optional[IAddress]) -> Optional[SlotConnection]:
        """A connection, unless its peer may not register in any pool of this endpoint, or too many are registering."""
        peer = peer_host(addr)
        return self.connection(peer, self._pools) if self.lets_in(peer) else None

    def lets_in(self, peer: str) -> bool:
        """Whether somebody at this address may register in any pool; else it is counted."""
        if not peer or any(allowed(peer, pool.allow) for pool in self._pools):
            return True
        self.count_refused("refused_address", "its address is not allowed", peer)
        return False

    def connection(self, peer: str, pools: Sequence[PoolConfig]) -> Optional[SlotConnection]:
        """A connection that may join some pools of this endpoint; None, which is counted, when too many are registering."""
        if len(self.registering) < MAX_REGISTERING:
            return SlotConnection(self, peer, pools)
        self.count_refused("too_many", f"{MAX_REGISTERING} connections are registering", peer)
        return None

    def close(self) -> None:
        """Close every connection that has not registered."""
        connections: List[SlotConnection] = list(self.registering)
        for connection in connections:
            connection.close()

    # -- from a connection

    def admit(self, registration: Registration, peer: str, pools: Sequence[PoolConfig]) -> Union[PoolConfig, Tuple[str, str]]:
        """The pool that this slot joins; or why it may not, as a result for the counts and a reason for the log.

        :param pools: those that it may join.
        """
        pool = next((pool for pool in pools if not registration.pool or pool.name == registration.pool), None)
        if pool is None:
            if any(pool.name == registration.pool for pool in self._pools):
                return "refused_certificate", "its certificate is not good for the pool it names"
            return "refused_pool", "the pool it names is not served here"
        if peer and not allowed(peer, pool.allow):
            return "refused_address", "its address is not allowed"
        if registration.address is not None and not allowed(registration.address[0], pool.allow):
            return "refused_address", "the address in its preamble is not allowed"
        if not token_matches(pool, registration.token or b""):
            return "refused_token", "its token is not the pool's"
        if self._acceptor.books[pool.name].registered >= pool.max_slots:
            return "too_many", f"the pool has {pool.max_slots} slots"
        return pool

    def park(self, pool: PoolConfig, registration: Registration, peer: str, transport: Any, lent: socket.socket) -> ParkedSlot:
        """A slot has registered."""
        self._acceptor.registrations[pool.name, "ok"] += 1
        return self._acceptor.park(pool.name, service_name(registration, peer), transport, lent)

    def count_refused(self, result: str, reason: str, peer: str) -> None:
        """A connection was refused: count it, and say so, not too often."""
        pool, peer = self._pools[0].name, peer or "unix"
        self._acceptor.registrations[pool, result] += 1
        self._refusals.say("pool {pool}: a slot from {peer} was refused: {reason}", pool=pool, peer=peer, reason=reason)

    def spoke(self, slot: ParkedSlot, data: bytes) -> None:
        """An idle slot sent something: that ends it, politely or not."""
        if is_goodbye(data):
            self._acceptor.lose(slot, "closing")
            return
        self._refusals.say(
            "pool {pool}: a slot of {service} sent bytes that nobody asked for", pool=slot.pool, service=slot.service
        )
        self._acceptor.lose(slot, "unasked")

    def hung_up(self, slot: ParkedSlot) -> None:
        """A parked slot's connection is gone."""
        self._acceptor.lose(slot, "ended")


def service_name(registration: Registration, peer: str) -> str:
    """Whose slot it is, for status and logs: what it calls itself, else the address in its preamble, else its peer's."""
    if registration.instance:
        name = registration.instance
    elif registration.address is not None:
        name = registration.address[0]
    else:
        name = peer or "unix"
    return name.encode("utf-8", "replace")[:SERVICE_NAME_BYTES].decode("utf-8", "ignore")
