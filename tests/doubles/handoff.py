"""A real acceptor on real sockets, and clients of its handoff socket in plain Python."""

from __future__ import annotations

import errno
import gc
import os
import resource
import shutil
import socket
import tempfile
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Tuple

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from tests.doubles.holders import RecordingHolder, descriptors
from tests.doubles.logged import Logged
from xproxy.acceptor.acceptor_service import AcceptorService
from xproxy.config import AcceptorConfig, Config, PoolConfig
from xproxy.handoff.client import HandoffClient
from xproxy.net.descriptors import SYSTEM
from xproxy.slots import book
from xproxy.slots.dealing import Deal
from xproxy.slots.tides import TABLE_BYTES

reactor: Any = _reactor


HELLO_ANSWER = {"pools": ["default"], "column": 1, "tides": 0}
"""What an acceptor says to Hello, when the tide table is the first descriptor it sends."""


def soon() -> Deferred[None]:
    """Fires in the next turn of the loop."""
    waiting: Deferred[None] = Deferred()
    reactor.callLater(0, waiting.callback, None)
    return waiting


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """This process can't have any more descriptors meanwhile."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: List[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, limits[1]))
    try:
        try:
            while True:
                taken.append(os.dup(0))
        except OSError as error:
            assert error.errno == errno.EMFILE
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def until(holds: Callable[[], Any]) -> None:
    """Return as soon as ``holds()``: it is asked in every turn of the loop. Trial's timeout ends what never holds."""
    while not holds():
        await soon()


class HandoffTestCase(TestCase):
    """Starts acceptors, proxies, services and plain clients, stops them, and counts descriptors before and after."""

    deals = False
    """Whether idle slots are dealt out ahead of need: most tests are about who gets what by asking."""

    timeout = 60  # A process of its own takes its time to start on a busy machine.

    async def setUp(self) -> None:  # type: ignore[override]  # Trial waits for it.
        # The reactor itself opens a few when it runs and listens for the first time.
        await reactor.listenTCP(0, Factory(), interface="127.0.0.1").stopListening()
        gc.collect()
        self.before = descriptors()
        if not self.deals:
            self.patch(book, "deal", lambda *told: Deal([], []))
        self.directory = tempfile.mkdtemp(prefix="xproxy-")
        self.path = os.path.join(self.directory, "handoff.sock")
        self.services: List[Any] = []
        self.sockets: List[socket.socket] = []
        self.holders: List[RecordingHolder] = []
        self.tables: List[int] = []
        self.lines = Logged(self).lines
        self.addCleanup(self._check_descriptors)
        self.addCleanup(self._stop)

    async def _stop_all(self) -> None:
        for service in reversed(self.services):
            await service.stopService()
        for holder in self.holders:
            holder.close()
        for plain in self.sockets:
            plain.close()
        for table in self.tables:
            os.close(table)
        await soon()
        await soon()
        shutil.rmtree(self.directory)

    def _stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop_all())

    def _check_descriptors(self) -> None:
        gc.collect()
        self.assertEqual(descriptors(), self.before)

    # -- for tests

    def start_acceptor(self, *pools: PoolConfig) -> AcceptorService:
        pools = pools or (PoolConfig("default", slots=("tcp:0:interface=127.0.0.1",), registration="raw"),)
        config = Config(acceptor=AcceptorConfig(handoff=self.path), pools={pool.name: pool for pool in pools})
        service = AcceptorService(reactor, config)
        service.privilegedStartService()
        service.startService()
        self.services.append(service)
        return service

    def table(self) -> int:
        """A descriptor of a tide table as an acceptor makes one, closed at the end."""
        if not self.tables:
            self.tables.append(SYSTEM.memory(TABLE_BYTES)[0])
        return self.tables[0]

    async def stop(self, service: Any) -> None:
        self.services.remove(service)
        await service.stopService()

    def slot(self, acceptor: AcceptorService, listener: int = 0) -> socket.socket:
        """A service's end of a new slot."""
        port: Any = acceptor.listeners[listener].port
        service = socket.create_connection((port.getHost().host, port.getHost().port))
        service.setblocking(False)
        self.sockets.append(service)
        return service

    async def slots(self, acceptor: AcceptorService, number: int) -> List[socket.socket]:
        """Several, registered."""
        books = acceptor.acceptor.books
        before = books["default"].registered
        found = [self.slot(acceptor) for _ in range(number)]
        await until(lambda: books["default"].registered == before + number)
        return found

    async def proxy(self) -> Tuple[RecordingHolder, HandoffClient]:
        """A proxy with a handoff client, connected."""
        holder = RecordingHolder()
        client = HandoffClient(reactor, self.path, holder, lambda attempt: 0.01)
        holder.source = client
        self.holders.append(holder)
        self.services.append(client)
        client.privilegedStartService()
        client.startService()
        await holder.until(lambda: holder.events == ["found"])
        return holder, client

    def plain(self) -> socket.socket:
        """A client in plain Python, connected."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.path)
        client.setblocking(False)
        self.sockets.append(client)
        return client


def ended(plain: socket.socket) -> bool:
    """Whether the other end has closed the connection; what came before is read and thrown away."""
    try:
        while plain.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


def readable(plain: socket.socket) -> bool:
    """Whether something waits to be read."""
    try:
        plain.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


def receive_slot(plain: socket.socket) -> socket.socket:
    """What a client of the one-byte protocol does with its answer."""
    data, fds, _, _ = socket.recv_fds(plain, 1, 4)
    assert data == b"*", data
    assert len(fds) == 1, fds
    assert not os.get_blocking(fds[0])
    received = socket.socket(fileno=fds[0])
    received.setblocking(False)  # PyPy makes it blocking.
    return received
