"""What the whole has done, told by workers that do what the test says."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from tests.doubles.crewing import FakeWorker
from tests.workers.test_crew import CrewCase
from xproxy.workers.messages import Tell
from xproxy.workers.tally import ANSWER_S


class NumberTests(CrewCase):
    """What the whole has done."""

    def serve(self, worker: FakeWorker, served: int, in_flight: int = 0) -> None:
        """It has served so many."""
        counts = {"connections_total": {"client": served}, "connections": {"client": in_flight}}
        pool = {"served": served, "in_flight": in_flight, "most_in_flight": in_flight, "services": {"s": {"served": served}}}
        worker.numbers = {"counts": counts, "status": {"default": pool}, "lost_lines": {"access": 1}}

    def whole(self) -> Any:
        asked: Deferred[Any] = self.crew.numbers()
        self.clock.advance(ANSWER_S)
        return self.successResultOf(asked)

    def test_sum(self) -> None:
        self.serve(self.hired[0], 3, 1)
        self.serve(self.hired[1], 4, 2)
        whole = self.successResultOf(self.crew.numbers())
        self.assertEqual((7, 3), (whole.status["default"]["served"], whole.status["default"]["in_flight"]))
        self.assertEqual({"access": 2}, whole.lost_lines)
        self.assertEqual({"client": 7}, whole.counts.connections_total)

    def test_silent(self) -> None:
        """Who does not answer is left out of what is momentary; what it counted before stays."""
        self.serve(self.hired[0], 3, 1)
        self.serve(self.hired[1], 4, 2)
        self.whole()
        self.hired[1].obliging = False
        asked = self.crew.numbers()
        self.assertNoResult(asked)
        self.clock.advance(ANSWER_S)
        whole = self.successResultOf(asked)
        self.assertEqual((7, 1), (whole.status["default"]["served"], whole.status["default"]["in_flight"]))
        self.assertEqual([self.hired[0]], list(whole.told))

    def test_dead(self) -> None:
        """What a dead one had counted when it was asked last is kept; what a drained one says last is, too."""
        self.serve(self.hired[0], 3, 1)
        self.serve(self.hired[1], 4, 2)
        self.whole()
        self.hired[0].ends()
        whole = self.whole()
        self.assertEqual((7, 2), (whole.status["default"]["served"], whole.status["default"]["in_flight"]))
        self.serve(self.hired[1], 10)
        self.crew.drain()
        self.hired[1].drains()
        self.assertEqual({"client": 13}, self.whole().counts.connections_total)

    def test_dies_while_it_is_asked(self) -> None:
        """It is not waited for."""
        self.hired[1].obliging = False
        asked = self.crew.numbers()
        self.assertNoResult(asked)
        self.hired[1].ends()
        self.successResultOf(asked)

    def test_late_answer(self) -> None:
        """It is as good as any for what rises, and answers nothing any more."""
        self.hired[1].obliging = False
        self.whole()
        self.serve(self.hired[1], 9)
        self.hired[1].obliging = True
        self.hired[1].say(Tell(1))
        self.hired[1].obliging = False
        self.assertEqual(9, self.whole().status["default"]["served"])

    def test_most_at_once(self) -> None:
        """The most that was seen at one time, by those who have looked."""
        self.serve(self.hired[0], 3, 5)
        self.serve(self.hired[1], 4, 6)
        self.assertEqual(11, self.whole().status["default"]["most_in_flight"])
        self.serve(self.hired[0], 3, 1)
        self.serve(self.hired[1], 4, 1)
        self.assertEqual(11, self.whole().status["default"]["most_in_flight"])

    def test_services_are_forgotten(self) -> None:
        """What nobody alive knows any more is not kept for those who are gone: services choose their names."""
        self.serve(self.hired[0], 3)
        self.serve(self.hired[1], 4)
        self.whole()
        self.hired[0].ends()
        self.hired[1].numbers["status"]["default"]["services"] = {}
        self.assertEqual({}, self.whole().status["default"]["services"])
        self.serve(self.hired[1], 4)
        self.assertEqual(4, self.whole().status["default"]["services"]["s"]["served"])

    def test_who_asked_leaves(self) -> None:
        """Nothing of it stays, whoever does not answer."""
        self.hired[1].obliging = False
        for _ in range(3):
            self.crew.numbers().addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        self.clock.advance(ANSWER_S)
        self.assertEqual([0], [len(self.crew.tally._asking)])
        self.assertEqual(1, len(self.whole().told))
