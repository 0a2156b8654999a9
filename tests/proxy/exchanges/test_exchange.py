"""When a request is tried again: every method with everything that can happen to it."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

from tests.world.peers import Peer
from tests.world.rig import GET, OK, Rig, RigCase, post, request_head, responses, statuses
from tests.world.sockets import KERNEL
from xproxy import config as cfg
from xproxy.proxy.clients.connection import LOOK_INTERVAL_S
from xproxy.proxy.exchanges import exchange as exchange_module

CLOSING = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nXproxy-Slot: closing\r\nContent-Length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
IDEMPOTENT = (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PROPFIND")
OTHERS = (b"POST", b"PATCH", b"LOCK", b"get", b"WHATEVER")


def closes(rig: Rig, service: Peer) -> None:
    """The service reads the request and closes."""
    service.close()
    rig.settle()


def says(data: bytes) -> Callable[[Rig, Peer], None]:
    """The service sends this and closes."""

    def act(rig: Rig, service: Peer) -> None:
        service.send(data)
        rig.settle()
        service.close()
        rig.settle()

    return act


def is_silent(rig: Rig, service: Peer) -> None:
    """The service lets the time pass."""
    rig.pass_time(6.0)


# What happens: (the status for idempotent methods, for others, the reason that is counted when it is tried again); 200: again.
TABLE: Dict[str, Tuple[Callable[[Rig, Peer], None], int, int, str]] = {
    "closes": (closes, 200, 502, "slot-lost"),
    "politely": (says(CLOSING), 200, 200, "slot-closing"),
    "politely, after a hint": (says(b"HTTP/1.1 103 Early Hints\r\n\r\n" + CLOSING), 200, 200, "slot-closing"),
    "is busy": (says(BUSY), 503, 503, ""),
    "begins a head": (says(b"HTTP/1.1 200 O"), 502, 502, ""),
    "hints": (says(b"HTTP/1.1 103 Early Hints\r\n\r\n"), 502, 502, ""),
    "garbage": (says(b"\x00"), 502, 502, ""),
    "is silent": (is_silent, 504, 504, ""),
}


class RetryMixin:
    """The tests that hold over both kinds of sockets."""

    def test_every_cell(self: Any) -> None:
        """Design rule 7."""
        for method in (*IDEMPOTENT, *OTHERS):
            for what, (act, idempotent, other, reason) in TABLE.items():
                rig = self.make_rig(pool={"response_timeout": 5.0})
                first, second = rig.slot(), rig.slot()
                body = b"hello" if method in (b"POST", b"PUT", b"PATCH") else b""
                client = rig.client(post(body, method=method))
                request = first.take()
                act(rig, first)
                expected = idempotent if method in IDEMPOTENT else other
                if expected == 200:
                    self.assertEqual(second.received, request, (method, what))
                    rig.exchange(second, OK)
                else:
                    self.assertEqual(second.received, b"", (method, what))
                status = [found for found in statuses(client.take(), method) if found != 103]
                self.assertEqual(status, [expected], (method, what))
                self.assertEqual(rig.pool.counts.retries, {reason: 1} if expected == 200 else {}, (method, what))
                self.assert_at_rest(rig)

    def test_bounded(self: Any) -> None:
        """So many attempts, and no more; the last error is the answer."""
        rig = self.make_rig(limits={"max_attempts": 3})
        services = [rig.slot() for _ in range(5)]
        client = rig.client(GET)
        for service in services[:3]:
            self.assertNotEqual(service.take(), b"")
            self.assertEqual(client.received, b"")
            closes(rig, service)
        self.assertEqual(statuses(client.take()), [502])
        self.assertEqual([service.received for service in services[3:]], [b"", b""])
        self.assertEqual(rig.pool.counts.retries, {"slot-lost": 2})
        self.assert_at_rest(rig)

    def test_goodbyes_are_no_attempts(self: Any) -> None:
        """A service that ends politely has served nothing, whatever the method and however many slots say so."""
        for request in (GET, post(b"x")):
            for most in (1, 3):
                rig = self.make_rig(limits={"max_attempts": most})
                services = [rig.slot() for _ in range(10)]
                client = rig.client(request)
                for service in services:
                    self.assertNotEqual(service.take(), b"")
                    says(CLOSING)(rig, service)
                self.assertEqual((client.received, len(rig.pool.line)), (b"", 1))
                rig.exchange(rig.slot(), OK)
                self.assertEqual(statuses(client.take()), [200])
                self.assertEqual(rig.pool.counts.retries, {"slot-closing": 10})
                self.assert_at_rest(rig)

    def test_goodbyes_for_ever(self: Any) -> None:
        """A service that dials and says goodbye, again and again, is given up on in the end."""
        self.patch(exchange_module, "MAX_MISSES", 5)
        rig = self.make_rig()
        client = rig.client(GET)
        for _ in range(6):
            self.assertEqual(client.received, b"")
            says(CLOSING)(rig, rig.slot())
        self.assertEqual(statuses(client.take()), [502])
        self.assert_at_rest(rig)

    def test_dead_slots_are_no_attempts(self: Any) -> None:
        """Slots that end together while a request comes, by death or politely, and nobody has looked yet."""
        for method in (b"GET", b"PUT", b"POST"):
            for ending in (b"", CLOSING):
                for most in (1, 3):
                    rig = self.make_rig(limits={"max_attempts": most})
                    dead = [rig.slot() for _ in range(10)]
                    alive = rig.slot()
                    client = rig.client()
                    for service in dead:
                        if ending:
                            service.send(ending)
                        service.close()
                    client.send(post(b"x", method=method))
                    rig.connections[0].transport.doRead()  # Before the reactor has polled again.
                    rig.settle()
                    self.assertEqual(statuses(rig.exchange(alive, OK) and client.take()), [200], (method, ending, most))
                    self.assertEqual(len(rig.source.closed) + len(rig.source.spoken), 10)
                    self.assert_at_rest(rig)

    def test_dead_slots_that_the_reactor_knows_of(self: Any) -> None:
        """Polled, but not had their turn yet: nothing is sent there, and no system call is needed to know it."""
        rig = self.make_rig(limits={"max_attempts": 1})
        dead = [rig.slot() for _ in range(10)]
        alive = rig.slot()
        client = rig.client()
        for service in dead:
            service.close()
        client.send(GET)
        first = rig.connections[0].transport
        rig.reactor.readers.pop(first)
        rig.reactor.readers = {first: None, **rig.reactor.readers}  # The client's turn comes first.
        rig.settle()
        rig.exchange(alive, OK)
        self.assertEqual(statuses(client.take()), [200])
        self.assertEqual(rig.pool.counts.retries, {})
        self.assert_at_rest(rig)

    def test_not_at_all(self: Any) -> None:
        """One attempt is no retry."""
        rig = self.make_rig(limits={"max_attempts": 1})
        first, second = rig.slot(), rig.slot()
        client = rig.client(GET)
        closes(rig, first)
        self.assertEqual((statuses(client.take()), second.received), ([502], b""))

    def test_waits_in_front(self: Any) -> None:
        """It keeps its arrival: before everybody who came after it, also when the line is full."""
        rig = self.make_rig(pool={"queue_limit": 2})
        service = rig.slot()
        clients = [rig.client(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number) for number in range(3)]
        closes(rig, service)
        self.assertEqual(len(rig.pool.line), 3)
        rig.pass_time(0.02)
        self.assertEqual(rig.source.asks[-1][1], 3)
        another = rig.slot()
        for number in range(3):
            self.assertEqual(request_head(rig.exchange(another, OK)).path, b"/%d" % number)
        self.assertEqual([statuses(client.take()) for client in clients], [[200]] * 3)
        self.assert_at_rest(rig)

    def test_wait_for_another_slot_is_bounded(self: Any) -> None:
        """The queue's time counts from the arrival."""
        rig = self.make_rig(pool={"queue_timeout": 10.0})
        service = rig.slot()
        client = rig.client(GET)
        rig.pass_time(6.0)
        closes(rig, service)
        rig.pass_time(3.5)
        self.assertEqual(client.received, b"")
        rig.pass_time(1.0)
        self.assertEqual(statuses(client.take()), [503])

    def test_body_in_a_file(self: Any) -> None:
        """A long body is sent again from its beginning."""
        rig = self.make_rig(limits={"request_memory": 1000, "bodies_memory": 0})
        first, second = rig.slot(capacity=4608), rig.slot()
        body = b"".join(b"%06d" % number for number in range(50_000))
        client = rig.client(post(body, method=b"PUT"))
        self.assertTrue(first.take().endswith(body))
        closes(rig, first)
        self.assertTrue(rig.exchange(second, OK).endswith(b"\r\n\r\n" + body))
        self.assertEqual(statuses(client.take()), [200])

    def test_body_half_sent(self: Any) -> None:
        """The same when the service went away in the middle of it."""
        rig = self.make_rig(limits={"request_memory": 1000, "bodies_memory": 0})
        first, second = rig.slot(capacity=4608), rig.slot()
        first.reading = False
        body = b"".join(b"%06d" % number for number in range(50_000))
        client = rig.client(post(body, method=b"PUT"))
        self.assertEqual(rig.pool.counts.in_flight, 1)
        closes(rig, first)
        self.assertTrue(rig.exchange(second, OK).endswith(b"\r\n\r\n" + body))
        self.assertEqual(statuses(client.take()), [200])
        self.assert_at_rest(rig)

    def test_streamed_body(self: Any) -> None:
        """What was not kept can't be sent again, neither while it comes nor when it has come; what was kept can."""
        put = post(b"0123456789", method=b"PUT")
        for cut, sent_before, expected in ((-5, True, 502), (len(put), True, 502), (len(put), False, 200)):
            rig = self.make_rig(routes=[cfg.RouteConfig(buffering=False)])
            first, second = rig.slot(), rig.slot()
            client = rig.client(put[:60])
            if not sent_before:
                client.close()
                rig = self.make_rig(routes=[cfg.RouteConfig(buffering=False)])
                client = rig.client(put)
                first, second = rig.slot(), rig.slot()
            else:
                client.send(put[60:cut])
                rig.settle()
            closes(rig, first)
            if expected == 200:
                self.assertEqual(second.received[-10:], b"0123456789")
                rig.exchange(second, OK)
            self.assertEqual(second.received, b"")
            self.assertEqual(statuses(client.take()), [expected], (cut, sent_before))

    def test_client_leaves_meanwhile(self: Any) -> None:
        """Nothing is tried again for nobody."""
        rig = self.make_rig()
        first, second = rig.slot(), rig.slot()
        client = rig.client(GET)
        client.end()
        client.close()
        rig.settle()
        rig.connections[0].transport.abortConnection()
        rig.settle()
        closes(rig, first)
        self.assertEqual(second.received, b"")
        self.assertEqual(rig.pool.counts.retries, {})
        self.assert_at_rest(rig)

    def test_client_leaves_while_it_waits_again(self: Any) -> None:
        """It leaves the line."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)
        closes(rig, service)
        self.assertEqual(len(rig.pool.line), 1)
        client.reset()
        rig.pass_time(2 * LOOK_INTERVAL_S)  # A UNIX socket that is closed shows no more than its end at first.
        self.assertEqual(len(rig.pool.line), 0)
        self.assert_at_rest(rig)

    def test_nothing_of_the_first_attempt_is_seen(self: Any) -> None:
        """One whole answer."""
        rig = self.make_rig()
        first, second = rig.slot(), rig.slot()
        client = rig.client(GET + GET)
        closes(rig, first)
        rig.exchange(second, OK)
        rig.exchange(second, OK)
        self.assertEqual([content for _, _, content in responses(client.take())], [b"ok", b"ok"])

    def test_splits_of_a_polite_end(self: Any) -> None:
        """However it arrives: nothing of it reaches the client."""
        cuts: List[int] = list(range(1, len(CLOSING), 6))
        for cut in cuts:
            rig = self.make_rig()
            first, second = rig.slot(), rig.slot()
            client = rig.client(post(b"x"))
            first.send(CLOSING[:cut])
            rig.settle()
            first.send(CLOSING[cut:])
            rig.settle()
            rig.exchange(second, OK)
            self.assertEqual(statuses(client.take()), [200])
            self.assertEqual(rig.source.closed, [0])


class MemoryRetryTests(RetryMixin, RigCase):
    """Over memory."""


class KernelRetryTests(RetryMixin, RigCase):
    """Over real socket pairs."""

    kind = KERNEL
