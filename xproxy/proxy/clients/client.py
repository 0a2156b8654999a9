"""What the front needs of a client, whatever its protocol and its state."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Protocol


class Spare(IntEnum):
    """Whether a connection may be closed to make room for others, when there is none; the lower goes first."""

    BETWEEN = 0
    """It is between two requests, where a client has to be prepared for its end (RFC 9112 section 9.6)."""
    SILENT = 1
    """It has asked for nothing yet, or is at a handshake."""
    BUSY = 2
    """It may not."""


class Client(Protocol):
    """Whoever is connected."""

    transport: Any

    @property
    def deadline(self) -> float:
        """Until when it may go on, in monotonic seconds."""

    @property
    def spare(self) -> Spare:
        """Whether it can be spared."""

    def make_room(self) -> None:
        """Close a connection that can be spared."""

    def drain(self) -> None:
        """Take no further request."""
