"""The standing ask: what is said, when, and what the answers tell."""

from __future__ import annotations

from typing import Any, Callable, List, Tuple

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xproxy.interfaces import MAX_WAITING
from xproxy.proxy.exchanges.asking import ASK_INTERVAL_S, StandingAsk
from xproxy.slots.holder import GRANT_WINDOW
from xproxy.slots.line import Line


class Source:
    """Remembers what it is asked; ``then`` is called after that."""

    def __init__(self) -> None:
        self.asks: List[Tuple[int, int, int]] = []
        self.then: Callable[[], object] = lambda: None

    def ask(self, pool: str, waiting: int, seen: int, question: int = 0) -> None:
        """See ISlotSource."""
        self.asks.append((waiting, seen, question))
        self.then()


class AskingTests(SynchronousTestCase):
    """Without a pool."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.line: Line[int, int] = Line(10)
        self.asking = StandingAsk(self.clock, "web", self.line)
        self.source: Any = Source()
        self.attach()
        self.assertEqual(self.take(), [(0, 0, 0)])
        self.arrived = 0

    def attach(self) -> None:
        """The source is there, or there again."""
        self.asking.attach(self.source)

    def join(self, count: int = 1, question: int = 0) -> None:
        """Requests come."""
        for _ in range(count):
            self.arrived += 1
            self.line.join_past(self.arrived, float(self.arrived), question)
        self.asking.changed()

    def take(self) -> List[Tuple[int, int, int]]:
        """What was asked since the last call: (waiting, seen, question)."""
        asks, self.source.asks = self.source.asks, []
        return asks

    def test_no_more_than_anybody_could_have(self) -> None:
        """However many wait."""
        self.join(MAX_WAITING + 100)
        self.assertEqual(self.take(), [(MAX_WAITING, 0, 0)])

    def test_something_like_it_is_enough(self) -> None:
        """What has not doubled or halved since is not said again: the table has it."""
        self.join(10)
        self.assertEqual(self.take(), [(10, 0, 0)])
        said: List[Tuple[int, int, int]] = []
        for _ in range(11):
            self.join(1)
            self.clock.advance(ASK_INTERVAL_S)
            said += self.take()
        self.assertEqual(said, [(21, 0, 0)])
        for number in range(21):
            self.line.freed(number, 0.0)
            self.asking.changed()
            self.clock.advance(ASK_INTERVAL_S)
            said += self.take()
        self.assertEqual(said, [(21, 0, 0), (10, 0, 0), (4, 0, 0), (1, 0, 0), (0, 0, 0)])

    def test_grants_need_no_new_ask(self) -> None:
        """As long as the source knows of as many as there are."""
        self.join(100)
        self.take()
        said: List[Tuple[int, int, int]] = []
        for number in range(100):
            self.asking.granted()
            self.line.freed(number, 0.0)
            self.asking.catch_up()
            said += self.take()
        self.assertEqual(said, [])

    def test_question(self) -> None:
        """Asked once, in the next ask; a request that comes after that has another one."""
        self.join(1)
        self.take()
        first = self.asking.new_question()
        self.assertEqual(self.asking.new_question(), first)
        self.join(1, first)
        self.assertEqual(self.take(), [])
        self.clock.advance(ASK_INTERVAL_S)
        self.assertEqual(self.take(), [(2, 0, first)])
        second = self.asking.new_question()
        self.assertGreater(second, first)
        self.join(1, second)
        self.asking.answered(first)
        self.asking.catch_up()
        self.assertEqual(self.take(), [(3, 0, second)])
        self.asking.answered(second)
        self.asking.catch_up()
        self.clock.advance(1.0)
        self.assertEqual(self.take(), [])

    def test_question_stands(self) -> None:
        """In every ask until it is answered."""
        question = self.asking.new_question()
        self.join(1, question)
        self.join(2)
        self.clock.advance(ASK_INTERVAL_S)
        self.assertEqual(self.take(), [(1, 0, question), (3, 0, question)])
        self.asking.answered(question)
        self.join(4)
        self.clock.advance(ASK_INTERVAL_S)
        self.assertEqual(self.take(), [(7, 0, 0)])

    def test_answer_within_the_ask(self) -> None:
        """What it changes is said when the ask has returned."""
        question = self.asking.new_question()

        def answer() -> None:
            self.source.then = lambda: None
            self.line.decide(question)
            self.asking.answered(question)
            self.join(3)

        self.source.then = answer
        self.line.limit = 0
        self.join(1, question)
        self.assertEqual(self.take(), [(1, 0, question), (3, 0, 0)])

    def test_dry(self) -> None:
        """From an answer that left somebody waiting, until a grant, the end of the line or of the source."""

        def dry() -> None:
            question = self.asking.new_question()
            self.join(2, question)
            self.clock.advance(ASK_INTERVAL_S)
            self.asking.answered(question)
            self.assertTrue(self.asking.dry)

        def line_ends() -> None:
            while len(self.line):
                self.line.freed(1, 0.0)
            self.asking.changed()
            self.clock.advance(ASK_INTERVAL_S)

        self.assertFalse(self.asking.dry)
        for ending in (self.asking.granted, line_ends, self.asking.detach, lambda: self.asking.attach(self.source)):
            self.asking.attach(self.source)
            dry()
            self.clock.advance(1.0)
            self.assertTrue(self.asking.dry)
            ending()
            self.assertFalse(self.asking.dry)

    def test_nobody_is_left_after_the_answer(self) -> None:
        """Then a slot may become idle, and nobody is there to have it."""
        question = self.asking.new_question()
        self.join(1, question)
        self.line.freed(1, 0.0)
        self.asking.answered(question)
        self.assertFalse(self.asking.dry)

    def test_another_source(self) -> None:
        """It is told everything, the open question too; one that was answered is over."""
        question = self.asking.new_question()
        self.join(1, question)
        self.assertEqual(self.take(), [(1, 0, question)])
        self.asking.granted()
        self.asking.detach()
        self.asking.attach(self.source)
        self.assertEqual(self.take(), [(1, 0, question)])
        self.asking.answered(question)
        self.asking.attach(self.source)
        self.assertEqual(self.take(), [(1, 0, 0)])
        self.assertGreater(self.asking.new_question(), question)

    def test_grants_that_nobody_waited_for(self) -> None:
        """They are seen, and said to be now and then: only so many may be on their way."""
        for _ in range(GRANT_WINDOW):
            self.asking.granted()
            self.asking.catch_up()
        self.assertEqual(self.take(), [(0, GRANT_WINDOW // 2, 0), (0, GRANT_WINDOW, 0)])

    def test_stopped(self) -> None:
        """Nothing is said, and no timer runs."""
        self.join(1)
        self.join(1)
        self.asking.stop()
        self.join(1)
        self.asking.catch_up()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.take(), [(1, 0, 0)])
