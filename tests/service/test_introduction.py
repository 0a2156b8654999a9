"""What a slot sends first."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase

from xproxy.service.introduction import make_introduction, new_instance
from xproxy.slots.preambles.registration import Registration, RegistrationParser


class IntroductionTests(TestCase):
    """Each kind, read as the acceptor reads it."""

    def read(self, kind: str, host: Any = None, **said: str) -> Registration:
        values = {"pool": "", "instance": "", "token": "", **said}
        transport = StringTransport(hostAddress=host or IPv4Address("TCP", "192.0.2.1", 5000))
        data = make_introduction(kind, **values)(transport)
        found = RegistrationParser(kind).feed(data)
        assert found is not None
        self.assertEqual(found[1], b"")
        return found[0]

    def test_proxy(self) -> None:
        registration = self.read("proxy", pool="api", instance="one", token="t")
        self.assertEqual((registration.pool, registration.instance, registration.token), ("api", "one", b"t"))

    def test_an_instance_is_made(self) -> None:
        registration = self.read("proxy")
        self.assertIsNone(registration.pool)
        assert registration.instance is not None
        self.assertEqual(len(registration.instance.split(":")), 3)

    def test_instances_differ(self) -> None:
        self.assertNotEqual(new_instance(), new_instance())

    def test_a_strange_host_name(self) -> None:
        self.patch(__import__("socket"), "gethostname", lambda: "büro (2)" * 30)
        self.assertIsNotNone(self.read("proxy").instance)

    def test_mxproxy(self) -> None:
        self.assertEqual(self.read("mxproxy").address, ("192.0.2.1", 5000))
        self.assertEqual(self.read("mxproxy", IPv6Address("TCP", "2001:db8::1", 1)).address, ("2001:db8::1", 1))
        self.assertEqual(self.read("mxproxy", IPv6Address("TCP", "fe80::1%eth0", 1)).address, ("fe80::1", 1))

    def test_mxproxy_over_a_unix_socket(self) -> None:
        self.assertEqual(self.read("mxproxy", UNIXAddress(b"/run/x")).address, ("127.0.0.1", 0))

    def test_raw(self) -> None:
        self.assertEqual(make_introduction("raw", "", "", "")(StringTransport()), b"")

    def test_unknown(self) -> None:
        with self.assertRaisesRegex(ValueError, "registration=nope is unknown: use proxy, mxproxy or raw"):
            make_introduction("nope", "", "", "")

    def test_what_a_kind_cannot_carry(self) -> None:
        for kind in ("mxproxy", "raw"):
            for name in ("pool", "instance", "token"):
                with self.assertRaisesRegex(ValueError, f"registration={kind} carries no {name}"):
                    make_introduction(kind, **{"pool": "", "instance": "", "token": "", name: "x"})

    def test_what_cannot_be_sent(self) -> None:
        for bad in ({"pool": "a/b"}, {"pool": "x" * 65}, {"instance": "a b"}, {"token": "x" * 257}):
            with self.assertRaises(ValueError):
                make_introduction("proxy", **{"pool": "", "instance": "", "token": "", **bad})
