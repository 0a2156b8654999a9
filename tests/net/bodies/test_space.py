"""What files may take together, by a model of it and by what spools ask for."""

from __future__ import annotations

import tempfile
from collections import Counter
from typing import Dict, List

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from twisted.trial.unittest import SynchronousTestCase

from xproxy.net.bodies.space import Bounds, Space, SpaceFull
from xproxy.net.bodies.spool import Backlog, Spool

CLIENTS = ("", "192.0.2.1", "192.0.2.2", "2001:db8::1")


class Spools(RuleBasedStateMachine):
    """Spools of several clients that come, grow and go. The space never counts more than it may, nor what is not there."""

    spools = Bundle("spools")

    @initialize(
        bounds=st.builds(Bounds, st.integers(0, 300), st.integers(0, 6), st.integers(0, 200), st.integers(0, 4)),
        room=st.integers(1, 20),
    )
    def begin(self, bounds: Bounds, room: int) -> None:
        self.space = Space(bounds)
        self.space.room_files = room
        self.live: Dict[Spool, str] = {}

    @rule(target=spools, client=st.sampled_from(CLIENTS), memory=st.integers(0, 20))
    def make(self, client: str, memory: int) -> Spool:
        spool = Spool(memory, None, self.space, client)
        self.live[spool] = client
        return spool

    @rule(spool=spools, size=st.integers(1, 60))
    def put(self, spool: Spool, size: int) -> None:
        space, client = self.space, self.live[spool]
        before = space.bytes, space.files, space.of(client), spool.size
        try:
            spool.put(bytes(size))
        except SpaceFull as error:
            assert (space.bytes, space.files, space.of(client), spool.size) == before
            bounds, files = space.bounds, 0 if spool.in_file else 1
            in_all = before[0] + size > bounds.all_bytes or before[1] + files > min(bounds.all_files, space.room_files)
            assert (error.reason == "spools-full") is in_all
            assert in_all or client
        else:
            assert spool.size == before[3] + size

    @rule(spool=consumes(spools))
    def clear(self, spool: Spool) -> None:
        spool.clear()
        del self.live[spool]

    @invariant()
    def counts_what_is_there(self) -> None:
        space = self.space
        in_files = [(spool, client) for (spool, client) in self.live.items() if spool.in_file]
        assert space.files == len(in_files) <= min(space.bounds.all_files, space.room_files)
        assert space.bytes == sum(spool.size - spool._held for spool, _ in in_files) <= space.bounds.all_bytes
        clients = Counter(client for _, client in in_files)
        for client in CLIENTS[1:]:
            assert space.of(client) == clients[client] <= space.bounds.client_files
        assert len(space._clients) == len([client for client in clients if client])

    def teardown(self) -> None:
        for spool in list(getattr(self, "live", ())):
            spool.clear()
        if hasattr(self, "space"):
            assert (self.space.bytes, self.space.files, self.space._clients) == (0, 0, {})


SpoolsTests = Spools.TestCase


class SpaceTests(SynchronousTestCase):
    """By example."""

    def test_few_descriptors(self) -> None:
        """Where there are fewer than the bounds would have, one client gets a quarter of them."""
        space = Space(Bounds(1000, 100, 1000, 50))
        space.room_files = 8
        space.take("a", 1, 1)
        space.take("a", 1, 1)
        self.assertEqual(self.assertRaises(SpaceFull, space.take, "a", 1, 1).reason, "client-spools-full")
        for _ in range(6):
            space.take("", 1, 1)
        self.assertEqual(self.assertRaises(SpaceFull, space.take, "b", 1, 1).reason, "spools-full")

    def test_file_that_can_not_be_made(self) -> None:
        """What was counted for it is given back when the spool is cleared."""
        space = Space(Bounds(1000, 100, 1000, 50))

        def fail(*arguments: object, **options: object) -> None:
            raise OSError("no descriptor")

        self.patch(tempfile, "TemporaryFile", fail)
        spool = Spool(0, None, space, "a")
        self.assertRaises(OSError, spool.put, b"x")
        spool.clear()
        self.assertEqual((space.bytes, space.files, space.of("a")), (0, 0, 0))


class BacklogTests(SynchronousTestCase):
    """A backlog whose files are refused."""

    def test_goes_on_in_memory(self) -> None:
        """In order; it says that no more is to be put until half its memory is free, and uses files again after that."""
        space = Space(Bounds(10, 1, 10, 1))
        backlog = Backlog(8, space, "a")
        put: List[bytes] = []
        for piece in (b"memory", b"file 1", b"refused 1", b"f2", b"refused 2"):
            put.append(piece)
            backlog.put(piece)
        self.assertTrue(backlog.exceeds(1000))
        self.assertLessEqual(space.bytes, 10)
        taken = b""
        while backlog.unread:
            self.assertEqual(backlog.exceeds(1000), backlog.unread > 4)
            taken += backlog.take()
        self.assertEqual(taken, b"".join(put))
        self.assertFalse(backlog.exceeds(1000))
        backlog.put(b"memory")
        backlog.put(b"file")
        self.assertEqual((space.bytes, space.files), (4, 1))
        self.assertFalse(backlog.exceeds(1000))
        backlog.clear()
        self.assertEqual((space.bytes, space.files), (0, 0))
