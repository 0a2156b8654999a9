"""The benchmark's own arithmetic, and that it refuses to print what is wrong."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
from typing import Dict, List
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import http1_parse
from benchmarks.clients import percentiles
from benchmarks.contestants import BASELINE
from benchmarks.measure import Cost
from benchmarks.plot import svg
from benchmarks.processes import free_port
from benchmarks.report import Run, as_json, markdown
from benchmarks.rounds import Figure, Results, cpu, rate
from benchmarks.rows import ROWS
from benchmarks.service import SIZES, Answers, is_last
from benchmarks.special import Table

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def figures(*microseconds: float) -> List[Figure]:
    """One figure for each round."""
    return [Figure(1e6 / each, each, {"p50": 1.0}, Cost(1.0, 1.0, 0.9, 0.0, 0)) for each in microseconds]


def run_of(measured: Dict[str, List[Figure]], left_out: Dict[str, str]) -> Run:
    """A run of one row."""
    results = [Results(ROWS[0], measured, left_out)]
    titles = {name: name.title() for name in measured}
    idle = Table("idle", "idle", "note", ["", "bytes"], [["Xproxy", 9000]])
    return Run(titles, dict.fromkeys(measured, "1.0"), {"caddy": "there is no caddy"}, 3, 1.0, 9.0, results, [idle])


class ArithmeticTests(SynchronousTestCase):
    """Ratios and percentiles."""

    def test_ratios_are_within_rounds(self) -> None:
        results = Results(ROWS[0], {BASELINE: figures(10, 20, 40), "xproxy": figures(20, 40, 40)})
        self.assertEqual(results.ratios("xproxy", cpu), [2.0, 2.0, 1.0])
        self.assertEqual(results.ratios("xproxy", rate), [0.5, 0.5, 1.0])
        self.assertEqual(results.middle("xproxy", cpu), 40)

    def test_no_ratio_without_the_baseline(self) -> None:
        self.assertEqual(Results(ROWS[0], {"xproxy": figures(20)}).ratios("xproxy", cpu), [])

    def test_percentiles_that_so_few_values_cannot_tell(self) -> None:
        self.assertEqual(list(percentiles([0.001] * 50)), ["p50"])
        self.assertEqual(percentiles([0.001] * 99 + [0.5] * 2)["p99"], 500.0)
        self.assertEqual(list(percentiles([0.001] * 1000)), ["p50", "p99", "p99.9"])


class ReportTests(SynchronousTestCase):
    """What is printed and saved."""

    def setUp(self) -> None:
        self.measured = {BASELINE: figures(10, 20, 40), "xproxy": figures(30, 50, 80)}
        self.run_made = run_of(self.measured, {"envoy": "failed in round 2: 7 wrong answers"})

    def test_markdown(self) -> None:
        text = markdown(self.run_made)
        self.assertIn("2.50 (2.00 to 3.00)", text)
        self.assertIn("envoy (failed in round 2: 7 wrong answers)", text)
        self.assertIn("caddy (there is no caddy)", text)
        self.assertIn("| keep-alive | xproxy | CPU per request ÷ nginx | ≤ 2 | 2.50 | **no** |", text)
        self.assertIn("| idle | xproxy | bytes | ≤ 8,192 | 9,000 | **no** |", text)

    def test_a_disturbed_run_says_so(self) -> None:
        self.assertNotIn("no good for quoting", markdown(self.run_made))
        for each in self.measured.values():
            each[:] = [Figure(1.0, 1.0, {}, Cost(1.0, 1.0, 0.5, 0.5, 0))] * 3
        self.assertIn("no good for quoting", markdown(self.run_made))

    def test_json_has_every_measurement(self) -> None:
        saved = json.loads(json.dumps(as_json(self.run_made)))
        self.assertEqual([each["cpu_microseconds"] for each in saved["rows"][0]["figures"]["xproxy"]], [30, 50, 80])

    def test_picture(self) -> None:
        picture = ElementTree.fromstring(svg(self.run_made))
        widths = [float(bar.get("width", 0)) for bar in picture.findall("{http://www.w3.org/2000/svg}rect")[1:]]
        self.assertAlmostEqual(widths[1] / widths[0], 2.5, places=2)


class ServiceAndClientTests(SynchronousTestCase):
    """The service and the client that checks its answers."""

    def setUp(self) -> None:
        self.port = free_port()
        arguments = [sys.executable, "-m", "benchmarks.service", "--listen", str(self.port)]
        self.service = subprocess.Popen(arguments, cwd=TOP)
        self.addCleanup(self.service.wait)
        self.addCleanup(self.service.kill)
        self.wait_until_it_listens()

    def wait_until_it_listens(self) -> None:
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=10).close()
                return
            except ConnectionRefusedError:
                self.assertIsNone(self.service.poll())

    def client(self, kind: str, path: str, size: int) -> Dict[str, object]:
        numbers = ["--port", str(self.port), "--size", str(size), "--connections", "3", "--requests", "7"]
        arguments = [sys.executable, "-m", "benchmarks.clients", kind, "--path", path, *numbers]
        said = subprocess.run(arguments, cwd=TOP, check=True, stdout=subprocess.PIPE, timeout=60).stdout
        outcome: Dict[str, object] = json.loads(said)
        return outcome

    def test_right_answers(self) -> None:
        for kind, path, size in (
            ("download", "/256", 256),
            ("download", "/1m", SIZES["1m"]),
            ("download", "/16k/5", SIZES["16k"]),
            ("upload", "/upload", 300_000),
        ):
            outcome = self.client(kind, path, size)
            self.assertIsNone(outcome["failure"])
            self.assertEqual(outcome["requests"], 7)

    def test_a_wrong_length_is_a_failure(self) -> None:
        outcome = self.client("download", "/256", 257)
        self.assertEqual(outcome["failure"], "the answer has 256 bytes, not 257")
        self.assertNotIn("requests", outcome)


class ServiceTests(SynchronousTestCase):
    """When the service closes."""

    def test_is_last(self) -> None:
        for request, last in (
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", False),
            (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", True),
            (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", True),
            (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", False),
        ):
            self.assertEqual(is_last(request), last, request)

    def test_answers_have_their_length(self) -> None:
        answers = Answers()
        self.addCleanup(os.close, answers.descriptor)
        for name, size in SIZES.items():
            out, file_bytes = answers.by_path[name.encode()]
            head, _, body = out.partition(b"\r\n\r\n")
            self.assertIn(b"Content-Length: %d" % size, head)
            self.assertEqual(len(body) + file_bytes, size)


class ParserTests(SynchronousTestCase):
    """``benchmarks.http1_parse``: times say nothing here, but every call that it measures is one that the parsers know."""

    def test_it_runs(self) -> None:
        for name in ("ROUNDS", "CALLS", "WARM_UP"):
            self.patch(http1_parse, name, 1)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            http1_parse.main()
        self.assertEqual(len(printed.getvalue().splitlines()), 8)
