"""Slow clients cost no slot, and clients that leave cost as little as can be."""

from __future__ import annotations

import errno
import os
from typing import Any, Tuple
from unittest import mock

from tests.world.peers import Peer
from tests.world.rig import GET, OK, Rig, RigCase, post, responses, statuses
from tests.world.sockets import KERNEL
from xproxy import config as cfg
from xproxy.proxy.clients.states import State
from xproxy.proxy.exchanges.bypass import GRACE_S
from xproxy.proxy.exchanges.leased_slot import LeasedSlot
from xproxy.proxy.requests.reply import STREAM_BYTES

CONTENT = b"".join(b"%07d\n" % number for number in range(100_000))
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class SlowClientMixin:
    """The tests that hold over both kinds of sockets."""

    def slow(self: Any, request: bytes = GET, **parts: Any) -> Tuple[Rig, Peer, Peer]:
        """A client that does not read for now, and the service that has its request."""
        rig = self.make_rig(**parts)
        service = rig.slot()
        client = rig.client(request, capacity=4608)
        client.reading = False
        return rig, client, service

    def slot_of(self: Any, rig: Rig) -> LeasedSlot:
        """The only slot."""
        (slot,) = rig.pool.slots
        return slot

    def test_slot_is_free_when_the_service_has_finished(self: Any) -> None:
        """Whatever the framing: the next client is served while the first one still reads."""
        for response in (
            (LONG, CONTENT, b""),
            (CHUNKED, chunk(CONTENT[:400_000]) + chunk(CONTENT[400_000:]), b"0\r\n\r\n"),
        ):
            rig, client, service = self.slow()
            for piece in response:
                rig.exchange(service, piece)
            rig.pass_time(2 * GRACE_S)
            connection = rig.connections[0]
            self.assertIs(connection.state, State.DRAINING)
            self.assertGreater(connection.outlet.waiting, 100_000)
            self.assertEqual(rig.pool.counts.in_flight, 0)
            other = rig.client(GET)
            rig.exchange(service, OK)
            self.assertEqual(statuses(other.take()), [200])
            client.reading = True
            rig.settle()
            self.assertEqual(responses(client.take())[0][2], CONTENT)
            self.assertIs(connection.state, State.IDLE)
            self.assertEqual(connection.outlet.kept, 0)
            self.assert_at_rest(rig)

    def test_next_request_waits_for_the_answer_to_be_taken(self: Any) -> None:
        """Pipelined requests of a slow client do not pile up answers."""
        rig, client, service = self.slow(GET * 3)
        rig.exchange(service, LONG + CONTENT)
        self.assertEqual(service.received, b"")
        client.reading = True
        rig.settle()
        rig.exchange(service, OK)
        rig.exchange(service, OK)
        self.assertEqual([len(content) for _, _, content in responses(client.take())], [len(CONTENT), 2, 2])

    def test_backlog_is_bounded(self: Any) -> None:
        """Past what may be kept the service is read at the client's speed, and everything arrives."""
        limits = {"response_memory": 1000, "response_file": 100_000}
        for response in (LONG + CONTENT, CHUNKED + chunk(CONTENT) + b"0\r\n\r\n"):
            rig, client, service = self.slow(limits=limits)
            rig.exchange(service, response)
            slot = self.slot_of(rig)
            self.assertNotIn(slot.transport, rig.reactor.readers)
            self.assertLess(rig.connections[0].outlet.waiting, 500_000)
            self.assertEqual(rig.pool.counts.in_flight, 1)
            client.reading = True
            rig.settle()
            self.assertEqual(responses(client.take())[0][2], CONTENT)
            self.assert_at_rest(rig)

    def test_no_room_in_files(self: Any) -> None:
        """The same where the files of all, or of this client, have what they may: the answer waits at the service, whole."""
        for more in ({"spool_files": 0}, {"client_spool_files": 0}, {"spool_bytes": 70_000}, {"client_spool_bytes": 70_000}):
            for response in (LONG + CONTENT, CHUNKED + chunk(CONTENT) + b"0\r\n\r\n"):
                rig, client, service = self.slow(limits={"response_memory": 1000, **more})
                rig.exchange(service, response)
                rig.pass_time(2 * GRACE_S)
                self.assertNotIn(self.slot_of(rig).transport, rig.reactor.readers)
                self.assertLess(rig.connections[0].outlet.waiting, 500_000)
                self.assertLessEqual(rig.gateway.space.bytes, 70_000)
                client.reading = True
                rig.settle()
                self.assertEqual(responses(client.take())[0][2], CONTENT)
                self.assertEqual((rig.gateway.space.bytes, rig.gateway.space.files), (0, 0))
                self.assert_at_rest(rig)

    def test_paused_slot_is_not_late(self: Any) -> None:
        """While we do not read it, a service can't be blamed."""
        rig, client, service = self.slow(
            limits={"response_memory": 1000, "response_file": 10_000}, pool={"response_timeout": 5.0}, timeouts={"write": 100.0}
        )
        rig.exchange(service, LONG + CONTENT)
        rig.pass_time(50.0)
        client.reading = True
        rig.settle()
        self.assertEqual(responses(client.take())[0][2], CONTENT)
        self.assert_at_rest(rig)

    def test_streamed(self: Any) -> None:
        """Per route, by X-Accel-Buffering or for an event stream: little is kept, the service goes at the client's speed."""
        for routes, field in (
            ([cfg.RouteConfig(buffering=False)], b"X: y"),
            ([cfg.RouteConfig()], b"X-Accel-Buffering: no"),
            ([cfg.RouteConfig()], b"Content-Type: text/event-stream; charset=utf-8"),
        ):
            rig, client, service = self.slow(routes=routes)
            rig.exchange(service, LONG.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n\r\n") + CONTENT)
            slot = self.slot_of(rig)
            self.assertNotIn(slot.transport, rig.reactor.readers)
            self.assertLess(rig.connections[0].outlet.waiting, STREAM_BYTES + 300_000)
            client.reading = True
            rig.settle()
            _, fields, content = responses(client.take())[0]
            self.assertEqual(content, CONTENT)
            self.assertNotIn(b"x-accel-buffering", fields)
            self.assert_at_rest(rig)

    def test_each_event_at_once(self: Any) -> None:
        """A client that keeps up gets every piece as it comes."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.assertTrue(client.take().endswith(b"\r\n\r\n"))
        for number in range(3):
            rig.exchange(service, chunk(b"data: %d\n\n" % number))
            self.assertEqual(client.take(), chunk(b"data: %d\n\n" % number))

    def test_write_timeout(self: Any) -> None:
        """A client that takes nothing is cut off, whether the service has finished or not."""
        for limits in ({}, {"response_memory": 1000, "response_file": 10_000}):
            rig, _, service = self.slow(limits=limits, timeouts={"write": 10.0})
            rig.exchange(service, LONG + CONTENT)
            rig.pass_time(9.0)
            self.assertEqual(len(rig.proxy.front.clients), 1)
            rig.pass_time(2.0)
            self.assertEqual(rig.proxy.front.clients, {})
            rig.settle()
            self.assert_at_rest(rig)

    def test_slow_is_not_stuck(self: Any) -> None:
        """A client that takes some bytes now and then is let be, however few they are."""
        rig, client, service = self.slow(timeouts={"write": 10.0})
        rig.exchange(service, LONG + CONTENT)
        for _ in range(20):
            rig.pass_time(8.0)
            before = len(client.received)
            client.received += client.socket.recv(5000)  # More than what a local socket counts as one.
            rig.settle()
            self.assertLess(len(client.received) - before, 6000)
        self.assertEqual(len(rig.proxy.front.clients), 1)
        client.reading = True
        rig.settle()
        self.assertEqual(responses(client.take())[0][2], CONTENT)

    def test_too_slow(self: Any) -> None:
        """A client that takes less than the rate, on an average, is cut off, and its file is gone."""
        rig, client, service = self.slow(timeouts={"write": 10.0}, limits={"write_rate": 5000})
        rig.exchange(service, LONG + CONTENT)
        rig.pass_time(2 * GRACE_S)
        self.assertEqual(rig.gateway.space.files, 1)
        for _ in range(4):
            rig.pass_time(4.0)
            if rig.proxy.front.clients:
                client.received += client.socket.recv(5000)
            rig.settle()
        self.assertEqual(rig.proxy.front.clients, {})
        self.assertEqual(rig.gateway.counts.timeouts, {"write": 1})
        self.assertEqual((rig.gateway.space.bytes, rig.gateway.space.files), (0, 0))

    def test_disk_full(self: Any) -> None:
        """The client is cut off; the slot goes on with what may be thrown away."""
        rig, _, service = self.slow(limits={"response_memory": 10_000})
        with mock.patch("xproxy.net.bodies.spool.tempfile.TemporaryFile", side_effect=OSError(errno.ENOSPC, "no space")):
            rig.exchange(service, LONG + CONTENT)
        self.assertEqual(rig.proxy.front.clients, {})
        self.assertFalse(service.over)
        self.assert_at_rest(rig)

    def test_fast_and_slow_together(self: Any) -> None:
        """Slow readers do not hold the slots of fast ones."""
        rig = self.make_rig()
        service = rig.slot()
        slow = []
        for _ in range(10):
            client = rig.client(GET, capacity=4608)
            client.reading = False
            rig.exchange(service, LONG + CONTENT)
            slow.append(client)
        for _ in range(10):
            fast = rig.client(GET)
            rig.exchange(service, OK)
            self.assertEqual(statuses(fast.take()), [200])
        self.assertEqual(rig.pool.counts.most_in_flight, 1)
        for client in slow:
            client.reading = True
        rig.settle()
        self.assertEqual([responses(client.take())[0][2] == CONTENT for client in slow], [True] * 10)

    # -- clients that leave

    def leave(self: Any, rig: Rig, client: Peer) -> None:
        """The client goes, and the proxy notices."""
        client.close()
        rig.connections[-1].transport.abortConnection()
        rig.settle()

    def test_leaves_before_the_head(self: Any) -> None:
        """The response is thrown away, and the slot stays good."""
        rig, client, service = self.slow()
        self.leave(rig, client)
        self.assertEqual((rig.pool.counts.in_flight, rig.source.board[0]), (1, 1))
        rig.exchange(service, CHUNKED + chunk(b"x" * 1000))
        rig.exchange(service, b"0\r\n\r\n")
        self.assertFalse(service.over)
        self.assertEqual(rig.pool.counts.served, 1)
        other = rig.client(GET)
        rig.exchange(service, OK)
        self.assertEqual(statuses(other.take()), [200])
        self.assert_at_rest(rig)

    def test_leaves_in_the_body(self: Any) -> None:
        """As long as little is missing."""
        rig, client, service = self.slow(limits={"discard": 1000})
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 4500)
        self.leave(rig, client)
        rig.exchange(service, b"x" * 500)
        self.assertFalse(service.over)
        self.assert_at_rest(rig)

    def test_too_much_to_throw_away(self: Any) -> None:
        """Known before or found out: the slot is closed, and it does not count as served."""
        for response in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 3500,
            CHUNKED + b"".join(chunk(b"x" * 100) for _ in range(15)),
            b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1500,
        ):
            for early in (True, False):
                rig, client, service = self.slow(limits={"discard": 1000})
                if not early:
                    rig.exchange(service, response[:60])
                self.leave(rig, client)
                service.send(response if early else response[60:])
                rig.settle()
                service.send(b"5\r\nhello\r\n")
                rig.settle()
                self.assertTrue(service.over, (response[:60], early))
                self.assertEqual(rig.source.closed, [0])
                self.assertEqual(rig.pool.counts.served, 0)
                self.assert_at_rest(rig)

    def test_leaves_while_paused(self: Any) -> None:
        """The slot is read again, or closed."""
        for discard in (10_000_000, 1000):
            rig, client, service = self.slow(limits={"response_memory": 1000, "response_file": 10_000, "discard": discard})
            rig.exchange(service, LONG + CONTENT)
            self.assertNotIn(self.slot_of(rig).transport, rig.reactor.readers)
            self.leave(rig, client)
            self.assertEqual(service.over, discard == 1000)
            self.assert_at_rest(rig)

    def test_nobody_waits_for_a_silent_service(self: Any) -> None:
        """The response's time still counts."""
        rig, client, service = self.slow(pool={"response_timeout": 5.0})
        self.leave(rig, client)
        rig.pass_time(5.5)
        self.assertTrue(service.over)
        self.assertEqual(rig.pool.counts.codes, {499: 1})
        self.assert_at_rest(rig)

    def test_leaves_with_a_body_on_its_way(self: Any) -> None:
        """A whole request is sent on, so that the slot stays good."""
        rig = self.make_rig(limits={"request_memory": 1000, "bodies_memory": 0})
        service = rig.slot(capacity=4608)
        service.reading = False
        client = rig.client(post(CONTENT))
        self.leave(rig, client)
        service.reading = True
        rig.settle()
        self.assertTrue(rig.exchange(service, OK).endswith(CONTENT))
        self.assertFalse(service.over)
        self.assert_at_rest(rig)

    def test_access_log(self: Any) -> None:
        """One line, once: 499 when there was no answer yet, else its status and what was taken of it."""
        for response, status in ((b"", 499), (b"HTTP/1.1 202 Accepted\r\nContent-Length: 5000\r\n\r\nhello", 202)):
            rig, client, service = self.slow()
            file = rig.log_to()
            rig.exchange(service, response)
            self.leave(rig, client)
            rig.exchange(service, OK if not response else b"")
            self.assertEqual([line["status"] for line in rig.logged(file)], [status])


class MemorySlowClientTests(SlowClientMixin, RigCase):
    """Over memory."""


class KernelSlowClientTests(SlowClientMixin, RigCase):
    """Over real socket pairs, where long bodies are spliced."""

    kind = KERNEL

    def test_long_bodies_that_nobody_looks_at(self) -> None:
        """Everything arrives, whatever the client's speed, and the slot goes on."""
        for capacity, size in ((212_992, 10_000_000), (4608, 3_000_000)):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(GET * 2, capacity=capacity)
            content = (b"0123456789abcdef" * (size // 16))[:size]
            file = rig.log_to()
            rig.exchange(service, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + content)
            rig.exchange(service, OK)
            found = responses(client.take())
            self.assertEqual([len(body) for _, _, body in found], [size, 2])
            self.assertEqual(found[0][2], content)
            self.assertFalse(service.over)
            self.assertEqual([line["bytes"] for line in rig.logged(file)], [size, 2])
            self.assert_at_rest(rig)

    def test_spliced_and_then_slow(self) -> None:
        """A client that stops reading in the middle does not hold the slot."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)
        content = b"0123456789abcdef" * 200_000
        service.take()
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content))
        service.send(content[:1_000_000])
        rig.settle()
        client.reading = False
        service.send(content[1_000_000:])
        rig.settle()
        self.assertEqual(rig.pool.counts.in_flight, 1)
        rig.pass_time(2 * GRACE_S)
        self.assertEqual(rig.pool.counts.in_flight, 0)
        self.assertIs(rig.connections[0].state, State.DRAINING)
        client.reading = True
        rig.settle()
        self.assertEqual(responses(client.take())[0][2], content)

    def test_spliced_and_slow_for_a_moment(self) -> None:
        """A client that goes on reading within the grace is waited for: nothing is copied, nothing is spooled."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)
        content = b"0123456789abcdef" * 300_000
        service.take()
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content))
        service.send(content[:1_000_000])
        rig.settle()
        for _ in range(3):
            client.reading = False
            service.send(content[:1_000_000])
            rig.settle()
            rig.pass_time(GRACE_S / 8)
            self.assertEqual(rig.connections[0].outlet.kept, 0)
            client.reading = True
            rig.settle()
        service.send(content[4_000_000:])
        rig.settle()
        self.assertEqual(len(responses(client.take())[0][2]), len(content))
        self.assertFalse(service.over)
        self.assert_at_rest(rig)

    def test_patience_ends(self) -> None:
        """A client that is slow again and again has used up its grace: from then on the body is spooled at once."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)
        service.take()
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n")
        spooled = []
        for _ in range(4):
            client.reading = False
            service.send(b"x" * 6_000_000)
            rig.settle()
            rig.pass_time(GRACE_S / 2)
            spooled.append(rig.connections[0].outlet.kept > 0)
            client.reading = True
            rig.settle()
        self.assertEqual([False, False], spooled[:2])
        self.assertTrue(spooled[-1])
        client.close()
        for _ in range(2):  # The first of it meets the end, the second the reset.
            service.send(b"x" * 1_000_000)
            rig.settle()
        self.assertTrue(service.over)
        self.assert_at_rest(rig)

    def test_slow_for_less_than_a_moment(self) -> None:
        """A client that can take again what it did not take a moment ago is not waited for: nobody would tell when to go on."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)

        class Hasty:
            """Takes what is there, and finds the client full."""

            def move(self, source: int, target: int, count: int) -> Tuple[int, bytes]:
                """As a Splicer."""
                left = os.read(source, min(count, 10_000))
                return len(left), left

        rig.pool.splicer = Hasty()  # type: ignore[assignment]
        rig.exchange(service, LONG + CONTENT)
        self.assertEqual(responses(client.take())[0][2], CONTENT)
        self.assert_at_rest(rig)

    def test_spliced_and_broken_off(self) -> None:
        """By either side."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n"
        for who in ("service", "client"):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(GET)
            rig.exchange(service, head + b"x" * 1_000_000)
            if who == "service":
                service.close()
                rig.settle()
                self.assertTrue(client.over)
                self.assertRaises(AssertionError, responses, client.take())
            else:
                client.close()
                service.send(b"x" * 1_000_000)
                rig.settle()
                self.assertTrue(service.over)
            self.assertEqual(rig.proxy.front.clients, {})
            self.assertEqual(rig.source.closed, [0])
            self.assert_at_rest(rig)

    def test_spliced_and_more_than_promised(self) -> None:
        """What follows the body reaches nobody, and closes the slot."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000 + OK)
        self.assertEqual([len(content) for _, _, content in responses(client.take())], [1_000_000])
        self.assertTrue(service.over)
        self.assertEqual(rig.source.closed, [0])
        self.assert_at_rest(rig)
