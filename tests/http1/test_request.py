"""Request heads: what is accepted and what is made of it."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from xproxy.http1.limits import HeadLimits
from xproxy.http1.request import head_end, parse_request_head


class RequestHeadTests(TestCase):
    def test_example(self) -> None:
        """The parts of an ordinary head."""
        head = b"GET /a?b HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive, foo\r\nFoo: 1\r\nBar: 2\r\n\r\n"
        limits = HeadLimits()
        self.assertEqual(head_end(head + b"rest", limits), len(head))
        parsed = parse_request_head(head, limits)
        self.assertEqual((parsed.method, parsed.path, parsed.minor), (b"GET", b"/a?b", 1))
        self.assertEqual(parsed.host, b"example.com")
        self.assertEqual(parsed.fields.passed_on, b"Bar: 2\r\n")
        self.assertEqual(parsed.fields.get(b"foo"), b"1")
