"""The ring: in turn over the services, whatever comes and goes."""

from __future__ import annotations

from collections import Counter
from typing import Dict, List

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from xproxy.slots.ring import KEPT_TURNS, LOOK_SERVICES, Ring


def filled(services: str) -> Ring[int]:
    """A ring with a slot for each letter, numbered from 0, of the service with that name."""
    ring: Ring[int] = Ring()
    for slot, service in enumerate(services):
        ring.put(slot, service)
    return ring


class RingTests(TestCase):
    def test_in_turn_over_the_services(self) -> None:
        ring = filled("aaaabbc")
        self.assertEqual([ring.take() for _ in range(7)], [0, 4, 6, 1, 5, 2, 3])
        self.assertRaises(KeyError, ring.take)

    def test_one_request_at_a_time_uses_every_slot_of_every_service(self) -> None:
        services = "aaaaaaaabbbbbbbbccccccccdddddddd"
        ring = filled(services)
        used: List[int] = []
        for _ in range(len(services)):
            slot = ring.take()
            used.append(slot)
            ring.put(slot, services[slot])
        self.assertEqual("".join(services[slot] for slot in used), "abcd" * 8)
        self.assertEqual(sorted(used), list(range(32)))

    def test_a_service_that_had_none_has_its_turn_after_the_others(self) -> None:
        ring = filled("abc")
        self.assertEqual(ring.take(), 0)
        ring.put(3, "a")
        self.assertEqual([ring.take(), ring.take(), ring.take()], [1, 2, 3])

    def test_removed_out_of_turn(self) -> None:
        ring = filled("aabb")
        ring.remove(0, "a")
        ring.remove(1, "a")
        self.assertEqual((len(ring), ring.of("a"), ring.of("b"), ring.has(1, "a"), ring.has(2, "b")), (2, 0, 2, False, True))
        self.assertRaises(KeyError, ring.remove, 0, "a")
        self.assertRaises(KeyError, ring.remove, 0, "nobody")
        ring.put(9, "a")
        self.assertEqual([ring.take() for _ in range(3)], [9, 2, 3])
        self.assertRaises(KeyError, ring.take)

    def test_for_somebody_who_has_some(self) -> None:
        ring = filled("abcabc")
        self.assertEqual(ring.take_for({"a": 2, "b": 1, "c": 1}), 1)
        self.assertEqual(ring.take_for({"a": 2, "b": 2, "c": 1}), 2)
        self.assertEqual(ring.take_for({}), 0)
        self.assertEqual([ring.take() for _ in range(3)], [4, 5, 3])
        self.assertRaises(KeyError, ring.take_for, {})

    def test_no_more_services_are_compared_than_is_cheap(self) -> None:
        ring: Ring[int] = Ring()
        for slot in range(LOOK_SERVICES + 1):
            ring.put(slot, str(slot))
        held = {str(slot): 1 for slot in range(LOOK_SERVICES)}
        self.assertEqual(ring.take_for(held), 0)

    def test_names_of_services_that_are_gone_are_forgotten(self) -> None:
        ring: Ring[int] = Ring()
        for slot in range(10 * KEPT_TURNS):
            ring.put(slot, f"service {slot}")
            ring.take()
        self.assertLessEqual(len(ring._services), KEPT_TURNS + 2)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.lists(st.tuples(st.sampled_from(["put", "take", "remove", "for"]), st.integers(0, 9)), max_size=60))
    def test_nothing_is_lost(self, steps: List[tuple[str, int]]) -> None:
        """Against a plain set; and no service has two turns while another one, with an idle slot all the time, has none."""
        ring: Ring[int] = Ring()
        idle: Dict[int, str] = {}
        passed: Counter[str] = Counter()
        for number, (step, value) in enumerate(steps):
            if step == "put":
                idle[number] = "abc"[value % 3]
                ring.put(number, idle[number])
            elif not idle:
                self.assertRaises(KeyError, ring.take)
            elif step == "remove":
                slot = list(idle)[value % len(idle)]
                ring.remove(slot, idle.pop(slot))
                passed.clear()
            else:
                slot = ring.take() if step == "take" else ring.take_for({"a": value})
                service = idle.pop(slot)
                if step == "take":
                    passed[service] = 0
                    for other in set(idle.values()) - {service}:
                        passed[other] += 1
                        self.assertLessEqual(passed[other], 3)
                else:
                    passed.clear()
            self.assertEqual(sorted(ring), sorted(idle))
            self.assertEqual(len(ring), len(idle))
