"""Tests for ``xproxy.admin``: what each page says, and what the endpoint refuses."""

from __future__ import annotations

import json
import os
from typing import Any, Optional

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from xproxy import __version__
from xproxy.admin import Sources, admin_factory, stand_of
from xproxy.admin.numbers import CENSUS_TIMEOUT_S
from xproxy.admin.site import MAX_CONNECTIONS
from xproxy.admin.work import worker
from xproxy.metrics import ProxyCounts

CENSUS = {
    "default": {
        "slots": 4,
        "idle": 2,
        "leased": 2,
        "waiting": 0,
        "lease_moves": 7,
        "in_flight": 1,
        "services": [{"name": "10.0.0.1", "slots": 4, "idle": 2, "leased": 2}],
    }
}

REQUESTS = {
    "default": {
        "in_flight": 1,
        "most_in_flight": 2,
        "queue_length": 3,
        "served": 4,
        "services": {
            "10.0.0.1": {"in_flight": 1, "served": 3, "most_in_flight": 2},
            "gone": {"in_flight": 0, "served": 1, "most_in_flight": 1},
        },
    }
}

POOL = {
    "slots": 4,
    "idle": 2,
    "leased": 2,
    "waiting": 0,
    "lease_moves": 7,
    "in_flight": 1,
    "most_in_flight": 2,
    "queue_length": 3,
    "served": 4,
    "services": [
        {"name": "10.0.0.1", "slots": 4, "idle": 2, "leased": 2, "in_flight": 1, "most_in_flight": 2, "served": 3},
        {"name": "gone", "slots": 0, "idle": 0, "leased": 0, "in_flight": 0, "most_in_flight": 1, "served": 1},
    ],
}


def counts() -> ProxyCounts:
    """Some of everything."""
    made = ProxyCounts()
    pool = made.pool("default")
    pool.service("web").took_slot()
    pool.answered(200)
    pool.answered(200)
    pool.answered(503)
    pool.retried("closing")
    pool.queue_seconds["served"].observe(0.002)
    pool.queue_seconds["full"].observe(3.0)
    pool.response_seconds.observe(0.02)
    pool.response_seconds.observe(100.0)
    made.opened("client")
    made.refuse("connections")
    made.spools.update(bytes=4096, files=2)
    made.answered(404)
    return made


class Answer:
    """An HTTP response, taken apart."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        self.code = int(line.split(b" ")[1])
        self.fields = {name.lower(): value.strip() for name, _, value in (field.partition(b":") for field in fields)}


class AdminTestCase(SynchronousTestCase):
    """An endpoint over whatever sources a test wants."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.is_ready = True
        self.census: Deferred[Any] = succeed(CENSUS)

    def sources(self, **others: Any) -> Sources:
        return Sources(program="xproxy", census=lambda: self.census, ready=lambda: self.is_ready, clock=self.clock, **others)

    def both(self) -> Sources:
        """A proxy with its acceptor."""
        return self.sources(
            requests=lambda: REQUESTS,
            counts=counts(),
            registrations={("default", "accepted"): 5, ("", "unknown_pool"): 1},
            closings={("default", "ended"): 2},
        )

    def connect(
        self, factory: IProtocolFactory, address: Optional[IAddress] = None
    ) -> Optional[StringTransportWithDisconnection]:
        """A client of ``factory``; None when it was turned away.

        :param address: where it has connected to.
        """
        protocol: Any = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5))
        if protocol is None:
            return None
        transport = StringTransportWithDisconnection()
        transport.hostAddr = address or transport.hostAddr
        transport.protocol = protocol
        protocol.makeConnection(transport)
        self.addCleanup(transport.loseConnection)
        return transport

    def send(self, sources: Sources, request: bytes, address: Optional[IAddress] = None) -> StringTransportWithDisconnection:
        transport = self.connect(admin_factory(sources), address)
        assert transport is not None
        transport.protocol.dataReceived(request)
        return transport

    def ask(self, sources: Sources, path: str, method: str = "GET") -> Answer:
        request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        return Answer(self.send(sources, request).value())

    def status(self, sources: Sources) -> Any:
        answer = self.ask(sources, "/status")
        self.assertEqual((answer.code, answer.fields[b"content-type"]), (200, b"application/json"))
        return json.loads(answer.body)

    def samples(self, sources: Sources) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        answer = self.ask(sources, "/metrics")
        self.assertEqual(answer.code, 200)
        self.assertTrue(answer.fields[b"content-type"].startswith(b"text/plain; version=0.0.4"))
        families = text_string_to_metric_families(answer.body.decode("utf-8"))
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }


class StatusTests(AdminTestCase):
    """``/status``."""

    def test_a_proxy_with_its_acceptor(self) -> None:
        self.assertEqual(
            self.status(self.both()),
            {
                "program": "xproxy",
                "version": __version__,
                "ready": True,
                "acceptor": True,
                "connections": {"client": 1, "slot": 0},
                "spools": {"bytes": 4096, "files": 2},
                "certificates": [],
                "workers": [worker(1, os.getpid(), 1, "serving", {"client": 1, "slot": 0}, REQUESTS)],
                "pools": {"default": POOL},
            },
        )

    def test_in_a_few_words(self) -> None:
        """For who looks at the unit: of what there is."""
        acceptor = self.sources(registrations={}, closings={})
        proxy = self.sources(requests=lambda: REQUESTS, counts=counts())
        self.assertEqual(self.successResultOf(stand_of(self.both())), "4 slots (2 idle), 1 requests run, 3 wait")
        self.assertEqual(self.successResultOf(stand_of(acceptor)), "4 slots (2 idle), 1 requests run, 0 wait")
        self.is_ready, self.census = False, fail(ConnectionError())
        self.assertEqual(self.successResultOf(stand_of(proxy)), "not ready, no acceptor, 1 requests run, 3 wait")

    def test_an_acceptor_alone(self) -> None:
        status = self.status(self.sources())
        pool = status["pools"]["default"]
        self.assertIsNone(status["connections"])
        self.assertIsNone(status["spools"])
        self.assertEqual((pool["slots"], pool["in_flight"]), (4, 1))
        self.assertEqual([pool[name] for name in ("most_in_flight", "queue_length", "served")], [None] * 3)
        (service,) = pool["services"]
        self.assertEqual((service["slots"], service["served"], service["in_flight"]), (4, None, None))

    def test_a_proxy_whose_acceptor_fails(self) -> None:
        self.census = fail(ConnectionError("nobody there"))
        self.assert_nothing_known_of_slots(self.status(self.both()))

    def test_a_proxy_whose_acceptor_is_silent(self) -> None:
        self.census = Deferred()
        transport = self.send(self.both(), b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
        self.clock.advance(CENSUS_TIMEOUT_S - 0.01)
        self.assertEqual(transport.value(), b"")
        self.clock.advance(0.02)
        self.assert_nothing_known_of_slots(json.loads(Answer(transport.value()).body))

    def assert_nothing_known_of_slots(self, status: Any) -> None:
        pool = status["pools"]["default"]
        self.assertFalse(status["acceptor"])
        self.assertEqual([pool[name] for name in ("slots", "idle", "leased", "waiting")], [None] * 4)
        self.assertEqual((pool["served"], pool["in_flight"]), (4, 1))
        self.assertEqual([service["slots"] for service in pool["services"]], [None, None])

    def test_a_client_that_leaves_ends_the_asking(self) -> None:
        cancelled: list[Any] = []
        self.census = Deferred(cancelled.append)
        transport = self.send(self.both(), b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
        transport.loseConnection()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])


class MetricsTests(AdminTestCase):
    """``/metrics``."""

    def test_the_names_users_rely_on(self) -> None:
        samples = self.samples(self.both())
        pool = ("pool", "default")
        expected = {
            ("xproxy_requests_total", (("code", "200"), pool)): 2,
            ("xproxy_requests_total", (("code", "503"), pool)): 1,
            ("xproxy_requests_total", (("code", "404"), ("pool", ""))): 1,
            ("xproxy_slots", (pool, ("state", "idle"))): 2,
            ("xproxy_slots", (pool, ("state", "leased"))): 2,
            ("xproxy_lease_moves_total", (pool,)): 7,
            ("xproxy_in_flight", (pool,)): 1,
            ("xproxy_queue_length", (pool,)): 3,
            ("xproxy_connections", (("side", "client"),)): 1,
            ("xproxy_connections", (("side", "slot"),)): 0,
            ("xproxy_spool_bytes", ()): 4096,
            ("xproxy_spool_files", ()): 2,
            ("xproxy_connections_opened_total", (("side", "client"),)): 1,
            ("xproxy_connections_refused_total", (("reason", "connections"),)): 1,
            ("xproxy_retries_total", (pool, ("reason", "closing"))): 1,
            ("xproxy_registrations_total", (pool, ("result", "accepted"))): 5,
            ("xproxy_registrations_total", (("pool", ""), ("result", "unknown_pool"))): 1,
            ("xproxy_slots_closed_total", (pool, ("reason", "ended"))): 2,
            ("xproxy_ready", ()): 1,
            ("xproxy_queue_seconds_count", (("outcome", "served"), pool)): 1,
            ("xproxy_queue_seconds_count", (("outcome", "full"), pool)): 1,
            ("xproxy_queue_seconds_count", (("outcome", "timeout"), pool)): 0,
            ("xproxy_queue_seconds_bucket", (("le", "0.001"), ("outcome", "served"), pool)): 0,
            ("xproxy_queue_seconds_bucket", (("le", "0.0025"), ("outcome", "served"), pool)): 1,
            ("xproxy_response_seconds_count", (pool,)): 2,
            ("xproxy_response_seconds_sum", (pool,)): 100.02,
            ("xproxy_response_seconds_bucket", (("le", "60.0"), pool)): 1,
            ("xproxy_response_seconds_bucket", (("le", "+Inf"), pool)): 2,
        }
        self.assertEqual({key: samples.get(key) for key in expected}, expected)

    def test_an_acceptor_alone_knows_nothing_of_requests(self) -> None:
        names = {name for name, _ in self.samples(self.sources(registrations={}, closings={}))}
        self.assertIn("xproxy_slots", names)
        self.assertFalse(names & {"xproxy_requests_total", "xproxy_in_flight", "xproxy_queue_length", "xproxy_connections"})

    def test_a_proxy_without_acceptor_knows_nothing_of_slots(self) -> None:
        self.census = fail(ConnectionError("nobody there"))
        names = {name for name, _ in self.samples(self.both())}
        self.assertIn("xproxy_requests_total", names)
        self.assertNotIn("xproxy_slots", names)

    def test_labels_from_outside_stay_labels(self) -> None:
        hostile = 'a"} 1\nxproxy_ready 7 # \\'
        self.census = succeed({hostile: {"idle": 9}})
        samples = self.samples(self.sources())
        self.assertEqual(samples["xproxy_slots", (("pool", hostile), ("state", "idle"))], 9)
        self.assertEqual(samples["xproxy_ready", ()], 1)


class OtherPagesTests(AdminTestCase):
    """Health, readiness and the page for people."""

    def test_health(self) -> None:
        self.is_ready = False
        answer = self.ask(self.both(), "/healthz")
        self.assertEqual((answer.code, answer.body), (200, b"ok\n"))

    def test_readiness(self) -> None:
        self.assertEqual(self.ask(self.both(), "/readyz").code, 200)
        self.is_ready = False
        answer = self.ask(self.both(), "/readyz")
        self.assertEqual((answer.code, answer.body), (503, b"not ready\n"))

    def test_front_page(self) -> None:
        answer = self.ask(self.both(), "/")
        self.assertEqual((answer.code, answer.fields[b"content-type"]), (200, b"text/html; charset=utf-8"))
        self.assertIn(b'<tr class="pool"><td>default</td><td>4</td><td>2</td><td>2</td><td>0</td>', answer.body)
        for link in (b"status", b"metrics", b"healthz", b"readyz"):
            self.assertIn(b'<a href="' + link + b'">', answer.body)

    def test_names_from_outside_are_escaped(self) -> None:
        self.census = succeed({"default": {"services": [{"name": "<script>alert(1)</script>"}]}})
        body = self.ask(self.sources(), "/").body
        self.assertNotIn(b"<script", body)
        self.assertIn(b"&lt;script&gt;", body)

    def test_what_nobody_knows(self) -> None:
        self.census = fail(ConnectionError("nobody there"))
        body = self.ask(self.both(), "/").body
        self.assertIn(b"No acceptor answers", body)
        self.assertIn(b"<td>?</td>", body)


class RefusalTests(AdminTestCase):
    """What the endpoint does not do."""

    PAGES = ("/", "/status", "/metrics", "/healthz", "/readyz")

    def test_other_methods(self) -> None:
        for path in self.PAGES:
            for method in ("POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"):
                answer = self.ask(self.both(), path, method)
                self.assertEqual((answer.code, answer.fields[b"allow"]), (405, b"GET, HEAD"), (path, method))

    def test_head_has_no_body(self) -> None:
        for path in self.PAGES:
            answer = self.ask(self.both(), path, "HEAD")
            self.assertEqual((answer.code, answer.body), (200, b""), path)
            self.assertGreater(int(answer.fields[b"content-length"]), 0)

    def test_unknown_pages(self) -> None:
        for path in ("/x", "/status/", "/status/x", "//", "/../status", "/reload"):
            for method in ("GET", "POST"):
                self.assertEqual(self.ask(self.both(), path, method).code, 404, path)

    def test_headers_on_every_answer(self) -> None:
        for path in (*self.PAGES, "/x"):
            fields = self.ask(self.both(), path).fields
            self.assertEqual((fields[b"cache-control"], fields[b"x-content-type-options"]), (b"no-store", b"nosniff"))
            self.assertIn(b"default-src 'none'", fields[b"content-security-policy"])

    def test_a_page_that_fails(self) -> None:
        def broken() -> Any:
            raise RuntimeError("no numbers")

        answer = self.ask(self.sources(requests=broken), "/status")
        self.assertEqual((answer.code, answer.body), (500, b"this page failed, the log says why\n"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_body_is_dropped(self) -> None:
        body = b"x" * 200_000  # More than twisted.web keeps in memory before it opens a file.
        transport = self.send(self.both(), b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
        channel: Any = transport.protocol
        (request,) = channel.wrappedProtocol._channel.requests
        transport.protocol.dataReceived(body[:-1])
        self.assertEqual(request.content.tell(), 0)
        transport.protocol.dataReceived(body[-1:])
        self.assertEqual(Answer(transport.value()).code, 405)

    def test_garbage(self) -> None:
        for garbage in (b"\x80\x00\x16\x03\x01" * 50 + b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
            transport = self.send(self.both(), garbage)
            self.assertNotIn(b" 200 ", transport.value())
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_too_many_connections(self) -> None:
        factory = admin_factory(self.both())
        verifyObject(IProtocolFactory, factory)
        first = self.connect(factory)
        assert first is not None
        for _ in range(MAX_CONNECTIONS - 1):
            self.assertIsNotNone(self.connect(factory))
        self.assertIsNone(self.connect(factory))
        first.loseConnection()
        self.assertIsNotNone(self.connect(factory))
