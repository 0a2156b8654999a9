"""The tide table: what one holder says and the others see, and what rubbish does."""

from __future__ import annotations

import struct
from math import inf, nan
from random import Random
from typing import Tuple

from twisted.trial.unittest import SynchronousTestCase

from xproxy.slots.tides import ASHORE, HOLDERS, NOBODY, NOWHERE, PLACES, TABLE_BYTES, TableFull, Tide, Tides, TideTable

WAITING = (1.0, 2.0, 3)


class TableTests(SynchronousTestCase):
    """A table and its holders."""

    def setUp(self) -> None:
        self.memory = bytearray(TABLE_BYTES)
        self.table = TideTable(self.memory)

    def holder(self, pool: str = "web") -> Tide:
        """A new one, with its pool."""
        return Tide(self.memory, self.table.join(), self.table.place(pool))

    def test_what_one_says_the_others_see(self) -> None:
        """Not itself, and not those of other pools."""
        first, second, third = self.holder(), self.holder(), self.holder("other")
        first.say(*WAITING)
        self.assertEqual(first.others(9.0), NOBODY)
        self.assertEqual(second.others(9.0), (1.0, first.column, 3))
        self.assertEqual(third.others(9.0), NOBODY)
        self.assertEqual(second.of(first.column), WAITING)
        self.assertEqual([tide.waiting_elsewhere() for tide in (first, second, third)], [0, 3, 0])
        first.say(None, 5.0, 0)
        self.assertEqual(second.others(9.0), NOBODY)

    def test_the_oldest_of_all(self) -> None:
        """And how many wait together."""
        tides = [self.holder() for _ in range(4)]
        for number, tide in enumerate(tides):
            tide.say(10.0 - number, 10.0, number + 1)
        self.assertEqual(tides[0].others(99.0), (7.0, tides[3].column, 9))
        self.assertEqual(tides[3].others(99.0), (8.0, tides[2].column, 6))

    def test_a_holder_that_is_gone(self) -> None:
        """Its cells are cleared, in every pool, and its column is the next one's."""
        first, second = self.holder(), self.holder()
        again = Tide(self.memory, second.column, self.table.place("other"))
        second.say(*WAITING)
        again.say(*WAITING)
        self.table.leave(second.column)
        self.assertEqual(first.others(9.0), NOBODY)
        self.assertEqual(self.table.join(), second.column)
        self.assertEqual(again.of(second.column), (0.0, 0.0, 0))

    def test_a_holder_that_was_silenced_says_it_again(self) -> None:
        """Its process did not turn its loop; it is told of its pools when it does again, and its line is what it was."""
        column = self.table.join()
        tides = Tides(self.memory, column)
        tides.put("web", self.table.place("web"))
        tides.tide("web").say(*WAITING)
        other = self.holder()
        self.table.clear(column)
        self.assertEqual(other.of(column), (0.0, 0.0, 0))
        tides.put("web", self.table.place("web"))
        self.assertEqual(other.of(column), WAITING)

    def test_as_many_as_there_are_columns(self) -> None:
        """The first is the acceptor's."""
        tides = [self.holder() for _ in range(HOLDERS - 1)]
        self.assertRaises(TableFull, self.table.join)
        tides[-1].say(*WAITING)
        self.assertEqual(tides[0].others(9.0), (1.0, HOLDERS - 1, 3))

    def test_as_many_as_there_are_rows(self) -> None:
        """One that was given up is another pool's when there is no other, and empty."""
        places = [self.table.place(str(number)) for number in range(PLACES - 1)]
        self.assertEqual(len(set(places) - {NOWHERE}), PLACES - 1)
        self.assertRaises(TableFull, self.table.place, "one more")
        Tide(self.memory, 1, places[7]).say(*WAITING)
        self.table.give_up("7")
        self.assertEqual(self.table.known_place("7"), places[7])
        self.assertEqual(self.table.place("one more"), places[7])
        self.assertEqual(self.table.known_place("7"), NOWHERE)
        self.assertEqual(Tide(self.memory, 2, places[7]).waiting_elsewhere(), 0)

    def test_a_pool_that_comes_back(self) -> None:
        """It has the row that it had."""
        place = self.table.place("web")
        self.table.give_up("web")
        self.assertEqual(self.table.place("web"), place)
        self.assertEqual(self.table.place("other"), place + 1)

    def test_before_the_place_is_known(self) -> None:
        """Nothing is seen or said; what was said is said then."""
        column = self.table.join()
        tides, other = Tides(self.memory, column), self.holder()
        tide = tides.tide("web")
        other.say(*WAITING)
        tide.say(5.0, 6.0, 7)
        self.assertEqual((tide.others(9.0), tide.waiting_elsewhere(), other.others(9.0)), (NOBODY, 0, NOBODY))
        tides.put("web", self.table.place("web"))
        self.assertEqual((tide.others(9.0), other.others(9.0)), ((1.0, other.column, 3), (5.0, column, 7)))
        self.assertIs(tides.tide("web"), tide)

    def test_what_there_is_not(self) -> None:
        """No row, no column."""
        for place in (-1, PLACES):
            self.assertRaises(ValueError, Tides(self.memory, 1).put, "web", place)
            self.assertRaises(ValueError, Tide(self.memory, 1).put, place)
        for column in (0, -1, HOLDERS):
            self.assertRaises(ValueError, Tides, self.memory, column)

    def test_ashore(self) -> None:
        """Without a table nobody else is there."""
        ASHORE.say(*WAITING)
        self.assertEqual((ASHORE.others(9.0), ASHORE.waiting_elsewhere()), (NOBODY, 0))


class RubbishTests(SynchronousTestCase):
    """What a hostile holder writes costs the others no crash."""

    def setUp(self) -> None:
        self.memory = bytearray(TABLE_BYTES)
        table = TideTable(self.memory)
        place = table.place("web")
        self.hostile, self.honest, self.reader = (Tide(self.memory, table.join(), place) for _ in range(3))
        self.honest.say(5.0, 6.0, 1)

    def test_what_is_no_time(self) -> None:
        """It counts for nothing."""
        for oldest in (nan, inf, -inf):
            self.hostile.say(oldest, 6.0, 1)
            self.assertEqual(self.reader.others(9.0), (5.0, self.honest.column, 1))
            self.assertEqual(self.reader.of(self.hostile.column), (0.0, 0.0, 0))

    def test_a_time_that_is_still_to_come(self) -> None:
        """It is as if the request came now."""
        self.hostile.say(1e300, 1e300, 1)
        self.assertEqual(self.reader.others(9.0)[0], 5.0)
        self.honest.say(None, 0.0, 0)
        self.assertEqual(self.reader.others(9.0), (9.0, self.hostile.column, 1))

    def test_a_latest_that_is_none(self) -> None:
        """Then it is the oldest."""
        for latest in (nan, inf, -inf, 1.0):
            self.hostile.say(2.0, latest, 4)
            self.assertEqual(self.reader.of(self.hostile.column), (2.0, 2.0, 4))

    def test_huge_numbers(self) -> None:
        """They are numbers."""
        self.hostile.say(1.0, 2.0, 2**64 - 1)
        self.assertEqual(self.reader.others(9.0), (1.0, self.hostile.column, 2**64))
        self.assertEqual(self.reader.waiting_elsewhere(), 2**64)

    def test_any_bytes(self) -> None:
        """Everywhere, the number of columns included."""
        dice = Random(1)
        for _ in range(200):
            row = bytes(dice.randrange(256) for _ in range(32 * HOLDERS))
            self.memory[: len(row)] = self.memory[len(row) : 2 * len(row)] = row
            oldest, whose, waiting = self.reader.others(9.0)
            self.assertTrue(oldest <= 9.0 and 0 <= whose < HOLDERS and waiting > 0)
            self.assertGreaterEqual(self.reader.waiting_elsewhere(), 0)
            for column in range(HOLDERS):
                told: Tuple[float, float, int] = self.reader.of(column)
                self.assertTrue(all(-inf < each < inf for each in told))

    def test_fewer_columns_than_there_are(self) -> None:
        """Then less is seen."""
        for used in (0, 1, 2, 2**64 - 1):
            self.memory[:8] = struct.pack("=Q", used)
            self.reader.others(9.0)
            self.reader.waiting_elsewhere()
