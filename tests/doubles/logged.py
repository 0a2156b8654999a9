"""What is logged while a test runs."""

from __future__ import annotations

from typing import Any, List
from unittest import TestCase

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer


@implementer(ILogObserver)
class Logged:
    """Hears the loggers of xproxy from its making to the cleanup of the test.

    :ivar events: what was logged, as the loggers give it.
    :ivar lines: the same as text.
    """

    def __init__(self, test: TestCase) -> None:
        self.events: List[LogEvent] = []
        self.lines: List[str] = []
        globalLogPublisher.addObserver(self)
        test.addCleanup(globalLogPublisher.removeObserver, self)

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_namespace", "").startswith("xproxy."):
            self.events.append(event)
            self.lines.append(event["log_format"].format(**event))

    def of_level(self, name: str) -> List[Any]:
        """The events of one level, as ``critical``."""
        return [event for event in self.events if event["log_level"].name == name]

    def clear(self) -> None:
        """Forget what was logged so far; ``lines`` stays the same list."""
        self.events.clear()
        self.lines.clear()
