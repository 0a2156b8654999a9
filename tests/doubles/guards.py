"""A guard that is played."""

from __future__ import annotations

from typing import Any, Callable, List, Mapping

from zope.interface import implementer

from xproxy.interfaces import GuardedRequest, IGuard, IGuardMaker

Answer = Callable[[GuardedRequest], Any]


@implementer(IGuard)
class PlayedGuard:
    """Gives what it was made with, and keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: List[GuardedRequest] = []

    def judge(self, request: GuardedRequest) -> Any:
        self.asked.append(request)
        return self._answer(request)


@implementer(IGuardMaker)
class PlayedMaker:
    """A plugin that makes one guard, whatever it is told."""

    name = "played"

    def __init__(self, guard: PlayedGuard) -> None:
        self._guard = guard

    def make(self, reactor: Any, options: Mapping[str, object]) -> Any:
        return self._guard
