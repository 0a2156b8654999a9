"""How services come back when their acceptor was killed: how many slots dial in each tenth of a second.

``python -m benchmarks.redials [SERVICES] [SLOTS]``: so many services with so many slots each, 50 and 100 by themselves, idle
at an acceptor without proxies, which is killed and started again. Prints seconds since the new one listens, and connections.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from typing import Any, List

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater, react
from zope.interface import implementer

from benchmarks.processes import Program, free_port, raise_descriptor_limit
from xproxy.service.endpoint import SlotsServerEndpoint

BIN_S = 0.1

DOWN_S = 2.0
"""How long nobody listens: the services have found that out, and wait."""

PATIENCE_S = 60.0

reactor: Any = _reactor


@implementer(IStreamClientEndpoint)
class Counted:
    """An endpoint that remembers when it has connected."""

    def __init__(self, port: int, times: List[float]) -> None:
        self._endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        self._times = times

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See IStreamClientEndpoint."""
        dialled: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return dialled.addCallback(self._connected)

    def _connected(self, protocol: IProtocol) -> IProtocol:
        self._times.append(time.monotonic())
        return protocol


def acceptor(port: int, directory: str) -> Program:
    """An acceptor on a core of its own."""
    options = ["--handoff", os.path.join(directory, "handoff"), "--slots", f"tcp:{port}:interface=127.0.0.1"]
    twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]
    return Program([*twistd, "xacceptor", *options], 0, f"{directory}/log")


def listens(port: int) -> bool:
    """Whether somebody does. It is a connection of nobody, which the acceptor counts as gone."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def until(holds: Any) -> None:
    """Look until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError
        await deferLater(reactor, 0.02)


async def measure(services: int, slots: int) -> None:
    """See the module."""
    raise_descriptor_limit()
    port, wanted = free_port(), services * slots
    times: List[float] = []
    with tempfile.TemporaryDirectory(prefix="xproxy-") as directory:
        first = acceptor(port, directory)
        await until(lambda: listens(port))
        for _ in range(services):
            SlotsServerEndpoint(reactor, Counted(port, times), slots).listen(Factory.forProtocol(Protocol))
        await until(lambda: len(times) == wanted)
        await deferLater(reactor, 2.0)
        os.kill(first.pid, signal.SIGKILL)
        await deferLater(reactor, DOWN_S)
        times.clear()
        second = acceptor(port, directory)
        await until(lambda: listens(port))
        began = time.monotonic()
        await until(lambda: len(times) >= wanted)
        second.stop()
    bins = Counter(max(0, int((at - began) / BIN_S)) for at in times)
    for number in range(max(bins) + 1):
        sys.stdout.write(f"{number * BIN_S:6.1f} {bins[number]:6d}\n")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    react(lambda _: Deferred.fromCoroutine(measure(*(numbers or [50, 100]))))
