"""Hosts and targets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.http1.strategies import MODEST
from xproxy.http1.errors import BadMessage
from xproxy.http1.target import checked_host, local_host, split_target


class HostTests(TestCase):
    def test_good(self) -> None:
        """Names and addresses, with and without a port; the bad ones are in the corpus."""
        for host in (
            b"a", b"example.com", b"EXAMPLE.com.", b"a_b", b"a-b", b"xn--bcher-kva.ch", b"127.0.0.1", b"127.0.0.1:80",
            b"a:0", b"a:65535",
            b"[::1]", b"[::1]:443", b"[2001:db8::ffff:192.0.2.1]", b"a" * 255,
        ):  # fmt: skip
            self.assertEqual(checked_host(host), host)

    def test_ports(self) -> None:
        """RFC 3986 section 6.2.3: an empty one goes, zeros before one too."""
        for host, expected in (
            (b"a:", b"a"), (b"[::1]:", b"[::1]"), (b"a:080", b"a:80"), (b"a:0", b"a:0"), (b"a:00", b"a:0"),
            (b"[::1]:00443", b"[::1]:443"), (b"a:" + b"0" * 100 + b"65535", b"a:65535"),
        ):  # fmt: skip
            self.assertEqual(checked_host(host), expected)

    def test_local_host(self) -> None:
        """Where a request came in: sound as a Host."""
        for address, port, scheme, expected in (
            ("192.0.2.1", 80, b"http", b"192.0.2.1"),
            ("192.0.2.1", 8080, b"http", b"192.0.2.1:8080"),
            ("192.0.2.1", 443, b"https", b"192.0.2.1"),
            ("192.0.2.1", 80, b"https", b"192.0.2.1:80"),
            ("2001:db8::1", 80, b"http", b"[2001:db8::1]"),
            ("fe80::1%eth0", 8080, b"http", b"[fe80::1]:8080"),
            ("", 0, b"http", b"localhost"),
        ):
            self.assertEqual(local_host(address, port, scheme), expected)
            self.assertEqual(checked_host(expected), expected)


class SplitTargetTests(TestCase):
    def test_origin_form_keeps_host(self) -> None:
        """Only an authority in the target overrules Host (RFC 9112 section 3.2.2)."""
        self.assertEqual(split_target(b"GET", b"/a?b", b"h"), (b"h", b"/a?b"))
        self.assertEqual(split_target(b"GET", b"http://b/a?b", b"h"), (b"b", b"/a?b"))
        self.assertEqual(split_target(b"GET", b"/http://b/", b"h"), (b"h", b"/http://b/"))


class GarbageTests(TestCase):
    @MODEST
    @given(st.sampled_from([b"GET", b"OPTIONS", b"CONNECT"]), st.text("/:?#@[]%.*aA0\\, \x00\xe9", max_size=20))
    def test_only_bad_message(self, method: bytes, target: str) -> None:
        """Whatever the target, nothing but BadMessage is raised; what passes is one of the four forms."""
        try:
            host, path = split_target(method, target.encode("latin-1"), b"h")
        except BadMessage as refusal:
            self.assertEqual(refusal.status, 400)
        else:
            self.assertTrue(path[:1] == b"/" or path == (b"" if method == b"CONNECT" else b"*"))
            self.assertEqual(checked_host(host), host)
