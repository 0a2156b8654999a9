"""The book of a pool: told call by call here, and against a naive model in test_book_model."""

from __future__ import annotations

from math import inf, nan

from twisted.trial.unittest import TestCase

from tests.slots.waiting_book import WaitingBook
from xproxy.slots.actions import (
    Action,
    AlreadyRegistered,
    AlreadyWaiting,
    Answer,
    AskBack,
    BadAsk,
    BookError,
    Close,
    Ending,
    Grant,
    Lend,
    NotIdle,
    NotLeased,
    NotLent,
    NotWaiting,
    Recall,
)
from xproxy.slots.holder import GRANT_WINDOW

CLEAN, CLOSED, ANEW = Ending.CLEAN, Ending.CLOSED, Ending.ANEW


def filled(*slots: int) -> WaitingBook:
    """A book with these slots in its ring."""
    book = WaitingBook()
    for slot in slots:
        assert book.register(slot) == []
    return book


class RingTests(TestCase):
    def test_taken_from_the_head_and_returned_to_the_tail(self) -> None:
        book = filled(1, 2, 3)
        self.assertEqual(book.wait("a", [0.0, 0.0], 0), [Grant("a", 1), Grant("a", 2)])
        self.assertEqual(book.end_lease("a", 1, CLEAN), [])
        self.assertEqual(book.wait("a", [0.0, 0.0], 2), [Grant("a", 3), Grant("a", 1)])

    def test_a_lost_slot_is_never_handed_out(self) -> None:
        book = filled(1, 2)
        self.assertEqual(book.lose(1), [])
        self.assertEqual(book.wait("a", [0.0], 0), [Grant("a", 2)])
        self.assertEqual((book.registered, book.idle, book.leased), (1, 0, 1))

    def test_a_slot_number_may_come_again_after_it_went(self) -> None:
        book = filled(1)
        book.lose(1)
        self.assertEqual(book.register(1), [])

    def test_a_closed_lease_closes_the_slot(self) -> None:
        book = filled(1)
        book.wait("a", [0.0], 0)
        self.assertEqual(book.end_lease("a", 1, CLOSED), [Close(1)])
        self.assertEqual((book.registered, book.leases_of("a")), (0, ()))

    def test_leases_are_listed_in_the_order_of_their_grants(self) -> None:
        book = filled(3, 1, 2)
        book.wait("a", [0.0, 0.0, 0.0], 0)
        self.assertEqual(book.leases_of("a"), (3, 1, 2))
        self.assertEqual(book.leases_of("nobody"), ())


class AskTests(TestCase):
    def test_the_oldest_arrival_wins(self) -> None:
        """Of those that nobody serves yet; what is behind the oldest is taken to have come evenly up to the latest."""
        book = filled()
        book.wait("a", [2.0, 4.0], 0)
        book.wait("b", [1.0, 3.5], 0)
        grants = [book.register(slot)[0] for slot in (1, 2, 3, 4)]
        self.assertEqual(grants, [Grant("b", 1), Grant("a", 2), Grant("b", 3), Grant("a", 4)])

    def test_the_oldest_arrival_as_the_table_has_it_now(self) -> None:
        """Whatever was so when the ask was said."""
        book = filled()
        book.wait("a", [1.0, 2.0, 3.0], 0)
        book.wait("b", [2.0], 0)
        book.tide("a").say(3.0, 3.0, 1)
        self.assertEqual(book.register(1)[0], Grant("b", 1))
        self.assertEqual(book.register(2)[0], Grant("a", 2))

    def test_grants_on_their_way_serve_the_oldest(self) -> None:
        """A hundred that came long ago are not overtaken by one that has just come, though all their slots come at once."""
        book = filled()
        book.wait("a", [float(second) for second in range(1, 101)], 0)
        book.wait("b", [90.0], 0)
        grants = [book.register(slot)[0] for slot in range(95)]
        (to_b,) = [slot for slot, grant in enumerate(grants) if grant == Grant("b", slot)]
        self.assertIn(to_b, range(88, 94))

    def test_who_was_served_meanwhile_comes_last(self) -> None:
        """But gets the slot when nobody else waits: that nobody does is known by the next ask alone."""
        book = filled()
        book.wait("a", [1.0], 0)
        book.wait("b", [9.0], 0)
        book.tide("a").say(None, 0.0, 0)
        self.assertEqual([book.register(slot)[0] for slot in (1, 2)], [Grant("b", 1), Grant("a", 2)])

    def test_rubbish_in_the_table(self) -> None:
        """Costs nobody a crash: such a holder comes last."""
        book = filled()
        slot = 0
        for oldest, latest, waiting in (
            (nan, nan, 1),
            (inf, 1.0, 1),
            (-inf, 1.0, 1),
            (1e308, -1e308, 2**64 - 1),
            (nan, 1.0, 2**64 - 1),
        ):
            slot += 2
            book.wait("a", [1.0], slot // 2 - 1)
            book.wait("b", [9.0], slot // 2 - 1)
            book.tide("a").say(oldest, latest, waiting)
            self.assertEqual([book.register(slot + each)[0] for each in (0, 1)], [Grant("b", slot), Grant("a", slot + 1)])

    def test_equal_arrivals_go_to_who_came_first(self) -> None:
        book = filled()
        book.wait("b", [1.0], 0)
        book.wait("a", [1.0], 0)
        self.assertEqual(book.register(1)[0], Grant("b", 1))

    def test_an_ask_replaces_the_one_before(self) -> None:
        book = filled()
        book.wait("a", [1.0, 2.0], 0)
        book.wait("a", [5.0], 0)
        book.wait("b", [3.0], 0)
        self.assertEqual((book.waiting, book.waiting_now), (2, 2))
        self.assertEqual(book.register(1)[0], Grant("b", 1))

    def test_repeating_an_ask_is_harmless(self) -> None:
        book = filled(1)
        self.assertEqual(book.wait("a", [1.0], 0), [Grant("a", 1)])
        self.assertEqual(book.wait("a", [1.0], 0), [])
        self.assertEqual(book.waiting, 0)

    def test_one_is_struck_for_each_grant_on_its_way(self) -> None:
        book = filled(1, 2)
        book.wait("a", [1.0, 2.0], 0)
        book.wait("a", [1.0, 2.0, 3.0, 4.0], 1)
        self.assertEqual(book.waiting, 3)

    def test_what_no_honest_holder_asks(self) -> None:
        book = filled(1)
        book.ask("a", 1, 0)
        for waiting, seen, question in ((1, 2, 0), (1, -1, 0), (-1, 0, 0), (1, 0, -1)):
            self.assertRaises(BadAsk, book.ask, "a", waiting, seen, question)
        self.assertRaises(BadAsk, book.ask, "never seen", 1, 1)
        self.assertEqual(book.waiting, 0)


class RecallTests(TestCase):
    """Whoever has leases is told that others wait: once, and once when they do no longer."""

    def test_the_others_wait(self) -> None:
        book = filled(1, 2)
        book.wait("a", [0.0, 0.0], 0)
        self.assertEqual(book.wait("b", [5.0], 0), [Recall("a", 1)])
        self.assertEqual(book.wait("c", [3.0, 4.0], 0), [])
        self.assertEqual(book.wait("c", [], 0), [])
        self.assertEqual(book.wait("b", [], 0), [Recall("a", 0)])

    def test_ones_own_requests_are_not_recalled_for(self) -> None:
        book = filled(1)
        book.wait("a", [0.0], 0)
        self.assertEqual(book.wait("a", [1.0, 2.0], 1), [])

    def test_who_has_no_lease_has_nothing_to_give(self) -> None:
        book = filled(1)
        book.wait("a", [0.0], 0)
        book.wait("c", [], 0)
        self.assertEqual(book.wait("b", [1.0, 2.0, 3.0], 0), [Recall("a", 3)])
        self.assertEqual(book.end_lease("a", 1, CLEAN), [Grant("b", 1), Recall("a", 0)])

    def test_a_new_lease_while_others_wait_is_recalled(self) -> None:
        book = filled()
        book.wait("a", [1.0], 0)
        book.wait("b", [2.0], 0)
        self.assertEqual(book.register(1), [Grant("a", 1), Recall("a", 1)])


class MoveTests(TestCase):
    """How often a lease went from one holder to another is counted."""

    def test_to_another(self) -> None:
        book = filled(1, 2)
        book.wait("a", [1.0, 1.0], 0)
        book.wait("b", [2.0], 0)
        self.assertEqual(book.moves, 0)
        book.end_lease("a", 1, CLEAN)
        self.assertEqual((book.leases_of("b"), book.moves), ((1,), 1))

    def test_to_the_same(self) -> None:
        book = filled(1)
        for seen in range(3):
            book.wait("a", [1.0], seen)
            book.end_lease("a", 1, CLEAN)
        self.assertEqual(book.moves, 0)

    def test_of_a_holder_that_is_gone(self) -> None:
        """Nobody took it back."""
        book = filled(1)
        book.wait("a", [1.0], 0)
        book.forget("a", ())
        book.wait("b", [1.0], 0)
        self.assertEqual((book.leases_of("b"), book.moves), ((1,), 0))

    def test_of_a_slot_that_is_over(self) -> None:
        """Another one may have its number."""
        book = filled(1)
        book.wait("a", [1.0], 0)
        book.end_lease("a", 1, ANEW)
        book.register(1)
        book.wait("b", [1.0], 0)
        self.assertEqual(book.moves, 0)


class ForgetTests(TestCase):
    def test_idle_leases_return_and_busy_ones_close(self) -> None:
        book = filled(1, 2, 3, 4)
        book.wait("a", [0.0, 0.0, 0.0], 0)
        self.assertEqual(book.forget("a", {2}), [Close(2)])
        self.assertEqual((book.idle, book.leased, book.registered), (3, 0, 3))
        self.assertEqual(book.wait("b", [0.0] * 3, 0), [Grant("b", 4), Grant("b", 1), Grant("b", 3)])

    def test_its_ask_and_its_recall_go(self) -> None:
        book = filled(1, 2)
        book.wait("a", [0.0], 0)
        book.wait("b", [0.0], 0)
        self.assertEqual(book.wait("a", [7.0], 1), [Recall("b", 1)])
        self.assertEqual(book.forget("a", {1}), [Close(1), Recall("b", 0)])
        self.assertEqual(book.waiting, 0)

    def test_who_waits_gets_what_it_had(self) -> None:
        book = filled(1)
        book.wait("a", [0.0], 0)
        book.wait("b", [1.0], 0)
        self.assertEqual(book.forget("a", ()), [Grant("b", 1)])

    def test_a_forgotten_holder_begins_anew(self) -> None:
        book = filled(1)
        book.wait("a", [0.0], 0)
        book.forget("a", ())
        self.assertRaises(BadAsk, book.ask, "a", 1, 1)
        self.assertRaises(NotLeased, book.end_lease, "a", 1, CLEAN)
        self.assertEqual(book.wait("a", [1.0], 0), [Grant("a", 1)])

    def test_who_never_asked(self) -> None:
        self.assertEqual(filled(1).forget("nobody", ()), [])


class WindowTests(TestCase):
    """No more than GRANT_WINDOW grants are on their way to a holder that has not said that it has seen them."""

    def test_all_that_is_idle_is_granted(self) -> None:
        book = filled(*range(200))
        grants = book.wait("a", [1.0] * 164, 0)
        self.assertEqual(grants, [Grant("a", slot) for slot in range(164)])
        self.assertEqual((book.idle, book.waiting), (36, 0))

    def test_no_more_on_their_way_than_the_window(self) -> None:
        book = filled(*range(3 * GRANT_WINDOW))
        first = book.ask("a", 2 * GRANT_WINDOW, 0)
        self.assertEqual(len(first), GRANT_WINDOW)
        second = book.ask("a", 2 * GRANT_WINDOW, 100)
        self.assertEqual(len(second), 100)
        self.assertGreater(book.idle, 0)


class ServiceTests(TestCase):
    """Slots are taken in turn over their services, and a holder gets those that it has least of."""

    def test_in_turn(self) -> None:
        book = WaitingBook()
        for slot, service in enumerate("aaabbc"):
            book.register(slot, service)
        lent = [book.borrow(number, 0.0) for number in range(6)]
        self.assertEqual([actions[0].slot for actions in lent if isinstance(actions[0], Lend)], [0, 3, 5, 1, 4, 2])

    def test_of_the_service_that_the_holder_has_least_of(self) -> None:
        book = WaitingBook()
        book.register(0, "a")
        book.wait("p", [0.0], 0)
        for slot, service in enumerate("aabb", 1):
            book.register(slot, service)
        self.assertEqual(book.wait("p", [0.0] * 3, 1), [Grant("p", 3), Grant("p", 1), Grant("p", 4)])


class BorrowTests(TestCase):
    """One-byte clients."""

    def test_a_lent_slot_is_nobody_elses(self) -> None:
        book = filled(1)
        self.assertEqual(book.borrow("s", 0.0), [Lend("s", 1)])
        self.assertEqual(book.wait("a", [0.0], 0), [])
        self.assertEqual(book.borrow("t", 1.0), [])
        self.assertEqual((book.waiting, book.idle, book.lent, book.registered), (2, 0, 1, 1))
        self.assertEqual(book.end_loan(1, CLEAN), [Grant("a", 1), Recall("a", 1)])

    def test_it_waits_in_the_order_of_arrival(self) -> None:
        book = filled(1)
        book.wait("a", [0.0], 0)
        book.wait("b", [2.0], 0)
        self.assertEqual(book.borrow("s", 1.0), [])
        self.assertEqual(book.end_lease("a", 1, CLEAN), [Lend("s", 1), Recall("a", 0)])
        self.assertEqual(book.waiting, 1)

    def test_one_slot_serves_one(self) -> None:
        book = filled()
        for borrower, arrival in (("late", 9.0), ("early", 1.0), ("middle", 5.0)):
            self.assertEqual(book.borrow(borrower, arrival), [])
        self.assertEqual(book.register(1), [Lend("early", 1)])
        self.assertEqual(book.end_loan(1, CLEAN), [Lend("middle", 1)])
        self.assertEqual(book.end_loan(1, CLOSED), [Close(1)])
        self.assertEqual((book.waiting, book.registered), (1, 0))

    def test_it_waits_no_longer(self) -> None:
        book = filled(1)
        book.wait("a", [0.0], 0)
        book.borrow("s", 1.0)
        self.assertEqual(book.borrow_no_more("s"), [Recall("a", 0)])
        self.assertRaises(NotWaiting, book.borrow_no_more, "s")
        self.assertEqual(book.end_lease("a", 1, CLEAN), [])

    def test_what_it_may_not_ask(self) -> None:
        book = filled()
        book.borrow("s", 1.0)
        self.assertRaises(AlreadyWaiting, book.borrow, "s", 1.0)
        self.assertRaises(BadAsk, book.borrow, "t", nan)
        self.assertEqual(book.waiting, 1)


class AnewTests(TestCase):
    """A slot that registers anew is out of the book, and nobody closes it."""

    def test_leased(self) -> None:
        book = filled(1)
        book.wait("a", [0.0], 0)
        self.assertEqual(book.end_lease("a", 1, ANEW), [])
        self.assertEqual((book.registered, book.leases_of("a")), (0, ()))
        self.assertEqual(book.register(1), [])

    def test_lent(self) -> None:
        book = filled(1)
        book.borrow("s", 0.0)
        self.assertEqual(book.end_loan(1, ANEW), [])
        self.assertEqual((book.registered, book.lent), (0, 0))


class RetireTests(TestCase):
    """The pool is given up."""

    def test_idle_now_and_the_others_when_they_come_back(self) -> None:
        book = filled(1, 2, 3, 4)
        book.wait("a", [0.0, 0.0], 0)
        book.borrow("s", 0.0)
        self.assertEqual(book.retire(), [Close(4)])
        self.assertEqual(book.end_lease("a", 1, CLEAN), [Close(1)])
        self.assertEqual(book.end_loan(3, CLEAN), [Close(3)])
        self.assertEqual(book.forget("a", ()), [Close(2)])
        self.assertEqual(book.registered, 0)
        self.assertRaises(ValueError, book.register, 9)

    def test_nobody_waits_any_more(self) -> None:
        book = filled(1)
        book.wait("a", [0.0], 0)
        book.wait("b", [1.0], 0)
        book.borrow("s", 2.0)
        self.assertEqual(book.retire(), [Recall("a", 0)])
        self.assertEqual(book.waiting, 0)
        self.assertRaises(NotWaiting, book.borrow_no_more, "s")
        self.assertEqual(book.wait("b", [3.0], 0, question=1), [Answer("b", 1)])
        self.assertEqual(book.end_lease("a", 1, CLEAN), [Close(1)])


class QuestionTests(TestCase):
    """May a request be refused? Not before nothing can be had."""

    def test_answered_after_the_grants(self) -> None:
        book = filled(1)
        self.assertEqual(book.wait("a", [0.0], 0, question=1), [Grant("a", 1), Answer("a", 1)])

    def test_nobody_else_has_anything(self) -> None:
        book = filled(1)
        book.wait("a", [0.0], 0)
        book.wait("b", [], 0)
        self.assertEqual(book.wait("a", [1.0], 1, question=1), [Answer("a", 1)])

    def test_the_others_give_back_first(self) -> None:
        book = filled(1, 2)
        book.wait("a", [0.0], 0)
        book.wait("b", [0.0], 0)
        recalls = book.wait("c", [1.0, 2.0], 0, question=7)
        self.assertEqual(recalls[-2:], [Recall("a", 2, 1), Recall("b", 2, 1)])
        self.assertEqual(book.end_lease("a", 1, CLEAN)[0], Grant("c", 1))
        self.assertEqual(book.recall_done("a", 1), [])
        self.assertEqual(book.recall_done("a", 1), [])
        self.assertEqual(book.recall_done("b", 1), [Answer("c", 7)])

    def test_a_question_stands_until_it_is_answered(self) -> None:
        book = filled(1)
        book.wait("a", [0.0], 0)
        book.wait("b", [1.0], 0, question=1)
        self.assertEqual(book.wait("b", [1.0, 2.0], 0, question=1), [])
        self.assertEqual(book.recall_done("a", 1), [Answer("b", 1)])
        self.assertEqual(book.wait("b", [1.0, 2.0, 3.0], 0, question=1), [])

    def test_one_round_at_a_time(self) -> None:
        book = filled(1)
        book.wait("a", [0.0], 0)
        book.wait("b", [1.0], 0, question=1)
        self.assertEqual(book.wait("c", [2.0], 0, question=1), [])
        self.assertEqual(book.wait("b", [1.0, 3.0], 0, question=2), [])
        self.assertEqual(book.recall_done("a", 1), [Answer("b", 1), Recall("a", 3, 2)])
        self.assertEqual(book.recall_done("a", 1), [])
        self.assertEqual(book.recall_done("a", 2), [Answer("c", 1), Answer("b", 2)])

    def test_who_asks_may_have_free_leases_for_another_who_asks(self) -> None:
        book = filled(1, 2)
        book.wait("a", [0.0], 0)
        book.wait("b", [0.0], 0)
        book.wait("a", [5.0], 1, question=1)
        book.wait("c", [1.0], 0, question=1)
        book.wait("a", [5.0, 6.0], 1, question=2)
        actions = book.recall_done("b", 1)
        self.assertEqual(actions, [Answer("a", 1), Recall("a", 1, 2), Recall("b", 3, 2)])

    def test_a_holder_that_is_gone_is_not_waited_for(self) -> None:
        book = filled(1)
        book.wait("a", [0.0], 0)
        book.wait("b", [1.0], 0, question=1)
        self.assertEqual(book.forget("a", {1}), [Close(1), Answer("b", 1)])

    def test_nor_one_that_says_nothing(self) -> None:
        book = filled(1)
        book.wait("a", [0.0], 0)
        book.wait("b", [1.0], 0, question=1)
        self.assertEqual(book.recalls_late(), [Answer("b", 1)])
        self.assertEqual(book.recalls_late(), [])

    def test_nobody_asks_any_more(self) -> None:
        book = filled(1)
        book.wait("a", [0.0], 0)
        book.wait("b", [1.0], 0, question=1)
        book.forget("b", ())
        self.assertEqual(book.recall_done("a", 1), [])

    def test_not_while_slots_are_idle_that_it_has_yet_to_make_room_for(self) -> None:
        book = filled(*range(GRANT_WINDOW + 10))
        actions = book.ask("a", 1064, 0, question=1)
        self.assertEqual(len(actions), GRANT_WINDOW)
        self.assertEqual(book.ask("a", 808, GRANT_WINDOW, question=1)[-1], Answer("a", 1))
        self.assertEqual(book.idle, 0)


class DealTests(TestCase):
    """Ahead of need. Which slot goes to whom is told in test_dealing."""

    def deal(self, book: WaitingBook, *busy: int) -> list[Action]:
        return book.deal(lambda holder: busy, False)

    def test_to_whoever_has_asked_once(self) -> None:
        book = filled(1, 2, 3)
        self.assertEqual(self.deal(book), [])
        for who in "ab":
            book.wait(who, [], 0)
        self.assertEqual(self.deal(book), [Grant("a", 1), Grant("b", 2), Grant("a", 3)])
        self.assertEqual((book.idle, book.leased), (0, 3))

    def test_not_while_somebody_waits(self) -> None:
        book = filled(*range(GRANT_WINDOW + 1))
        book.ask("a", GRANT_WINDOW + 1, 0)
        book.wait("b", [], 0)
        self.assertEqual((book.idle, self.deal(book)), (1, []))

    def test_no_more_on_their_way_than_the_window(self) -> None:
        book = filled(*range(2 * GRANT_WINDOW))
        book.wait("a", [], 0)
        self.assertEqual(len(self.deal(book)), GRANT_WINDOW)
        self.assertEqual(self.deal(book), [])
        book.wait("a", [], 10)
        self.assertEqual(len(self.deal(book)), 10)

    def test_levelled_for_a_holder_that_comes_later(self) -> None:
        book = filled(1, 2, 3)
        book.wait("a", [], 0)
        self.deal(book)
        book.wait("b", [], 0)
        looks = [self.deal(book) for _ in range(10)]
        self.assertIn([AskBack("a", 1)], looks)

    def test_an_even_book_is_counted_seldom(self) -> None:
        book = filled(1, 2)
        for who in "ab":
            book.wait(who, [], 0)
        self.deal(book)
        asked: list[object] = []

        def busy(holder: object) -> tuple[int, ...]:
            asked.append(holder)
            return ()

        for _ in range(101):
            self.assertEqual(book.deal(busy, False), [])
        self.assertLessEqual(len(asked), 2 * 11)


class DisagreementTests(TestCase):
    """Calls about what is not so raise, and change nothing."""

    def test_slots(self) -> None:
        book = filled(1, 2, 3)
        book.wait("a", [0.0], 0)
        book.borrow("s", 0.0)
        for slot in (1, 2, 3):
            self.assertRaises(AlreadyRegistered, book.register, slot)
        for slot in (1, 2, 99):
            self.assertRaises(NotIdle, book.lose, slot)
        for how in Ending:
            self.assertRaises(NotLeased, book.end_lease, "a", 3, how)
            self.assertRaises(NotLeased, book.end_lease, "b", 1, how)
            self.assertRaises(NotLent, book.end_loan, 1, how)
        self.assertEqual((book.idle, book.leased, book.lent, book.registered), (1, 1, 1, 3))

    def test_one_error_tree(self) -> None:
        for error in (AlreadyRegistered, NotIdle, NotLeased, NotLent, BadAsk, AlreadyWaiting, NotWaiting):
            self.assertTrue(issubclass(error, BookError))
        self.assertTrue(issubclass(BookError, ValueError))
