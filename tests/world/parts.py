"""The real parts in a world: acceptors, proxies and services, each in a process of its own, made as the commands make them."""

from __future__ import annotations

import socket
from typing import Any, Callable, Dict, List, Optional, Sequence

import attr
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, clientFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tests.world.peers import Peer
from tests.world.process import Process
from tests.world.rig import make_config
from tests.world.world import World
from xproxy import config as cfg
from xproxy.acceptor.acceptor_service import AcceptorService
from xproxy.acceptor.handoff_server import HandoffFactory, HandoffServer
from xproxy.acceptor.succession.heir import AcceptorHeir
from xproxy.acceptor.succession.taker import Taker
from xproxy.handoff.client import HandoffClient, redial_delay
from xproxy.proxy.proxy_service import ProxyService
from xproxy.service.endpoint import SlotsServerEndpoint

HANDOFF = "/handoff"
"""The path of the handoff socket."""

SLOTS_PORT = 9999
FIRST_HTTP_PORT = 8080


class MemoryHandoffServer(HandoffServer):
    """The acceptor's end of the handoff socket: everything but what is done to the file system."""

    def privilegedStartService(self) -> None:
        """Listen."""
        if self.port is not None:
            return
        Service.privilegedStartService(self)
        inherited, self._inherited = self._inherited, -1
        if inherited >= 0:
            self.port = self._reactor.adoptStreamPort(inherited, socket.AF_UNIX, self.factory)
            self._reactor.descriptors.close(inherited)
        else:
            self.port = self._reactor.listenUNIX(self._path, self.factory)


class AcceptorPart:
    """``xacceptor``, or the acceptor of an embedded one.

    :param takeover: from the one that runs.
    :ivar service: the real one.
    :ivar serves: it has begun.
    :ivar failure: why it could not take over.
    """

    def __init__(self, process: Process, config: cfg.Config, handoff: str = HANDOFF, takeover: bool = False) -> None:
        self.process = process
        self.serves = False
        self.failure = ""
        self.service = AcceptorService(process, config, process.seconds)
        if handoff:
            factory = HandoffFactory(self.service.acceptor, process, process.seconds)
            server = MemoryHandoffServer(process, attr.evolve(config.acceptor, handoff=handoff), factory)
            self.service.add_handoff(server)
        self.service.succession.handed_on = self._end
        if takeover:
            heir = AcceptorHeir(process, self.service, {}, self._start, self._failed)
            dialling: Deferred[Any] = UNIXClientEndpoint(process, handoff).connect(
                Factory.forProtocol(lambda: Taker(heir, process))
            )
            dialling.addErrback(lambda failure: self._failed(failure.getErrorMessage()))
        else:
            self._start()

    def _start(self) -> None:
        self.service.privilegedStartService()
        self.service.startService()
        self.serves = True

    def _failed(self, reason: str) -> None:
        """Nothing comes of the takeover: the program ends."""
        self.failure = reason
        self.process.callLater(0, self.process.end)

    def _end(self) -> None:
        """Another acceptor has taken over: drain, stop, end."""
        drained = self.service.drain()
        drained.addCallback(lambda _: self.service.stopService())
        drained.addCallback(lambda _: self.process.end())

    def census(self, pool: str = cfg.DEFAULT_POOL) -> Dict[str, Any]:
        """What it has."""
        return self.service.census()[pool]

    def counts(self, pool: str = cfg.DEFAULT_POOL) -> Dict[str, int]:
        """How many slots it has, and where."""
        book = self.service.acceptor.books[pool]
        return {"slots": book.registered, "idle": book.idle, "leased": book.leased}


class ProxyPart:
    """``xproxy``.

    :param acceptor: one in the same process; None: the one behind the handoff socket.
    :ivar service: the real one.
    """

    def __init__(self, process: Process, config: cfg.Config, port: int, acceptor: Optional[AcceptorPart] = None) -> None:
        self.process = process
        self.port = port
        self.service = ProxyService(process, config, process.seconds, process.seconds, process.world.random_bytes)
        self.gateway = self.service.gateway
        for pool in self.gateway.pools.values():
            pool.splicer = None  # The kernel knows nothing of memory sockets.
        splicer, self.gateway.splicer = self.gateway.splicer, None
        if splicer is not None:
            splicer.close()  # Else its pipe would stay: most processes of a world end without a stop.
        self.client: Optional[HandoffClient] = None
        if acceptor is None:
            self.client = HandoffClient(process, HANDOFF, self.service, redial_delay(process.world.random.random))
            self.service.attach(self.client)
        else:
            self.service.attach(acceptor.service.local_source(self.service))
        self.service.privilegedStartService()
        self.service.startService()
        if self.client is not None:
            self.client.startService()

    @property
    def pool(self) -> Any:
        """The default pool."""
        return self.gateway.pools[cfg.DEFAULT_POOL]

    def ask(self, path: str = "/", method: str = "GET") -> Peer:
        """A client that has sent a request."""
        peer: Peer = self.process.world.dial(self.port, f"{method} {path} HTTP/1.1\r\nHost: example.com\r\n\r\n".encode())
        return peer

    def stop(self) -> None:
        """Stop in order, as a drained one does."""
        if self.client is not None:
            self.client.stopService()
        self.service.stopService()


class Answers(Resource):
    """A web application: says its name and what was asked.

    :param later: calls something after so many seconds.
    :ivar takes_s: how long it thinks of an answer.
    :ivar holding: whether it answers only when it is told to.
    :ivar held: the requests that it has not answered then.
    :ivar asked: the paths of all requests, in order.
    :ivar running: how many it runs.
    :ivar most: how many it ever ran at once.
    """

    isLeaf = True

    def __init__(self, name: str, later: Callable[..., Any]) -> None:
        super().__init__()
        self.name = name
        self.takes_s: Callable[[], float] = lambda: 0.0
        self._later = later
        self.holding = False
        self.held: List[Request] = []
        self.asked: List[str] = []
        self.running = self.most = self.answered = 0

    def render(self, request: Request) -> Any:
        """Answer, now or later."""
        self.asked.append(request.path.decode())
        self.running += 1
        self.most = max(self.most, self.running)
        gone = request.notifyFinish()
        gone.addErrback(lambda _: self._gone(request))
        takes_s = self.takes_s()
        if takes_s or self.holding:
            self.held.append(request)
            if not self.holding:
                self._later(takes_s, self._think, request)
        else:
            self._answer(request)
        return NOT_DONE_YET

    def _think(self, request: Request) -> None:
        if request in self.held:
            self.held.remove(request)
            self._answer(request)

    def _gone(self, request: Request) -> None:
        self.running -= 1
        if request in self.held:
            self.held.remove(request)

    def _answer(self, request: Request) -> None:
        self.running -= 1
        self.answered += 1
        answer = self.name.encode() + b" " + request.path
        request.setHeader(b"content-length", b"%d" % len(answer))
        request.write(answer)
        request.finish()

    def let_go(self, count: int = 1) -> None:
        """Answer some of those that are held, the oldest first."""
        for _ in range(count):
            self._answer(self.held.pop(0))


class ServicePart:
    """A Twisted web server on ``count`` slots, by the real endpoint.

    :ivar application: what it serves.
    """

    def __init__(self, process: Process, count: int, pool: str = "") -> None:
        self.process = process
        self.application = Answers(process.name, process.callLater)
        dialled = clientFromString(process, f"tcp:127.0.0.1:{SLOTS_PORT}")
        endpoint = SlotsServerEndpoint(
            process, dialled, count, pool=pool, instance=process.name, random=process.world.random.random
        )
        self.listening: IListeningPort = endpoint.make_port(Site(self.application, reactor=process))
        self.listening.startListening()


class Stage:
    """A world with an acceptor, its proxies and its services.

    :param pools: further pools.
    :ivar acceptor: the acceptor that runs.
    """

    def __init__(self, seed: int = 0, pool: Optional[Dict[str, Any]] = None, pools: Sequence[str] = ()) -> None:
        self.world = World(seed)
        self.config = make_config({"slots": (f"tcp:{SLOTS_PORT}:interface=127.0.0.1",), **(pool or {})}, pools=pools)
        self.proxies: List[ProxyPart] = []
        self.services: List[ServicePart] = []
        self.acceptor = self.start_acceptor()

    def configure(self, **pool: Any) -> None:
        """The next acceptor's configuration has these keys in its pools too."""
        pools = {name: attr.evolve(each, **pool) for name, each in self.config.pools.items()}
        self.config = attr.evolve(self.config, pools=pools)

    def start_acceptor(self) -> AcceptorPart:
        """An acceptor; another one where one has ended."""
        self.acceptor = AcceptorPart(self.world.process("acceptor"), self.config)
        return self.acceptor

    def successor(self) -> AcceptorPart:
        """Another acceptor begins to take over from the one that runs."""
        return AcceptorPart(self.world.process("successor"), self.config, takeover=True)

    def proxy(self, embedded: bool = False, port: int = 0) -> ProxyPart:
        """One proxy more, on a port of its own where none is named."""
        port = port or FIRST_HTTP_PORT + len(self.proxies)
        config = make_config(proxy={"http": (f"tcp:{port}:interface=127.0.0.1",)})
        process = self.acceptor.process if embedded else self.world.process(f"proxy{port}")
        self.proxies.append(ProxyPart(process, config, port, self.acceptor if embedded else None))
        return self.proxies[-1]

    def service(self, count: int, pool: str = "") -> ServicePart:
        """One service more."""
        self.services.append(ServicePart(self.world.process(f"service{len(self.services)}"), count, pool))
        return self.services[-1]

    def close(self) -> None:
        """End everything."""
        self.world.close()
