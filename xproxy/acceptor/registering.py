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

from ..config import Config, PoolConfig
from ..net.descriptors import unread
from ..net.keepalive import watch_peer
from ..net.peers import peer_host
from ..refusals import RefusalLog
from ..slots.access import allowed
from ..slots.preambles.preamble import PreambleError
from ..slots.preambles.registration import AUTO, AUTO_RAW_S, Registration, RegistrationParser, begins_preamble
from ..slots.serving.goodbye import is_goodbye
from ..slots.serving.refusal import looks_like_tls, refusal_response
from .acceptor import Acceptor
from .admission import pools_at, token_matches
from .parked import ParkedSlot

MAX_REGISTERING = 4096
"""Connections of one endpoint that have not registered yet; one more is refused. When an acceptor comes back, several
services of 1,000 slots dial at once."""

MAX_LINGERING = 256
"""Of these, refused ones that are told why and not yet gone; one more is closed without a word."""

LINGER_S = 2.0
"""How long a refused service may take to read why and close: no exchange, which gets more (nginx lingering_timeout 5s)."""

LINGER_BYTES = 64 * 1024
"""How much it may send meanwhile."""

SERVICE_NAME_BYTES = 200
"""A longer name of a service is cut, for status and logs; a handoff message takes 255."""

SILENT_REFUSALS = frozenset({"gone", "refused_transport"})
"""Refusals that nobody would hear of."""


def plain_socket(transport: Any) -> Optional[socket.socket]:
    """The socket of a transport whose bytes are what is on the wire; None for TLS and other wrappers, which can't be lent."""
    handle = transport.getHandle() if hasattr(transport, "getHandle") else None
    return handle if isinstance(handle, socket.socket) else None


class SlotConnection(Protocol):
    """One connection of a service, registering and then parked.

    :param peer: the address of the service's host; empty for a UNIX socket.
    :param names: the pools that its certificate is good for, the first of which it joins where it names none; None without
        TLS, when it may join those of its endpoint.
    :ivar on_lost: called when the connection is gone, or our copy of its descriptor is.
    """

    def __init__(self, factory: SlotFactory, peer: str, names: Optional[Sequence[str]] = None) -> None:
        self.on_lost: Callable[[], object] = lambda: None
        self._factory = factory
        self._peer = peer
        self._names = names
        self._parser: Optional[RegistrationParser] = None
        self._first = b""
        """The first bytes that came."""
        self._refused = False
        self._discarded = 0
        self._timer: Optional[IDelayedCall] = None
        self._slot: Optional[ParkedSlot] = None
        self._lent: Optional[socket.socket] = None

    @property
    def endpoint(self) -> str:
        """Where it came."""
        return self._factory.description

    @property
    def parked(self) -> Optional[ParkedSlot]:
        """What it has become; None while it has not registered."""
        return self._slot

    # -- registering

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
        if not factory.lets_in(self._peer, self._names):
            self._first = unread(self._lent, 2) or b""
            self._refuse("refused_address", "its address is not allowed")
            return
        self._parser = RegistrationParser(factory.mode)
        if self._parser.immediate is not None:
            self._register(self._parser.immediate)
        elif factory.mode == AUTO:
            self._timer = factory.clock.callLater(AUTO_RAW_S, self._silent)
        else:
            self._await_preamble()

    def _await_preamble(self) -> None:
        self._timer = self._factory.clock.callLater(self._factory.timeout_s, self._too_late)

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the preamble; or of a slot that is lent, or is idle and should be silent."""
        slot = self._slot
        if slot is not None:
            if slot.loan is not None:
                slot.loan.slot_received(data)
            else:
                self._factory.spoke(slot, data)
            return
        if self._refused:
            self._discard(data)
            return
        if self._parser is None:
            return
        self._first = self._first or data[:2]
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
            self._register(registration, self._register_anew)
        else:
            self._await_preamble()

    def _unread(self) -> bool:
        """Whether something waits to be read: the service was in time, but we were too busy to look, with a thousand others."""
        assert self._lent is not None
        return unread(self._lent) is not None

    def _too_late(self) -> None:
        self._timer = None
        self._refuse("timeout", "its preamble is not whole in time")

    def _register(self, registration: Registration, register_anew: Optional[Callable[[bytes], None]] = None) -> None:
        admitted = self._factory.admit(registration, self._peer, self._names)
        if not isinstance(admitted, PoolConfig):
            self._refuse(*admitted)
            return
        self._leave()
        assert self._lent is not None
        self._slot = self._factory.park(admitted, registration, self._peer, self.transport, self._lent, register_anew)

    def _register_anew(self, data: bytes) -> None:
        """This connection was taken for that of a raw service, and its preamble begins after all, with ``data``."""
        factory = self._factory
        self._slot = None
        factory.registering[self] = None
        self._parser = RegistrationParser(factory.mode)
        self._await_preamble()
        assert self._lent is not None
        self._lent.setblocking(False)
        transport: Any = self.transport
        transport.resumeProducing()
        if data:
            self.dataReceived(data)

    # -- refused

    def _refuse(self, result: str, reason: str) -> None:
        """The connection is no slot: say so to the service, if it can hear it, and close."""
        self._leave()
        factory = self._factory
        factory.count_refused(result, reason, self._peer)
        transport: Any = self.transport
        if result in SILENT_REFUSALS or looks_like_tls(self._first) or len(factory.lingering) >= MAX_LINGERING:
            transport.loseConnection()  # Nothing was written, so nothing can keep it open.
            return
        self._refused = True
        factory.lingering[self] = None
        self._timer = factory.clock.callLater(LINGER_S, self.close)
        transport.write(refusal_response(reason))
        # Not closed yet: where bytes are unread, that would send a reset, which overtakes the reason (RFC 9112 section 9.6).
        transport.loseWriteConnection()

    def _discard(self, data: bytes) -> None:
        """A refused service still sends."""
        self._discarded += len(data)
        if self._discarded > LINGER_BYTES:
            self.close()

    def _leave(self) -> None:
        """Not registering any more."""
        self._parser = None
        self._factory.registering.pop(self, None)
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def close(self) -> None:
        """The listener stops, or a refused service has had its time."""
        self._leave()
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone: by the service, or by us."""
        slot = self._slot
        self._factory.lingering.pop(self, None)
        if slot is not None:
            if slot.loan is not None:
                slot.loan.slot_lost()
            else:
                self._factory.hung_up(slot)
        elif self._parser is not None:
            self._leave()
            self._factory.count_refused("gone", "it hung up before it had registered", self._peer)
        else:
            self._leave()
        self.on_lost()


class SlotFactory(Factory):
    """What listens on one slots endpoint. Which pools it is for, and by which rules, is the configuration's to say each time.

    :param description: the endpoint, as the pools name it.
    :param secure: whether it is one of ``slots_tls``.
    :param clock: an IReactorTime.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self, acceptor: Acceptor, description: str, clock: Any, monotonic: Callable[[], float], secure: bool = False
    ) -> None:
        self.clock = clock
        self.registering: Dict[SlotConnection, None] = {}
        self.lingering: Dict[SlotConnection, None] = {}
        self.description = description
        self._acceptor = acceptor
        self._secure = secure
        self._known: Optional[Tuple[Config, Tuple[PoolConfig, ...]]] = None
        self._refusals = RefusalLog(self._log, monotonic)

    @property
    def pools(self) -> Tuple[PoolConfig, ...]:
        """The pools that list this endpoint; a preamble may name any of them, one that names none is for the first."""
        config = self._acceptor.config
        if self._known is None or self._known[0] is not config:
            self._known = (config, pools_at(config, self.description, self._secure))
        return self._known[1]

    @property
    def mode(self) -> str:
        """How services register here: auto, raw, mxproxy or proxy."""
        pools = self.pools
        return pools[0].registration if pools else AUTO

    @property
    def timeout_s(self) -> float:
        """How long a preamble may take, in seconds."""
        return self._acceptor.config.acceptor.registration_timeout

    # -- connections

    def buildProtocol(self, addr: Optional[IAddress]) -> Optional[SlotConnection]:
        """A connection, unless too many are registering."""
        return self.connection(peer_host(addr))

    def lets_in(self, peer: str, names: Optional[Sequence[str]] = None) -> bool:
        """Whether somebody at this address may register in any of the pools."""
        return not peer or any(allowed(peer, pool.allow) for pool in self._open_to(names))

    def connection(self, peer: str, names: Optional[Sequence[str]] = None) -> Optional[SlotConnection]:
        """A connection that may join these pools of this endpoint; None, which is counted, when too many are registering."""
        if len(self.registering) < MAX_REGISTERING:
            return SlotConnection(self, peer, names)
        self.count_refused("too_many", f"{MAX_REGISTERING} connections are registering", peer)
        return None

    def close(self) -> None:
        """Close every connection that has not registered."""
        connections: List[SlotConnection] = [*self.registering, *self.lingering]
        for connection in connections:
            connection.close()

    def _open_to(self, names: Optional[Sequence[str]]) -> List[PoolConfig]:
        """The pools of this endpoint that a connection may join, in the order of ``names``."""
        if names is None:
            return list(self.pools)
        return [pool for name in names for pool in self.pools if pool.name == name]

    # -- from a connection

    def admit(
        self, registration: Registration, peer: str, names: Optional[Sequence[str]]
    ) -> Union[PoolConfig, Tuple[str, str]]:
        """The pool that this slot joins; or why it may not, as a result for the counts and a reason for the log.

        :param names: see SlotConnection.
        """
        pools = self._open_to(names)
        pool = next((pool for pool in pools if not registration.pool or pool.name == registration.pool), None)
        if pool is None:
            if any(pool.name == registration.pool for pool in self.pools):
                return "refused_certificate", "its certificate is not good for the pool it names"
            return "refused_pool", "the pool it names is not served here"
        if peer and not allowed(peer, pool.allow):
            return "refused_address", "its address is not allowed"
        if registration.address is not None and not allowed(registration.address[0], pool.allow):
            return "refused_address", "the address in its preamble is not allowed"
        if not token_matches(pool, registration.token or b""):
            return "refused_token", "its token is not the pool's"
        if self._acceptor.book(pool.name).registered >= pool.max_slots:
            return "too_many", f"the pool has {pool.max_slots} slots"
        return pool

    def park(
        self,
        pool: PoolConfig,
        registration: Registration,
        peer: str,
        transport: Any,
        lent: socket.socket,
        register_anew: Optional[Callable[[bytes], None]],
    ) -> ParkedSlot:
        """A slot has registered."""
        self._acceptor.registrations[pool.name, "ok"] += 1
        return self._acceptor.park(pool.name, service_name(registration, peer), transport, lent, register_anew)

    def count_refused(self, result: str, reason: str, peer: str) -> None:
        """A connection was refused: count it, and say so, not too often."""
        pools = self.pools
        pool, peer = pools[0].name if pools else "", peer or "unix"
        self._acceptor.registrations[pool, result] += 1
        self._refusals.say("pool {pool}: a slot from {peer} was refused: {reason}", pool=pool, peer=peer, reason=reason)

    def spoke(self, slot: ParkedSlot, data: bytes) -> None:
        """An idle slot sent something: its preamble after all, or its end, polite or not."""
        if slot.register_anew is not None and begins_preamble(data):
            self._acceptor.introduced(slot, data)
            return
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
