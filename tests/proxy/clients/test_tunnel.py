"""Upgraded connections: bytes both ways, each end of each direction, backpressure, and time."""

from __future__ import annotations

from typing import Any, Tuple

from tests.world.peers import Peer
from tests.world.rig import OK, Rig, RigCase, request_head, responses, statuses
from tests.world.sockets import KERNEL
from xproxy import config as cfg
from xproxy.http1.websocket import GOING_AWAY
from xproxy.proxy.clients.states import State

UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n"
)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: def\r\n\r\n"
)
TEXT = b"\x81\x05hello"
CLIENT_CLOSE = b"\x88\x82mask\x6e\x88"


class TunnelMixin:
    """The tests that hold over both kinds of sockets."""

    def tunnel(self: Any, **parts: Any) -> Tuple[Rig, Peer, Peer]:
        """A tunnel: its rig, the client and the service."""
        capacity = parts.pop("capacity", 212_992)
        rig = self.make_rig(**parts)
        service = rig.slot(capacity=capacity)
        client = rig.client(UPGRADE, capacity=capacity)
        rig.exchange(service, SWITCHING)
        self.assertEqual(statuses(client.take()), [101])
        return rig, client, service

    def assert_over(self: Any, rig: Rig, client: Peer, service: Peer) -> None:
        """Both connections are closed, and the slot is given up."""
        self.assertTrue(client.over)
        self.assertTrue(service.over)
        self.assertEqual(rig.proxy.front.clients, {})
        self.assertEqual(rig.pool.slots, {})
        self.assertEqual(rig.source.closed, [0])
        self.assertEqual(rig.source.given_back, [])
        self.assert_at_rest(rig)

    def test_heads(self: Any) -> None:
        """The request to upgrade goes on as one, and so does the answer."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(UPGRADE)
        head = request_head(service)
        self.assertEqual((head.upgrade, head.fields.get(b"sec-websocket-key")), (b"websocket", b"abc"))
        rig.exchange(service, SWITCHING)
        status, fields, _ = responses(client.take())[0]
        self.assertEqual((status, fields[b"connection"], fields[b"upgrade"]), (101, b"Upgrade", b"websocket"))
        self.assertEqual(fields[b"sec-websocket-accept"], b"def")
        self.assertNotIn(b"content-length", fields)

    def test_both_ways(self: Any) -> None:
        """Bytes as they are, also those that came with the heads."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(UPGRADE + b"early")
        service.take()
        rig.exchange(service, SWITCHING + b"first")
        self.assertTrue(client.take().endswith(b"\r\n\r\nfirst"))
        self.assertEqual(service.take(), b"early")
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        service.send(b"\x00\xff\r\n")
        rig.settle()
        self.assertEqual((client.take(), service.take()), (b"\x00\xff\r\n", b"GET / HTTP/1.1\r\n\r\n"))
        self.assertEqual(rig.pool.counts.in_flight, 1)
        self.assertEqual(rig.source.board[0], 1)

    def test_drain_between_frames(self: Any) -> None:
        """The client of a WebSocket is told at once; its Close is the service's to answer, and nothing else comes any more."""
        rig, client, service = self.tunnel()
        service.send(TEXT)
        rig.settle()
        drained = rig.proxy.drain()
        rig.settle()
        self.assertEqual(client.take(), TEXT + GOING_AWAY)
        service.send(TEXT)
        client.send(CLIENT_CLOSE)
        rig.settle()
        self.assertEqual((client.take(), service.take()), (b"", CLIENT_CLOSE))
        service.send(GOING_AWAY)
        service.close()
        rig.settle()
        self.assertEqual((client.take(), client.was_reset), (b"", False))
        client.close()
        rig.settle()
        self.assertTrue(client.over)
        self.successResultOf(drained)

    def test_drain_in_a_frame(self: Any) -> None:
        """It is told where that ends, be it in the middle of what comes."""
        rig, client, service = self.tunnel()
        service.send(TEXT[:3])
        rig.settle()
        rig.proxy.drain()
        rig.settle()
        self.assertEqual(client.take(), TEXT[:3])
        service.send(TEXT[3:5])
        rig.settle()
        self.assertEqual(client.take(), TEXT[3:5])
        service.send(TEXT[5:] + TEXT)
        rig.settle()
        self.assertEqual(client.take(), TEXT[5:] + GOING_AWAY)

    def test_drain_after_the_service(self: Any) -> None:
        """A service that has said Close itself is not contradicted, between frames or in its last one."""
        for said in (GOING_AWAY, GOING_AWAY[:2]):
            rig, client, service = self.tunnel()
            service.send(said)
            rig.settle()
            rig.proxy.drain()
            service.send(GOING_AWAY[len(said) :])
            rig.settle()
            self.assertEqual(client.take(), GOING_AWAY)

    def test_drain_before_the_switch(self: Any) -> None:
        """A tunnel that begins when the drain has begun ends at once; what came with the head is frames too."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(UPGRADE)
        rig.proxy.drain()
        rig.exchange(service, SWITCHING + TEXT)
        self.assertTrue(client.take().endswith(b"\r\n\r\n" + TEXT + GOING_AWAY))

    def test_drain_of_another_protocol(self: Any) -> None:
        """Nothing is put between its bytes: it has until ``drain_timeout``."""
        rig = self.make_rig(proxy={"drain_timeout": 10.0})
        service = rig.slot()
        client = rig.client(UPGRADE.replace(b"websocket", b"other"))
        rig.exchange(service, SWITCHING.replace(b"websocket", b"other"))
        client.take()
        drained = rig.proxy.drain()
        service.send(TEXT)
        rig.settle()
        self.assertEqual(client.take(), TEXT)
        self.assertNoResult(drained)
        rig.pass_time(10.5)
        self.successResultOf(drained)

    def test_client_closes(self: Any) -> None:
        """The slot is over."""
        rig, client, service = self.tunnel()
        client.close()
        rig.settle()
        self.assertTrue(service.ended)
        service.close()
        rig.settle()
        self.assertEqual(rig.pool.slots, {})
        self.assertEqual(rig.proxy.front.clients, {})
        self.assert_at_rest(rig)

    def test_client_ends_first(self: Any) -> None:
        """Half-close: the service may still say something; then everything is over."""
        rig, client, service = self.tunnel()
        client.send(b"question")
        client.end()
        rig.settle()
        self.assertEqual(service.take(), b"question")
        self.assertTrue(service.ended)
        self.assertFalse(client.over)
        service.send(b"answer")
        service.end()
        rig.settle()
        self.assertEqual(client.take(), b"answer")
        self.assertFalse(client.was_reset)
        self.assert_over(rig, client, service)

    def test_service_ends_first(self: Any) -> None:
        """The other way round."""
        rig, client, service = self.tunnel()
        service.send(b"question")
        service.end()
        rig.settle()
        self.assertEqual(client.take(), b"question")
        self.assertTrue(client.ended)
        self.assertFalse(service.over)
        client.send(b"answer")
        client.end()
        rig.settle()
        self.assertEqual(service.take(), b"answer")
        self.assert_over(rig, client, service)

    def test_client_ended_before_the_switch(self: Any) -> None:
        """A client that ended its direction while the service thought about it gets its tunnel, and an end."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(UPGRADE)
        client.end()
        rig.settle()
        rig.exchange(service, SWITCHING + b"hello")
        self.assertTrue(client.take().endswith(b"hello"))
        self.assertTrue(service.ended)
        service.end()
        rig.settle()
        self.assert_over(rig, client, service)

    def test_slow_client_gets_all_before_the_end(self: Any) -> None:
        """A half-close does not overtake what waits."""
        rig, client, service = self.tunnel(capacity=4608)
        client.reading = False
        content = b"0123456789" * 20_000
        service.send(content)
        service.end()
        rig.settle()
        client.reading = True
        rig.settle()
        self.assertEqual(client.take(), content)
        self.assertTrue(client.ended)
        client.end()
        rig.settle()
        self.assert_over(rig, client, service)

    def test_slow_service_gets_all_before_the_end(self: Any) -> None:
        """The same in the other direction."""
        rig, client, service = self.tunnel(capacity=4608)
        service.reading = False
        content = b"0123456789" * 20_000
        client.send(content)
        client.end()
        rig.settle()
        self.assertFalse(service.ended)
        service.reading = True
        rig.settle()
        self.assertEqual(service.take(), content)
        self.assertTrue(service.ended)
        service.end()
        rig.settle()
        self.assert_over(rig, client, service)

    def test_backpressure_from_the_client(self: Any) -> None:
        """A service is read no faster than the client reads, and memory is bounded."""
        rig, client, service = self.tunnel(capacity=4608)
        client.reading = False
        content = b"x" * 3_000_000
        service.send(content)
        rig.settle()
        self.assertLess(rig.connections[0].outlet.waiting, 700_000)
        (slot,) = rig.pool.slots
        self.assertNotIn(slot.transport, rig.reactor.readers)
        client.reading = True
        rig.settle()
        self.assertEqual(len(client.take()), len(content))
        self.assertIn(slot.transport, rig.reactor.readers)

    def test_backpressure_from_the_service(self: Any) -> None:
        """The same in the other direction."""
        rig, client, service = self.tunnel(capacity=4608)
        service.reading = False
        client.send(b"x" * 3_000_000)
        rig.settle()
        (slot,) = rig.pool.slots
        self.assertLess(slot.outlet.waiting, 700_000)
        self.assertNotIn(rig.connections[0].transport, rig.reactor.readers)
        service.reading = True
        rig.settle()
        self.assertEqual(len(service.take()), 3_000_000)

    def test_idle(self: Any) -> None:
        """No byte either way for too long ends it; each byte, either way, begins the time anew."""
        rig, client, service = self.tunnel(timeouts={"tunnel": 10.0})
        for peer in (client, service):
            rig.pass_time(8.0)
            peer.send(b".")
            rig.settle()
        rig.pass_time(8.0)
        self.assertFalse(client.over or service.over)
        rig.pass_time(3.0)
        self.assert_over(rig, client, service)

    def test_no_other_timeout(self: Any) -> None:
        """Neither the response's nor the client's timeouts matter any more, also after backpressure."""
        rig, client, service = self.tunnel(
            pool={"response_timeout": 5.0}, timeouts={"write": 5.0, "body": 5.0, "head": 5.0, "keep_alive": 5.0}, capacity=4608
        )
        client.reading = False
        service.send(b"x" * 1_000_000)
        rig.settle()
        client.reading = True
        rig.settle()
        service.reading = False
        client.send(b"x" * 1_000_000)
        rig.settle()
        service.reading = True
        rig.settle()
        rig.pass_time(60.0)
        self.assertFalse(client.over or service.over)
        service.send(b"still here")
        rig.settle()
        self.assertTrue(client.take().endswith(b"still here"))


class MemoryTunnelTests(TunnelMixin, RigCase):
    """Over memory, where there is a reset without unread bytes."""

    def test_client_resets(self) -> None:
        """The service sees the end."""
        rig, client, service = self.tunnel()
        client.reset()
        rig.settle()
        self.assertTrue(service.over)
        self.assert_at_rest(rig)

    def test_service_resets(self) -> None:
        """The client sees the end."""
        rig, client, service = self.tunnel()
        service.send(b"last words")
        rig.settle()
        service.reset()
        rig.settle()
        self.assertEqual(client.take(), b"last words")
        self.assertTrue(client.ended)
        self.assertEqual(rig.proxy.front.clients, {})
        self.assert_at_rest(rig)


class KernelTunnelTests(TunnelMixin, RigCase):
    """Over real socket pairs."""

    kind = KERNEL


class RefusalTests(RigCase):
    """When there is no tunnel."""

    def test_service_declines(self) -> None:
        """Any other answer is an answer, and the slot goes on."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(UPGRADE)
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take()), [200])
        client.send(UPGRADE)
        rig.settle()
        rig.exchange(
            service, b"HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: foo\r\nContent-Length: 0\r\n\r\n"
        )
        status, fields, _ = responses(client.take())[0]
        self.assertEqual((status, fields[b"upgrade"]), (426, b"foo"))
        self.assert_at_rest(rig)

    def test_switch_that_nobody_asked_for(self) -> None:
        """502, and the slot is closed."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n")
        self.assertEqual(request_head(service).upgrade, b"")
        rig.exchange(service, SWITCHING)
        self.assertEqual(statuses(client.take()), [502])
        self.assertTrue(service.over)

    def test_not_in_http_1_0(self) -> None:
        """RFC 9110 section 7.8: Upgrade in HTTP/1.0 is ignored."""
        rig = self.make_rig()
        service = rig.slot()
        rig.client(UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"))
        self.assertEqual(request_head(service).upgrade, b"")

    def test_client_is_gone_when_the_service_switches(self) -> None:
        """Nobody is left to tunnel for."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(UPGRADE)
        client.reset()
        rig.settle()
        rig.exchange(service, SWITCHING)
        self.assertTrue(service.over)
        self.assert_at_rest(rig)

    def test_over_a_streaming_route(self) -> None:
        """A tunnel is the same where bodies are streamed."""
        rig = self.make_rig(routes=[cfg.RouteConfig(buffering=False)])
        service = rig.slot()
        client = rig.client(UPGRADE)
        rig.exchange(service, SWITCHING)
        client.send(b"ping")
        rig.settle()
        self.assertEqual(service.take(), b"ping")
        self.assertIs(rig.connections[0].state, State.TUNNEL)
