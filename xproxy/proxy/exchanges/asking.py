"""A pool's standing ask: what is said to the slot source of the requests that wait, when, and what its answers tell.

The rules are in docs/architecture/slots.md, "The ask of a proxy".
"""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.interfaces import IDelayedCall

from ...interfaces import MAX_WAITING, ISlotSource
from ...slots.holder import GRANT_WINDOW
from ...slots.line import Line

ASK_INTERVAL_S = 0.01
"""How often an ask that is not urgent is said anew."""


class StandingAsk:
    """What one pool asks of its source. Owned by the pool, which says when its line has changed and what it was granted.

    :param reactor: an IReactorTime.
    :param pool: the pool's name.
    :ivar source: who is asked; None: nobody is there.
    :ivar dry: no slot is idle anywhere that could come here: the source has said so, and ever since it has had an ask that it
        could not meet.
    """

    def __init__(self, reactor: Any, pool: str, line: Line[Any, Any]) -> None:
        self.source: Optional[ISlotSource] = None
        self.dry = False
        self._reactor = reactor
        self._pool = pool
        self._line = line
        self._seen = 0
        self._believed = 0
        """How many wait as the source believes: what was said last, less what it has granted since."""
        self._question = self._said_question = self._answered = 0
        self._news = False
        """Something has come from the source since it was asked."""
        self._saying = False
        self._unsaid = False
        """The source is due an ask, even for nothing: it has had none yet, or none since many grants."""
        self._said_seen = 0
        self._later: Optional[IDelayedCall] = None

    def attach(self, source: ISlotSource) -> None:
        """A source is there, which knows nothing yet. It is asked at once, for nothing if need be: then it deals slots out."""
        self.source = source
        self._unsaid = True
        self._seen = self._said_seen = self._believed = 0
        self._said_question = self._answered
        self.dry = False
        self._say()

    def detach(self) -> None:
        """It is gone."""
        self.source = None
        self.dry = False

    def granted(self) -> None:
        """The source has made a grant: it believes that one waits no longer."""
        self._seen += 1
        if self._seen - self._said_seen >= GRANT_WINDOW // 2:
            self._unsaid = True
        self._news = True
        self.dry = False
        if self._believed:
            self._believed -= 1

    def new_question(self) -> int:
        """A question that the next ask will have, for a request that joins the line now."""
        if self._question == self._said_question:
            self._question += 1
        return self._question

    def answered(self, question: int) -> None:
        """The source has answered a question: it has granted what it could. Said after those grants."""
        self._news = True
        self._answered = max(self._answered, question)
        self.dry = len(self._line) > 0

    # -- saying it

    def changed(self) -> None:
        """The line has changed: say so at once when it matters (the first to wait, or there is news), else soon."""
        if self._news or not self._believed:
            self._say()
        elif self._later is None and self.source is not None:
            self._later = self._reactor.callLater(ASK_INTERVAL_S, self._say_later)

    def catch_up(self) -> None:
        """What the source has said was heeded: say what is different now."""
        if self._news:
            self._say()

    def _say_later(self) -> None:
        self._later = None
        self._say()

    def _say(self) -> None:
        """Say what is not known yet. A source that grants or answers while it is asked is asked again when it has returned."""
        if self._saying:
            return
        self._saying = True
        try:
            while self.source is not None:
                self._news = False
                waiting = min(len(self._line), MAX_WAITING)
                if self._is_known(waiting) and not self._unsaid:
                    return
                self._unsaid = False
                self._said_seen = self._seen
                self._believed = waiting
                self._said_question = self._question
                if not waiting:
                    self.dry = False
                question = self._question if self._question > self._answered else 0
                self.source.ask(self._pool, waiting, self._seen, question)
                if not self._news:
                    return
        finally:
            self._saying = False

    def _is_known(self, waiting: int) -> bool:
        """Whether the source believes it, or something like it: since when, and how many just now, the tide table has."""
        if self._question > self._said_question and self._question > self._answered:
            return False
        return waiting <= 2 * self._believed and self._believed <= 2 * waiting

    def stop(self) -> None:
        """Nothing is asked any more."""
        self.source = None
        if self._later is not None:
            self._later.cancel()
            self._later = None
