"""Waiting for conditions that somebody makes true."""

from __future__ import annotations

from typing import Any, Callable, List, Tuple

from twisted.internet.defer import Deferred


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
