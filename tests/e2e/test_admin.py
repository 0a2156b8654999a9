"""What a running proxy shows of itself: /status, /metrics, /healthz, /readyz, and the access log."""

from __future__ import annotations

import json
import re
from functools import partial

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import Waiting, ask, talk, together
from tests.e2e.processes import Xacceptor, Xproxy, configuration
from tests.e2e.services import Gate, SlotService

POOL = {"slots", "idle", "leased", "in_flight", "most_in_flight", "queue_length", "served"}
"""What ``/status`` has of each pool, and of each service of it but for the queue."""

METRICS = {
    "xproxy_requests": {"pool", "code"},
    "xproxy_slots": {"pool", "state"},
    "xproxy_in_flight": {"pool"},
    "xproxy_queue_length": {"pool"},
    "xproxy_queue_seconds": {"pool", "outcome", "le"},
    "xproxy_response_seconds": {"pool", "le"},
    "xproxy_connections": {"side"},
    "xproxy_retries": {"pool", "reason"},
    "xproxy_registrations": {"pool", "result"},
}
"""The labels of each family."""


class AdminTests(SynchronousTestCase):
    """A proxy with its own acceptor and a service in two slots."""

    def setUp(self) -> None:
        self.proxy = Xproxy(self).ready()
        self.gate = Gate()
        SlotService(self, self.proxy.slots, 2, self.gate)
        self.proxy.has(slots=2)

    def test_status(self) -> None:
        """Every number is there and right while something runs and something waits."""
        clients = [Waiting(self.proxy.http) for _ in range(3)]
        for _ in range(2):
            self.gate.next()
        pool = self.proxy.has(queue_length=1)
        self.assertLessEqual(POOL, set(pool))
        expected = {"slots": 2, "idle": 0, "leased": 2, "in_flight": 2, "most_in_flight": 2, "queue_length": 1, "served": 0}
        self.assertEqual(expected, {name: pool[name] for name in expected})
        (service,) = pool["services"]
        self.assertLessEqual({"name", *POOL} - {"queue_length"}, set(service))
        self.assertEqual((2, 2, 2), (service["slots"], service["leased"], service["in_flight"]))
        self.gate.let_go(3)
        self.assertEqual([200] * 3, [client.response().status for client in clients])
        pool = self.proxy.has(in_flight=0, queue_length=0, most_in_flight=2, served=3)
        self.assertEqual(3, pool["services"][0]["served"])

    def test_metrics(self) -> None:
        """Every name and label that dashboards rely on, in a form that Prometheus reads."""
        self.gate.let_go(100)
        together(*[partial(ask, self.proxy.http) for _ in range(5)])
        talk(self.proxy.http, b"GET / HTTP/1.1\r\n\r\n")
        answer = ask(self.proxy.admin, "/metrics")
        self.assertEqual("text/plain; version=0.0.4; charset=utf-8", answer.headers["content-type"])
        families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
        self.assertLessEqual(set(METRICS), set(families))
        for name, labels in METRICS.items():
            for sample in families[name].samples:
                self.assertLessEqual(set(sample.labels), labels, sample)
        metric = self.proxy.metric
        self.assertEqual(5.0, metric("xproxy_requests_total", pool="default", code="200"))
        self.assertEqual(1.0, metric("xproxy_requests_total", pool="", code="400"))
        self.assertEqual(2.0, metric("xproxy_registrations_total", pool="default", result="ok"))
        idle, leased = (metric("xproxy_slots", pool="default", state=state) for state in ("idle", "leased"))
        self.assertEqual(2.0, idle + leased)
        for name, outcome in (("xproxy_queue_seconds", {"outcome": "served"}), ("xproxy_response_seconds", {})):
            self.assertEqual(5.0, metric(f"{name}_count", pool="default", **outcome))
            self.assertEqual(5.0, metric(f"{name}_bucket", pool="default", le="+Inf", **outcome))
        self.assertEqual(0.0, leased)  # Nothing runs.
        self.assertEqual(2.0, metric("xproxy_connections", side="slot"))
        self.assertEqual(0.0, metric("xproxy_connections", side="client"))

    def test_health(self) -> None:
        """Whether it runs, whether it takes new work."""
        for target in ("/healthz", "/readyz"):
            self.assertEqual(200, ask(self.proxy.admin, target).status)
        self.assertEqual(404, ask(self.proxy.admin, "/nothing").status)
        self.assertEqual(405, ask(self.proxy.admin, "/status", "POST", b"x").status)

    def test_page(self) -> None:
        """The page for people has the pool, and no script."""
        page = ask(self.proxy.admin).body
        self.assertIn(b"default", page)
        self.assertNotIn(b"<script", page)


class TwoProcessesTests(SynchronousTestCase):
    """The proxy's acceptor is another process."""

    def test_both_show_the_slots(self) -> None:
        """The proxy asks the acceptor for its numbers; without it they are unknown, and the rest is shown all the same."""
        acceptor = Xacceptor(self).ready()
        proxy = Xproxy(self, "--acceptor", acceptor.handoff).ready()
        SlotService(self, acceptor.slots, 2)
        acceptor.has(slots=2, idle=2)
        self.assertEqual(200, ask(proxy.http).status)
        for program in (acceptor, proxy):
            program.has(slots=2, idle=2, leased=0, in_flight=0)
        self.assertEqual("xacceptor", acceptor.status()["program"])
        self.assertEqual(200, ask(acceptor.admin, "/healthz").status)
        self.assertEqual(2.0, acceptor.metric("xproxy_slots", pool="default", state="idle"))
        acceptor.kill()
        proxy.said("is lost")
        pool = proxy.pool()
        self.assertEqual((None, None, 1), (pool["slots"], pool["idle"], pool["served"]))
        self.assertFalse(proxy.status()["acceptor"])


class AccessLogTests(SynchronousTestCase):
    """One line for each answer."""

    def start(self, *lines: str) -> Xproxy:
        """A proxy with these lines of configuration, and its service."""
        text = "\n".join(["[proxy]", *lines, "[pools.default]", 'slots = ["tcp:0:interface=127.0.0.1"]'])
        proxy = Xproxy(self, "--config", configuration(self, text)).ready()
        SlotService(self, proxy.slots, 1)
        proxy.has(slots=1)
        return proxy

    def test_standard_output(self) -> None:
        """The combined format, as Apache and nginx write it; what a client sends cannot forge a line."""
        proxy = self.start()
        ask(proxy.http, "/a?b=c", headers={"User-Agent": 'me "quoted"', "Referer": "http://x/"})
        talk(proxy.http, b"nonsense\r\n\r\n")
        stamp = r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\]"
        proxy.said(rf'^127\.0\.0\.1 - - {stamp} "GET /a\?b=c HTTP/1\.1" 200 20 "http://x/" "me \\x22quoted\\x22"$')
        proxy.said(rf'^127\.0\.0\.1 - - {stamp} "nonsense" 400 \d+ "-" "-" "request-line"$')

    def test_file(self) -> None:
        """JSON, in a file."""
        path = configuration(self, "")
        proxy = self.start(f'access_log = "{path}"', 'access_log_format = "json"')
        ask(proxy.http, "/one", "POST", b"12345")
        ask(proxy.http, "/two")
        self.assertEqual(0, proxy.stop())
        with open(path, encoding="utf-8") as file:
            one, two = [json.loads(line) for line in file]
        self.assertEqual(("POST", "/one", 200, "default"), (one["method"], one["target"], one["status"], one["pool"]))
        self.assertEqual(("GET", "/two", 200), (two["method"], two["target"], two["status"]))
        self.assertEqual([], [line for line in proxy.lines if re.search("/one|/two", line)])

    def test_none(self) -> None:
        """Or none at all."""
        proxy = self.start('access_log = "none"')
        ask(proxy.http, "/secret")
        self.assertEqual(0, proxy.stop())
        self.assertNotIn("/secret", proxy.story())
