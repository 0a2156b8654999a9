"""Clients on their way in and out, over real sockets."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from typing import Any, Callable, List, Optional
from unittest import SkipTest, mock

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError, ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Port
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from xproxy import config as cfg
from xproxy.net import accepting
from xproxy.net.accepting import ClientTransport, accept_plainly
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
        accept_plainly(port)
        self.assertIn("doRead", vars(port))
        return port

    def connect(self, port: Any) -> socket.socket:
        """A client's end."""
        host = port.getHost()
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

    @inlineCallbacks
    def test_no_descriptors(self) -> Any:
        """What accept(2) complains of is Twisted's to outlast."""
        port = self.listen()
        refused = mock.Mock(side_effect=OSError(errno.EMFILE, "too many open files"))
        original = Port.doRead
        asked: List[Any] = []

        def twisteds(self: Any) -> Any:
            asked.append(self)
            return original(self)

        self.patch(Port, "doRead", twisteds)
        listening = port.socket
        port.socket = mock.Mock(wraps=listening)
        port.socket._accept = refused
        client = self.connect(port)
        yield self.clients.when(lambda: bool(self.clients.made))
        port.socket = listening
        self.assertEqual(asked, [port])
        client.close()
        yield self.clients.when(lambda: ConnectionDone in self.clients.made[0].events)

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

    def test_other_ports(self) -> None:
        """A UNIX port is left as it is."""
        port: Any = reactor.listenUNIX(self.mktemp(), Clients())
        self.addCleanup(port.stopListening)
        accept_plainly(port)
        self.assertNotIn("doRead", vars(port))

    def test_a_proxy(self) -> None:
        """It accepts its clients so."""
        config = cfg.Config(proxy=cfg.ProxyConfig(http=("tcp:0:interface=127.0.0.1",), access_log="none"))
        proxy = ProxyService(reactor, config, time.monotonic)
        proxy.privilegedStartService()
        proxy.startService()
        self.addCleanup(proxy.stopService)
        self.assertIn("doRead", vars(proxy._listening[0].port))
