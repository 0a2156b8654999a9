"""Which holders want to know that nothing more can be had, and whom that depends on.

A holder that would have to refuse a request asks first (``ISlotSource.ask``, ``question``). Slots that are in the ring are
granted at once; but free leases of other holders are idle slots too. So those are recalled, and when each of them has said that
it gave back what it could, the question is answered. That is a *round*; questions that come while one is on its way wait for
the next, so that however many holders ask, one round is on its way at a time. Pure, a part of ``slots.book``.
"""

from __future__ import annotations

from itertools import count
from typing import Callable, Dict, Hashable, List, Sequence, Tuple

from xproxy.slots.actions import Answer


class Questions:
    """The open questions of one pool."""

    __slots__ = ("_newest", "_open", "_asked", "_silent", "_number", "_numbers")

    def __init__(self) -> None:
        self._newest: Dict[Hashable, int] = {}
        """The newest question of each holder, answered or not: they rise."""
        self._open: Dict[Hashable, int] = {}
        """Those that wait for the next round."""
        self._asked: Dict[Hashable, int] = {}
        """Those of the round on its way."""
        self._silent: Dict[Hashable, None] = {}
        """Who was recalled in this round and has not said that it is done."""
        self._number = 0
        """Of the round on its way; 0 when there is none."""
        self._numbers = count(1)

    @property
    def number(self) -> int:
        """Of the round on its way; 0 when there is none."""
        return self._number

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to do: no question is open, or a round is on its way."""
        return bool(self._silent) or not (self._open or self._asked)

    def asked(self, who: Hashable, question: int) -> None:
        """An ask of this holder came, with this question; 0 is none, and one that came before is on its way already."""
        if question > self._newest.get(who, 0):
            self._newest[who] = self._open[who] = question
        elif not question:
            self._open.pop(who, None)

    def recall_done(self, who: Hashable, number: int) -> None:
        """A recalled holder has given back what it could."""
        if number == self._number:
            self._silent.pop(who, None)

    def end_round(self) -> None:
        """Wait no longer for who is silent."""
        self._silent.clear()

    def forget(self, who: Hashable) -> None:
        """The holder is gone."""
        for record in (self._newest, self._open, self._asked, self._silent):
            record.pop(who, None)

    def next(
        self, content: Callable[[Hashable], bool], stalled: Callable[[Hashable], bool], leasing: Sequence[Hashable]
    ) -> Tuple[List[Answer], List[Hashable], int]:
        """No round is on its way: the answers to give, and of the next round whom to recall, and its number.

        :param content: whether a holder has all that it asked for.
        :param stalled: whether a holder can have more once it has asked again: its question stays open.
        :param leasing: the holders with leases.
        """
        over, self._asked = self._asked, {}
        self._number = 0
        answers = []
        for who, question in over.items():
            if stalled(who):
                self._open.setdefault(who, question)
            else:
                answers.append(Answer(who, question))
        waiting: Dict[Hashable, int] = {}
        for who, question in list(self._open.items()):
            if content(who):
                answers.append(Answer(who, question))
                del self._open[who]
            elif not stalled(who):
                waiting[who] = question
                del self._open[who]
        recalled = [who for who in leasing if len(waiting) > 1 or who not in waiting] if waiting else []
        if not recalled:
            return [*answers, *[Answer(who, question) for who, question in waiting.items()]], [], 0
        self._asked = waiting
        self._silent = dict.fromkeys(recalled)
        self._number = next(self._numbers)
        return answers, recalled, self._number
