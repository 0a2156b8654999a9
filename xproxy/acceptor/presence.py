"""Whether anybody is registered in a pool, told to the proxies: who asks for an absent service waits less."""

from __future__ import annotations

from typing import Callable, Dict, Iterable, Mapping

from ..slots.book import PoolBook
from .holding import Holding

ABSENT_S = 1.0
"""For how long nobody must be registered before the proxies are told: a service of one slot that dials again is no news."""


class Presence:
    """What the proxies were told.

    :param monotonic: a clock in seconds.
    :param holdings: those of the proxies, the acceptor's own.
    """

    def __init__(self, monotonic: Callable[[], float], holdings: Iterable[Holding]) -> None:
        self._monotonic = monotonic
        self._holdings = holdings
        self._told: Dict[str, bool] = {}
        """By pool; a name that is not here has nobody registered."""
        self._empty_since: Dict[str, float] = {}

    def greet(self, holding: Holding, books: Iterable[str]) -> None:
        """Tell a proxy that has come of each pool, or of those that are new."""
        for name in books:
            holding.service_registered(name, self._told.get(name, False))

    def touched(self, book: PoolBook) -> None:
        """Something has happened in this pool: that its first slot has registered is told at once."""
        if book.registered and not book.retired and not self._told.get(book.name, False):
            self._tell(book.name, True)

    def look(self, books: Mapping[str, PoolBook]) -> None:
        """Now and then: tell of the pools in which nobody has been registered for a while, or that are gone."""
        for name in [name for name, registered in self._told.items() if registered]:
            book = books.get(name)
            if book is not None and book.registered:
                self._empty_since.pop(name, None)
            elif book is None or self._monotonic() - self._empty_since.setdefault(name, self._monotonic()) >= ABSENT_S:
                self._empty_since.pop(name, None)
                self._tell(name, False)

    def _tell(self, pool: str, registered: bool) -> None:
        self._told[pool] = registered
        for holding in list(self._holdings):
            holding.service_registered(pool, registered)
