"""A reactor with virtual time that looks at descriptors when the test says so."""

from __future__ import annotations

import select
from typing import Any, Dict, List

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IReactorFDSet)
class TurningClock(Clock):
    """``turn`` reads and writes once, in the order in which the descriptors were added; nobody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: Dict[Any, None] = {}
        self.writers: Dict[Any, None] = {}

    def addReader(self, reader: Any) -> None:
        self.readers[reader] = None

    def addWriter(self, writer: Any) -> None:
        self.writers[writer] = None

    def removeReader(self, reader: Any) -> None:
        self.readers.pop(reader, None)

    def removeWriter(self, writer: Any) -> None:
        self.writers.pop(writer, None)

    def removeAll(self) -> List[Any]:
        found = list(dict.fromkeys([*self.readers, *self.writers]))
        self.readers.clear()
        self.writers.clear()
        return found

    def getReaders(self) -> List[Any]:
        return list(self.readers)

    def getWriters(self) -> List[Any]:
        return list(self.writers)

    def turn(self) -> None:
        """Tell who can read, then who can write; a descriptor that says why it is over is told that it is lost."""
        readable, writable, _ = select.select(list(self.readers), list(self.writers), [], 0)
        for ready, members, act in ((readable, self.readers, "doRead"), (writable, self.writers, "doWrite")):
            for descriptor in ready:
                if descriptor in members:
                    why = getattr(descriptor, act)()
                    if why is not None:
                        descriptor.connectionLost(Failure(why) if isinstance(why, Exception) else Failure(ConnectionDone()))
