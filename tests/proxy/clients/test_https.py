"""Tests for ``xproxy.proxy.clients.https`` and ``secure_socket``: clients with TLS, from their first byte to their last."""

from __future__ import annotations

import os
from typing import Any, List

from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.testing import StringTransport

from tests.doubles.certificates import CLIENT, NOW, POLICY, Authority
from tests.doubles.logged import Logged
from tests.world.rig import GET, OK, post, responses, statuses
from tests.world.secure import SecureCase, SecureClient, SecureRig, authority, client_context
from tests.world.sockets import KERNEL, MEMORY
from xproxy import config as cfg
from xproxy.proxy.clients.connection import LAST_REQUEST_S, LINGER_S, LOOK_INTERVAL_S
from xproxy.proxy.clients.https import NOT_TLS_TEXT, HTTPSFront, outcome_of, subject_of
from xproxy.proxy.clients.intake import PIPELINE_BYTES
from xproxy.proxy.exchanges.pool import status_of
from xproxy.tls.certificate_store import CertificateStore
from xproxy.tls.contexts import TLSPolicy

WEBSOCKET = (
    b"GET /chat HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class LoggedCase(SecureCase):
    """A test case that sees what is logged."""

    def setUp(self) -> None:
        self.logged = Logged(self)

    def said(self) -> List[str]:
        """What was logged since the last call; nothing of it is an error."""
        lines = list(self.logged.lines)
        self.assertEqual([event for event in self.logged.events if event["log_level"].name not in ("info", "debug")], [])
        self.logged.clear()
        return lines


class ExchangeMixin:
    """Requests, over both kinds of sockets."""

    def test_one_request(self: Any) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.secure_client(GET)
        request = rig.exchange(service, OK)
        self.assertIn(b"\r\nX-Forwarded-Proto: https\r\n", request)
        self.assertIn(b"\r\nX-Forwarded-For: 192.0.2.1\r\n", request)
        answer = client.take()
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\nok"), answer)
        self.assertEqual(rig.gateway.counts.handshakes, {"done": 1})
        self.assertEqual(rig.gateway.counts.connections["client"], 1)
        self.assertEqual(rig.gateway.counts.connections["handshake"], 0)

    def test_many_on_one_connection(self: Any) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.secure_client()
        for _ in range(5):
            client.send(GET)
            rig.exchange(service, OK)
            self.assertTrue(client.take().endswith(b"ok"))
        client.send(GET + GET + post(b"x" * 70000))
        for _ in range(2):
            rig.exchange(service, OK)
        self.assertTrue(rig.exchange(service, OK).endswith(b"x"))
        self.assertEqual(client.take().count(b"HTTP/1.1 200"), 3)

    def test_a_request_byte_by_byte(self: Any) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.secure_client()
        for byte in GET:
            client.send(bytes((byte,)))
        rig.exchange(service, OK)
        self.assertTrue(client.take().endswith(b"ok"))

    def test_a_large_answer_to_a_slow_client(self: Any) -> None:
        """Memory holds what ``limits.response_memory`` says, the rest waits in a file; the slot is free at once."""
        size = 1_000_000
        rig = self.make_secure_rig(limits={"response_memory": 20_000})
        service = rig.slot()
        client = rig.secure_client(capacity=20_000)
        client.peer.reading = False
        client.tls.send(GET)
        client._flush()
        rig.settle()
        service.take()
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        rig.settle()
        self.assertEqual(status_of(rig.pool)["in_flight"], 0)
        (connection,) = rig.proxy.front.clients
        self.assertTrue(connection.outlet.draining)
        tcp = connection.transport
        self.assertLess(len(tcp.dataBuffer) + tcp._tempDataLen, 400_000)
        client.peer.reading = True
        answer = b""
        while len(answer) < size:
            more = client.take()
            self.assertTrue(more)
            answer += more
        self.assertEqual(len(answer.partition(b"\r\n\r\n")[2]), size)
        self.assertFalse(connection.outlet.draining)

    def test_a_slow_client_gets_the_end_of_its_last_answer(self: Any) -> None:
        """What OpenSSL and TCP have in hand is not taken for sent: no close before it is read."""
        rig = self.make_secure_rig(timeouts={"write": 30.0})
        service = rig.slot()
        client = rig.secure_client(capacity=4_000)
        client.peer.reading = False
        client.tls.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        client._flush()
        rig.settle()
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nContent-Length: 12000\r\n\r\n" + b"y" * 12000)
        rig.pass_time(LINGER_S * 3)
        client.peer.reading = True
        self.assertEqual(len(client.take().partition(b"\r\n\r\n")[2]), 12000)
        self.assertTrue(client.ended)

    def test_a_client_that_reads_nothing_is_cut_off(self: Any) -> None:
        rig = self.make_secure_rig(timeouts={"write": 5.0})
        service = rig.slot()
        client = rig.secure_client(capacity=4_000)
        client.peer.reading = False
        client.tls.send(GET)
        client._flush()
        rig.settle()
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"y" * 90000)
        rig.pass_time(6.0)
        self.assertEqual(rig.proxy.front.clients, {})

    def test_pipelining_is_bounded(self: Any) -> None:
        rig = self.make_secure_rig()
        client = rig.secure_client(GET)
        client.send(GET * (2 * PIPELINE_BYTES // len(GET)))
        (connection,) = rig.proxy.front.clients
        self.assertLess(len(connection.intake.buffer), PIPELINE_BYTES + 70_000)

    def test_websocket(self: Any) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.secure_client(WEBSOCKET)
        self.assertIn(b"Upgrade: websocket", service.take())
        service.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        self.assertTrue(client.take().endswith(b"\r\n\r\nhello"))
        client.send(b"from the client" * 1000)
        self.assertEqual(service.take(), b"from the client" * 1000)
        service.send(b"from the service")
        self.assertEqual(client.take(), b"from the service")
        service.end()
        client.exchange()
        self.assertTrue(client.ended)
        client.shut_down()
        client.peer.close()
        rig.settle()
        self.assertEqual(rig.proxy.front.clients, {})

    def test_a_client_that_ends_the_tunnel(self: Any) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.secure_client(WEBSOCKET)
        service.take()
        service.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        client.take()
        client.shut_down()
        self.assertTrue(service.over)

    def test_a_client_that_says_goodbye_early(self: Any) -> None:
        """It gets the answers to all that it has asked for."""
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.secure_client(capacity=4_000)
        client.peer.reading = False
        client.tls.send(GET + GET)
        client._flush()
        rig.settle()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"y" * 90000
        rig.exchange(service, answer)
        client.tls.shutdown()
        client._flush()
        rig.settle()
        client.peer.reading = True
        client.exchange()
        rig.exchange(service, answer)
        client.exchange()
        self.assertEqual([len(content) for _, _, content in responses(client.received)], [90000, 90000])
        self.assertTrue(client.ended)
        self.assertEqual(rig.proxy.front.clients, {})

    def test_a_client_that_ends_a_tunnel_without_reading_it(self: Any) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.secure_client(WEBSOCKET, capacity=4_000)
        service.take()
        client.peer.reading = False
        service.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        service.send(b"x" * 200_000)
        rig.settle()
        client.tls.shutdown()
        client._flush()
        rig.settle()
        self.assertTrue(service.over)
        rig.pass_time(rig.gateway.policy.timeouts.write + 1)
        self.assertEqual(rig.proxy.front.clients, {})

    def test_a_client_that_ends_its_side_in_line(self: Any) -> None:
        """It is answered, unless it is gone altogether."""
        rig = self.make_secure_rig()
        first, second = rig.secure_client(GET), rig.secure_client(GET)
        first.shut_down()
        second.shut_down()
        self.assertEqual(status_of(rig.pool)["queue_length"], 2)
        second.peer.close()
        rig.pass_time(2 * LOOK_INTERVAL_S)
        self.assertEqual(status_of(rig.pool)["queue_length"], 1)
        rig.exchange(rig.slot(), OK)
        self.assertEqual(statuses(first.take()), [200])
        self.assertTrue(first.ended)
        self.assert_at_rest(rig)

    def test_a_record_that_was_changed_on_its_way(self: Any) -> None:
        for request in (GET, GET + post(b"x" * 40_000)):
            rig = self.make_secure_rig()
            service = rig.slot()
            client = rig.secure_client()
            for start in range(0, len(request), 16384):
                client.tls.send(request[start : start + 16384])
            sealed = client.tls.bio_read(65536)
            client.peer.send(sealed[:20] + bytes((sealed[20] ^ 1,)) + sealed[21:])
            rig.settle()
            self.assertEqual(service.take(), b"")
            self.assertTrue(client.peer.over)
            self.assertEqual(rig.proxy.front.clients, {})

    def test_two_records_in_one_read_and_one_in_two(self: Any) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.secure_client()
        half = len(GET) // 2
        client.tls.send(GET[:half])
        client.tls.send(GET[half:])
        client.exchange()
        rig.exchange(service, OK)
        self.assertTrue(client.take().endswith(b"ok"))
        client.tls.send(GET)
        sealed = client.tls.bio_read(65536)
        for cut in (3, 5, 30):
            client.peer.send(sealed[:cut])
            rig.settle()
            client.peer.send(sealed[cut:])
            rig.settle()
            rig.exchange(service, OK)
            self.assertTrue(client.take().endswith(b"ok"))
            client.tls.send(GET)
            sealed = client.tls.bio_read(65536)

    def test_a_bad_request_is_answered(self: Any) -> None:
        rig = self.make_secure_rig()
        client = rig.secure_client(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + b"x" * 100_000)
        self.assertTrue(client.take().startswith(b"HTTP/1.1 400 "))
        self.assertTrue(client.ended)
        rig.pass_time(LINGER_S + 1)
        self.assertEqual(rig.proxy.front.clients, {})


class MemoryExchangeTests(ExchangeMixin, SecureCase):
    """In memory."""

    kind = MEMORY


class KernelExchangeTests(ExchangeMixin, SecureCase):
    """Over real sockets."""

    kind = KERNEL


class HandshakeTests(LoggedCase):
    """Handshakes that fail, and those that take their time."""

    def failed(self, rig: SecureRig, outcome: str, *lines: str) -> None:
        """One handshake has failed, was counted and told, and has left nothing."""
        rig.settle()
        self.assertEqual(rig.gateway.counts.handshakes, {outcome: 1})
        self.assertEqual(self.said(), [f"TLS handshake with 192.0.2.1 failed: {line}" for line in lines])
        self.assertEqual(rig.proxy.front.clients, {})
        self.assertEqual(rig.gateway.counts.connections.get("handshake"), 0)

    def test_plain_http(self) -> None:
        rig = self.make_secure_rig()
        peer = rig.secure_peer()
        peer.send(GET)
        rig.settle()
        answer = peer.take()
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), answer)
        self.assertTrue(answer.endswith(b"\r\n\r\n" + NOT_TLS_TEXT))
        self.assertTrue(peer.over)
        self.failed(rig, "plain-http", "plain-http")

    def test_plain_http_that_openssl_does_not_know(self) -> None:
        rig = self.make_secure_rig()
        peer = rig.secure_peer()
        peer.send(GET.replace(b"GET", b"PROPFIND"))
        rig.settle()
        self.assertTrue(peer.take().endswith(b"\r\n\r\n" + NOT_TLS_TEXT))
        self.failed(rig, "plain-http", "plain-http")

    def test_a_client_that_takes_its_time_to_take_ours(self) -> None:
        """A certificate that does not fit into the buffers of the kernel waits until it does."""
        rig = self.make_secure_rig()
        names = [f"a-rather-long-name-of-a-host-{number}.example.com" for number in range(300)]
        rig.store = CertificateStore(rig.reactor, (), POLICY, [authority().issue(*names).pair()], lambda: NOW)
        rig.secure = HTTPSFront(rig.proxy.front, rig.store)
        client = SecureClient(rig, rig.secure_peer(capacity=1000))
        client.peer.reading = False
        self.assertRaises(SSL.WantReadError, client.tls.do_handshake)
        client._flush()
        rig.settle()
        self.assertEqual(len(rig.reactor.writers), 1)
        client.peer.reading = True
        client.handshake()
        self.assertEqual(rig.reactor.writers, {})
        self.assertEqual(rig.gateway.counts.handshakes, {"done": 1})

    def test_garbage(self) -> None:
        for garbage in (
            b"\0",
            b"\x16\x03\x01\xff\xff",
            b"hello\r\n",
            b"\x16" * 100,
            b"SSH-2.0-x\r\n" * 1000,
            b"\x80\x2e\x01\x00\x02",
        ):
            rig = self.make_secure_rig()
            peer = rig.secure_peer()
            peer.send(garbage)
            rig.settle()
            if not peer.over:  # It could still become a hello.
                rig.pass_time(rig.gateway.policy.timeouts.handshake + 1)
            self.assertTrue(peer.over, garbage)
            self.assertEqual(sum(rig.gateway.counts.handshakes.values()), 1)
            self.assertEqual(rig.proxy.front.clients, {})
            self.assertEqual(len(self.said()), 1)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.binary(min_size=1, max_size=300), st.booleans())
    def test_any_bytes(self, data: bytes, record: bool) -> None:
        rig = SecureRig()
        peer = rig.secure_peer()
        for start in range(0, len(data), 7):
            peer.send((b"\x16\x03\x01\x00\xc8" if record and not start else b"") + data[start : start + 7])
            rig.settle()
        rig.pass_time(rig.gateway.policy.timeouts.handshake + LINGER_S)
        self.assertEqual(rig.proxy.front.clients, {})
        self.assertEqual(sum(rig.gateway.counts.handshakes.values()), 1)
        self.said()
        rig.stop()

    def test_half_a_handshake_held_open(self) -> None:
        rig = self.make_secure_rig(timeouts={"handshake": 4.0})
        client = SecureClient(rig, rig.secure_peer())
        self.assertRaises(SSL.WantReadError, client.tls.do_handshake)
        client.peer.send(client.tls.bio_read(65536)[:-1])
        rig.pass_time(3.9)
        self.assertEqual(len(rig.proxy.front.clients), 1)
        rig.pass_time(0.6)
        self.assertTrue(client.peer.over)
        self.assertEqual(rig.gateway.counts.timeouts, {"handshake": 1})
        self.failed(rig, "timeout", "timeout")

    def test_a_byte_now_and_then_does_not_help(self) -> None:
        rig = self.make_secure_rig(timeouts={"handshake": 4.0})
        client = SecureClient(rig, rig.secure_peer())
        self.assertRaises(SSL.WantReadError, client.tls.do_handshake)
        for byte in client.tls.bio_read(65536)[:10]:
            client.peer.send(bytes((byte,)))
            rig.pass_time(0.5)
        self.failed(rig, "timeout", "timeout")

    def test_a_client_that_leaves(self) -> None:
        rig = self.make_secure_rig()
        peer = rig.secure_peer()
        peer.close()
        self.failed(rig, "closed", "closed")

    def test_a_client_that_leaves_halfway(self) -> None:
        rig = self.make_secure_rig()
        client = SecureClient(rig, rig.secure_peer())
        self.assertRaises(SSL.WantReadError, client.tls.do_handshake)
        client._flush()
        rig.settle()
        client.peer.reset()
        self.failed(rig, "closed", "closed")

    def test_nothing_in_common(self) -> None:
        for outcome, reason, options in (
            ("no-common-cipher", "no shared cipher", {"ciphers": b"AES128-SHA", "highest": SSL.TLS1_2_VERSION}),
            ("no-common-protocol", "no application protocol", {}),
        ):
            rig = self.make_secure_rig()
            protocols = () if options else (b"acme-tls/1",)
            client = SecureClient(rig, rig.secure_peer(), protocols=protocols, context=client_context(**options))
            self.assertRaises(SSL.Error, client.handshake)
            self.failed(rig, outcome, reason)

    def test_a_client_that_does_not_trust_us(self) -> None:
        rig = self.make_secure_rig()
        context = client_context()
        context.set_verify(SSL.VERIFY_PEER, lambda *_: False)
        client = SecureClient(rig, rig.secure_peer(), context=context)
        self.assertRaises(SSL.Error, client.handshake)
        client.exchange()
        self.assertEqual(list(rig.gateway.counts.handshakes), ["refused-by-client"])

    def test_an_unknown_name_gets_the_default_certificate(self) -> None:
        rig = self.make_secure_rig()
        for name in (b"unknown.example", None):
            client = rig.secure_client(name=name)
            shown = client.tls.get_peer_certificate()
            assert shown is not None
            self.assertEqual(shown.to_cryptography().subject.rfc4514_string(), "CN=example.com")

    def test_too_many(self) -> None:
        rig = self.make_secure_rig(limits={"connections": 2})
        rig.secure_client()
        rig.secure_peer()
        self.assertTrue(rig.secure_peer().over)
        self.assertTrue(rig.client(GET).over)
        self.assertEqual(rig.gateway.counts.refused, {"too-many-connections": 2})

    def test_many_failures_are_told_seldom(self) -> None:
        rig = self.make_secure_rig()
        for number in range(100):
            rig.secure_peer(host=f"192.0.2.{number}").close()
        rig.settle()
        self.assertEqual(rig.gateway.counts.handshakes, {"closed": 100})
        self.assertEqual(len(self.said()), 60)

    def test_outcomes(self) -> None:
        self.assertEqual(outcome_of("tlsv1 alert unknown ca"), "refused-by-client")
        self.assertEqual(outcome_of("wrong version number"), "malformed")
        self.assertEqual(outcome_of("unsupported protocol"), "no-common-version")


class EndTests(SecureCase):
    """How connections end."""

    def test_drain(self) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        idle, busy, late = rig.secure_client(), rig.secure_client(GET), SecureClient(rig, rig.secure_peer())
        rig.pass_time(LAST_REQUEST_S)
        drained = rig.proxy.drain()
        late.handshake()
        for client in (idle, late):
            client.exchange()
            self.assertFalse(client.ended, "it may ask, once")
        rig.pass_time(LAST_REQUEST_S + 0.5)
        for client in (idle, late):
            client.exchange()
            self.assertTrue(client.ended)
        rig.exchange(service, OK)
        self.assertIn(b"Connection: close", busy.take())
        self.assertTrue(busy.ended)
        for client in (idle, busy, late):
            client.shut_down()
            client.peer.close()
        rig.settle()
        self.assertTrue(drained.called)

    def test_stop(self) -> None:
        rig = self.make_secure_rig()
        clients = [rig.secure_client(), rig.secure_client(GET)]
        handshake = rig.secure_peer()
        rig.proxy.stopService()
        rig.settle()
        self.assertTrue(all(client.peer.over for client in clients))
        self.assertTrue(handshake.over)
        self.assertEqual(rig.proxy.front.clients, {})

    def test_no_descriptor_is_left(self) -> None:
        before = len(os.listdir("/proc/self/fd"))
        rig = SecureRig()
        for ending in range(60):
            client = SecureClient(rig, rig.secure_peer())
            if ending % 3:
                client.handshake()
            if ending % 3 == 2:
                client.send(GET)
            if ending % 2:
                client.peer.reset()
            else:
                client.peer.close()
            rig.settle()
        self.assertEqual(rig.proxy.front.clients, {})
        self.assertLessEqual(set(rig.gateway.sweep._members), {rig.gateway, *rig.gateway.pools.values()})
        rig.stop()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_over_a_transport_that_is_no_socket(self) -> None:
        """OpenSSL needs one."""
        rig = self.make_secure_rig()
        protocol = rig.secure.buildProtocol(None)
        assert protocol is not None
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost()
        self.assertEqual(rig.gateway.counts.handshakes, {"closed": 1})
        self.assertEqual(rig.proxy.front.clients, {})


class MeaningTests(SecureCase):
    """What TLS changes for a request."""

    def test_redirect_to_https(self) -> None:
        rig = self.make_secure_rig(
            routes=[cfg.RouteConfig(redirect_https=443), cfg.RouteConfig(path="/a", redirect_https=8443)],
            proxy={"trusted_proxies": cfg.networks("198.51.100.0/24")},
        )
        service = rig.slot()
        plain = rig.client()
        for request, location in (
            (b"GET /x?y=1 HTTP/1.1\r\nHost: example.com:8080\r\n\r\n", b"301 Moved Permanently|https://example.com/x?y=1"),
            (b"GET /a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", b"301 Moved Permanently|https://[::1]:8443/a"),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", b"308 Permanent Redirect|https://a/"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n", b"301 Moved Permanently|https://a/"),
            (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"308 Permanent Redirect|https://a"),
            (b"GET / HTTP/1.0\r\n\r\n", b"400 Bad Request|"),
        ):
            plain.send(request)
            rig.settle()
            head = plain.take().partition(b"\r\n\r\n")[0]
            fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
            self.assertEqual(head.split(b"\r\n")[0][9:] + b"|" + fields.get(b"Location", b""), location)
        secure = rig.secure_client(GET)
        rig.exchange(service, OK)
        self.assertTrue(secure.take().endswith(b"ok"))
        balancer = rig.client(GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-Proto: https, http\r\n\r\n"), "198.51.100.1")
        rig.exchange(service, OK)
        self.assertTrue(balancer.take().endswith(b"ok"))

    def test_hsts(self) -> None:
        hsts = b"\r\nStrict-Transport-Security: max-age=63072000\r\n"
        own = cfg.RouteConfig(path="/own", hsts="max-age=63072000", respond=cfg.RespondConfig())
        rig = self.make_secure_rig(routes=[cfg.RouteConfig(hsts="max-age=63072000"), own, cfg.RouteConfig(path="/no")])
        service = rig.slot()
        client, plain = rig.secure_client(GET), rig.client(GET)
        rig.exchange(service, OK)
        rig.exchange(service, OK)
        self.assertEqual(client.take().count(hsts), 1)
        self.assertNotIn(hsts, plain.take())
        client.send(GET)
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=1\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(client.take().lower().count(b"strict-transport-security"), 1)
        client.send(b"GET /own HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(hsts, client.take())
        client.send(b"GET /no HTTP/1.1\r\nHost: a\r\n\r\n")
        rig.exchange(service, OK)
        self.assertNotIn(hsts, client.take())

    def test_access_log(self) -> None:
        rig = self.make_secure_rig()
        log = rig.log_to()
        service = rig.slot()
        rig.secure_client(GET)
        rig.exchange(service, OK)
        (line,) = rig.logged(log)
        self.assertEqual((line["peer"], line["status"], line["version"]), ("192.0.2.1", 200, "HTTP/1.1"))


class ClientCertificateTests(LoggedCase):
    """Clients that say who they are."""

    def setUp(self) -> None:
        super().setUp()
        self.path = os.path.abspath(self.mktemp())
        with open(self.path, "wb") as file:
            file.write(authority().pem)

    def make_secure_rig(self, required: bool = True, **proxy: Any) -> SecureRig:  # type: ignore[override]
        config = cfg.Config(proxy=cfg.ProxyConfig(http=(), access_log="none", client_ca=self.path, **proxy))
        rig = SecureRig(config, self.kind, TLSPolicy(self.path, required))
        self.addCleanup(rig.stop)
        return rig

    def bearer(self, issuer: Any = None, **parts: Any) -> SSL.Context:
        issued = (issuer or authority()).issue("bob", usages=CLIENT, **parts)
        context = TLSPolicy().context([issued.pair()])
        context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
        return context

    def asked(self, rig: SecureRig, request: bytes, **options: Any) -> bytes:
        """What a service gets of a request."""
        service = rig.slot()
        rig.secure_client(request, **options)
        return service.take()

    def test_the_subject_goes_on(self) -> None:
        request = self.asked(self.make_secure_rig(), GET, context=self.bearer())
        self.assertIn(b"\r\nX-Client-Subject: CN=bob\r\n", request)

    def test_a_resumed_session_is_the_same_clients(self) -> None:
        rig = self.make_secure_rig()
        context = self.bearer()
        service = rig.slot()
        client = rig.secure_client(GET, context=context)
        rig.exchange(service, OK)
        client.take()
        again = rig.secure_client(GET, context=context, session=client.tls.get_session())
        self.assertIn(b"\r\nX-Client-Subject: CN=bob\r\n", rig.exchange(service, OK))
        self.assertTrue(again.take().endswith(b"ok"))

    def test_in_another_field(self) -> None:
        rig = self.make_secure_rig(client_subject_header="Ssl-Client-S-Dn")
        self.assertIn(b"\r\nSsl-Client-S-Dn: CN=bob\r\n", self.asked(rig, GET, context=self.bearer()))

    def test_whatever_is_in_it_stays_on_one_line_of_ascii(self) -> None:
        parts = ((NameOID.ORGANIZATION_NAME, "Bücher, Inc.\r\nX-Admin: yes"), (NameOID.COMMON_NAME, "bob"))
        subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])
        request = self.asked(
            self.make_secure_rig(),
            GET,
            context=self.bearer(subject=subject),
        )
        self.assertIn(b"\r\nX-Client-Subject: CN=bob,O=B\\C3\\BCcher\\, Inc.\\0D\\0AX-Admin: yes\r\n", request)

    def test_what_clients_write_is_removed(self) -> None:
        forged = GET.replace(
            b"\r\n\r\n",
            b"\r\nX-Client-Subject: CN=root\r\nx_client_subject: 0\r\nX.CLIENT_Subject: root\r\nX-Client-Subjects: 1\r\n\r\n",
        )
        rig = self.make_secure_rig(required=False)
        request = self.asked(rig, forged)
        self.assertNotIn(b"root", request)
        self.assertIn(b"X-Client-Subjects: 1", request)
        service = rig.slot()
        rig.client(forged)
        self.assertNotIn(b"root", service.take())

    def test_nor_can_it_be_said_by_a_trailer(self) -> None:
        chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
        request = self.asked(
            self.make_secure_rig(), chunked + b"x_client-subject: CN=root\r\nX-Sum: 1\r\n\r\n", context=self.bearer()
        )
        self.assertNotIn(b"root", request)
        self.assertIn(b"X-Sum: 1", request)

    def test_nor_by_naming_it_in_connection(self) -> None:
        request = GET.replace(b"\r\n\r\n", b"\r\nConnection: X-Client-Subject\r\n\r\n")
        self.assertIn(b"X-Client-Subject: CN=bob", self.asked(self.make_secure_rig(), request, context=self.bearer()))

    def test_without_one(self) -> None:
        rig = self.make_secure_rig()
        client = SecureClient(rig, rig.secure_peer(), context=client_context(highest=SSL.TLS1_2_VERSION))
        self.assertRaises(SSL.Error, client.handshake)
        rig.settle()
        self.assertEqual(rig.gateway.counts.handshakes, {"no-client-certificate": 1})
        optional = self.make_secure_rig(required=False)
        self.assertNotIn(b"X-Client-Subject", self.asked(optional, GET))

    def test_a_strangers(self) -> None:
        for required in (True, False):
            rig = self.make_secure_rig(required)
            context = self.bearer(Authority("stranger"))
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
            client = SecureClient(rig, rig.secure_peer(), context=context)
            self.assertRaises(SSL.Error, client.handshake)
            rig.settle()
            self.assertEqual(rig.gateway.counts.handshakes, {"bad-client-certificate": 1})
            (line,) = self.said()
            self.assertEqual(line, "TLS handshake with 192.0.2.1 failed: certificate verify failed: its CA is none of ours")

    def test_no_certificate_no_subject(self) -> None:
        class Nobody:
            def get_peer_certificate(self) -> None:
                return None

        self.assertEqual(subject_of(Nobody()), b"")
