"""Waiting for conditions that somebody makes true, and for the end of a connection."""

from __future__ import annotations

from typing import Any, Callable, List, Tuple

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure


class Waiting:
    """Deferreds that fire when a condition holds; the conditions are looked at whenever something happened."""

    def __init__(self) -> None:
        self._conditions: List[Tuple[Callable[[], Any], Deferred[Any]]] = []

    def until(self, condition: Callable[[], Any]) -> Deferred[Any]:
        """Fires with what ``condition`` returns, as soon as it is true."""
        found: Deferred[Any] = Deferred()
        self._conditions.append((condition, found))
        self.look()
        return found

    def look(self) -> None:
        """Something happened."""
        for entry in list(self._conditions):
            try:
                value = entry[0]()
            except Exception:  # noqa: BLE001 - the test that waits gets it
                self._conditions.remove(entry)
                entry[1].errback()
                continue
            if value:
                self._conditions.remove(entry)
                entry[1].callback(value)


class Answer(Protocol):
    """A client that keeps what it reads, in ``data``; ``ended`` fires with all of it at the end of the connection."""

    def __init__(self) -> None:
        self.data = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """See Protocol."""
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See Protocol."""
        self.ended.callback(self.data)
