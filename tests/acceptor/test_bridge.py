"""The bridge between a service's TLS and the socket pair: bytes, their bounds, and every kind of end."""

from __future__ import annotations

import os
import socket
from typing import Any, Tuple

from twisted.internet.defer import Deferred

from tests.doubles.handoff import ended, readable, soon, until
from tests.doubles.holders import RecordingHolder
from tests.doubles.tls_services import TLSService, TLSTestCase
from xproxy.acceptor.over_tls import tls_slots
from xproxy.acceptor.over_tls.bridge import BridgeState
from xproxy.slots.serving.goodbye import CLOSING_RESPONSE

BUFFERED_BYTES = 3 * 64 * 1024
"""What may wait in one direction in our own memory: what a transport takes before it says pause, and two reads."""


class BridgeTestCase(TLSTestCase):
    """One slot over TLS, leased to a proxy in this process.

    :ivar service: the service's end, over TLS.
    :ivar lent: the proxy's descriptor.
    """

    async def setUp(self) -> None:  # type: ignore[override]  # Trial waits for it.
        await super().setUp()
        self.start_tls()
        self.holder = RecordingHolder()
        self.holders.append(self.holder)
        self.holder.source = self.source = self.acceptor.local_source(self.holder)
        (self.service,) = await self.registered()
        (self.bridge,) = self.bridges

    def lease(self) -> socket.socket:
        """The proxy takes the slot."""
        self.holder.ask(1.0)
        self.lent = self.holder.sockets[0]
        self.lent.setblocking(False)
        return self.lent

    async def read(self, count: int = 1 << 30) -> Tuple[bytes, str]:
        """What the proxy reads: so many bytes, or all until the end, and how that was."""
        data = b""
        while len(data) < count:
            try:
                more = self.lent.recv(min(65536, count - len(data)))
            except BlockingIOError:
                await soon()
            except ConnectionResetError:
                return data, "reset"
            else:
                if not more:
                    return data, "end of file"
                data += more
        return data, ""

    async def write(self, data: bytes) -> None:
        """The proxy writes all of it."""
        view = memoryview(data)
        while view:
            try:
                view = view[self.lent.send(view) :]
            except BlockingIOError:
                await soon()

    def counts(self) -> Any:
        book = self.acceptor.acceptor.books["default"]
        return book.registered, book.idle, book.leased

    def closings(self) -> Any:
        return {reason: number for (_, reason), number in self.acceptor.acceptor.closings.items()}

    async def over(self) -> None:
        """Nothing is left of the bridge."""
        await until(lambda: not self.bridges)
        self.assertIs(self.bridge.state, BridgeState.OVER)


class BytesTests(BridgeTestCase):
    """What goes through."""

    async def test_exchanges(self) -> None:
        """The slot goes back and forth like any other."""
        for number in range(3):
            self.lease()
            request, response = b"GET /%d HTTP/1.1\r\n\r\n" % number, b"HTTP/1.1 200 OK\r\n\r\n%d" % number
            await self.write(request)
            self.assertEqual(await self.service.receive(len(request)), request)
            await self.service.send(response)
            self.assertEqual(await self.read(len(response)), (response, ""))
            self.assertEqual(self.counts(), (1, 0, 1))
            self.holder.give_back(0)
            self.assertEqual(self.counts(), (1, 1, 0))

    async def test_much_both_ways_at_once(self) -> None:
        """More than all buffers, arriving as it was sent."""
        self.lease()
        up, down = os.urandom(1000) * 4000, os.urandom(1000) * 5000
        tasks = [
            Deferred.fromCoroutine(task)
            for task in (self.write(up), self.service.send(down), self.service.receive(len(up)), self.read(len(down)))
        ]
        _, _, arrived_up, arrived_down = [await task for task in tasks]
        self.assertTrue(arrived_up == up)
        self.assertTrue(arrived_down == (down, ""))

    def buffered(self) -> Tuple[int, int]:
        """What waits in our memory for the proxy, and for the service."""
        transports: Any = (self.bridge._pair.transport, self.bridge.transport.transport)
        pair, tls = (len(transport.dataBuffer) - transport.offset + transport._tempDataLen for transport in transports)
        return pair, tls

    async def full(self, send: Any) -> int:
        """Send until nothing has been taken for many turns; returns how much was, and checks the buffers all the time."""
        taken = idle = 0
        while idle < 200:
            now = send()
            taken, idle = taken + now, 0 if now else idle + 1
            self.assertLess(max(self.buffered()), BUFFERED_BYTES)
            await soon()
        return taken

    async def test_a_proxy_that_does_not_read(self) -> None:
        self.lease()
        for end in (self.service.socket, self.bridge.transport.socket):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        piece = b"x" * 16384
        taken = await self.full(lambda: self.service.offer(piece))
        self.assertLess(taken, 4_000_000)
        data, _ = await self.read(taken)
        self.assertEqual(len(data), taken)
        await self.service.send(piece + b"more")
        self.assertEqual(await self.read(len(piece) + 4), (piece + b"more", ""))

    async def test_a_service_that_does_not_read(self) -> None:
        self.lease()
        for end in (self.service.socket, self.bridge.transport.socket):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

        def offer() -> int:
            try:
                return self.lent.send(b"x" * 16384)
            except BlockingIOError:
                return 0

        taken = await self.full(offer)
        self.assertLess(taken, 4_000_000)
        self.assertEqual(len(await self.service.receive(taken)), taken)
        await self.write(b"more")
        self.assertEqual(await self.service.receive(4), b"more")


class ServiceEndsTests(BridgeTestCase):
    """How the service ends, and what the proxy sees."""

    async def test_in_order(self) -> None:
        """A response that ends with the connection is whole."""
        self.lease()
        await self.write(b"request")
        await self.service.receive(7)
        await self.service.send(b"response" * 10000)
        self.service.close_notify()
        self.assertEqual(await self.read(), (b"response" * 10000, "end of file"))
        await self.write(b"more")  # Nobody will read it, but an error now could hide the response from a slower reader.
        await self.over()
        self.assertRaises(BrokenPipeError, self.lent.send, b"x")
        self.holder.close_lease(0)
        self.assertEqual(self.counts(), (0, 0, 0))

    async def test_in_order_while_the_proxy_has_sent_more(self) -> None:
        """What the service has not read is no reason for a reset."""
        self.lease()
        await self.service.send(b"response")
        self.service.close_notify()
        self.service.close()
        await self.write(b"request" * 1000)
        self.assertEqual(await self.read(), (b"response", "end of file"))
        await self.over()

    async def test_without_close_notify(self) -> None:
        """It looks like a response cut short, because it may be one."""
        self.lease()
        await self.service.send(b"half a resp")
        self.service.socket.shutdown(socket.SHUT_RDWR)
        self.assertEqual(await self.read(), (b"half a resp", "reset"))
        await self.over()

    async def test_much_without_close_notify(self) -> None:
        """All that came is read before the reset."""
        self.lease()
        data = os.urandom(1000) * 600
        await self.service.send(data)
        self.service.socket.shutdown(socket.SHUT_RDWR)
        arrived, how = await self.read()
        self.assertEqual((arrived == data, how), (True, "reset"))
        await self.over()

    async def test_reset(self) -> None:
        self.lease()
        await self.write(b"request that nobody reads")
        await until(lambda: self.service.read() or self.service.received)
        await self.service.send(b"half")
        self.service.received = b""
        await self.write(b"more of it")
        await soon()
        await soon()
        self.service.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.service.close()
        data, how = await self.read()
        self.assertIn(data, (b"half", b""))
        self.assertEqual(how, "reset")
        await self.over()

    async def test_a_bad_record(self) -> None:
        self.lease()
        plain = socket.socket(fileno=os.dup(self.service.socket.fileno()))
        plain.setblocking(False)
        self.sockets.append(plain)
        plain.sendall(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
        self.assertEqual(await self.read(), (b"", "reset"))
        await self.over()

    async def test_idle(self) -> None:
        """It leaves the ring at once, however it ends."""
        self.service.close()
        await until(lambda: self.counts() == (0, 0, 0))
        self.assertEqual(self.closings(), {"ended": 1})
        await self.over()

    async def test_idle_and_polite(self) -> None:
        await self.service.send(CLOSING_RESPONSE)
        self.service.close_notify()
        await until(lambda: self.counts() == (0, 0, 0))
        self.assertEqual(self.closings(), {"closing": 1})
        await self.over()

    async def test_polite_while_a_request_is_on_its_way(self) -> None:
        self.lease()
        await self.service.send(CLOSING_RESPONSE)
        self.service.close_notify()
        await self.write(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(await self.read(), (CLOSING_RESPONSE, "end of file"))
        await self.over()

    async def test_bytes_that_nobody_asked_for(self) -> None:
        await self.service.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await until(lambda: self.counts() == (0, 0, 0))
        self.assertEqual(self.closings(), {"unasked": 1})
        self.assertEqual(await self.service.ended(), "in order")
        await self.over()

    async def test_what_waits_for_a_slow_proxy_is_not_lost(self) -> None:
        """The service has ended; the proxy reads later."""
        self.lease()
        data = os.urandom(1000) * 600
        await self.service.send(data)
        self.service.close_notify()
        self.service.close()
        await until(lambda: readable(self.lent))
        arrived, how = await self.read()
        self.assertEqual((arrived == data, how), (True, "end of file"))
        await self.over()


class ProxyEndsTests(BridgeTestCase):
    """How the proxy or the acceptor ends, and what the service sees."""

    async def test_the_lease_is_closed(self) -> None:
        self.lease()
        await self.write(b"the end")
        self.holder.close_lease(0)
        self.assertEqual(await self.service.receive(7), b"the end")
        self.assertEqual(await self.service.ended(), "in order")
        await self.over()

    async def test_a_service_that_does_not_answer(self) -> None:
        """It has ``LINGER_S``."""
        self.lease()
        self.holder.close_lease(0)
        await self.over()
        self.assertEqual(await self.service.ended(), "in order")

    async def test_a_service_that_does_not_read(self) -> None:
        """Nor can it hold anything open by not reading."""
        self.lease()
        taken = 1
        while taken:
            try:
                taken = self.lent.send(b"x" * 65536)
            except BlockingIOError:
                taken = 0
            await soon()
        self.holder.close_lease(0)
        await self.over()

    async def test_the_other_way_is_full(self) -> None:
        """The service sends what the proxy has not read when it closes: the answer to the end is heard all the same."""
        self.lease()
        for _ in range(300):
            self.service.offer(b"x" * 16384)
            await soon()
        self.holder.close_lease(0)
        await self.over()

    async def test_half_close(self) -> None:
        """``close_notify`` is passed on, and what the service still says comes through, as long as somebody listens."""
        self.lease()
        await self.write(b"all of it")
        self.lent.shutdown(socket.SHUT_WR)
        self.assertEqual(await self.service.receive(9), b"all of it")
        await until(self.service.read)
        self.assertEqual(self.service.end, "in order")
        timer: Any = self.bridge._timer
        await until(lambda: not timer.active())  # The time that something else has to end.
        await self.service.send(b"answer")
        self.assertEqual(await self.read(6), (b"answer", ""))
        self.assertEqual(len(self.bridges), 1)
        self.holder.close_lease(0)
        await self.over()


class StopTests(BridgeTestCase):
    """The acceptor stops: what is leased needs it, unlike plain slots."""

    async def test_idle(self) -> None:
        stopping = self.acceptor.stopService()
        self.assertEqual(await self.service.ended(), "in order")
        await stopping
        self.assertEqual(self.bridges, [])

    async def test_leased_and_quiet(self) -> None:
        """The proxy is told as a polite service tells it."""
        self.lease()
        stopping = self.acceptor.stopService()
        self.assertEqual(await self.read(), (CLOSING_RESPONSE, "end of file"))
        self.assertEqual(await self.service.ended(), "in order")
        await stopping

    async def test_a_request_that_crosses_is_not_served(self) -> None:
        self.lease()
        stopping = self.acceptor.stopService()
        self.source.board[0] = 1
        await self.write(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(await self.read(), (CLOSING_RESPONSE, "end of file"))
        self.assertEqual(await self.service.ended(), "in order")
        self.assertEqual(self.service.received, b"")
        await stopping

    async def test_in_an_exchange(self) -> None:
        """Cut off on both sides."""
        self.lease()
        self.source.board[0] = 1
        await self.write(b"GET / HTTP/1.1\r\n\r\n")
        await self.service.receive(18)
        await self.acceptor.stopService()
        self.assertEqual(await self.read(), (b"", "reset"))
        self.assertEqual(await self.service.ended(), "cut off")

    async def test_drains(self) -> None:
        """What runs may end, and is told then."""
        self.patch(tls_slots, "DRAIN_LOOK_S", 0.01)
        self.lease()
        self.source.board[0] = 1
        shaking = self.connect()
        await until(lambda: len(self.bridges) == 2)
        drained = self.acceptor.drain()
        await until(lambda: ended(shaking))
        await self.write(b"GET / HTTP/1.1\r\n\r\n")
        await self.service.receive(18)
        await self.service.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await self.read(19)
        self.assertFalse(drained.called)
        self.source.board[0] = 0
        await drained
        self.assertEqual(await self.read(), (CLOSING_RESPONSE, "end of file"))
        self.holder.close_lease(0)
        self.assertEqual(await self.service.ended(), "in order")
        await self.acceptor.stopService()
        self.assertEqual(self.results(), {"ok": 1})

    async def test_a_proxy_that_does_not_read(self) -> None:
        """It can't keep us from stopping."""
        self.patch(tls_slots, "LINGER_S", 0.2)
        self.lease()
        for _ in range(200):
            self.service.offer(b"x" * 16384)
            await soon()
        self.service.close()
        await self.acceptor.stopService()
        self.assertEqual(self.bridges, [])

    async def test_stops_while_it_drains(self) -> None:
        self.lease()
        self.source.board[0] = 1
        drained = self.acceptor.drain()
        await self.acceptor.stopService()
        self.assertTrue(drained.called)
        self.assertEqual(await self.read(), (b"", "reset"))


class ChurnTests(TLSTestCase):
    """Descriptors are counted when each test is over; here there is something to count."""

    async def test_services_come_and_go(self) -> None:
        self.start_tls()
        stranger = self.stranger.issue("web.example.com")
        for round_number in range(5):
            found = await self.registered(4)
            for service in found[:2]:
                service.close()
            for service in found[2:]:
                service.close_notify()
            try:
                refused: Any = await self.dial(stranger)
            except OSError:
                refused = None
            plain = self.connect()
            plain.sendall(b"garbage\r\n")
            await until(lambda: ended(plain))  # noqa: B023
            plain.close()
            if isinstance(refused, TLSService):
                await refused.ended()
            await until(lambda: not self.bridges)
            self.assertEqual(self.acceptor.census()["default"]["slots"], 0, round_number)
        self.assertEqual(self.results(), {"ok": 20, "refused_certificate": 5, "refused_handshake": 5})
