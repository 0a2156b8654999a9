"""What a parent is: how many workers, what there is room for in each, how it sees the acceptor."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from xproxy.config import from_toml
from xproxy.interfaces import ILeaseHolder
from xproxy.tap import workers
from xproxy.tap.workers import Idle, Onlooker, lacking, worker_room, workers_of


def configured(workers: Any, connections: int = 1000) -> Any:
    """A configuration with so many."""
    text = f"[proxy]\nworkers = {workers}\n[limits]\nconnections = {connections}\n[pools.default]\nmax_slots = 100"
    return from_toml(text, "xproxy.toml")


class WorkersTests(SynchronousTestCase):
    def test_count(self) -> None:
        """As written; by itself as many as there are cores, and never more than there may be."""
        self.assertEqual(3, workers_of(configured(3)))
        self.patch(workers, "usable_cores", lambda: 5)
        self.assertEqual(5, workers_of(configured('"auto"')))
        self.patch(workers, "usable_cores", lambda: 500)
        self.assertEqual(64, workers_of(configured('"auto"')))

    def test_usable_cores(self) -> None:
        """As the kernel says it, with and without Python's own call."""
        before = subprocess.run(["nproc"], check=True, capture_output=True, env={"PATH": os.environ["PATH"]}).stdout
        self.assertEqual(int(before), workers.usable_cores())
        if hasattr(os, "sched_getaffinity"):
            self.patch(workers, "os", SimpleNamespace(cpu_count=os.cpu_count))
            self.assertEqual(int(before), workers.usable_cores())

    def test_room(self) -> None:
        """Each worker has as many descriptors as its parent; it is told where all of them have too few for all clients."""
        self.patch(workers, "hard_limit", lambda: 1024)
        clients, files = worker_room(configured(2))
        self.assertTrue(300 < clients < 1000 and files)
        self.assertEqual([], lacking(configured(4)))
        (room,) = lacking(configured(2))
        self.assertIn("in each of 2 workers there is room for", room.complaint)
        self.assertEqual([], lacking(configured(2, 500)))

    def test_onlookers(self) -> None:
        """Who only looks at an acceptor is a holder without leases, or asks for its census alone."""
        self.assertTrue(verifyObject(ILeaseHolder, Idle(MemoryReactorClock())))

        class Acceptor:
            def census(self) -> Any:
                return {"default": {}}

        acceptor: Any = Acceptor()
        self.assertEqual({"default": {}}, self.successResultOf(Onlooker(acceptor).census()))

    def test_a_lease_that_nobody_wanted(self) -> None:
        """Is closed."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        Idle(MemoryReactorClock()).lease_granted("default", 1, writer, "s")
        self.assertEqual(b"", os.read(reader, 1))
