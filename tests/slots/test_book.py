"""The book of a pool: told call by call here, and against a naive model in test_book_model."""

from __future__ import annotations

from math import inf, nan

from twisted.trial.unittest import TestCase

from xproxy.slots.book import (
    ASK_WINDOW,
    AlreadyRegistered,
    AlreadyWaiting,
    BadAsk,
    BookError,
    Close,
    Grant,
    NotLeased,
    NotParked,
    NotWaiting,
    PoolBook,
    Recall,
    Share,
)


def filled(*slots: int) -> PoolBook:
    """A book with these slots in its ring."""
    book = PoolBook("default")
    for slot in slots:
        assert book.register(slot) == []
    return book


class RingTests(TestCase):
    def test_taken_from_the_head_and_returned_to_the_tail(self) -> None:
        book = filled(1, 2, 3)
        self.assertEqual(book.ask("a", [0.0, 0.0], 0), [Grant("a", 1), Grant("a", 2)])
        self.assertEqual(book.give_back("a", 1), [])
        self.assertEqual(book.ask("a", [0.0, 0.0], 2), [Grant("a", 3), Grant("a", 1)])

    def test_a_lost_slot_is_never_handed_out(self) -> None:
        book = filled(1, 2)
        self.assertEqual(book.lose(1), [])
        self.assertEqual(book.ask("a", [0.0], 0), [Grant("a", 2)])
        self.assertEqual((book.registered, book.idle, book.leased), (1, 0, 1))

    def test_a_slot_number_may_come_again_after_it_went(self) -> None:
        book = filled(1)
        book.lose(1)
        self.assertEqual(book.register(1), [])

    def test_a_closed_lease_closes_the_slot(self) -> None:
        book = filled(1)
        book.ask("a", [0.0], 0)
        self.assertEqual(book.lease_closed("a", 1), [Close(1)])
        self.assertEqual((book.registered, book.leases_of("a")), (0, ()))

    def test_leases_are_listed_in_the_order_of_their_grants(self) -> None:
        book = filled(3, 1, 2)
        book.ask("a", [0.0, 0.0, 0.0], 0)
        self.assertEqual(book.leases_of("a"), (3, 1, 2))
        self.assertEqual(book.leases_of("nobody"), ())


class AskTests(TestCase):
    def test_the_oldest_arrival_wins(self) -> None:
        book = filled()
        book.ask("a", [2.0, 4.0], 0)
        book.ask("b", [1.0, 3.0], 0)
        grants = [book.register(slot)[0] for slot in (1, 2, 3, 4)]
        self.assertEqual(grants, [Grant("b", 1), Grant("a", 2), Grant("b", 3), Grant("a", 4)])

    def test_equal_arrivals_go_to_who_came_first(self) -> None:
        book = filled()
        book.ask("b", [1.0], 0)
        book.ask("a", [1.0], 0)
        self.assertEqual(book.register(1)[0], Grant("b", 1))

    def test_an_ask_replaces_the_one_before(self) -> None:
        book = filled()
        book.ask("a", [1.0, 2.0], 0)
        book.ask("a", [5.0], 0)
        book.ask("b", [3.0], 0)
        self.assertEqual(book.waiting, 2)
        self.assertEqual(book.register(1)[0], Grant("b", 1))

    def test_repeating_an_ask_is_harmless(self) -> None:
        book = filled(1)
        self.assertEqual(book.ask("a", [1.0], 0), [Grant("a", 1)])
        self.assertEqual(book.ask("a", [1.0], 0), [])
        self.assertEqual(book.waiting, 0)

    def test_one_arrival_is_struck_for_each_grant_on_its_way(self) -> None:
        book = filled(1, 2)
        book.ask("a", [1.0, 2.0], 0)
        book.ask("a", [1.0, 2.0, 3.0, 4.0], 1)
        self.assertEqual(book.waiting, 3)
        book.ask("b", [2.5], 0)
        self.assertEqual(book.register(3)[0], Grant("a", 3))
        self.assertEqual(book.register(4)[0], Grant("b", 4))

    def test_arrivals_in_any_order(self) -> None:
        book = filled()
        book.ask("a", [3.0, 1.0], 0)
        book.ask("b", [2.0], 0)
        self.assertEqual([book.register(slot)[0] for slot in (1, 2)], [Grant("a", 1), Grant("b", 2)])

    def test_what_no_honest_holder_asks(self) -> None:
        book = filled(1)
        book.ask("a", [1.0], 0)
        too_many = [0.0] * (ASK_WINDOW + 1)
        for arrivals, seen in ((too_many, 0), ([nan], 0), ([1.0, inf], 0), ([-inf], 1), ([1.0], 2), ([1.0], -1)):
            self.assertRaises(BadAsk, book.ask, "a", arrivals, seen)
        self.assertRaises(BadAsk, book.ask, "never seen", [1.0], 1)
        self.assertEqual(book.waiting, 0)
        book.ask("a", [0.0] * ASK_WINDOW, 1)
        self.assertEqual(book.waiting, ASK_WINDOW)


class RecallTests(TestCase):
    def test_the_others_wait(self) -> None:
        book = filled(1, 2)
        book.ask("a", [0.0, 0.0], 0)
        self.assertEqual(book.ask("b", [5.0], 0), [Recall("a", (5.0,))])
        self.assertEqual(book.ask("c", [3.0, 4.0], 0), [Recall("a", (3.0, 4.0))])
        self.assertEqual(book.ask("c", [], 0), [Recall("a", (5.0,))])
        self.assertEqual(book.ask("b", [], 0), [Recall("a", ())])

    def test_ones_own_arrivals_are_not_recalled(self) -> None:
        book = filled(1)
        book.ask("a", [0.0], 0)
        self.assertEqual(book.ask("a", [1.0, 2.0], 1), [])

    def test_not_more_than_the_holder_has_leases(self) -> None:
        book = filled(1)
        book.ask("a", [0.0], 0)
        self.assertEqual(book.ask("b", [1.0, 2.0, 3.0], 0), [Recall("a", (1.0,))])
        self.assertEqual(book.give_back("a", 1), [Grant("b", 1), Recall("a", ())])

    def test_not_more_than_the_window(self) -> None:
        book = filled(*range(2 * ASK_WINDOW))
        for seen in (0, ASK_WINDOW):
            book.ask("a", [0.0] * ASK_WINDOW, seen)
        self.assertEqual(book.leased, 2 * ASK_WINDOW)
        self.assertEqual(book.ask("b", [1.0] * ASK_WINDOW, 0), [Recall("a", (1.0,) * ASK_WINDOW)])
        self.assertEqual(book.share("s", 0.5), [Recall("a", (0.5,) + (1.0,) * (ASK_WINDOW - 1))])

    def test_a_new_lease_while_others_wait_is_recalled(self) -> None:
        book = filled()
        book.ask("a", [1.0], 0)
        book.ask("b", [2.0], 0)
        self.assertEqual(book.register(1), [Grant("a", 1), Recall("a", (2.0,))])

    def test_a_slot_given_back_in_vain_is_recalled_again(self) -> None:
        """The holder struck b's arrival when it gave back, but its own outdated ask got the slot: it must hear of b again."""
        book = filled(1, 2)
        book.ask("a", [0.0, 0.0], 0)
        book.ask("a", [1.0], 2)
        self.assertEqual(book.ask("b", [9.0], 0), [Recall("a", (9.0,))])
        self.assertEqual(book.give_back("a", 1), [Grant("a", 1), Recall("a", (9.0,))])


class ForgetTests(TestCase):
    def test_idle_leases_return_and_busy_ones_close(self) -> None:
        book = filled(1, 2, 3, 4)
        book.ask("a", [0.0, 0.0, 0.0], 0)
        self.assertEqual(book.forget("a", {2}), [Close(2)])
        self.assertEqual((book.idle, book.leased, book.registered), (3, 0, 3))
        self.assertEqual(book.ask("b", [0.0] * 3, 0), [Grant("b", 4), Grant("b", 1), Grant("b", 3)])

    def test_its_ask_and_its_recall_go(self) -> None:
        book = filled(1, 2)
        book.ask("a", [0.0], 0)
        book.ask("b", [0.0], 0)
        self.assertEqual(book.ask("a", [7.0], 1), [Recall("b", (7.0,))])
        self.assertEqual(book.forget("a", {1}), [Close(1), Recall("b", ())])
        self.assertEqual(book.waiting, 0)

    def test_who_waits_gets_what_it_had(self) -> None:
        book = filled(1)
        book.ask("a", [0.0], 0)
        book.ask("b", [1.0], 0)
        self.assertEqual(book.forget("a", ()), [Grant("b", 1)])

    def test_a_forgotten_holder_begins_anew(self) -> None:
        book = filled(1)
        book.ask("a", [0.0], 0)
        book.forget("a", ())
        self.assertRaises(BadAsk, book.ask, "a", [1.0], 1)
        self.assertRaises(NotLeased, book.give_back, "a", 1)
        self.assertEqual(book.ask("a", [1.0], 0), [Grant("a", 1)])

    def test_who_never_asked(self) -> None:
        self.assertEqual(filled(1).forget("nobody", ()), [])


class ShareTests(TestCase):
    def test_idle_slots_first_then_in_turn(self) -> None:
        book = filled(1, 2)
        handed = [action for client in range(5) for action in book.share(client, float(client))]
        self.assertEqual(handed, [Share(0, 1), Share(1, 2), Share(2, 1), Share(3, 2), Share(4, 1)])
        self.assertEqual((book.idle, book.shared, book.registered), (0, 2, 2))

    def test_a_shared_slot_is_never_leased(self) -> None:
        book = filled(1)
        book.share("s", 0.0)
        self.assertEqual(book.ask("a", [0.0], 0), [])
        self.assertEqual(book.waiting, 1)

    def test_a_dead_slot_is_lost_and_the_next_one_handed_out(self) -> None:
        book = filled(1, 2)
        book.share("s", 0.0)
        book.share("s", 0.0)
        self.assertEqual(book.share("s", 0.0), [Share("s", 1)])
        self.assertEqual(book.lose(1), [])
        self.assertEqual(book.share("s", 0.0), [Share("s", 2)])
        book.lose(2)
        self.assertEqual((book.registered, book.share("s", 0.0)), (0, []))

    def test_it_waits_in_the_order_of_arrival(self) -> None:
        book = filled(1)
        book.ask("a", [0.0], 0)
        book.ask("b", [2.0], 0)
        self.assertEqual(book.share("s", 1.0), [Recall("a", (1.0,))])
        self.assertEqual(book.give_back("a", 1), [Share("s", 1), Recall("a", ())])
        self.assertEqual(book.waiting, 1)

    def test_one_slot_serves_all_who_wait(self) -> None:
        book = filled()
        for sharer, arrival in (("late", 9.0), ("early", 1.0), ("middle", 5.0)):
            self.assertEqual(book.share(sharer, arrival), [])
        self.assertEqual(book.register(1), [Share("early", 1), Share("middle", 1), Share("late", 1)])
        self.assertEqual(book.waiting, 0)

    def test_one_slot_for_all_leaves_the_others_to_who_leases(self) -> None:
        book = filled(1, 2)
        book.ask("a", [0.0, 0.0], 0)
        book.share("s", 1.0)
        book.ask("b", [2.0], 0)
        book.share("t", 3.0)
        self.assertEqual(book.forget("a", ()), [Share("s", 1), Share("t", 1), Grant("b", 2)])

    def test_it_waits_no_longer(self) -> None:
        book = filled(1)
        book.ask("a", [0.0], 0)
        book.share("s", 1.0)
        self.assertEqual(book.unshare_wait("s"), [Recall("a", ())])
        self.assertRaises(NotWaiting, book.unshare_wait, "s")
        self.assertEqual(book.give_back("a", 1), [])

    def test_what_it_may_not_ask(self) -> None:
        book = filled()
        book.share("s", 1.0)
        self.assertRaises(AlreadyWaiting, book.share, "s", 1.0)
        self.assertRaises(BadAsk, book.share, "t", nan)
        self.assertEqual(book.waiting, 1)


class DisagreementTests(TestCase):
    """Calls about what is not so raise, and change nothing."""

    def test_slots(self) -> None:
        book = filled(1, 2, 3)
        book.ask("a", [0.0], 0)
        book.share("s", 0.0)
        for slot in (1, 2, 3):
            self.assertRaises(AlreadyRegistered, book.register, slot)
        self.assertRaises(NotParked, book.lose, 1)
        self.assertRaises(NotParked, book.lose, 99)
        for end in (book.give_back, book.lease_closed):
            self.assertRaises(NotLeased, end, "a", 3)
            self.assertRaises(NotLeased, end, "b", 1)
        self.assertEqual((book.idle, book.leased, book.shared, book.registered), (1, 1, 1, 3))

    def test_one_error_tree(self) -> None:
        for error in (AlreadyRegistered, NotParked, NotLeased, BadAsk, AlreadyWaiting, NotWaiting):
            self.assertTrue(issubclass(error, BookError))
        self.assertTrue(issubclass(BookError, ValueError))
