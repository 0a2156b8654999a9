"""The reactor's loop."""

from __future__ import annotations

import os
import socket
from typing import Any, List

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SynchronousTestCase

from xproxy.net.polling import poll_plainly


class _Reader:
    """A readable descriptor that says what happened to it."""

    def __init__(self, descriptor: int, events: List[str], error: Any = None) -> None:
        self._descriptor = descriptor
        self._events = events
        self._error = error

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        raise AssertionError("nobody asks for that any more")

    def doRead(self) -> None:
        self._events.append("read")
        if self._error is not None:
            raise self._error

    def connectionLost(self, reason: Any) -> None:
        self._events.append(reason.type.__name__)


class PollingTests(SynchronousTestCase):
    """Reactors of our own, over socket pairs."""

    def setUp(self) -> None:
        self.near, self.far = socket.socketpair()
        self.addCleanup(self.near.close)
        self.addCleanup(self.far.close)
        self.reactor = EPollReactor()
        self.addCleanup(self._close)
        poll_plainly(self.reactor)
        self.events: List[str] = []

    def _close(self) -> None:
        self.reactor.removeAll()
        self.reactor._poller.close()
        for descriptor in (self.reactor.waker.i, self.reactor.waker.o):
            os.close(descriptor)

    def test_reads(self) -> None:
        """Who is readable reads, without a word to the log."""
        self.reactor.addReader(_Reader(self.near.fileno(), self.events))
        self.far.sendall(b"x")
        self.reactor.doIteration(0)
        self.assertEqual(["read"], self.events)

    def test_a_reader_that_fails(self) -> None:
        """It is logged and disconnected, as ever."""
        self.reactor.addReader(_Reader(self.near.fileno(), self.events, ValueError("no")))
        self.far.sendall(b"x")
        self.reactor.doIteration(0)
        self.assertEqual(["read", "ValueError"], self.events)
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))

    def test_nothing_to_do(self) -> None:
        """A turn without events ends."""
        self.reactor.doIteration(0)
        self.assertEqual([], self.events)

    def test_other_reactors(self) -> None:
        """They are not ours to change."""
        reactor = SelectReactor()
        for descriptor in (reactor.waker.i, reactor.waker.o):
            self.addCleanup(os.close, descriptor)
        poll_plainly(reactor)
        self.assertNotIn("doIteration", vars(reactor))
