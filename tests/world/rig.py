"""A whole proxy in memory: a slot source, a ``ProxyService`` and clients, in the hands of a test."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Mapping, MutableSequence, Optional, Sequence, Tuple, Union

import attr
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides, implementer, providedBy

from tests.doubles.memory_log import MemoryLog
from tests.world.descriptors import make_pair
from tests.world.peers import Peer
from tests.world.reactor import LoopReactor
from tests.world.sockets import CAPACITY, MEMORY
from xproxy import config as cfg
from xproxy.http1.request import RequestHead, parse_request_head
from xproxy.interfaces import ILeaseHolder, ISlotSource
from xproxy.net.bodies.blocks import BLOCK_BYTES
from xproxy.net.descriptors import descriptors_of, unread
from xproxy.proxy.clients.connection import ClientConnection
from xproxy.proxy.exchanges.pool import Pool
from xproxy.proxy.proxy_service import ProxyService
from xproxy.proxy.requests.access_log import AccessLog
from xproxy.slots.preambles.registration import begins_preamble
from xproxy.slots.tides import TABLE_BYTES, Tide, Tides, TideTable

GET = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def post(body: bytes, *fields: bytes, method: bytes = b"POST") -> bytes:
    """A request with a body of known length."""
    head = [method + b" / HTTP/1.1", b"Host: example.com", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def make_config(
    pool: Optional[Mapping[str, Any]] = None,
    routes: Sequence[cfg.RouteConfig] = (cfg.RouteConfig(),),
    limits: Optional[Mapping[str, Any]] = None,
    timeouts: Optional[Mapping[str, Any]] = None,
    proxy: Optional[Mapping[str, Any]] = None,
    pools: Sequence[str] = (),
    guards: Optional[Mapping[str, cfg.GuardConfig]] = None,
) -> cfg.Config:
    """A configuration that listens nowhere. ``pools``: further ones, beside ``default``."""
    made = {name: cfg.PoolConfig(name, **(pool or {})) for name in (cfg.DEFAULT_POOL, *pools)}
    quiet = {"http": (), "access_log": "none", **(proxy or {})}
    return cfg.Config(
        proxy=cfg.ProxyConfig(**quiet),
        limits=cfg.LimitsConfig(**(limits or {})),
        timeouts=cfg.TimeoutsConfig(**(timeouts or {})),
        pools=made,
        routes=tuple(routes),
        guards=guards or {},
    )


@attr.define(eq=False)
class Parked:
    """A slot as its acceptor has it: a copy of the proxy's end, and the service at the other."""

    copy: Any
    service: Peer
    name: str
    pool: str


@implementer(ISlotSource)
class Source:
    """A slot source that grants when the test says so, or (``generous``) whenever it is asked and has a slot."""

    def __init__(self, reactor: LoopReactor, kind: str) -> None:
        self.board: MutableSequence[int] = bytearray(64)
        self.holder: Optional[ILeaseHolder] = None
        self.answers = True
        self.kind = kind
        self.generous = False
        self.answers = True
        """Whether questions are answered, at once."""
        self.questions: List[int] = []
        self.asks: List[Tuple[str, int, int]] = []
        self.given_back: List[int] = []
        self.closed: List[int] = []
        self.spoken: List[Tuple[int, bytes]] = []
        """What slots with a free lease have sent: where it is no preamble, they are closed."""
        self.anew: List[Parked] = []
        self.ring: List[Parked] = []
        self.leases: Dict[int, Parked] = {}
        self.unmet: Dict[str, int] = {}
        self._reactor = reactor
        table = TideTable(bytearray(TABLE_BYTES))
        self._tides = Tides(table.memory, table.join())
        self._others = Tides(table.memory, table.join())
        for pool in ("default", "other"):
            self._tides.put(pool, table.place(pool))
            self._others.put(pool, table.place(pool))

    # -- ISlotSource

    def tide(self, pool: str) -> Tide:
        return self._tides.tide(pool)

    def ask(self, pool: str, waiting: int, seen: int, question: int = 0) -> None:
        self.asks.append((pool, waiting, seen))
        self.unmet[pool] = waiting
        while self.generous and self.unmet[pool] and any(parked.pool == pool for parked in self.ring):
            self.grant(pool=pool)
        if question:
            self.questions.append(question)
            if self.answers:
                assert self.holder is not None
                self.holder.ask_answered(pool, question)

    def offer(self, pool: str, descriptor: int, service: str, busy: bool) -> int:
        descriptors_of(self._reactor).close(descriptor)
        raise OSError("nothing can be offered")

    def give_back(self, lease: int) -> None:
        waits = unread(self.leases[lease].copy, 4096)
        if waits is not None:
            self.spoke(lease, waits)
            return
        self.given_back.append(lease)
        self.ring.append(self.leases.pop(lease))

    def lease_closed(self, lease: int) -> None:
        self.closed.append(lease)
        self.leases.pop(lease).copy.close()

    def spoke(self, lease: int, data: bytes) -> None:
        self.spoken.append((lease, data))
        parked = self.leases.pop(lease)
        if begins_preamble(data):
            self.anew.append(parked)
        else:
            parked.copy.close()

    def census(self) -> Deferred[Dict[str, Any]]:
        return succeed({})

    # -- what the test does

    def others_wait(self, *arrivals: float, pool: str = cfg.DEFAULT_POOL, at_once: bool = False) -> None:
        """Requests that came at these times wait at another proxy."""
        self._others.tide(pool).say(min(arrivals, default=None), max(arrivals, default=0.0), len(arrivals))
        assert self.holder is not None
        self.holder.leases_recalled(pool, len(arrivals), at_once)

    def register(self, pool: str = cfg.DEFAULT_POOL, name: str = "service", capacity: int = CAPACITY) -> Peer:
        """A new idle slot; returns the service."""
        copy, far = make_pair(self.kind, capacity)
        service = Peer(far)
        self._reactor.peers.append(service)
        self.ring.append(Parked(copy, service, name, pool))
        return service

    def grant(self, lease: Optional[int] = None, pool: str = cfg.DEFAULT_POOL) -> int:
        """Lease the first idle slot of the pool."""
        parked = next(parked for parked in self.ring if parked.pool == pool)
        self.ring.remove(parked)
        if lease is None:
            lease = next(number for number in range(len(self.board)) if number not in self.leases)
        self.leases[lease] = parked
        self.unmet[pool] = max(0, self.unmet.get(pool, 0) - 1)
        assert self.holder is not None
        self.holder.lease_granted(pool, lease, self._descriptor(parked), parked.name)
        return lease

    def _descriptor(self, parked: Parked) -> int:
        copy = parked.copy.dup()
        number: int = copy.detach()
        return number

    def forget(self) -> None:
        """As an acceptor that dies: its copies are closed."""
        for parked in (*self.ring, *self.leases.values(), *self.anew):
            parked.copy.close()
        self.anew.clear()
        self.ring.clear()
        self.leases.clear()

    def stop(self) -> None:
        """Close everything."""
        self.forget()


class Rig:
    """One proxy. Stop it when the test is over."""

    def __init__(self, config: Optional[cfg.Config] = None, kind: str = MEMORY, start: bool = True) -> None:
        self.kind = kind
        self.reactor = LoopReactor()
        self.reactor.advance(1000.0)
        self.source = Source(self.reactor, kind)
        self.proxy = ProxyService(self.reactor, config or make_config(), self.reactor.seconds)
        self.gateway = self.proxy.gateway
        if kind == MEMORY:
            for each in self.gateway.pools.values():
                each.splicer = None  # The kernel knows nothing of memory sockets.
        self.source.holder = self.proxy
        self.connections: List[ClientConnection] = []
        self.proxy.attach(self.source)
        if start:
            self.proxy.startService()

    @property
    def pool(self) -> Pool:
        """The default pool."""
        return self.gateway.pools[cfg.DEFAULT_POOL]

    def slot(self, pool: str = cfg.DEFAULT_POOL, name: str = "service", capacity: int = CAPACITY) -> Peer:
        """A new slot, leased at once; returns the service."""
        service = self.source.register(pool, name, capacity)
        self.source.grant(pool=pool)
        self.settle()
        return service

    def client(self, data: bytes = b"", host: str = "192.0.2.1", capacity: int = CAPACITY) -> Peer:
        """A client that is connected and has sent ``data``."""
        address: IAddress = IPv4Address("TCP", host, 50000) if host else UNIXAddress("")
        near, far = make_pair(self.kind, capacity)
        peer = Peer(far)
        self.reactor.peers.append(peer)
        connection = self.proxy.front.buildProtocol(address)
        if connection is None:
            near.close()
        else:
            self.connections.append(connection)
            self.reactor.connect(near, connection, address)
        if data:
            peer.send(data)
        self.settle()
        return peer

    def settle(self) -> None:
        """Let everything happen that can happen now."""
        self.reactor.settle()

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.reactor.pass_time(seconds)

    def exchange(self, service: Peer, response: bytes) -> bytes:
        """Let ``service`` answer; returns the request that it had got."""
        request = service.take()
        service.send(response)
        self.settle()
        return request

    def log_to(self, form: str = "json") -> MemoryLog:
        """Log what is answered from now on."""
        file = MemoryLog()
        self.gateway.access_log = AccessLog(file, form)
        return file

    def logged(self, file: MemoryLog) -> List[Dict[str, Any]]:
        """The lines of a JSON access log."""
        assert self.gateway.access_log is not None
        self.gateway.access_log.flush()
        return [json.loads(line) for line in file.text.splitlines()]

    def stop(self) -> None:
        """Stop the proxy and close every socket."""
        if self.proxy.running:
            self.proxy.stopService()
        self.reactor.settle()
        self.source.stop()
        for peer in self.reactor.peers:
            peer.close()


class RigCase(SynchronousTestCase):
    """A test case with rigs. ``kind``: of their sockets."""

    kind = MEMORY

    def make_rig(self, config: Optional[cfg.Config] = None, **parts: Any) -> Rig:
        """A rig with this configuration, or with one made of parts as ``make_config`` takes them."""
        rig = Rig(config or make_config(**parts), self.kind)
        self.addCleanup(rig.stop)
        return rig

    def assert_at_rest(self, rig: Rig) -> None:
        """Nothing runs, nothing waits, and every slot that is held is free, read and not marked as busy."""
        for pool in rig.gateway.pools.values():
            self.assertEqual(pool.counts.in_flight, 0)
            self.assertEqual(len(pool.line), 0)
            self.assertEqual(set(pool.line.free), set(pool.slots))
            for slot in pool.slots:
                self.assertIn(slot.transport, rig.reactor.readers)
        self.assertEqual(set(rig.source.board), {0})
        blocks = rig.gateway.blocks
        self.assertEqual(blocks.free, rig.gateway.policy.limits.bodies_memory // BLOCK_BYTES)


def unlinked_files() -> int:
    """How many open files of this process have no name."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # The descriptor that the listing itself used.
            continue
    return sum(name.endswith(" (deleted)") for name in found)


def responses(data: bytes, *methods: bytes) -> List[Tuple[int, Dict[bytes, bytes], bytes]]:
    """Read what a client received: (status, fields in lower case, content) of each response; one must follow the other exactly.

    :param methods: of the requests, where they were not GET.
    """
    found = []
    asked = list(methods)
    while data:
        head, fields, data = _head(data)
        status = int(head.split(b" ")[1])
        method = asked[0] if asked else b"GET"
        content = b""
        if status >= 200:
            asked = asked[1:]
            if b"transfer-encoding" in fields:
                content, data = _chunks(data, fields)
            elif method != b"HEAD" and status not in (204, 304):
                length = int(fields.get(b"content-length", len(data)))
                if len(data) < length:
                    raise AssertionError(f"{length - len(data)} bytes of content are missing")
                content, data = data[:length], data[length:]
        found.append((status, fields, content))
    return found


def _head(data: bytes) -> Tuple[bytes, Dict[bytes, bytes], bytes]:
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        raise AssertionError(f"no whole head: {data!r}")
    first, *lines = head.split(b"\r\n")
    fields: Dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        key = name.lower()
        fields[key] = fields[key] + b", " + value.strip() if key in fields else value.strip()
    return first, fields, rest


def _chunks(data: bytes, fields: Dict[bytes, bytes]) -> Tuple[bytes, bytes]:
    content = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            raise AssertionError("the chunked body is not whole")
        size = int(line, 16)
        if not size:
            break
        content += data[:size]
        if data[size : size + 2] != b"\r\n":
            raise AssertionError("a chunk is not ended")
        data = data[size + 2 :]
    while not data.startswith(b"\r\n"):
        line, _, data = data.partition(b"\r\n")
        name, _, value = line.partition(b":")
        fields[b"trailer " + name.lower()] = value.strip()
    return content, data[2:]


def statuses(data: bytes, *methods: bytes) -> List[int]:
    """The status codes of what a client received."""
    return [status for status, _, _ in responses(data, *methods)]


def request_head(data: Union[bytes, Peer]) -> RequestHead:
    """The head of what a service received."""
    data = data.received if isinstance(data, Peer) else data
    end = data.index(b"\r\n\r\n") + 4
    from xproxy.http1.limits import DEFAULT_LIMITS

    return parse_request_head(data[:end], DEFAULT_LIMITS)


def like_tls(transport: Any) -> None:
    """Let a transport look like one that encrypts."""
    from twisted.internet.interfaces import ISSLTransport

    directlyProvides(transport, ISSLTransport, providedBy(transport))
