"""The reactor's loop without the log context that Twisted puts around each event, and what its last poll said.

``EPollReactor.doPoll`` calls every reader and writer through ``log.callWithLogger``, so that the old ``log.msg`` can say on
whose behalf it was called. That is a tenth of what a request costs on CPython, and nothing here uses it: our loggers name their
module.

A turn of the loop begins with one poll, which lists every descriptor that has something to read. Whoever wants to know in that
turn whether a socket holds something, a slot that a request is to be put on, need not ask the kernel again: see ``Readiness``.
"""

from __future__ import annotations

import errno
from functools import partial
from select import EPOLLIN
from typing import Any, Container, Optional

from twisted.internet.epollreactor import EPollReactor
from twisted.logger import Logger

MOST_EVENTS = 512
"""Asked for in one turn. Room for them is made each time; Twisted's, for all connections, is megabytes with 100,000 of them."""

_log = Logger()


class Readiness:
    """What is known from the poll that began this turn of the reactor.

    :ivar known: False where the reactor does not tell; then nothing else here means anything.
    :ivar turn: a number for the turn, which rises.
    :ivar readable: the descriptors that had something to read, an end or an error, when the turn began; those that were read
        since are still in it. When it is as long as it can be, more may have had.
    """

    __slots__ = ("known", "turn", "readable")

    def __init__(self, known: bool = False) -> None:
        self.known = known
        self.turn = 0
        self.readable: Container[int] = ()

    def polled(self, events: Any) -> None:
        """A turn begins with these events: pairs of a descriptor and what it is ready for."""
        self.turn += 1
        self.known = len(events) < MOST_EVENTS
        self.readable = dict(events)


def readiness_of(reactor: Any) -> Readiness:
    """What ``reactor`` tells of its polls: something, if it polls plainly."""
    found = getattr(reactor, "readiness", None)
    return found if isinstance(found, Readiness) else Readiness()


def poll_plainly(reactor: Any) -> None:
    """Let ``reactor`` call readers and writers directly, if it is the epoll reactor; others are left as they are."""
    if type(reactor) is EPollReactor:
        readiness = Readiness()
        vars(reactor).update(readiness=readiness, doIteration=partial(_poll, reactor, readiness))


def _poll(reactor: Any, readiness: Readiness, timeout_s: Optional[float]) -> None:
    """One turn of the loop: as ``EPollReactor.doPoll``, whose private parts these are."""
    selectables = reactor._selectables
    try:
        events = reactor._poller.poll(-1 if timeout_s is None else timeout_s, min(len(selectables), MOST_EVENTS) or 1)
    except OSError as error:
        if error.errno == errno.EINTR:
            return
        raise
    readiness.polled(events)
    read_or_write = reactor._doReadOrWrite
    for descriptor, event in events:
        selectable = selectables.get(descriptor)
        if selectable is None:
            continue  # It was closed by one of those before it.
        try:
            if event != EPOLLIN:
                read_or_write(selectable, descriptor, event)
                continue
            why = selectable.doRead()
        except Exception as error:  # noqa: BLE001 - the reactor's last resort: logged, and the other connections go on
            _log.failure("{selectable} failed", selectable=selectable)
            why = error
        if why is not None:
            reactor._disconnectSelectable(selectable, why, True)
