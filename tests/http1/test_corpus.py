"""No message of the corpus passes, however it arrives."""

from __future__ import annotations

from typing import List, Optional, Tuple

from twisted.trial.unittest import TestCase

from tests.http1.corpus import REQUESTS, RESPONSES, Refused
from tests.http1.messages import Reading, bytewise, read, splits, whole
from xproxy.http1.errors import BadMessage
from xproxy.http1.limits import HeadLimits


def verdict(pieces: List[bytes], limits: HeadLimits, answer_to: Optional[bytes]) -> BadMessage | Reading:
    """What became of a message: refused, or read."""
    try:
        return read(pieces, limits, answer_to)
    except BadMessage as refusal:
        return refusal


class CorpusTests(TestCase):
    def refused(self, case: Refused, pieces: List[bytes], answer_to: Optional[bytes], limits: HeadLimits) -> BadMessage:
        outcome = verdict(pieces, limits, answer_to)
        if not isinstance(outcome, BadMessage):
            self.fail(f"{case.name}: passed, body {outcome.content!r}, rest {outcome.rest!r}")
        return outcome

    def test_names_are_distinct(self) -> None:
        """Each message can be named by itself."""
        for corpus in (REQUESTS, RESPONSES):
            names = [case.name for case in corpus]
            self.assertEqual(len(names), len(set(names)), [name for name in names if names.count(name) > 1])
            self.assertTrue(all(case.source for case in corpus))

    def test_requests_whole(self) -> None:
        """Every request is refused with its status, and its label where one is given."""
        for case in REQUESTS:
            refusal = self.refused(case, whole(case.message), None, HeadLimits())
            self.assertEqual(refusal.status, case.status, f"{case.name}: {refusal}")
            if case.reason:
                self.assertEqual(refusal.reason, case.reason, case.name)

    def test_responses_whole(self) -> None:
        """Every response is refused."""
        for case in RESPONSES:
            self.refused(case, whole(case.message), b"GET", HeadLimits())

    def test_byte_by_byte(self) -> None:
        """How a message arrives changes nothing about whether it is refused."""
        for corpus, answer_to in ((REQUESTS, None), (RESPONSES, b"GET")):
            for case in corpus:
                if len(case.message) < 1000:
                    self.refused(case, bytewise(case.message), answer_to, HeadLimits())

    def test_every_split(self) -> None:
        """Nor does it for two pieces, whatever their sizes."""
        limits = HeadLimits()
        for corpus, answer_to in ((REQUESTS, None), (RESPONSES, b"GET")):
            for case in corpus:
                if len(case.message) < 200:
                    for pieces in splits(case.message):
                        self.refused(case, list(pieces), answer_to, limits)

    def test_refused_after_the_same_fields_passed(self) -> None:
        """A block that was remembered with a good request line does not make a bad one pass, nor the other way round."""
        limits = HeadLimits()
        good = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        self.assertEqual(read([good], limits).rest, b"")
        for bad in (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n"):
            self.assertRaises(BadMessage, read, [bad], limits)
        self.assertEqual(read([good], limits).rest, b"")

    def test_statuses(self) -> None:
        """The statuses are those that the errors page of the proxy knows."""
        found: set[Tuple[int, ...]] = {(case.status,) for case in REQUESTS}
        self.assertEqual(found, {(400,), (405,), (414,), (431,), (501,), (505,)})
