"""What is shown of workers."""

from __future__ import annotations

from twisted.internet.defer import succeed

from tests.admin.test_site import AdminTestCase
from xproxy.admin import Sources
from xproxy.admin.work import Work, worker
from xproxy.metrics import ProxyCounts


class WorkTests(AdminTestCase):
    """A parent and three workers, one of which does not answer."""

    def whole(self) -> Sources:
        """A parent with three workers, one of which does not answer."""
        made = ProxyCounts()
        made.connections = {"client": 3}
        made.pool("default").codes[200] = 7
        each = [worker(n, 10 + n, 1, "serving", {"client": n}, {"default": {"served": s}}) for n, s in ((1, 4), (2, 3))]
        silent = worker(3, 13, 1, "serving", None, {})
        work = Work({"default": {"served": 7}}, made, {"access": 2}, [*each, silent], 5)
        return self.sources(work=lambda: succeed(work), lost_lines=lambda: {"program": 1, "access": 1})

    def test_status(self) -> None:
        """They are asked, and shown together and each."""
        status = self.status(self.whole())
        self.assertEqual((7, {"client": 3}), (status["pools"]["default"]["served"], status["connections"]))
        self.assertEqual([4, 3], [each["pools"].get("default", {}).get("served") for each in status["workers"][:2]])
        self.assertEqual([True, True, False], [each["answers"] for each in status["workers"]])

    def test_front_page(self) -> None:
        """How many serve, where there are several."""
        self.assertIn(b"2 of 3 workers serve.", self.ask(self.whole(), "/").body)
        self.assertNotIn(b"workers", self.ask(self.both(), "/").body)

    def test_metrics(self) -> None:
        """Their sum, how many there are, and how many have died."""
        samples = self.samples(self.whole())
        self.assertEqual(samples["xproxy_requests_total", (("code", "200"), ("pool", "default"))], 7)
        self.assertEqual(samples["xproxy_log_lines_lost_total", (("log", "access"),)], 3)
        states = {labels: value for (name, labels), value in samples.items() if name == "xproxy_workers"}
        expected = {"starting": 0, "serving": 2, "draining": 0, "silent": 1}
        self.assertEqual(states, {(("state", state),): number for state, number in expected.items()})
        self.assertEqual(samples["xproxy_worker_deaths_total", ()], 5)
        self.assertNotIn("xproxy_worker_deaths_total", {name for name, _ in self.samples(self.both())})
