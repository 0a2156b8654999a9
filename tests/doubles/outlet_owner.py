"""Whoever owns an outlet, as outlets know it."""

from __future__ import annotations

from typing import List

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from zope.interface import implementer


@implementer(IHalfCloseableProtocol)
class RecordingOwner(Protocol):
    """A protocol that remembers what its outlet and its transport tell.

    :ivar told: ``progress``, ``drained``, ``eof`` and ``half-closed``, in order.
    """

    def __init__(self) -> None:
        self.told: List[str] = []

    def outlet_progress(self) -> None:
        self.told.append("progress")

    def outlet_drained(self) -> None:
        self.told.append("drained")

    def readConnectionLost(self) -> None:
        self.told.append("eof")

    def writeConnectionLost(self) -> None:
        self.told.append("half-closed")
