"""Slot services that a test plays: each slot calls a function with the connection, again and again, until it closes it."""

from __future__ import annotations

import atexit
import gc
import re
import socket
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import PATIENCE_S, Address
from tests.e2e.processes import TIMEOUT_S, Xproxy, configuration
from tests.e2e.services import REDIAL_S, mxproxy_preamble, respond
from tests.e2e.wire import Message, Wire, connect

Play = Callable[[Wire], object]
"""Reads a request and answers it, somehow. It may close the wire; EOFError and OSError close it too."""


STALLED_TURNS = 10
"""Turns of a proxy's loop in which nothing moves: then nothing will."""

MOST_KEPT = 4
"""Proxies that are kept for tests to come: each takes a second or two to start, and 60 MB while it is kept."""

TROUBLE = re.compile("Traceback|Unhandled|was never|Exception ignored")
"""What no log may hold."""


class Recorder:
    """A play that reads whole requests, keeps them and answers each.

    :param answer: the bytes of the answer, or what makes them.
    :ivar seen: what came.
    """

    def __init__(self, answer: Union[bytes, Callable[[Message], bytes]] = respond()) -> None:
        self.answer = answer
        self.seen: List[Message] = []

    def __call__(self, wire: Wire) -> None:
        request = wire.request()
        self.seen.append(request)
        answer = self.answer
        wire.send(answer if isinstance(answer, bytes) else answer(request))

    def wait_for(self, count: int) -> None:
        """Wait until so many requests came in all."""
        wait_for(lambda: len(self.seen) >= count, "the request")

    @property
    def last(self) -> Message:
        """The latest request."""
        return self.seen[-1]

    @property
    def targets(self) -> List[str]:
        """Of all requests."""
        return [request.target for request in self.seen]


class PlayedService:
    """``count`` slots, each in a thread of its own, dialled again when it was closed, until the test's cleanup.

    What a play raises, but for the end of its connection, fails the test.

    :ivar dialled: how often a slot was dialled.
    """

    def __init__(self, test: SynchronousTestCase, acceptor: Address, play: Play, count: int = 1) -> None:
        self.dialled = 0
        self._test = test
        self._acceptor = acceptor
        self._play = play
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._open: Dict[int, Wire] = {}
        self._wrong: List[Exception] = []
        self._threads = [threading.Thread(target=self._keep, args=(number,), daemon=True) for number in range(count)]
        test.addCleanup(self.stop)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Close every slot and dial no more."""
        self._stopped.set()
        with self._lock:
            for wire in self._open.values():
                try:
                    wire.connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # It is closed already.
        for thread in self._threads:
            thread.join(PATIENCE_S)
        if self._wrong:
            raise self._wrong[0]

    def wait_dialled(self, count: int) -> None:
        """Wait until slots were dialled so often in all."""
        wait_for(lambda: self.dialled >= count, "another slot")
        if self.dialled != count:
            raise AssertionError(f"dialled {self.dialled} times, not {count}")

    def _keep(self, number: int) -> None:
        while not self._stopped.is_set():
            try:
                wire = connect(self._acceptor)
            except OSError:
                self._stopped.wait(REDIAL_S)
                continue
            with wire:
                wire.connection.settimeout(None)
                with self._lock:
                    self._open[number] = wire
                    self.dialled += 1
                    if self._stopped.is_set():
                        return
                self._serve(wire)

    def _serve(self, wire: Wire) -> None:
        try:
            wire.send(mxproxy_preamble())  # Registers at once; who says nothing is waited for.
            while not wire.closed:
                self._play(wire)
        except (EOFError, OSError):
            pass  # The connection is over: dial again.
        except Exception as error:  # noqa: BLE001  # Whatever the test's own function raises is raised when it ends.
            self._wrong.append(error)


class _Keeper(SynchronousTestCase):
    """What a program belongs to that outlives the test which started it."""

    def runTest(self) -> None:
        """Nothing: it only keeps."""


class _Shared:
    """The proxies that tests with the same configuration use one after the other, which saves them its start."""

    def __init__(self) -> None:
        self._kept: Dict[str, Tuple[Xproxy, _Keeper]] = {}
        """By configuration, the one that was used last at the end."""
        self._used = ""
        atexit.register(self.drop_all)

    def get(self, text: str) -> Xproxy:
        """The proxy with this configuration, as it is or a new one."""
        proxy, keeper = self._kept.pop(text, (None, None))
        if proxy is None or keeper is None or proxy.process.poll() is not None:
            if keeper is not None:
                keeper.doCleanups()
            while len(self._kept) >= MOST_KEPT:
                self._drop(next(iter(self._kept)))
            keeper = _Keeper()
            proxy = Xproxy(keeper, "--config", configuration(keeper, text)).ready()
        self._kept[text] = (proxy, keeper)
        self._used = text
        return proxy

    def _drop(self, text: str) -> None:
        self._kept.pop(text)[1].doCleanups()

    def drop_all(self) -> None:
        """End them."""
        while self._kept:
            self._drop(next(iter(self._kept)))

    def check(self) -> None:
        """After each test: nothing is left of it in its proxy, nothing strange was said. Else the next gets a new one."""
        if self._used not in self._kept:
            return
        proxy, keeper = self._kept.pop(self._used)
        try:
            proxy.eventually(lambda: _at_rest(proxy.status()), "the proxy to be at rest")
            for line in [*proxy.lines, *proxy.errors]:
                if TROUBLE.search(line):
                    raise AssertionError(proxy.story())
        except BaseException:
            keeper.doCleanups()
            raise
        self._kept[self._used] = (proxy, keeper)


def _at_rest(status: Dict[str, Any]) -> bool:
    numbers = ("slots", "in_flight", "queue_length")
    return status["connections"]["client"] == 0 and not any(pool[name] for pool in status["pools"].values() for name in numbers)


_shared = _Shared()


class ProxyCase(SynchronousTestCase):
    """A test with a proxy and services that it plays. When it is over, the proxy must have nothing left of it."""

    proxy: Xproxy
    _services: Sequence[PlayedService] = ()

    def collect(self) -> None:
        """On PyPy some packages' sockets are closed by nothing else, and only once what held them is gone."""
        for _ in range(3):
            gc.collect()

    def start(self, *pool: str, more: str = "", fresh: bool = False) -> Xproxy:
        """A proxy with its own acceptor.

        :param pool: lines for ``[pools.default]``.
        :param more: further sections.
        :param fresh: a new one, for who looks at what is counted or kept from its start on.
        """
        text = "\n".join(["[pools.default]", 'slots = ["tcp:0:interface=127.0.0.1"]', *pool, more])
        if fresh:
            self.proxy = Xproxy(self, "--config", configuration(self, text)).ready()
        else:
            self.stop_services()
            self.addCleanup(_shared.check)
            self.proxy = _shared.get(text)
        return self.proxy

    def stop_services(self) -> None:
        """End those that this test has begun."""
        for service in self._services:
            service.stop()
            self.proxy.has(slots=0)
        self._services = []

    def serve(self, play: Optional[Play] = None, count: int = 1) -> PlayedService:
        """Park slots and wait until they are there."""
        service = PlayedService(self, self.proxy.slots, play or Recorder(), count)
        self._services = [*self._services, service]
        self.proxy.has(slots=count)
        return service

    def connect(self, receive_bytes: int = 0, source: str = "") -> Wire:
        """A client, closed by the test's cleanup at the latest."""
        wire = connect(self.proxy.http, receive_bytes, source)
        self.addCleanup(wire.close)
        return wire

    def ask(self, request: bytes, method: str = "GET", source: str = "") -> Message:
        """The final answer to a request on a connection of its own."""
        with connect(self.proxy.http, source=source) as wire:
            wire.send(request)
            return wire.final(method)

    def stalled(self, progress: Callable[[], int]) -> int:
        """Wait until the proxy moves nothing more of something, and give how far it came.

        An answer to ``/status`` takes a turn of the proxy's loop, in which it would read more of what waits to be read; so what
        has not moved in several turns is not read.
        """
        before, turns = -1, 0
        while turns < STALLED_TURNS:
            self.proxy.status()
            now = progress()
            turns = turns + 1 if now == before else 0
            before = now
        return before

    def at_rest(self, **numbers: int) -> None:
        """Wait until nothing runs and nothing waits."""
        self.proxy.has("default", TIMEOUT_S, in_flight=0, queue_length=0, **numbers)


def get(target: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body."""
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: example.com", *fields]).encode("latin-1") + b"\r\n\r\n"


def post(body: bytes, *fields: str, target: str = "/", method: str = "POST") -> bytes:
    """A request with a body of known length."""
    return get(target, f"Content-Length: {len(body)}", *fields, method=method) + body


def wait_for(seen: Callable[[], object], what: str = "it") -> None:
    """Look again and again until it is so: for what a thread of the test's own does."""
    deadline = time.monotonic() + PATIENCE_S
    pause = threading.Event()
    while not seen():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}")
        pause.wait(0.005)
