"""What is sent at the end of a turn of the reactor, so that what belongs together is sent together.

The answers for the streams of one HTTP/2 connection come from as many slots, often in the same turn. Sent one by one, each
costs a TLS record and a call of send; sent at the end of the turn they share both.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, Protocol


class Sender(Protocol):
    """Who has something to send."""

    def turn_ended(self) -> None:
        """Send it."""


class Turn:
    """Whoever has something to send in this turn of the reactor. Owned by the gateway: one timer serves all connections."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._senders: Deque[Sender] = deque()

    def add(self, sender: Sender) -> None:
        """Tell ``sender`` when the turn has ended. It says so once a turn."""
        if not self._senders:
            self._reactor.callLater(0, self._ended)
        self._senders.append(sender)

    def _ended(self) -> None:
        senders, self._senders = self._senders, deque()
        try:
            while senders:
                senders.popleft().turn_ended()
        finally:
            if senders:  # One has failed; the others must not wait for ever.
                self._senders.extendleft(reversed(senders))
                self._reactor.callLater(0, self._ended)
