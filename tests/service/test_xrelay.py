"""``twistd xrelay``: its options, and what a mistake costs."""

from __future__ import annotations

import io
import sys
from typing import List

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import TestCase

from xproxy.service.relay_service import RelayService
from xproxy.startup import StartupError
from xproxy.tap.xrelay import Options, relay_services

BACKEND = ["--backend", "tcp:127.0.0.1:8000"]
SLOTS = ["--slots", "slots:tcp:127.0.0.1:9999:count=2"]


class OptionsTests(TestCase):
    """Parsed as twistd parses them."""

    def parsed(self, *words: str) -> Options:
        options = Options()
        options.parseOptions(list(words))
        return options

    def refused(self, *words: str) -> str:
        self.patch(sys, "__stderr__", io.StringIO())
        self.patch(sys, "stderr", sys.__stderr__)
        error = self.assertRaises(SystemExit, self.parsed, *words)
        self.assertEqual(error.code, 1)
        assert isinstance(sys.__stderr__, io.StringIO)
        text = sys.__stderr__.getvalue()
        self.assertEqual((text.count("\n"), text[-1]), (1, "\n"))
        return text

    def test_good(self) -> None:
        options = self.parsed(*BACKEND, *SLOTS, *SLOTS)
        self.assertEqual(options["relays"], [(BACKEND[1], [SLOTS[1], SLOTS[1]])])

    def test_several_backends(self) -> None:
        """Each has the slots that follow it; where there is one, the order is as one likes."""
        other = ["--backend", "unix:/run/app.sock"]
        options = self.parsed(*BACKEND, *SLOTS, *other, *SLOTS, *SLOTS)
        self.assertEqual(options["relays"], [(BACKEND[1], [SLOTS[1]]), (other[1], [SLOTS[1], SLOTS[1]])])
        self.assertEqual(self.parsed(*SLOTS, *BACKEND)["relays"], [(BACKEND[1], [SLOTS[1]])])

    def test_refused(self) -> None:
        cases: List[tuple[List[str], str]] = [
            ([], "--backend is missing"),
            (BACKEND, "--slots is missing"),
            (SLOTS, "--backend is missing"),
            ([*BACKEND, *BACKEND, *SLOTS], "--backend tcp:127.0.0.1:8000: --slots is missing"),
            ([*SLOTS, *BACKEND, *BACKEND, *SLOTS], "some come before the first"),
            ([*BACKEND, "--slots", "tcp:1"], "needs a description such as slots:tcp:"),
            ([*BACKEND, *SLOTS, "more"], "unexpected argument 'more'"),
            (["--nope"], "option --nope not recognized"),
        ]
        for words, expected in cases:
            text = self.refused(*words)
            self.assertTrue(text.startswith("xrelay: "), text)
            self.assertIn(expected, text)


class ServiceTests(TestCase):
    """What the descriptions become."""

    def make(self, *words: str) -> List[RelayService]:
        options = Options()
        options.parseOptions(list(words))
        return relay_services(MemoryReactorClock(), options)

    def test_good(self) -> None:
        services = self.make(*BACKEND, *SLOTS, "--slots", "slots:unix:/run/x:count=3:pool=api", *BACKEND, *SLOTS)
        counts = [[port.getHost().count for port in service.ports] for service in services]
        self.assertEqual(counts, [[2, 3], [2]])

    def test_refused(self) -> None:
        for words, expected in (
            (["--backend", "nope:1", *SLOTS], "bad --backend 'nope:1': not a client endpoint"),
            (["--backend", "tcp:1", *SLOTS], "did you mean 'tcp:127.0.0.1:1'?"),
            (["--backend", "127.0.0.1:8000", *SLOTS], "did you mean 'tcp:127.0.0.1:8000'?"),
            ([*BACKEND, "--slots", "slots:tcp:a:1"], "bad --slots: slots:tcp:a:1: count= is missing"),
            ([*BACKEND, "--slots", "slots:"], "bad --slots: slots: needs the client endpoint"),
            ([*BACKEND, "--slots", "slots:tcp:a:1:count=1:pool=/"], "cannot be a pool's name"),
        ):
            error = self.assertRaises(StartupError, self.make, *words)
            self.assertIn(expected, str(error))

    def test_a_token_is_not_shown(self) -> None:
        error = self.assertRaises(StartupError, self.make, *BACKEND, "--slots", "slots:tcp:a:1:count=0:token=s3cret")
        self.assertNotIn("s3cret", str(error))
