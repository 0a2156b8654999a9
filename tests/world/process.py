"""A process in memory: a reactor with descriptors of its own, which listens and dials in a network of memory."""

from __future__ import annotations

import errno
import os
from collections import deque
from functools import partial
from typing import Any, Callable, Deque, Dict, List, Optional, Protocol, Tuple, Type, Union

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.base import BaseConnector
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError, ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorCore, IReactorTCP, IReactorUNIX
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.world.descriptors import Descriptors
from tests.world.reactor import Loop, LoopTransport, LoopUNIXTransport
from tests.world.sockets import End, MemorySocket

Place = Union[int, str]
"""Where something listens: a TCP port or a path."""

FIRST_PORT = 40_000
"""Of those that are given where none is asked for."""


class Surroundings(Protocol):
    """The network of the processes."""

    ports: Dict[Place, Listening]

    def connect(self, place: Place, done: Callable[[Optional[End], Place], None]) -> None:
        """Dial; ``done`` is given our end of the connection, None when nobody listens, and our own place."""


def address_of(place: Place, host: str = "127.0.0.1") -> IAddress:
    """A place as Twisted says it."""
    return IPv4Address("TCP", host, place) if isinstance(place, int) else UNIXAddress(place)


def transport_of(place: Place) -> Type[LoopTransport]:
    """The kind of transports of a place's connections."""
    return LoopTransport if isinstance(place, int) else LoopUNIXTransport


class Listening:
    """A listening socket: what all its descriptors and ports share.

    :ivar waiting: connections that nobody accepted yet: our ends.
    """

    def __init__(self, ports: Dict[Place, Listening], place: Place) -> None:
        self.place = place
        self.waiting: Deque[Tuple[End, Place]] = deque()
        self._ports = ports
        self._held = 0
        ports[place] = self

    def hold(self) -> None:
        """See Description."""
        self._held += 1

    def release(self) -> None:
        """See Description. With the last descriptor it is over; whoever was not accepted is reset."""
        self._held -= 1
        if not self._held:
            del self._ports[self.place]
            while self.waiting:
                end, _ = self.waiting.popleft()
                end.reset_on_close = True
                end.release()


@implementer(IListeningPort)
class ListeningPort:
    """Something that listens. Accepts when its process has its turn.

    :param listening: the socket, where another process has made it.
    """

    def __init__(self, process: Process, place: Place, factory: Any, listening: Optional[Listening] = None) -> None:
        self.socket = self
        self.place = place
        self.factory = factory
        self.process = process
        self.description = listening
        self.listening = False

    @property
    def readable(self) -> bool:
        """Whether somebody waits to be accepted."""
        return self.description is not None and bool(self.description.waiting)

    def startListening(self) -> None:
        """See IListeningPort."""
        ports = self.process.world.ports
        if self.description is None and self.place in ports:
            raise CannotListenError(None, self.place, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))
        self.description = self.description or Listening(ports, self.place)
        self.description.hold()
        self.factory.doStart()
        self.process.ports[self] = None
        self.startReading()
        self.listening = True

    def startReading(self) -> None:
        """Accept."""
        self.process.addReader(self)

    def stopReading(self) -> None:
        """Accept nobody, for now."""
        self.process.removeReader(self)

    def stopListening(self) -> Deferred[None]:
        """See IListeningPort."""
        if self.listening:
            self.leave()
            self.stopReading()
            self.factory.doStop()
        return succeed(None)

    def hand_on(self) -> None:
        """See ``xproxy.net.inherited``: nobody is accepted, and others who have the socket go on listening."""
        self.stopListening()

    def leave(self) -> None:
        """Our descriptor is closed, by whomever."""
        if self.listening:
            self.listening = False
            self.process.ports.pop(self)
            assert self.description is not None
            self.description.release()

    def getHost(self) -> IAddress:
        """See IListeningPort."""
        return address_of(self.place)

    def doRead(self) -> None:
        """Accept whoever waits."""
        assert self.description is not None
        waiting = self.description.waiting
        for _ in range(len(waiting)):
            end, place = waiting.popleft()
            self._accept(end, place)
            if not self.listening:
                return

    def _accept(self, end: End, place: Place) -> None:
        try:
            skt = MemorySocket(self.process.descriptors, end)
        except OSError:  # No descriptors: Twisted closes the connection, by one that it keeps for that.
            end.reset_on_close = True
            return
        finally:
            end.release()  # Nobody waits any more.
        address = address_of(place)
        protocol = self.factory.buildProtocol(address)
        if protocol is None:
            skt.close()
            return
        protocol.makeConnection(transport_of(self.place)(skt, protocol, self.process, address, self.getHost()))


class _Dial:
    """A connection that is being made: what a connector has in the place of its transport."""

    def __init__(self, connector: Connector) -> None:
        self.connector: Optional[Connector] = connector

    def done(self, end: Optional[End], place: Place) -> None:
        """It is made, or nobody listens."""
        connector = self.connector
        if connector is None or connector.reactor.dead:
            if end is not None:
                end.release()
        elif end is None:
            self.failIfNotConnected(ConnectionRefusedError())
        else:
            self.connector = None
            connector.connected(end, place)

    def failIfNotConnected(self, error: Exception) -> None:
        """The end of waiting, by the connector's timeout among others."""
        connector, self.connector = self.connector, None
        if connector is not None:
            connector.connectionFailed(Failure(error))

    def loseConnection(self) -> None:
        """See ITransport."""
        self.failIfNotConnected(ConnectionDone())


class Connector(BaseConnector):
    """See IConnector."""

    reactor: Any

    def __init__(self, process: Any, place: Place, factory: Any, timeout: Any) -> None:
        self.place = place
        super().__init__(factory, timeout, process)

    def _makeTransport(self) -> Any:
        dial = _Dial(self)
        self.reactor.world.connect(self.place, dial.done)
        return dial

    def getDestination(self) -> IAddress:
        """See IConnector."""
        return address_of(self.place)

    def connected(self, end: End, place: Place) -> None:
        """The connection is made, with this end of ours."""
        try:
            skt = MemorySocket(self.reactor.descriptors, end)
        except OSError as error:
            self.connectionFailed(Failure(error))
            return
        finally:
            end.release()
        protocol = self.buildProtocol(self.getDestination())
        if protocol is None:
            skt.close()
            self.connectionFailed(Failure(ConnectionDone()))
            return
        kind = transport_of(self.place)

        class Dialled(kind):  # type: ignore[misc, valid-type]
            """Tells its connector of its end."""

            def connectionLost(transport, reason: Failure) -> None:  # noqa: N805
                super().connectionLost(reason)
                self.connectionLost(reason)

        self.transport = Dialled(skt, protocol, self.reactor, self.getDestination(), address_of(place))
        protocol.makeConnection(self.transport)


@implementer(IReactorTCP, IReactorUNIX, IReactorCore)
class Process(Loop):
    """See the module. ``world`` gives it its turns.

    :param place: which process it is, counted from 2.
    :ivar dead: it was killed: nothing that it was about to do happens.
    :ivar stopped: it stands still, as after SIGSTOP, until this is taken back.
    """

    def __init__(self, world: Any, name: str, place: int) -> None:
        super().__init__(Descriptors(place))
        self.world = world
        self.name = name
        self.dead = self.stopped = False
        self.running = True
        self.ports: Dict[ListeningPort, None] = {}
        self._triggers: Dict[int, Tuple[str, str, Callable[[], Any]]] = {}
        self._triggered = 0

    # -- IReactorTCP, IReactorUNIX

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See IReactorTCP."""
        return self._listen(port or self.world.free_port(), factory)

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: Optional[float] = 30.0, bindAddress: Optional[Tuple[str, int]] = None
    ) -> Any:
        """See IReactorTCP."""
        return self._dial(port, factory, timeout)

    def listenUNIX(self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: bool = False) -> Any:
        """See IReactorUNIX."""
        return self._listen(os.fsdecode(address), factory)

    def connectUNIX(self, address: Any, factory: Any, timeout: float = 30, checkPID: bool = False) -> Any:
        """See IReactorUNIX."""
        return self._dial(os.fsdecode(address), factory, timeout)

    def _listen(self, place: Place, factory: Any) -> ListeningPort:
        port = ListeningPort(self, place, factory)
        port.startListening()
        return port

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See IReactorSocket."""
        listening = self.descriptors.description(fileDescriptor)
        assert isinstance(listening, Listening)
        port = ListeningPort(self, listening.place, factory, listening)
        port.startListening()
        return port

    def _dial(self, place: Place, factory: Any, timeout: Optional[float]) -> Connector:
        connector = Connector(self, place, factory, timeout)
        connector.connect()
        return connector

    # -- IReactorCore, as much of it as anybody here uses

    def resolve(self, name: str, timeout: Any = ()) -> Deferred[str]:
        """See IReactorCore: every name is this host's."""
        return succeed("127.0.0.1")

    def run(self) -> None:
        """See IReactorCore."""
        raise NotImplementedError("the world gives it its turns")

    def stop(self) -> None:
        """See IReactorCore: shut down in order, which takes its time."""
        befores = [call for phase, event, call in self._triggers.values() if (phase, event) == ("before", "shutdown")]
        self._triggers.clear()
        waiting = [maybeDeferred(call) for call in befores]
        left = [len(waiting) + 1]

        def one_less(_: Any = None) -> None:
            left[0] -= 1
            if not left[0]:
                self.end()

        for each in waiting:
            each.addBoth(one_less)
        one_less()

    def crash(self) -> None:
        """See IReactorCore."""
        self.end()

    def iterate(self, delay: float = 0.0) -> None:
        """See IReactorCore."""
        raise NotImplementedError("the world gives it its turns")

    def fireSystemEvent(self, eventType: str) -> None:
        """See IReactorCore."""
        raise NotImplementedError("nobody does")

    def addSystemEventTrigger(self, phase: str, eventType: str, callable: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """See IReactorCore."""
        self._triggered += 1
        self._triggers[self._triggered] = (phase, eventType, partial(callable, *args, **kw))
        return self._triggered

    def removeSystemEventTrigger(self, triggerID: Any) -> None:
        """See IReactorCore."""
        del self._triggers[triggerID]

    def callWhenRunning(self, callable: Callable[..., Any], *args: Any, **kw: Any) -> None:
        """See IReactorCore: it runs."""
        callable(*args, **kw)

    # -- its life

    @property
    def turns(self) -> bool:
        """Whether its loop turns."""
        return not (self.dead or self.stopped)

    def due(self) -> bool:
        """Whether a delayed call is due."""
        return bool(self.calls) and min(call.getTime() for call in self.calls) <= self.rightNow

    def next_time(self) -> Optional[float]:
        """When the next delayed call is due; None: there is none."""
        return min((call.getTime() for call in self.calls), default=None)

    def run_due(self) -> None:
        """Make the delayed calls that are due now; those that they add are for the next turn."""
        due = sorted((call for call in self.calls if call.getTime() <= self.rightNow), key=lambda call: call.getTime())
        for call in due:
            if call.active() and call.getTime() <= self.rightNow and not self.dead:
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)

    def ready(self) -> List[Tuple[Any, bool]]:
        """What can read or write now."""
        found = [(transport, True) for transport in self.readers if self.is_ready(transport, True)]
        return found + [(transport, False) for transport in self.writers if self.is_ready(transport, False)]

    def turn(self) -> None:
        """One turn of the reactor's loop: what is due, then what is ready, in the order that the world says."""
        self.run_due()
        ready = self.ready()
        self.world.shuffle(ready)
        for transport, reading in ready:
            if not self.dead and transport in (self.readers if reading else self.writers):
                self.world.note(self.name, "reads" if reading else "writes", transport)
                self.react(transport, reading)

    def kill(self) -> None:
        """Nothing runs any more; the kernel closes what was open."""
        self.end()

    def end(self) -> None:
        """The process is over."""
        if self.dead:
            return
        self.dead = True
        self.calls.clear()
        for port in list(self.ports):
            port.leave()
        self.readers.clear()
        self.writers.clear()
        self.descriptors.close_all()
        self.world.note(self.name, "ends", None)
