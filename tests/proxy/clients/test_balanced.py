"""Tests for ``xproxy.proxy.clients.balanced``: connections that a layer-4 balancer brings."""

from __future__ import annotations

from typing import Any, List

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.testing import StringTransport

from tests.world.peers import Peer
from tests.world.reactor import LoopReactor
from tests.world.rig import GET, OK, make_config
from tests.world.secure import HTTP2Client, SecureCase, SecureClient, SecureRig
from tests.world.sockets import KERNEL, MEMORY
from xproxy import config as cfg
from xproxy.proxy.clients.balanced import BalancedFront, source_of
from xproxy.proxy.clients.connection import LAST_REQUEST_S
from xproxy.proxy.proxy_service import ProxyService
from xproxy.slots.preambles.proxy_header import ProxyHeader
from xproxy.startup import StartupError

BALANCER = "198.51.100.1"

V1 = b"PROXY TCP4 203.0.113.7 192.0.2.80 4711 443\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes((203, 0, 113, 7, 192, 0, 2, 80)) + b"\x12\x67\x01\xbb"
V2_TLVS = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14" + V2[16:] + b"\x05\0\x05hello"
V6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
UNKNOWN = b"PROXY UNKNOWN\r\n"
UNIX = b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8" + b"\0" * 216


class BalancedCase(SecureCase):
    """A test case with a balancer."""

    def make(self, **parts: Any) -> SecureRig:
        rig = self.make_secure_rig(proxy={"trusted_proxies": cfg.networks("198.51.100.0/24")}, **parts)
        return rig

    def connect(self, rig: SecureRig, secure: bool = False, host: str = BALANCER) -> Peer:
        inner = rig.secure if secure else rig.proxy.front
        return rig.secure_peer(BalancedFront(rig.proxy.front, inner), host)


class ExchangeMixin:
    """Requests behind a header, over both kinds of sockets."""

    def test_headers(self: Any) -> None:
        rig = self.make()
        log = rig.log_to()
        service = rig.slot()
        for header, source in (
            (V1, "203.0.113.7"),
            (V2, "203.0.113.7"),
            (V2_TLVS, "203.0.113.7"),
            (V6, "2001:db8::7"),
            (LOCAL, BALANCER),
            (UNKNOWN, BALANCER),
            (UNIX, "unknown"),
        ):
            peer = self.connect(rig)
            peer.send(header + GET)
            rig.settle()
            request = rig.exchange(service, OK)
            self.assertIn(b"\r\nX-Forwarded-For: " + source.encode() + b"\r\n", request)
            self.assertTrue(peer.take().endswith(b"ok"))
            peer.close()
            rig.settle()
        self.assertEqual([line["peer"] for line in rig.logged(log)][:2], ["203.0.113.7", "203.0.113.7"])
        self.assertEqual(rig.proxy.front.clients, {})

    def test_in_two_pieces_at_every_place(self: Any) -> None:
        rig = self.make()
        service = rig.slot()
        for header in (V1, V2_TLVS):
            whole = header + GET
            for cut in range(1, len(whole)):
                peer = self.connect(rig)
                peer.send(whole[:cut])
                rig.settle()
                peer.send(whole[cut:])
                rig.settle()
                self.assertIn(b"X-Forwarded-For: 203.0.113.7\r\n", rig.exchange(service, OK))
                self.assertTrue(peer.take().endswith(b"ok"), cut)
                peer.close()

    def test_byte_by_byte(self: Any) -> None:
        rig = self.make()
        service = rig.slot()
        peer = self.connect(rig)
        for byte in V2 + GET:
            peer.send(bytes((byte,)))
            rig.settle()
        self.assertIn(b"X-Forwarded-For: 203.0.113.7\r\n", rig.exchange(service, OK))
        peer.send(GET)
        rig.settle()
        self.assertIn(b"X-Forwarded-For: 203.0.113.7\r\n", rig.exchange(service, OK))

    def test_before_tls(self: Any) -> None:
        rig = self.make()
        service = rig.slot()
        for header in (V1, V2):
            peer = self.connect(rig, secure=True)
            peer.send(header[:5])
            rig.settle()
            peer.send(header[5:])
            client = SecureClient(rig, peer)
            client.handshake()
            client.send(GET)
            request = rig.exchange(service, OK)
            self.assertIn(b"X-Forwarded-For: 203.0.113.7\r\n", request)
            self.assertIn(b"X-Forwarded-Proto: https\r\n", request)
            self.assertTrue(client.take().endswith(b"ok"))

    def test_in_one_piece_with_the_hello(self: Any) -> None:
        """The header is taken, and nothing of what comes after it."""
        rig = self.make()
        service = rig.slot()
        peer = self.connect(rig, secure=True)
        client = SecureClient(rig, peer)
        self.assertRaises(SSL.WantReadError, client.tls.do_handshake)
        peer.send(V2_TLVS + client.tls.bio_read(65536))
        client.handshake()
        client.send(GET)
        self.assertIn(b"X-Forwarded-For: 203.0.113.7\r\n", rig.exchange(service, OK))
        self.assertTrue(client.take().endswith(b"ok"))

    def test_before_http_2(self: Any) -> None:
        rig = self.make()
        service = rig.slot()
        peer = self.connect(rig, secure=True)
        peer.send(V6)
        client = HTTP2Client(rig, peer)
        client.handshake()
        client.begin()
        client.ask()
        self.assertIn(b"X-Forwarded-For: 2001:db8::7\r\n", rig.exchange(service, OK))

    def test_half_close(self: Any) -> None:
        rig = self.make()
        service = rig.slot()
        peer = self.connect(rig)
        peer.send(V1 + GET)
        peer.end()
        rig.settle()
        rig.exchange(service, OK)
        self.assertTrue(peer.take().endswith(b"ok"))
        self.assertTrue(peer.over)


class MemoryTests(ExchangeMixin, BalancedCase):
    """In memory."""

    kind = MEMORY


class KernelTests(ExchangeMixin, BalancedCase):
    """Over real sockets."""

    kind = KERNEL


class TrustTests(BalancedCase):
    """Who is believed."""

    def test_others_are_plain_clients(self) -> None:
        rig = self.make()
        service = rig.slot()
        peer = self.connect(rig, host="203.0.113.99")
        peer.send(GET)
        rig.settle()
        self.assertIn(b"X-Forwarded-For: 203.0.113.99\r\n", rig.exchange(service, OK))

    def test_their_headers_are_no_requests(self) -> None:
        rig = self.make()
        for header in (V1, V2):
            peer = self.connect(rig, host="203.0.113.99")
            peer.send(header + GET)
            rig.settle()
            self.assertTrue(peer.take().startswith(b"HTTP/1.1 400 "))

    def test_a_client_behind_the_balancer_is_not_trusted_itself(self) -> None:
        rig = self.make()
        service = rig.slot()
        peer = self.connect(rig)
        peer.send(V1 + GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"))
        rig.settle()
        self.assertIn(b"\r\nX-Forwarded-For: 203.0.113.7\r\n", rig.exchange(service, OK))

    def test_sources(self) -> None:
        own = IPv4Address("TCP", BALANCER, 1)
        self.assertEqual(source_of(ProxyHeader(2, True), own), own)
        self.assertEqual(source_of(ProxyHeader(2, False), own), UNIXAddress(None))
        self.assertEqual(source_of(ProxyHeader(1, False, ("10.0.0.1", 5)), own), IPv4Address("TCP", "10.0.0.1", 5))
        self.assertEqual(source_of(ProxyHeader(1, False, ("2001:db8::1", 5)), own), IPv6Address("TCP", "2001:db8::1", 5))


class RefusedTests(BalancedCase):
    """What is no header."""

    def refused(self, rig: SecureRig, peer: Peer, reason: str) -> None:
        rig.settle()
        self.assertTrue(peer.over)
        self.assertEqual(peer.take(), b"")
        self.assertEqual(rig.gateway.counts.refused, {reason: 1})
        self.assertEqual(rig.proxy.front.clients, {})
        self.assertEqual(rig.gateway.counts.connections["handshake"], 0)

    def test_missing_or_wrong(self) -> None:
        for data in (
            GET,
            b"PROXY TCP4 1.2.3.4\r\n",
            b"PROXY " + b"x" * 200,
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
            b"\x16\x03\x01\x00\xc8",
        ):
            rig = self.make()
            peer = self.connect(rig)
            peer.send(data)
            self.refused(rig, peer, "proxy-header")

    def test_no_socket(self) -> None:
        rig = self.make()
        protocol = BalancedFront(rig.proxy.front, rig.proxy.front).buildProtocol(IPv4Address("TCP", BALANCER, 1))
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.assertTrue(transport.disconnected)
        protocol.connectionLost()
        self.assertEqual(rig.gateway.counts.refused, {"proxy-header": 1})

    def test_too_slow(self) -> None:
        rig = self.make(timeouts={"handshake": 4.0})
        peer = self.connect(rig)
        for byte in V1[:10]:
            peer.send(bytes((byte,)))
            rig.pass_time(0.5)
        self.refused(rig, peer, "proxy-header-timeout")
        self.assertEqual(rig.gateway.counts.timeouts, {"handshake": 1})

    def test_the_client_leaves(self) -> None:
        rig = self.make()
        peer = self.connect(rig)
        peer.send(V1[:10])
        peer.close()
        rig.settle()
        self.assertEqual(rig.proxy.front.clients, {})
        self.assertEqual(rig.gateway.counts.refused, {})

    def test_too_many(self) -> None:
        rig = self.make(limits={"connections": 2})
        service = rig.slot()
        first, second = self.connect(rig), self.connect(rig)
        self.assertTrue(self.connect(rig).over)
        self.assertEqual(rig.gateway.counts.refused, {"too-many-connections": 1})
        for peer in (first, second):
            peer.send(V1 + GET)
            rig.settle()
            rig.exchange(service, OK)
            self.assertTrue(peer.take().endswith(b"ok"))

    def test_draining(self) -> None:
        """Who is here already may ask once."""
        rig = self.make()
        service = rig.slot()
        early, late = self.connect(rig), self.connect(rig)
        drained = rig.proxy.drain()
        early.send(V1 + GET)
        rig.settle()
        rig.exchange(service, OK)
        self.assertIn(b"Connection: close", early.take())
        self.assertTrue(early.over)
        late.send(V1)
        rig.settle()
        self.assertFalse(late.over)
        rig.pass_time(LAST_REQUEST_S + 0.5)
        self.assertTrue(late.over)
        early.close()
        late.close()
        rig.settle()
        self.assertTrue(drained.called)

    @settings(max_examples=80, deadline=None, derandomize=True)
    @given(st.sampled_from([b"", b"PROXY ", V2[:12], V2[:16]]), st.lists(st.binary(max_size=40), max_size=4))
    def test_any_bytes(self, start: bytes, pieces: List[bytes]) -> None:
        rig = SecureRig(make_config(proxy={"trusted_proxies": cfg.networks("198.51.100.0/24")}))
        peer = self.connect(rig)
        for piece in (start, *pieces):
            peer.send(piece)
            rig.settle()
        peer.close()
        rig.settle()
        self.assertEqual(rig.proxy.front.clients, {})
        rig.stop()


class ConfigurationTests(SecureCase):
    """Which endpoints have it."""

    def listeners(self, **proxy: Any) -> List[Any]:
        service = ProxyService(LoopReactor(), make_config(proxy=proxy), lambda: 0.0)
        listeners = service.entrances._listening.values()
        return [(listening.description, type(listening._factory).__name__) for listening in listeners]

    def test_by_option_and_by_description(self) -> None:
        trusted = cfg.networks("10.0.0.0/8")
        http = ("tcp:1", "haproxy:tcp:2")
        self.assertEqual(
            self.listeners(http=http, trusted_proxies=trusted), [("tcp:1", "HTTPFront"), ("tcp:2", "BalancedFront")]
        )
        self.assertEqual(
            self.listeners(http=http, trusted_proxies=trusted, proxy_protocol=True),
            [("tcp:1", "BalancedFront"), ("tcp:2", "BalancedFront")],
        )

    def test_nobody_to_believe(self) -> None:
        error = self.assertRaises(StartupError, self.listeners, http=("haproxy:tcp:2",))
        self.assertIn("trusted_proxies", str(error))
