"""Workers that are no processes: what they are told is kept, and what they say the test says."""

from __future__ import annotations

import os
from typing import Any, Callable, List

from twisted.internet.defer import Deferred
from zope.interface import implementer

from xproxy.net.descriptors import adopt, descriptors_of
from xproxy.workers.inside.worker import Worker
from xproxy.workers.link import WorkerLink
from xproxy.workers.messages import Configure, Configured, Drain, Drained, Message, Ready, Tell, Told
from xproxy.workers.numbers import Tree
from xproxy.workers.process import IWorker
from xproxy.workers.restarts import Watch


@implementer(IWorker)
class FakeWorker:
    """A worker.

    :ivar said: all messages.
    :ivar beats: how often it was asked whether it turns.
    :ivar killed: whether somebody has killed it; it is gone when the test says so.
    :ivar obliging: answers what has one answer by itself, and turns its loop.
    """

    def __init__(self, number: int, employer: Any, obliging: bool = True) -> None:
        self.number = number
        self.pid = 1000 + number
        self.watch = Watch()
        self.ended: Deferred[None] = Deferred()
        self.said: List[Message] = []
        self.beats = 0
        self.killed = False
        self.obliging = obliging
        self.numbers: Tree = {"counts": {}, "status": {}, "lost_lines": {}}
        self.employer = employer

    def say(self, message: Message) -> None:
        """See IWorker."""
        self.said.append(message)
        if not self.obliging:
            return
        if isinstance(message, Configure):
            self.hears(Configured(message.generation, ""))
        elif isinstance(message, Tell):
            self.hears(Told(self.numbers, message.question))

    def say_with(self, make: Callable[[int], Message], descriptor: int) -> None:
        """See IWorker."""
        os.close(descriptor)
        self.said.append(make(sum(hasattr(message, "socket") or hasattr(message, "page") for message in self.said)))

    def ping(self) -> None:
        """See IWorker."""
        self.beats += 1
        if self.obliging:
            self.watch.heard()

    def kill(self) -> None:
        """See IWorker."""
        self.killed = True

    # -- what the test does

    def hears(self, message: Message) -> None:
        """The worker says something."""
        self.employer.worker_heard(self, message)

    def is_ready(self) -> None:
        """It lets clients in."""
        self.hears(Ready())

    def drains(self) -> None:
        """It has drained, and ends."""
        self.hears(Drained(self.numbers))
        self.ends("exit status 0")

    def ends(self, how: str = "killed by SIGKILL") -> None:
        """Its process is gone."""
        self.pid = 0
        self.employer.worker_ended(self, how)
        self.ended.callback(None)

    @property
    def drain_asked(self) -> bool:
        """Whether it was told to drain."""
        return any(isinstance(message, Drain) for message in self.said)


@implementer(IWorker)
class HostedWorker:
    """A real worker that lives in this process, at the other end of a real control connection.

    :ivar worker: it.
    """

    def __init__(self, reactor: Any, number: int, employer: Any) -> None:
        self.number = number
        self.pid = 1000 + number
        self.watch = Watch()
        self.ended: Deferred[None] = Deferred()
        self.killed = False
        self._employer = employer
        heard: Callable[[Any], None] = lambda message: employer.worker_heard(self, message)  # noqa: E731
        self._link = WorkerLink(reactor, heard, self.watch.heard, self._lost)
        ours, theirs = descriptors_of(reactor).pair()
        adopt(reactor, ours.detach(), self._link)
        self.worker = Worker(reactor, number, theirs.detach(), self._left)

    def say(self, message: Message) -> None:
        """See IWorker."""
        self._link.say(message)

    def say_with(self, make: Callable[[int], Message], descriptor: int) -> None:
        """See IWorker."""
        self._link.say_with(make, descriptor)

    def ping(self) -> None:
        """See IWorker."""
        self._link.ping()

    def _lost(self, reason: str) -> None:
        """The control connection is gone."""

    def kill(self) -> None:
        """See IWorker. What it has is given up in good order here: it is this process that would keep it."""
        self.killed = True
        self.worker.drain()

    def _left(self) -> None:
        """The worker would end its process."""
        if not self.ended.called:
            self._employer.worker_ended(self, "exit status 0")
            self.ended.callback(None)
