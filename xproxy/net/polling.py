"""The reactor's loop without the log context that Twisted puts around each event.

``EPollReactor.doPoll`` calls every reader and writer through ``log.callWithLogger``, so that the old ``log.msg`` can say on
whose behalf it was called. That is a tenth of what a request costs on CPython, and nothing here uses it: our loggers name their
module.
"""

from __future__ import annotations

import errno
from functools import partial
from select import EPOLLIN
from typing import Any, Optional

from twisted.internet.epollreactor import EPollReactor
from twisted.logger import Logger

MOST_EVENTS = 512
"""Asked for in one turn. Room for them is made each time; Twisted's, for all connections, is megabytes with 100,000 of them."""

_log = Logger()


def poll_plainly(reactor: Any) -> None:
    """Let ``reactor`` call readers and writers directly, if it is the epoll reactor; others are left as they are."""
    if type(reactor) is EPollReactor:
        vars(reactor)["doIteration"] = partial(_poll, reactor)


def _poll(reactor: Any, timeout_s: Optional[float]) -> None:
    """One turn of the loop: as ``EPollReactor.doPoll``, whose private parts these are."""
    selectables = reactor._selectables
    try:
        events = reactor._poller.poll(-1 if timeout_s is None else timeout_s, min(len(selectables), MOST_EVENTS) or 1)
    except OSError as error:
        if error.errno == errno.EINTR:
            return
        raise
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
