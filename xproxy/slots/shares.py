"""How much of a line one client may fill, so that no client makes all others wait behind it. Pure."""

from __future__ import annotations

from typing import Dict, Optional

DEFAULT_SHARE = 0.25

LEAST = 16
"""In a short line a quarter is less than a browser asks for at once."""


class Shares:
    """The requests that wait in one line, counted by client. What it holds is bounded by the line's own limit.

    :ivar most: how many of one client may wait; may be changed, which sends nobody away who waits already.
    """

    __slots__ = ("most", "_waiting")

    def __init__(self, most: int) -> None:
        self.most = most
        self._waiting: Dict[str, int] = {}

    def enter(self, client: str) -> bool:
        """One more of ``client`` wants to wait; False when it has its share already, and nothing is changed."""
        waiting = self._waiting.get(client, 0)
        if waiting >= self.most:
            return False
        self._waiting[client] = waiting + 1
        return True

    def leave(self, client: str) -> None:
        """One of ``client`` waits no longer. Raises KeyError when none did."""
        waiting = self._waiting[client] - 1
        if waiting:
            self._waiting[client] = waiting
        else:
            del self._waiting[client]

    def __len__(self) -> int:
        """How many clients wait."""
        return len(self._waiting)


def most_of(limit: int, share: Optional[float]) -> int:
    """How many requests a share of a line is: at least one.

    :param share: a part of the line; None: DEFAULT_SHARE, but LEAST at least.
    """
    return max(LEAST, int(limit * DEFAULT_SHARE)) if share is None else max(1, int(limit * share))
