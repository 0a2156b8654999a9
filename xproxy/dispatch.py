"""Dispatch: which idle slot takes the next request, and which waiting request the next slot. ``ring`` comes with xproxy.

A dispatch is a Twisted plugin (``interfaces.IDispatch``), named by a pool (``dispatch = "ring"``). It makes the collections in
which the acceptor keeps a pool's idle slots, a proxy the leases of it that are free, and a proxy's line those who wait;
whatever order they keep, the rest of the book and of the line holds.
"""

from __future__ import annotations

from collections import deque
from typing import Deque, Iterable, Optional

from twisted.plugin import getPlugins
from zope.interface import classImplements, implementer

from .interfaces import IDispatch, IIdleSlots, IWaiting
from .slots.ring import Ring
from .slots.waiting import Waiting

RING = "ring"
"""The dispatch of a pool that names none."""

classImplements(Ring, IIdleSlots)
classImplements(Waiting, IWaiting)


@implementer(IDispatch)
class RingDispatch:
    """Slots in turn over their services, free leases in the order in which they became free, requests in that of arrival."""

    name = RING

    def idle_slots(self) -> Ring[int]:
        """See IDispatch."""
        return Ring()

    def free_leases(self) -> Deque[object]:
        """See IDispatch."""
        return deque()

    def waiting(self) -> Waiting[object]:
        """See IDispatch."""
        return Waiting()


def find_dispatch(name: str, plugins: Optional[Iterable[IDispatch]] = None) -> IDispatch:
    """The dispatch of that name, the first of several.

    :param plugins: those that there are; None: those that Twisted finds. ``ring`` is there without a look.
    :raises LookupError: there is none; the text says which there are.
    """
    if name == RING:
        return RingDispatch()
    there = list(getPlugins(IDispatch) if plugins is None else plugins)
    for plugin in there:
        if plugin.name == name:
            return plugin
    names = ", ".join(sorted({RING, *(plugin.name for plugin in there)}))
    raise LookupError(f"there is no dispatch called {name!r}; there are {names}")
