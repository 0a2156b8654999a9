"""Services register: addresses, preambles, tokens, pools, limits, time."""

from __future__ import annotations

import socket
from typing import Any, List, Optional

import attr
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.acceptor.scene import config_of
from tests.doubles.holders import SlotTransport
from tests.doubles.logged import Logged
from xproxy.acceptor import registering as registration
from xproxy.acceptor.acceptor import Acceptor
from xproxy.acceptor.registering import SlotFactory
from xproxy.config import AcceptorConfig, Config, PoolConfig, networks
from xproxy.net.keepalive import USER_TIMEOUT_S
from xproxy.slots.preambles.registration import AUTO_RAW_S, Registration, build_mxproxy, build_registration
from xproxy.slots.serving.goodbye import is_goodbye

HERE = IPv4Address("TCP", "127.0.0.1", 4711)
TIMEOUT_S = 5.0


class RegistrationTestCase(SynchronousTestCase):
    """One listener, by default for one pool."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.transports: List[SlotTransport] = []
        self.lines = Logged(self).lines
        self.addCleanup(self._close)
        self.listen(PoolConfig("default"))

    def _close(self) -> None:
        self.factory.close()
        self.acceptor.close()
        for transport in self.transports:
            transport.service.close()
            self.assertTrue(transport.lost)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def listen(self, *pools: PoolConfig, served: Optional[List[PoolConfig]] = None) -> None:
        here = [attr.evolve(pool, slots=("here",)) for pool in pools]
        elsewhere = [pool for pool in served or () if pool not in pools]
        config = Config(
            acceptor=AcceptorConfig(registration_timeout=TIMEOUT_S), pools={pool.name: pool for pool in [*here, *elsewhere]}
        )
        self.acceptor = Acceptor(config, self.clock.seconds, self.clock)
        self.factory = SlotFactory(self.acceptor, "here", self.clock, self.clock.seconds)

    def dial(self, data: bytes = b"", peer: IAddress = HERE) -> SlotTransport:
        """A service connects and sends ``data``."""
        transport = SlotTransport()
        self.transports.append(transport)
        protocol = self.factory.buildProtocol(peer)
        if protocol is None:
            transport.loseConnection()
            return transport
        transport.connect(protocol)
        if data:
            transport.service.sendall(data)
            transport.pump()
        return transport

    def refused(self, slot: SlotTransport) -> bool:
        """Whether the service was told that it is refused, and sees the end; it hangs up then."""
        if slot.lost:
            return True
        try:
            told = slot.service.recv(1000)
        except BlockingIOError:
            return False
        self.assertRegex(told, rb"^HTTP/1.1 403 Forbidden\r\n(.+\r\n)+\r\n.+\n$")
        self.assertTrue(slot.service_sees_end())
        slot.service.shutdown(socket.SHUT_WR)
        slot.pump()
        self.assertTrue(slot.lost)
        return True

    def results(self, pool: str = "default") -> Any:
        return {result: number for (name, result), number in self.acceptor.registrations.items() if name == pool}

    def services(self, pool: str = "default") -> List[str]:
        return [row["name"] for row in self.acceptor.census()[pool]["services"]]


class KindTests(RegistrationTestCase):
    """Raw, mxproxy, proxy, and which of them comes."""

    def test_silence_is_raw(self) -> None:
        slot = self.dial()
        self.clock.advance(AUTO_RAW_S - 0.01)
        self.assertEqual(self.results(), {})
        self.clock.advance(0.02)
        self.assertEqual((self.results(), self.services()), ({"ok": 1}, ["127.0.0.1"]))
        self.assertFalse(slot.lost)

    def test_what_waits_to_be_read_is_not_silence(self) -> None:
        """The loop was busy for longer than a preamble may take: timers that are due come before what can be read."""
        slot, gone = self.dial(), self.dial()
        slot.service.sendall(build_registration("default", "web:1", None))
        gone.service.close()
        self.clock.advance(AUTO_RAW_S + 1.0)
        self.assertEqual(self.results(), {})
        slot.pump()
        gone.pump()
        self.assertEqual((self.results(), self.services()), ({"ok": 1, "gone": 1}, ["web:1"]))

    def test_raw_registers_at_once(self) -> None:
        self.listen(PoolConfig("default", registration="raw"))
        self.dial()
        self.assertEqual(self.results(), {"ok": 1})

    def test_mxproxy(self) -> None:
        self.listen(PoolConfig("default", allow=networks("127.0.0.0/8", "10.0.0.0/8")))
        self.dial(build_mxproxy("10.1.2.3", 80))
        self.assertEqual((self.results(), self.services()), ({"ok": 1}, ["10.1.2.3"]))

    def test_proxy_byte_by_byte(self) -> None:
        slot = self.dial()
        for byte in build_registration("default", "web:1", None):
            self.assertEqual(self.results(), {})
            slot.service.sendall(bytes((byte,)))
            slot.pump()
        self.assertEqual((self.results(), self.services()), ({"ok": 1}, ["web:1"]))

    def test_a_preamble_that_began_has_time(self) -> None:
        preamble = build_registration("default", "web:1", None)
        slot = self.dial(preamble[:5])
        self.clock.advance(AUTO_RAW_S)
        self.clock.advance(TIMEOUT_S - 0.1)
        slot.service.sendall(preamble[5:])
        slot.pump()
        self.assertEqual(self.results(), {"ok": 1})

    def test_a_preamble_that_began_has_no_more_time(self) -> None:
        slot = self.dial(build_registration("default", "web:1", None)[:5])
        self.clock.pump([AUTO_RAW_S, TIMEOUT_S])
        self.assertTrue(self.refused(slot))
        self.assertEqual(self.results(), {"timeout": 1})

    def test_where_a_preamble_must_come_silence_is_too_late(self) -> None:
        self.listen(PoolConfig("default", registration="proxy"))
        slot = self.dial()
        self.clock.advance(TIMEOUT_S)
        self.assertTrue(self.refused(slot))
        self.assertEqual(self.results(), {"timeout": 1})

    def test_garbage(self) -> None:
        for data in (b"GET / HTTP/1.1\r\n", b"\0" * 300, b"\x80", b"PROXY UNKNOWN\n"):
            self.assertTrue(self.refused(self.dial(data)), data)
        self.assertEqual(self.results(), {"bad_preamble": 4})

    def test_bytes_after_the_preamble(self) -> None:
        slot = self.dial(build_registration("default", None, None) + b"x")
        self.assertTrue(self.refused(slot))
        self.assertEqual(self.results(), {"bad_preamble": 1})

    def test_bytes_after_the_preamble_in_a_read_of_their_own(self) -> None:
        slot = self.dial(build_registration("default", None, None))
        slot.service.sendall(b"x")
        slot.pump()
        self.assertTrue(slot.lost)
        self.assertEqual(self.acceptor.closings, {("default", "unasked"): 1})

    def test_it_hangs_up_before_it_has_registered(self) -> None:
        slot = self.dial()
        slot.service.close()
        slot.pump()
        self.clock.advance(TIMEOUT_S)
        self.assertEqual(self.results(), {"gone": 1})

    def test_what_comes_after_a_refusal_is_ignored(self) -> None:
        slot = self.dial(b"GET / HTTP/1.1\r\n")
        assert slot.protocol is not None
        slot.protocol.dataReceived(b"more")
        self.assertEqual(self.results(), {"bad_preamble": 1})

    def test_a_transport_whose_socket_is_not_the_stream(self) -> None:
        protocol = self.factory.buildProtocol(HERE)
        assert protocol is not None
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.assertTrue(transport.disconnecting)
        self.assertEqual(self.results(), {"refused_transport": 1})


class AdmissionTests(RegistrationTestCase):
    """Who may."""

    def test_an_address_that_is_not_allowed(self) -> None:
        slot = self.dial(peer=IPv4Address("TCP", "192.0.2.1", 1))
        self.assertTrue(self.refused(slot))
        self.assertEqual(self.results(), {"refused_address": 1})

    def test_ipv6(self) -> None:
        self.listen(PoolConfig("default", registration="raw", allow=networks("2001:db8::/32", "10.0.0.0/8")))
        for host in ("2001:db8::1", "2001:db8::2%eth0", "::ffff:10.1.1.1"):
            self.assertFalse(self.refused(self.dial(peer=IPv6Address("TCP", host, 1))), host)
        for host in ("2001:db9::1", "::ffff:11.1.1.1", "::1"):
            self.assertTrue(self.refused(self.dial(peer=IPv6Address("TCP", host, 1))), host)
        self.assertEqual(self.results(), {"ok": 3, "refused_address": 3})
        self.assertIn("10.1.1.1", self.services())

    def test_unix_peers_are_let_in_by_the_mode_of_the_file(self) -> None:
        self.listen(PoolConfig("default", registration="raw", allow=()))
        self.assertFalse(self.refused(self.dial(peer=UNIXAddress(None))))
        self.assertEqual(self.services(), ["unix"])

    def test_the_address_in_the_preamble_is_checked_too(self) -> None:
        for peer in (HERE, UNIXAddress(None)):
            self.assertTrue(self.refused(self.dial(build_mxproxy("192.0.2.1", 80), peer)))
            self.assertFalse(self.refused(self.dial(build_mxproxy("127.0.0.9", 80), peer)))
        self.assertEqual(self.results(), {"ok": 2, "refused_address": 2})

    def test_an_allowed_address_in_the_preamble_does_not_help_a_stranger(self) -> None:
        slot = self.dial(build_mxproxy("127.0.0.1", 80), IPv4Address("TCP", "192.0.2.1", 1))
        self.assertTrue(self.refused(slot))
        self.assertEqual(self.results(), {"refused_address": 1})

    def test_token(self) -> None:
        self.listen(PoolConfig("default", token="s3cret"))
        for token, refused in ((b"s3cret", False), (b"s3cre", True), (None, True), (b"\xff", True)):
            self.assertIs(self.refused(self.dial(build_registration("default", None, token))), refused, token)
        self.dial()
        self.clock.advance(AUTO_RAW_S)  # Raw has no token.
        self.assertEqual(self.results(), {"ok": 1, "refused_token": 4})
        self.assertNotIn("s3cret", "".join(self.lines))

    def test_pools_of_the_listener(self) -> None:
        a, b, c = PoolConfig("a"), PoolConfig("b"), PoolConfig("c")
        self.listen(a, b, served=[a, b, c])
        for name in ("a", "b", None):
            self.assertFalse(self.refused(self.dial(build_registration(name, None, None))))
        for name in ("c", "d"):
            self.assertTrue(self.refused(self.dial(build_registration(name, None, None))))
        self.assertEqual((self.results("a"), self.results("b")), ({"ok": 2, "refused_pool": 2}, {"ok": 1}))
        self.assertEqual(self.results("c"), {})

    def test_each_pool_of_a_listener_has_its_own_allow_list(self) -> None:
        a, b = PoolConfig("a", allow=networks("10.0.0.1")), PoolConfig("b", allow=networks("10.0.0.2"))
        self.listen(a, b)
        peer = IPv4Address("TCP", "10.0.0.2", 1)
        self.assertTrue(self.refused(self.dial(build_registration("a", None, None), peer)))
        self.assertFalse(self.refused(self.dial(build_registration("b", None, None), peer)))

    def test_no_more_slots_than_the_pool_may_have(self) -> None:
        self.listen(PoolConfig("default", registration="raw", max_slots=2))
        slots = [self.dial() for _ in range(3)]
        self.assertEqual([self.refused(slot) for slot in slots], [False, False, True])
        slots[0].service.close()
        slots[0].pump()
        self.assertFalse(self.refused(self.dial()))
        self.assertEqual(self.results(), {"ok": 3, "too_many": 1})

    def test_no_more_registering_than_the_limit(self) -> None:
        self.patch(registration, "MAX_REGISTERING", 2)
        slots = [self.dial() for _ in range(3)]
        self.assertEqual([self.refused(slot) for slot in slots], [False, False, True])
        self.clock.advance(AUTO_RAW_S)
        self.assertFalse(self.refused(self.dial()))

    def test_refusals_are_logged_once_for_each_peer_and_reason(self) -> None:
        for _ in range(5):
            self.dial(b"GET / HTTP/1.1\r\n")
            self.dial(peer=IPv4Address("TCP", "192.0.2.1", 1))
        self.assertEqual(len(self.lines), 2, self.lines)
        self.assertIn("192.0.2.1 was refused: its address is not allowed", self.lines[1])

    def test_a_long_name_is_cut(self) -> None:
        found = Registration("proxy", instance="\N{SNOWMAN}" * 128)
        name = registration.service_name(found, "")
        self.assertEqual(name, "\N{SNOWMAN}" * 66)


class TCPOptionTests(SynchronousTestCase):
    """A host that vanishes is noticed within a minute."""

    def test_options(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as service:
            near, _ = server.accept()
            transport = SlotTransport()
            transport.near.close()
            transport.service.close()
            transport.near = near
            clock = Clock()
            acceptor = Acceptor(config_of("default"), clock.seconds, clock)
            factory = SlotFactory(acceptor, "here", clock, clock.seconds)
            protocol = factory.buildProtocol(HERE)
            assert protocol is not None
            transport.connect(protocol)
            tcp = [
                near.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            ]
            self.assertEqual(near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
            self.assertEqual(near.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 1)
            self.assertLess(tcp[0] + tcp[1] * tcp[2], 60)
            self.assertEqual(tcp[3], USER_TIMEOUT_S * 1000)
            self.assertLess(tcp[3], 60000)
            acceptor.close()
            self.assertEqual(service.recv(1), b"")

    def test_a_peer_that_was_gone_before_it_was_looked_at(self) -> None:
        transport = SlotTransport()
        transport.near.close()
        transport.service.close()

        class Gone(socket.socket):
            family = socket.AF_INET

        gone = Gone()
        gone.close()
        transport.near = gone
        clock = Clock()
        acceptor = Acceptor(config_of("default"), clock.seconds, clock)
        factory = SlotFactory(acceptor, "here", clock, clock.seconds)
        protocol = factory.buildProtocol(HERE)
        assert protocol is not None
        transport.connect(protocol)
        self.assertEqual(acceptor.registrations, {("default", "gone"): 1})


class ClosingTests(SynchronousTestCase):
    """What counts as the polite closing."""

    WHOLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nXPROXY-slot:  Closing \r\n\r\n"

    def test_polite(self) -> None:
        self.assertTrue(is_goodbye(self.WHOLE))
        self.assertTrue(is_goodbye(self.WHOLE + b"and more"))

    def test_not_polite(self) -> None:
        for data in (
            b"",
            self.WHOLE[:-1],
            self.WHOLE.replace(b"503", b"500"),
            self.WHOLE.replace(b"Closing", b"opening"),
            self.WHOLE.replace(b"HTTP", b"ICAP"),
            b"HTTP/1.1 503 No\r\n\r\nXproxy-Slot: closing\r\n\r\n",
            b"HTTP/1.1 503 No\r\nX: " + bytes(5000) + b"\r\nXproxy-Slot: closing\r\n\r\n",
        ):
            self.assertFalse(is_goodbye(data), data[:80])
