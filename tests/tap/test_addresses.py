"""Tests for ``xproxy.tap.addresses``."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from xproxy.tap.addresses import client_description, plain, url

CASES: list[tuple[Any, str, str, str]] = [
    (IPv4Address("TCP", "127.0.0.1", 80), "http://127.0.0.1:80/", "127.0.0.1:80", "tcp:127.0.0.1:80"),
    (IPv4Address("TCP", "0.0.0.0", 80), "http://127.0.0.1:80/", "0.0.0.0:80", "tcp:127.0.0.1:80"),
    (IPv6Address("TCP", "::1", 80), "http://[::1]:80/", "[::1]:80", r"tcp:\:\:1:80"),
    (IPv6Address("TCP", "::", 80), "http://[::1]:80/", "[::]:80", r"tcp:\:\:1:80"),
    (UNIXAddress(b"/run/x:y=z"), "/run/x:y=z", "/run/x:y=z", r"unix:/run/x\:y\=z"),
]


class AddressesTests(SynchronousTestCase):
    """Each kind of address, in each way of writing."""

    def test_written(self) -> None:
        for address, as_url, as_text, description in CASES:
            self.assertEqual((url(address), plain(address), client_description(address)), (as_url, as_text, description))

    def test_descriptions_lead_there(self) -> None:
        for address, _, _, description in CASES:
            reactor = MemoryReactorClock()
            connecting = clientFromString(reactor, description).connect(Factory())
            connecting.addErrback(lambda failure: failure.trap(ConnectingCancelledError))
            if isinstance(address, UNIXAddress):
                self.assertEqual([client[0] for client in reactor.unixClients], ["/run/x:y=z"])
            else:
                reached = "127.0.0.1" if isinstance(address, IPv4Address) else "::1"
                self.assertEqual([client[:2] for client in reactor.tcpClients], [(reached, 80)])
            connecting.cancel()

    def test_nobody_connects_to_a_socket_without_a_name(self) -> None:
        self.assertRaises(ValueError, client_description, UNIXAddress(None))
        self.assertEqual(plain(UNIXAddress(None)), "UNIXAddress(None)")
