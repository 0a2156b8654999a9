"""Tests for what there are descriptors for."""

from __future__ import annotations

import resource
from typing import Any

import attr
from twisted.trial.unittest import SynchronousTestCase

from xproxy.config import Config, LimitsConfig, PoolConfig
from xproxy.tap.room import OTHERS, hard_limit, room_for


def config(connections: int = 16384, *pools: PoolConfig) -> Config:
    """A configuration."""
    found = {pool.name: pool for pool in pools or (PoolConfig("default"),)}
    return Config(limits=attr.evolve(LimitsConfig(), connections=connections), pools=found)


class RoomTests(SynchronousTestCase):
    """``room_for``."""

    def test_enough(self) -> None:
        """What the units have is enough for everything that is there by itself."""
        room = room_for(Config(), 65536, accepts_slots=True)
        self.assertEqual((room.clients, room.complaint), (16384, ""))

    def test_just_enough(self) -> None:
        pool = PoolConfig("default", max_slots=100)
        needed = OTHERS + 800 + 100 + 2 * 100
        self.assertEqual(room_for(config(800, pool), needed, accepts_slots=True).complaint, "")
        self.assertNotEqual(room_for(config(800, pool), needed - 1, accepts_slots=True).complaint, "")
        self.assertEqual(room_for(config(800, pool), needed - 100, accepts_slots=False).complaint, "")
        over_tls = attr.evolve(pool, slots_tls=("tcp:1",))
        self.assertNotEqual(room_for(config(800, over_tls), needed, accepts_slots=True).complaint, "")
        self.assertEqual(room_for(config(800, over_tls), needed + 200, accepts_slots=True).complaint, "")

    def test_halves(self) -> None:
        """Clients, with their files, and slots."""
        room = room_for(Config(), 128, accepts_slots=True)
        self.assertEqual(room.clients, 35)
        self.assertTrue(room.is_serious)
        self.assertIn("room for 35 clients at once, and not for 16384 (limits.connections)", room.complaint)
        self.assertIn("128 descriptors", room.complaint)
        self.assertLessEqual(room.clients + room.clients // 8 + 40 + OTHERS, 128)

    def test_never_none(self) -> None:
        self.assertEqual(room_for(Config(), 16, accepts_slots=True).clients, 1)

    def test_how_serious(self) -> None:
        """Nobody has asked for what is there by itself."""
        self.assertFalse(room_for(Config(), 20000, accepts_slots=True).is_serious)
        self.assertTrue(room_for(config(20000), 20000, accepts_slots=True).is_serious)
        self.assertTrue(room_for(config(16384, PoolConfig("a", max_slots=9000)), 20000, accepts_slots=True).is_serious)

    def test_an_acceptor_alone(self) -> None:
        room = room_for(Config(), 1024, accepts_slots=True, takes_clients=False)
        self.assertEqual((room.clients, room.is_serious), (0, False))
        self.assertIn("not every slot can be registered", room.complaint)
        self.assertEqual(room_for(Config(), 20000, accepts_slots=True, takes_clients=False).complaint, "")

    def test_the_limit(self) -> None:
        limits: Any = [(5, resource.RLIM_INFINITY), (5, 7)]
        self.patch(resource, "getrlimit", lambda which: limits.pop(0))
        self.assertEqual((hard_limit(), hard_limit()), (2**31, 7))
