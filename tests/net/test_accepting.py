"""Clients on their way in and out, over real sockets."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import struct
import tempfile
import time
from typing import Any, Callable, List, Optional
from unittest import SkipTest, mock

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError, ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, ITCPTransport, IUNIXTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.doubles.logged import Logged
from xproxy import config as cfg
from xproxy.net import accepting
from xproxy.net.accepting import ClientTransport, accept, accept_plainly
from xproxy.net.keepalive import KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES
from xproxy.net.shortage import Shortage
from xproxy.proxy.proxy_service import ProxyService

reactor: Any = _reactor


class Client(Protocol):
    """Notes what happens to it, in order, and tells who waits for it."""

    def __init__(self, told: Clients) -> None:
        self.told = told
        self.events: List[Any] = []

    def connectionMade(self) -> None:
        self.events.append("made")
        self.told.happened()

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)
        self.told.happened()

    def connectionLost(self, reason: Any = None) -> None:
        self.events.append(reason.type)
        self.told.happened()


class Clients(Factory):
    """Makes a Client for everybody, unless it is told to do something else."""

    noisy = False

    def __init__(self) -> None:
        self.made: List[Client] = []
        self.addresses: List[Any] = []
        self.instead: Optional[Callable[[], None]] = None
        self._waiting: List[Any] = []

    def buildProtocol(self, addr: Any) -> Optional[Client]:
        self.addresses.append(addr)
        if self.instead is not None:
            self.instead()
            self.happened()
            return None
        self.made.append(Client(self))
        return self.made[-1]

    def when(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fires as soon as ``condition`` holds."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append((condition, waiting))
        self.happened()
        return waiting

    def soon(self, condition: Callable[[], bool]) -> Deferred[None]:
        """The same for what nobody tells."""
        looking = LoopingCall(lambda: looking.stop() if condition() else None)
        return looking.start(0.01).addCallback(lambda _: None)

    def happened(self) -> None:
        """Something did."""
        for entry in list(self._waiting):
            if entry[0]():
                self._waiting.remove(entry)
                reactor.callLater(0, entry[1].callback, None)


class AcceptingTests(TestCase):
    """A port whose clients are accepted plainly."""

    timeout = 20

    def listen(self, interface: str = "127.0.0.1") -> Any:
        """The port and its factory."""
        self.clients = Clients()
        port: Any = reactor.listenTCP(0, self.clients, 1000, interface)
        self.addCleanup(port.stopListening)
        self.shortage = Shortage(reactor, self.relieve)
        accept_plainly(port, self.shortage, 77.5)
        self.assertIn("doRead", vars(port))
        return port

    def relieve(self) -> int:
        """No room can be made."""
        return 0

    def connect(self, port: Any) -> socket.socket:
        """A client's end."""
        host = port.getHost()
        if isinstance(host, UNIXAddress):
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.connect(host.name or b"")
            return client
        family = socket.AF_INET6 if isinstance(host, IPv6Address) else socket.AF_INET
        client = socket.socket(family)
        self.addCleanup(client.close)
        client.connect((host.host, host.port))
        client.settimeout(10)
        return client

    @inlineCallbacks
    def test_a_client(self) -> Any:
        """It is made, read and lost, knows its ends, and has TCP_NODELAY from the listening socket."""
        port = self.listen()
        client = self.connect(port)
        client.sendall(b"hello")
        yield self.clients.when(lambda: bool(self.clients.made) and b"hello" in self.clients.made[0].events)
        (made,) = self.clients.made
        transport: Any = made.transport
        self.assertIsInstance(transport, ClientTransport)
        verifyObject(ITCPTransport, transport)
        verifyObject(IConsumer, transport)
        peer = IPv4Address("TCP", *client.getsockname())
        self.assertEqual([peer, peer, port.getHost()], [*self.clients.addresses, transport.getPeer(), transport.getHost()])
        self.assertTrue(transport.getTcpNoDelay())
        self.assertIn(str(client.getsockname()[1]), repr(transport))
        client.close()
        yield self.clients.when(lambda: len(made.events) == 3)
        self.assertEqual(made.events, ["made", b"hello", ConnectionDone])

    @inlineCallbacks
    def test_ipv6(self) -> Any:
        """The same over IPv6."""
        try:
            port = self.listen("::1")
        except CannotListenError as error:
            raise SkipTest(f"no IPv6 here: {error}") from error
        client = self.connect(port)
        yield self.clients.when(lambda: bool(self.clients.made))
        transport: Any = self.clients.made[0].transport
        self.assertEqual(("::1", client.getsockname()[1]), (transport.getPeer().host, transport.getPeer().port))
        self.assertIsInstance(self.clients.addresses[0], IPv6Address)
        client.close()
        yield self.clients.when(lambda: ConnectionDone in self.clients.made[0].events)

    @inlineCallbacks
    def test_closed_by_us(self) -> Any:
        """What was written arrives, then the end; the protocol is told once."""
        port = self.listen()
        client = self.connect(port)
        yield self.clients.when(lambda: bool(self.clients.made))
        transport: Any = self.clients.made[0].transport
        transport.write(b"bye")
        transport.loseConnection()
        yield self.clients.when(lambda: ConnectionDone in self.clients.made[0].events)
        self.assertEqual((client.recv(10), client.recv(10)), (b"bye", b""))
        transport.connectionLost(mock.Mock())
        self.assertEqual(self.clients.made[0].events, ["made", ConnectionDone])

    @inlineCallbacks
    def test_aborted_by_us(self) -> Any:
        """The client sees a reset."""
        port = self.listen()
        client = self.connect(port)
        yield self.clients.when(lambda: bool(self.clients.made))
        transport: Any = self.clients.made[0].transport
        transport.abortConnection()
        yield self.clients.when(lambda: ConnectionAborted in self.clients.made[0].events)
        self.assertRaises(ConnectionResetError, client.recv, 10)

    @inlineCallbacks
    def test_reset_by_the_client(self) -> Any:
        """It is an error, and a producer is told to stop."""
        port = self.listen()
        client = self.connect(port)
        yield self.clients.when(lambda: bool(self.clients.made))
        producer = mock.Mock()
        transport: Any = self.clients.made[0].transport
        transport.registerProducer(producer, True)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        yield self.clients.when(lambda: ConnectionLost in self.clients.made[0].events)
        producer.stopProducing.assert_called_once_with()

    @inlineCallbacks
    def test_turned_away(self) -> Any:
        """A factory that makes nothing closes the connection."""
        port = self.listen()
        self.clients.instead = lambda: None
        client = self.connect(port)
        yield self.clients.when(lambda: bool(self.clients.addresses))
        self.assertEqual(client.recv(10), b"")

    @inlineCallbacks
    def test_a_factory_that_fails(self) -> Any:
        """It is logged, that client is closed, and the next one is served."""
        port = self.listen()

        def fail() -> None:
            self.clients.instead = None
            raise ValueError("no")

        self.clients.instead = fail
        first = self.connect(port)
        second = self.connect(port)
        yield self.clients.when(lambda: bool(self.clients.made))
        self.assertEqual(first.recv(10), b"")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        second.close()
        yield self.clients.when(lambda: ConnectionDone in self.clients.made[0].events)

    def failing(self, port: Any, *numbers: int) -> Any:
        """Let accept fail with these errors, one after the other; gives how it is told that the last has come."""
        listening: Any = port.socket
        errors = [OSError(number, os.strerror(number)) for number in numbers]

        def fail() -> Any:
            if errors:
                raise errors.pop(0)
            return listening._accept()

        port.socket = mock.Mock(wraps=listening)
        port.socket._accept = fail
        return errors

    @inlineCallbacks
    def test_nothing_to_accept_with(self) -> Any:
        """Nothing is accepted for a while, which is said once; then it goes on, and nobody was sent away."""
        logged = Logged(self)
        port = self.listen()
        errors = self.failing(port, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
        began = time.monotonic()
        client = self.connect(port)
        client.sendall(b"x")
        yield self.clients.when(lambda: bool(self.clients.made) and b"x" in self.clients.made[0].events)
        self.assertEqual(errors, [])
        self.assertGreaterEqual(time.monotonic() - began, 4 * accepting.PAUSE_S)
        self.assertEqual(logged.lines, ["no connection can be accepted for now: too many open files"])
        self.assertEqual(sum(self.shortage.failures.values()), 4)
        self.assertEqual(self.shortage.failures["cannot allocate memory"], 1)

    @inlineCallbacks
    def test_room_is_made(self) -> Any:
        """Then it goes on at once."""
        self.patch(self, "relieve", lambda: 1)
        port = self.listen()
        self.patch(accepting, "PAUSE_S", 1000.0)
        self.failing(port, errno.EMFILE, errno.EMFILE)
        self.connect(port)
        yield self.clients.when(lambda: bool(self.clients.made))

    @inlineCallbacks
    def test_one_that_is_gone(self) -> Any:
        """It is none of our business: the next one is taken, and nothing is said."""
        logged = Logged(self)
        port = self.listen()
        self.patch(accepting, "PAUSE_S", 1000.0)
        self.failing(port, errno.ECONNABORTED, errno.EPROTO, errno.EPERM)
        self.connect(port)
        yield self.clients.when(lambda: bool(self.clients.made))
        self.assertEqual((logged.lines, self.shortage.failures), ([], {}))

    @inlineCallbacks
    def test_closed_while_it_pauses(self) -> Any:
        """Nothing goes on afterwards."""
        port = self.listen()
        self.failing(port, *[errno.EMFILE] * 5)
        self.connect(port)
        yield self.clients.soon(lambda: bool(self.shortage.failures))
        yield port.stopListening()
        self.assertEqual([call for call in reactor.getDelayedCalls() if "_go_on" in str(call.func)], [])

    @inlineCallbacks
    def test_who_waits_at_the_end(self) -> Any:
        """All that the kernel has accepted are taken before the port closes, whatever kind of port it is."""
        for listen, make in ((self.listen, accept_plainly), (self.listen, accept), (self.listen_unix, accept)):
            port = listen()
            make(port, self.shortage)
            port.stopReading()
            ends = [self.connect(port) for _ in range(accepting.MOST_AT_ONCE * 2)]
            for end in ends:
                end.sendall(b"here")
            self.assertEqual(self.clients.made, [])
            yield port.stopListening()
            self.assertEqual(len(self.clients.made), len(ends))
            yield self.clients.when(lambda: all(b"here" in made.events for made in self.clients.made))
            for end in ends:
                end.close()
            yield self.clients.when(lambda: all(ConnectionDone in made.events for made in self.clients.made))

    @inlineCallbacks
    def test_nobody_keeps_it_open(self) -> Any:
        """Whoever connects again and again while it closes."""
        port = self.listen()
        self.patch(accepting, "BACKLOG", 10)
        port.backlog = 10
        self.clients.instead = lambda: self.connect(port).close()
        self.connect(port)
        yield port.stopListening()
        self.assertLessEqual(len(self.clients.addresses), 12)

    @inlineCallbacks
    def test_a_vanished_host(self) -> Any:
        """What notices it is set on the listening socket, and accepted ones have it."""
        port = self.listen()
        self.connect(port)
        yield self.clients.when(lambda: bool(self.clients.made))
        transport: Any = self.clients.made[0].transport
        sock = transport.getHandle()
        self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        for name, expected in (
            ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
            ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
            ("TCP_KEEPCNT", KEEPALIVE_PROBES),
            ("TCP_USER_TIMEOUT", 77500),
            ("TCP_NODELAY", 1),
        ):
            if hasattr(socket, name):
                self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)), expected, name)

    @inlineCallbacks
    def test_many(self) -> Any:
        """More than one turn takes; afterwards as many descriptors are open as before."""
        port = self.listen()
        self.connect(port).close()
        yield self.clients.when(lambda: bool(self.clients.made) and ConnectionDone in self.clients.made[0].events)
        before = len(os.listdir("/proc/self/fd"))
        ends = [self.connect(port) for _ in range(accepting.MOST_AT_ONCE * 2 + 3)]
        yield self.clients.when(lambda: len(self.clients.made) == 1 + len(ends))
        for end in ends:
            end.close()
        yield self.clients.when(lambda: all(ConnectionDone in made.events for made in self.clients.made))
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def listen_unix(self, interface: str = "") -> Any:
        """A UNIX port and its factory."""
        self.clients = Clients()
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        port: Any = reactor.listenUNIX(os.path.join(directory, "s"), self.clients, 1000)
        self.addCleanup(port.stopListening)
        self.shortage = Shortage(reactor)
        return port

    @inlineCallbacks
    def test_unix(self) -> Any:
        """A UNIX port's connections have Twisted's own transport."""
        port = self.listen_unix()
        accept_plainly(port, self.shortage)
        self.connect(port)
        yield self.clients.when(lambda: bool(self.clients.made))
        self.assertTrue(IUNIXTransport.providedBy(self.clients.made[0].transport))

    def test_other_ports(self) -> None:
        """What is no port of Twisted's is left as it is."""
        port: Any = mock.Mock()
        accept_plainly(port, Shortage(reactor))
        self.assertNotIn("doRead", vars(port))

    def test_a_proxy(self) -> None:
        """It accepts its clients so."""
        config = cfg.Config(proxy=cfg.ProxyConfig(http=("tcp:0:interface=127.0.0.1",), access_log="none"))
        proxy = ProxyService(reactor, config, time.monotonic)
        proxy.privilegedStartService()
        proxy.startService()
        self.addCleanup(proxy.stopService)
        self.assertIn("doRead", vars(next(iter(proxy.entrances._listening.values())).port))
