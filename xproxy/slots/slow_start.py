"""Free leases of a pool with slow start: those of a service that is new have their turn less often at first.

A service that has just come has caches to fill and code to compile. For so many seconds after its coming each of its free
leases has a part of the turns that it would have, which grows from nothing to all of them. Turns are all that changes: a
request that would wait gets a free lease, whosever it is. Pure.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, Generic, Iterator, TypeVar

LeaseT = TypeVar("LeaseT")


class SlowStart(Generic[LeaseT]):
    """See the module. It is used as the deque of free leases is (``IDispatch.free_leases``), of which it keeps one.

    :param free: an empty collection, for the leases of services that are not new.
    :param service_of: whose a lease is.
    :param monotonic: the clock.
    """

    __slots__ = ("_free", "_fresh", "_service_of", "_seconds", "_monotonic", "_since", "_found_at", "_due")

    def __init__(self, free: Deque[LeaseT], service_of: Callable[[LeaseT], str], monotonic: Callable[[], float]) -> None:
        self._free = free
        self._fresh: Deque[LeaseT] = deque()
        """Free leases of new services, the first freed first."""
        self._service_of = service_of
        self._seconds = 0.0
        self._monotonic = monotonic
        self._since: Dict[str, float] = {}
        """When each new service came; some that are new no longer, or gone."""
        self._found_at = monotonic()
        self._due = 0.0
        """What the new services are owed: at 1, a turn."""

    def leases(self, seconds: float) -> Any:
        """The free leases, where a service is new for so long: to be used from now on, until this is called again.

        :param seconds: 0: no service is ever new.
        """
        self._seconds = seconds
        if seconds:
            return self
        self._since.clear()
        self._free.extend(self._fresh)
        self._fresh.clear()
        return self._free

    def began(self) -> None:
        """An acceptor was found: the services that it tells of first are not new for that."""
        self._found_at = self._monotonic()

    def came(self, service: str) -> None:
        """There is a service of which nothing was known."""
        now = self._monotonic()
        if self._seconds and now >= self._found_at + self._seconds:  # Before that, we may be what is new here.
            self._since = {name: since for name, since in self._since.items() if now - since < self._seconds}
            self._since[service] = now

    def append(self, lease: LeaseT) -> None:
        """A lease is free."""
        (self._fresh if self._service_of(lease) in self._since else self._free).append(lease)

    def popleft(self) -> LeaseT:
        """The lease that is used next. Raises IndexError when none is free."""
        fresh = self._fresh
        while fresh:
            service = self._service_of(fresh[0])
            came_at = self._since.get(service)
            part = 1.0 if came_at is None else (self._monotonic() - came_at) / self._seconds
            if part < 1.0:
                return (fresh if not self._free or self._turn(part) else self._free).popleft()
            self._since.pop(service, None)
            self._free.append(fresh.popleft())
        return self._free.popleft()

    def _turn(self, part: float) -> bool:
        """Whether it is the new services' turn."""
        self._due += part * len(self._fresh) / len(self)
        if self._due < 1.0:
            return False
        self._due -= 1.0
        return True

    def remove(self, lease: LeaseT) -> None:
        """A lease is free no more, out of turn. Raises ValueError when it was not."""
        (self._fresh if lease in self._fresh else self._free).remove(lease)

    def clear(self) -> None:
        """None is free any more."""
        self._free.clear()
        self._fresh.clear()

    def __len__(self) -> int:
        return len(self._free) + len(self._fresh)

    def __iter__(self) -> Iterator[LeaseT]:
        yield from self._free
        yield from self._fresh
