"""What one small request on kept connections costs: counted, not timed, so that it is the same on every machine, at any load.

Seconds tell little on a machine that others use. What the interpreter executes for a request is always the same; when it grows,
somebody has put work on the path that every request takes. Whoever does that on purpose changes the numbers here and says why.
The limits are what was counted when they were set and a tenth of it: 52 to 54 calls, 28 of builtins, and between 17.3 (3.9) and
19.7 (3.12) times the bytecodes of a relay.
"""

from __future__ import annotations

import platform
import socket
import sys
from collections import Counter
from types import FrameType
from typing import Any, Callable, Dict, List
from unittest import SkipTest

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Port

from tests.world.reactor import LoopReactor
from tests.world.rig import RigCase
from tests.world.secure import SecureCase
from tests.world.sockets import KERNEL, kernel_pair
from xproxy.net.accepting import accept_plainly
from xproxy.net.shortage import Shortage

REQUEST = b"GET /index.html HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 256\r\n\r\n" + bytes(256)

WARM_UP = 10
"""Requests that are not counted: the memos fill, the first lease is taken."""

REQUESTS = 40

MOST_PYTHON_CALLS = 58
"""Calls of Python functions for a request, from the first byte read to the last one sent; 0.05 to 0.1 us each on CPython."""

MOST_PYTHON_CALLS_OF_A_CONNECTION = 93
"""The same for a request on a connection of its own, from its accept to its close: 84 were counted, some of the test's own."""

MOST_BUILTIN_CALLS = 32
"""Calls of functions written in C, the system calls among them."""

MOST_TIMES_A_RELAY = 21.5
"""Bytecodes for a request, as a multiple of what a protocol executes that passes bytes on without looking at them."""


class Relay(Protocol):
    """The least that a proxy in Twisted can do: what comes from one connection is sent on another."""

    other: Relay

    def dataReceived(self, data: bytes) -> None:
        """Pass it on."""
        transport: Any = self.other.transport
        transport.getHandle().send(data)


class Calls:
    """Counts the calls that something makes, while it is entered."""

    def __init__(self) -> None:
        self.python = 0
        self.builtin = 0
        self.of_sockets: Counter[str] = Counter()

    def _seen(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self.python += 1
        elif event == "c_call":
            self.builtin += 1
            if isinstance(getattr(argument, "__self__", None), socket.SocketType):
                self.of_sockets[argument.__name__] += 1

    def count(self, what: Callable[[], object]) -> None:
        """Call ``what``, counting."""
        before = sys.getprofile()
        sys.setprofile(self._seen)
        try:
            what()
        finally:
            sys.setprofile(before)  # Which was counted too.
            self.builtin -= 1


class Bytecodes:
    """Counts the bytecodes that something executes."""

    def __init__(self) -> None:
        self.executed = 0

    def _seen(self, frame: FrameType, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            self.executed += 1
        return self._seen

    def count(self, what: Callable[[], object]) -> None:
        """Call ``what``, counting."""
        before = sys.gettrace()
        sys.settrace(self._seen)
        try:
            what()
        finally:
            sys.settrace(before)


class WatchedReactor(LoopReactor):
    """Notes what it is asked for: each of these calls is a system call or a timer in production."""

    asked: List[str]

    def watch(self) -> None:
        """Begin to note."""
        self.asked = []
        for name in ("addReader", "addWriter", "removeReader", "removeWriter", "callLater"):
            setattr(self, name, self._noting(name, getattr(self, name)))

    def _noting(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **keywords: Any) -> Any:
            self.asked.append(name)
            return method(*arguments, **keywords)

        return noted


class HotPathTests(RigCase):
    """A request on a kept connection, over a slot that is leased already."""

    kind = KERNEL

    def setUp(self) -> None:
        self.rig = self.make_rig()
        self.service = self.rig.slot()
        self.client = self.rig.client()
        self.near_client: Any = self.rig.connections[0].transport
        (slot,) = self.rig.pool.slots
        self.near_service: Any = slot.transport

    def requests(self, number: int, run: Callable[[Callable[[], object]], object]) -> None:
        """Make requests, each step of the proxy being handed to ``run``, and check the answers."""
        for _ in range(number):
            self.client.socket.send(REQUEST)
            run(self.near_client.doRead)
            received = self.service.socket.recv(65536)
            self.assertTrue(received.startswith(b"GET /index.html HTTP/1.1\r\n"), received)
            self.service.socket.send(RESPONSE)
            run(self.near_service.doRead)
            answer = self.client.socket.recv(65536)
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(bytes(256)), answer)

    def test_calls(self) -> None:
        calls = Calls()
        self.requests(WARM_UP, lambda step: step())
        self.requests(REQUESTS, calls.count)
        self.assertLessEqual(calls.python / REQUESTS, MOST_PYTHON_CALLS)
        self.assertLessEqual(calls.builtin / REQUESTS, MOST_BUILTIN_CALLS)

    def test_system_calls(self) -> None:
        """Two reads and two writes; nobody could do with less."""
        calls = Calls()
        self.requests(WARM_UP, lambda step: step())
        self.requests(REQUESTS, calls.count)
        expected: Dict[str, int] = {"recv_into": 2 * REQUESTS, "send": 2 * REQUESTS}
        self.assertEqual(dict(calls.of_sockets), expected)

    def test_a_connection_for_a_request(self) -> None:
        """From the listening socket to the closed one: four system calls more, and the question whether somebody else waits."""
        calls = Calls()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            port: Any = Port(0, self.rig.proxy.front, reactor=self.rig.reactor)
            port.socket, port.connected = listening, True
            accept_plainly(port, Shortage(self.rig.reactor))
            self.connections(port, WARM_UP, lambda step: step())
            self.connections(port, REQUESTS, calls.count)
        self.assertLessEqual(calls.python / REQUESTS, MOST_PYTHON_CALLS_OF_A_CONNECTION)
        expected: Dict[str, int] = {"_accept": 2, "setblocking": 1, "recv_into": 2, "send": 2, "close": 1}
        self.assertEqual(dict(calls.of_sockets), {name: number * REQUESTS for name, number in expected.items()})

    def connections(self, port: Any, number: int, run: Callable[[Callable[[], object]], object]) -> None:
        """Make requests of HTTP/1.0, each on a connection of its own."""
        front = self.rig.proxy.front
        others = set(front.clients)
        for _ in range(number):
            with socket.create_connection(port.socket.getsockname()) as client:
                client.send(REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"))
                run(port.doRead)
                (connection,) = set(front.clients) - others
                run(connection.transport.doRead)
                self.service.socket.recv(65536)
                self.service.socket.send(RESPONSE)
                run(self.near_service.doRead)
                answer = client.recv(65536)
                self.assertTrue(answer.endswith(bytes(256)), answer)
                self.assertEqual(client.recv(65536), b"")

    def test_nothing_is_asked_of_the_reactor(self) -> None:
        """No epoll_ctl, no timer."""
        self.requests(WARM_UP, lambda step: step())
        reactor: Any = self.rig.reactor
        reactor.__class__ = WatchedReactor
        reactor.watch()
        self.requests(REQUESTS, lambda step: step())
        self.assertEqual(reactor.asked, [])

    def test_bytecodes(self) -> None:
        if platform.python_implementation() != "CPython":
            raise SkipTest("only CPython executes bytecodes one by one")
        ours, bare = Bytecodes(), Bytecodes()
        self.requests(WARM_UP, lambda step: step())
        self.requests(REQUESTS, ours.count)
        self._relay(REQUESTS, bare.count)
        self.assertLessEqual(ours.executed / bare.executed, MOST_TIMES_A_RELAY)

    def _relay(self, number: int, run: Callable[[Callable[[], object]], object]) -> None:
        """The same messages, over two connections that nobody looks into."""
        reactor = LoopReactor()
        ends = [kernel_pair(), kernel_pair()]
        protocols = [Relay(), Relay()]
        address = IPv4Address("TCP", "192.0.2.1", 50000)
        transports: List[Any] = []
        for (near, far), protocol, other in zip(ends, protocols, reversed(protocols)):
            protocol.other = other
            transports.append(reactor.connect(near, protocol, address))
            self.addCleanup(far.close)
            self.addCleanup(near.close)
        client, service = ends[0][1], ends[1][1]
        for _ in range(number):
            client.send(REQUEST)
            run(transports[0].doRead)
            self.assertEqual(service.recv(65536), REQUEST)
            service.send(RESPONSE)
            run(transports[1].doRead)
            self.assertEqual(client.recv(65536), RESPONSE)


class SecureHotPathTests(SecureCase):
    """The same with TLS."""

    kind = KERNEL

    def test_calls(self) -> None:
        """One more: it is OpenSSL that reads and writes, and it does not ask the reactor for anything either."""
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.secure_client()
        (connection,) = rig.proxy.front.clients
        (slot,) = rig.pool.slots
        calls = Calls()
        for number in range(WARM_UP + REQUESTS):
            if number == WARM_UP:
                calls = Calls()
                reactor: Any = rig.reactor
                reactor.__class__ = WatchedReactor
                reactor.watch()
            client.tls.send(REQUEST)
            client._flush()
            calls.count(connection.transport.doRead)
            self.assertTrue(service.socket.recv(65536).startswith(b"GET /index.html HTTP/1.1\r\n"))
            service.socket.send(RESPONSE)
            calls.count(slot.transport.doRead)
            self.assertTrue(client.take().endswith(bytes(256)))
        self.assertLessEqual(calls.python / REQUESTS, MOST_PYTHON_CALLS + 1)
        self.assertLessEqual(calls.builtin / REQUESTS, MOST_BUILTIN_CALLS)
        expected: Dict[str, int] = {"recv_into": REQUESTS, "send": REQUESTS}
        self.assertEqual(dict(calls.of_sockets), expected)
        self.assertEqual(reactor.asked, [])
