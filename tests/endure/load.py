"""A load of a bounded rate by clients of every kind, in a thread with a loop of its own.

Every client has a time for each of its requests; one whose answer comes late asks at once, and then keeps its pace again. So
the rate is what was wished for as long as the service can do it, and never more clients wait than there are.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Awaitable, Callable, List, Protocol, Sequence, Tuple

import attr
from twisted.trial.unittest import SynchronousTestCase
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.e2e.clients import PATIENCE_S, Address
from tests.e2e.processes import Program
from tests.endure.http1_clients import Download, HTTP1Client, Wrong
from tests.endure.http2_client import HTTP2Client
from tests.endure.service import GOING_AWAY, told
from tests.endure.tally import Outcomes

KEPT, SINGLE, STREAMS = 12, 6, 4
"""Clients that keep their connection, that have one for each request, and that share one of HTTP/2."""

TUNNELS = 2
"""A WebSocket and a download: each holds a slot all the time, or nearly so."""

WEBSOCKET_S = 0.1
"""From one message to the next."""

BODY = bytes(range(256))


class HasPort(Protocol):
    """A client, or what it has told of one of its connections."""

    port: int


@attr.define
class Port:
    """Of our end of a connection; 0 before there is one."""

    port: int = 0


@attr.frozen
class Place:
    """Where clients go."""

    http: Address
    https: Address


class Load:
    """It runs from the beginning until ``stop``, which the test's cleanup calls.

    :param places: which the clients are divided among.
    :param rate: requests per second in all.
    """

    def __init__(self, test: SynchronousTestCase, places: Sequence[Place], rate: float) -> None:
        self.outcomes = Outcomes()
        self._places = places
        self._stop: asyncio.Event
        self._interval_s = (KEPT + SINGLE + STREAMS) / rate
        self._loop = asyncio.new_event_loop()
        self._broken: List[BaseException] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(PATIENCE_S)
        test.addCleanup(self.stop)

    def go_on(self, program: Program, count: int = 50) -> None:
        """Wait until so many more requests have ended; ``program`` tells its story when they do not."""
        wanted = self.outcomes.count + count
        program.eventually(lambda: self._broken or self.outcomes.count >= wanted, f"{count} more answers")
        self._raise()

    def stop(self) -> None:
        """Returns when the last request is answered. Raises what went wrong in the clients themselves."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._broken:
            raise self._broken[0]

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._all())
        except Exception as error:  # noqa: BLE001  # Whatever it is, it is raised where the load is watched.
            self._broken.append(error)
        finally:
            self._loop.close()

    async def _all(self) -> None:
        self._stop = asyncio.Event()
        self._ready.set()
        runs: List[Awaitable[None]] = []
        for number in range(KEPT + SINGLE):
            runs.append(self._http1(number, self._place(number).http, number < KEPT))
        for number, place in enumerate(self._places):
            runs.append(self._http2(number, place.https, STREAMS // len(self._places)))
        runs += [self._downloads(self._place(0).http), self._websocket(self._place(1).http)]
        await asyncio.gather(*runs)

    def _place(self, number: int) -> Place:
        return self._places[number % len(self._places)]

    async def _pause(self, seconds: float) -> bool:
        """Wait so long, unless it is over; gives whether it goes on."""
        try:
            await asyncio.wait_for(self._stop.wait(), max(0.0, seconds))
        except asyncio.TimeoutError:
            pass  # Nothing has come between.
        return not self._stop.is_set()

    async def _paced(self, number: int, ask: Callable[[str, str, bytes], Awaitable[None]]) -> None:
        """GET and POST by turns."""
        due = self._loop.time() + self._interval_s * (number % 11) / 11
        count = 0
        while await self._pause(due - self._loop.time()):
            count += 1
            due = max(due + self._interval_s, self._loop.time())
            method, body = ("POST", BODY * (count % 40 + 1)) if count % 2 else ("GET", b"")
            self.outcomes.posts += method == "POST"
            await ask(method, f"/{number}/{count}", body)

    async def _try(self, what: str, client: HasPort, asked: Awaitable[Any], counts: bool = True) -> bool:
        """Wait for an answer and write down what became of it; gives whether it was right."""
        began = self._loop.time()
        try:
            await (asyncio.wait_for(asked, PATIENCE_S) if counts else asked)
        except ConnectionRefusedError as error:
            self.outcomes.failed(f"{what}: {error!r}", refused=True)
        except (OSError, EOFError, Wrong, asyncio.TimeoutError, InvalidHandshake, ConnectionClosed) as error:
            self.outcomes.failed(f"{what}: {error!r}", client.port)
        else:
            self.outcomes.answered(self._loop.time() - began, counts)
            return True
        return False

    async def _http1(self, number: int, address: Address, kept: bool) -> None:
        client = HTTP1Client(address, kept)

        async def checked(method: str, target: str, body: bytes) -> None:
            content = await client.ask(method, target, body)
            if content != told(method, target, body):
                raise Wrong(repr(content[:80]))

        async def ask(method: str, target: str, body: bytes) -> None:
            what = f"{'kept' if kept else 'single'} {method} {target}"
            if not await self._try(what, client, checked(method, target, body)):
                client.close()

        await self._paced(number, ask)
        client.close()

    async def _http2(self, number: int, address: Address, streams: int) -> None:
        client = HTTP2Client(address)

        async def ask(method: str, target: str, body: bytes) -> None:
            port = Port()

            async def checked() -> None:
                connection = await client.connection()
                port.port = connection.port
                answer: Tuple[str, bytes] = await connection.ask(method, target, body, "endure")
                if answer != ("200", told(method, target, body)):
                    raise Wrong(repr(answer)[:80])

            await self._try(f"HTTP/2 {method} {target}", port, checked())

        await asyncio.gather(*[self._paced(100 + 10 * number + each, ask) for each in range(streams)])
        client.close()

    async def _downloads(self, address: Address) -> None:
        while not self._stop.is_set():
            client = Download(address, kept=False)
            right = await self._try("download", client, client.whole(), counts=False)
            client.close()
            if not right:
                await self._pause(self._interval_s)

    async def _websocket(self, address: Address) -> None:
        uri = "ws://{}:{}/websocket".format(*address)
        while await self._pause(WEBSOCKET_S):
            port = Port()
            if not await self._try("WebSocket", port, self._talk(uri, port), counts=False):
                await self._pause(self._interval_s)

    async def _talk(self, uri: str, port: Port) -> None:
        """Echoes until it is told to go elsewhere, which is no failure; nor is the end of the load."""
        async with connect(uri, ping_interval=None, proxy=None, open_timeout=PATIENCE_S) as websocket:
            port.port = websocket.local_address[1]
            count = 0
            try:
                while await self._pause(WEBSOCKET_S):
                    count += 1
                    await websocket.send(str(count))
                    answer = await asyncio.wait_for(websocket.recv(), PATIENCE_S)
                    if answer != str(count):
                        raise Wrong(f"{answer!r} instead of {count}")
            except ConnectionClosed as closed:
                if closed.rcvd is None or closed.rcvd.code != GOING_AWAY:
                    raise
