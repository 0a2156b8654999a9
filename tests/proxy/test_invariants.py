"""What must always hold, whatever clients, services and the acceptor do, in whatever order."""

from __future__ import annotations

from typing import List, Optional, Tuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from tests.world.peers import Peer
from tests.world.rig import Rig, make_config, responses
from xproxy import config as cfg
from xproxy.proxy.exchanges.slot_states import LeasedSlotState

LIMITS = {
    "request_memory": 64,
    "bodies_memory": 0,
    "response_memory": 64,
    "response_file": 4096,
    "discard": 2000,
    "max_attempts": 2,
}
CLOSING = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nXproxy-Slot: closing\r\nContent-Length: 0\r\n\r\n"
METHODS = st.sampled_from([b"GET", b"HEAD", b"PUT", b"POST"])
FRAMINGS = st.sampled_from(["length", "chunked", "none"])
SIZES = st.sampled_from([0, 1, 50, 700, 9000])


class Client:
    """A client, the requests it has sent and the answers it got."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.sent: List[Tuple[bytes, bytes]] = []
        """Method and mark of each whole request."""
        self.pending = b""
        """What is still to be sent of the last one."""
        self.left = False


class Service:
    """A service: it reads requests from its slot, one at a time, and echoes their mark."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.rest = b""
        """What is still to be sent of a response."""
        self.dirty = False
        self.over = False

    def request(self) -> Optional[Tuple[bytes, bytes]]:
        """Method and mark of the request that is here as a whole."""
        head, end, rest = self.peer.received.partition(b"\r\n\r\n")
        if not end:
            return None
        fields = head.lower()
        if b"content-length: " in fields:
            length = int(fields.partition(b"content-length: ")[2].split(b"\r\n")[0])
            if len(rest) < length:
                return None
            assert len(rest) == length, "more than one request on a slot"
        elif b"transfer-encoding: chunked" in fields:
            if not rest.endswith(b"0\r\n\r\n"):
                return None
        else:
            assert not rest, "more than one request on a slot"
        line = head.split(b"\r\n")[0]
        return line.split(b" ")[0], line.split(b" ")[1].rpartition(b"/")[2]


class Proxy(RuleBasedStateMachine):
    """Everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.clients: List[Client] = []
        self.services: List[Service] = []
        self.marks = 0

    @initialize(queue_limit=st.sampled_from([2, 100]), generous=st.booleans())
    def begin(self, queue_limit: int, generous: bool) -> None:
        self.rig = Rig(
            make_config(
                pool={"queue_limit": queue_limit, "queue_timeout": 20.0, "response_timeout": 10.0},
                limits=LIMITS,
                timeouts={"head": 10.0, "body": 10.0, "write": 10.0, "keep_alive": 30.0},
                routes=[
                    cfg.RouteConfig(),
                    cfg.RouteConfig(path="/stream", buffering=False),
                    cfg.RouteConfig(path="/own", respond=cfg.RespondConfig(200, b"own")),
                ],
            )
        )
        self.source = self.rig.source
        self.source.generous = generous
        self.file = self.rig.log_to()

    def settle(self) -> None:
        self.rig.settle()

    # -- clients

    @rule(capacity=st.sampled_from([300, 200_000]))
    def a_client_comes(self, capacity: int) -> None:
        if len(self.clients) < 6:
            self.clients.append(Client(self.rig.client(capacity=capacity)))

    def a_client(self, data: st.DataObject) -> Optional[Client]:
        here = [client for client in self.clients if not client.left]
        return data.draw(st.sampled_from(here)) if here else None

    @rule(
        data=st.data(),
        method=METHODS,
        where=st.sampled_from([b"/", b"/", b"/stream/", b"/own/"]),
        framing=FRAMINGS,
        size=SIZES,
        cut=st.sampled_from([0, 0, 0, 1, 7, 60]),
        again=st.sampled_from([1, 1, 3]),
    )
    def requests(self, data: st.DataObject, method: bytes, where: bytes, framing: str, size: int, cut: int, again: int) -> None:
        client = self.a_client(data)
        if client is None:
            return
        whole = client.pending
        for _ in range(again):
            self.marks += 1
            mark = b"%d" % self.marks
            head = method + b" " + where + mark + b" HTTP/1.1\r\nHost: a\r\n"
            if framing == "length":
                whole += head + b"Content-Length: %d\r\n\r\n" % size + b"b" * size
            elif framing == "chunked":
                chunks = b"%x\r\n%b\r\n" % (size, b"b" * size) if size else b""
                whole += head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
            else:
                whole += head + b"\r\n"
            client.sent.append((method, mark))
        client.pending = whole[len(whole) - cut :] if cut else b""
        client.peer.send(whole[: len(whole) - cut])
        self.settle()

    @rule(data=st.data())
    def the_rest_comes(self, data: st.DataObject) -> None:
        client = self.a_client(data)
        if client is not None and client.pending:
            client.peer.send(client.pending)
            client.pending = b""
            self.settle()

    @rule(data=st.data(), how=st.sampled_from(["end", "close", "reset"]))
    def a_client_leaves(self, data: st.DataObject, how: str) -> None:
        client = self.a_client(data)
        if client is not None:
            client.left = True
            getattr(client.peer, how)()
            self.settle()

    @rule(data=st.data())
    def a_client_changes_its_pace(self, data: st.DataObject) -> None:
        client = self.a_client(data)
        if client is not None:
            client.peer.reading = not client.peer.reading
            self.settle()

    # -- services

    @rule(now=st.booleans())
    def a_slot_registers(self, now: bool) -> None:
        if sum(not service.over for service in self.services) < 4:
            self.services.append(Service(self.source.register(capacity=5000)))
            if now and self.source.ring:
                self.source.grant()
            self.settle()

    @precondition(lambda self: self.source.ring)
    @rule()
    def a_slot_is_granted(self) -> None:
        self.source.grant()
        self.settle()

    def a_service(self, data: st.DataObject) -> Optional[Service]:
        busy = [service for service in self.services if not service.over and (service.rest or service.request())]
        return data.draw(st.sampled_from(busy)) if busy else None

    @rule(
        data=st.data(),
        framing=st.sampled_from(["length", "chunked", "close"]),
        size=SIZES,
        cut=st.sampled_from([0, 0, 0, 0, 1, 40, 5000]),
        hints=st.sampled_from([0, 0, 2]),
        kind=st.sampled_from([b"text/plain", b"text/event-stream"]),
    )
    def a_service_answers(self, data: st.DataObject, framing: str, size: int, cut: int, hints: int, kind: bytes) -> None:
        service = self.a_service(data)
        if service is None:
            return
        if service.rest:
            whole = service.rest
        else:
            request = service.request()
            assert request is not None
            method, mark = request
            service.peer.take()
            content = mark + b"=" + b"c" * size
            head = (
                b"HTTP/1.1 103 Hint\r\n\r\n" * hints
                + b"HTTP/1.1 200 OK\r\nX-Mark: "
                + mark
                + b"\r\nContent-Type: "
                + kind
                + b"\r\n"
            )
            if method == b"HEAD":
                whole = head + b"Content-Length: %d\r\n\r\n" % len(content)
            elif framing == "length":
                whole = head + b"Content-Length: %d\r\n\r\n" % len(content) + content
            elif framing == "chunked":
                whole = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
            else:
                whole, service.dirty = head + b"Connection: close\r\n\r\n" + content, True
        cut = min(cut, len(whole) - 1)
        service.rest = whole[len(whole) - cut :] if cut else b""
        service.peer.send(whole[: len(whole) - cut])
        self.settle()
        if service.dirty and not cut:
            service.over = True
            service.peer.end()
            self.settle()

    @rule(data=st.data(), what=st.sampled_from([b"\x00", CLOSING, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nshort", b""]))
    def a_service_goes(self, data: st.DataObject, what: bytes) -> None:
        here = [service for service in self.services if not service.over]
        if here:
            service = data.draw(st.sampled_from(here))
            service.over = True
            busy = any(
                parked.service is service.peer and self.source.board[lease] for lease, parked in self.source.leases.items()
            )
            if busy and b"short" in what:
                what = b""  # It would be an answer.
            if what and not service.rest:
                service.peer.send(what)
                self.settle()
            service.peer.close()
            self.settle()

    @rule(data=st.data())
    def a_service_changes_its_pace(self, data: st.DataObject) -> None:
        if self.services:
            service = data.draw(st.sampled_from(self.services))
            service.peer.reading = not service.peer.reading
            self.settle()

    # -- the acceptor, and time

    @rule(count=st.integers(min_value=0, max_value=3))
    def others_wait(self, count: int) -> None:
        now = self.rig.reactor.seconds()
        self.source.others_wait(*[now - 5.0] * count)
        self.settle()

    @rule(seconds=st.sampled_from([0.02, 3.0, 12.0]))
    def time_passes(self, seconds: float) -> None:
        self.rig.pass_time(seconds)

    # -- what must hold

    @invariant()
    def slots_are_in_one_place(self) -> None:
        if not hasattr(self, "rig"):
            return
        pool = self.rig.pool
        busy = {slot.lease.number for slot in pool.slots if slot.exchange is not None}
        free = {slot.lease.number for slot in pool.line.free}
        assert not busy & free
        assert busy | free == {slot.lease.number for slot in pool.slots} == set(self.source.leases)
        assert {lease for lease, byte in enumerate(self.source.board) if byte} == busy
        assert pool.counts.in_flight == len(busy)
        exchanges = [slot.exchange for slot in pool.slots if slot.exchange is not None]
        assert len(set(map(id, exchanges))) == len(exchanges)
        for slot in pool.slots:
            assert (slot.state is LeasedSlotState.IDLE) == (slot.exchange is None)
            assert slot.exchange is None or slot.exchange.slot is slot
        assert not (free and len(pool.line)), "somebody waits beside a free slot"
        assert sum(counts.in_flight for counts in pool.counts.services.values()) == len(busy)
        assert sum(counts.slots for counts in pool.counts.services.values()) == len(pool.slots)

    @invariant()
    def answers_are_in_order(self) -> None:
        for client in self.clients:
            self.check_answers(client, whole=False)

    def check_answers(self, client: Client, whole: bool) -> None:
        """Every answer belongs to its request, in order, none twice; ``whole``: all are there."""
        data = client.peer.received
        found = []
        for method, mark in client.sent:
            while data:
                head, end, _ = data.partition(b"\r\n\r\n")
                if not end:
                    return
                if head.startswith(b"HTTP/1.1 1"):
                    data = data[len(head) + 4 :]
                    continue
                break
            if not data:
                break
            try:
                first = self.first_answer(data, method)
            except (AssertionError, ValueError):
                assert not whole or client.peer.over, "an answer is not whole on an open connection"
                return
            status, fields, content, data = first
            found.append(status)
            if b"x-mark" in fields:
                assert fields[b"x-mark"] == mark, (fields, mark)
                assert method == b"HEAD" or content.startswith(mark + b"=")
            else:
                assert status != 200 or content == b"own" or method == b"HEAD"
        assert not data or client.peer.over or data.startswith((b"HTTP/1.1 100", b"HTTP/1.1 408")), data
        if whole and not client.left and not client.pending and not client.peer.over:
            assert len(found) == len(client.sent), (found, client.sent)

    @staticmethod
    def first_answer(data: bytes, method: bytes) -> Tuple[int, dict[bytes, bytes], bytes, bytes]:
        """The first answer in ``data``, and what follows it. Raises AssertionError when it is not whole."""
        head, _, rest = data.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if b"transfer-encoding" in fields:
            end = rest.find(b"0\r\n\r\n")
            while end > 0 and rest[end - 2 : end] != b"\r\n":
                end = rest.find(b"0\r\n\r\n", end + 1)
            assert end >= 0
            size = len(head) + 4 + end + 5
        elif method == b"HEAD":
            size = len(head) + 4
        else:
            size = len(head) + 4 + int(fields.get(b"content-length", b"0"))
            assert len(data) >= size
        ((status, found, content),) = responses(data[:size], method)
        return status, found, content, data[size:]

    def teardown(self) -> None:
        if not hasattr(self, "rig"):
            return
        self.everything_ends()
        self.rig.stop()
        assert not self.rig.reactor.getDelayedCalls()
        assert not self.rig.reactor.readers and not self.rig.reactor.writers

    def everything_ends(self) -> None:
        """Everybody reads, every request is answered or given up; then nothing may be left."""
        for peer in self.rig.reactor.peers:
            peer.reading = True
        for client in self.clients:
            if client.pending and not client.left:
                client.peer.send(client.pending)
                client.pending = b""
        self.settle()
        self.source.others_wait()
        self.source.generous = True
        self.services.append(Service(self.source.register()))
        self.source.grant()
        self.settle()
        while sum(self.goes_on(service) for service in self.services):
            self.settle()
        self.rig.pass_time(25.0)
        while sum(self.goes_on(service) for service in self.services):
            self.settle()
        for client in self.clients:
            self.check_answers(client, whole=True)
        pool = self.rig.pool
        self.rig.pass_time(1.0)
        assert pool.counts.in_flight == 0
        assert len(pool.line) == 0
        assert set(pool.line.free) == set(pool.slots)
        assert all(slot.transport in self.rig.reactor.readers for slot in pool.slots), "a slot is still paused"
        assert not any(self.source.board)
        for client in self.clients:
            client.peer.close()
        self.settle()
        assert not self.rig.proxy.front.clients
        assert self.rig.gateway.counts.connections == {"client": 0, "slot": len(pool.slots)}

    @staticmethod
    def goes_on(service: Service) -> bool:
        """Let a service do what it still has to do; whether there was anything."""
        if service.over:
            return False
        if service.rest:
            service.peer.send(service.rest)
            service.rest = b""
            if service.dirty:
                service.over = True
                service.peer.end()
            return True
        request = service.request()
        if request is None:
            return False
        method, mark = request
        service.peer.take()
        service.peer.send(b"HTTP/1.1 200 OK\r\nX-Mark: %b\r\nContent-Length: %d\r\n\r\n" % (mark, len(mark) + 1))
        if method != b"HEAD":
            service.peer.send(mark + b"=")
        return True


class InvariantTests(SynchronousTestCase):
    """Random events."""

    def test_proxy(self) -> None:
        """The machine."""
        run_state_machine_as_test(
            Proxy,
            settings=settings(
                max_examples=200,
                stateful_step_count=40,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
                print_blob=False,
            ),
        )
