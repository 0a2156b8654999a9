"""An acceptor over socket pairs, its services, and proxies in the same process."""

from __future__ import annotations

import gc
from typing import Dict, List

from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.holders import RecordingBorrower, RecordingHolder, SlotTransport, descriptors
from tests.doubles.turning import TurningClock
from xproxy.acceptor.acceptor import Acceptor
from xproxy.acceptor.local import LocalSource
from xproxy.acceptor.registering import SlotFactory
from xproxy.config import Config, PoolConfig
from xproxy.slots.preambles.registration import AUTO_RAW_S

POLITE = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nXproxy-Slot: closing\r\nContent-Length: 0\r\n\r\n"


def config_of(*pools: str, registration: str = "raw") -> Config:
    """These pools, at one endpoint for all of them; where a slot names none, it is for the first."""
    return Config(pools={name: PoolConfig(name, slots=("here",), registration=registration) for name in pools})


class Scene:
    """An acceptor with one pool (or more), its services and its proxies."""

    def __init__(self, *pools: str, registration: str = "raw") -> None:
        self.clock = TurningClock()
        self.config = config_of(*pools or ("default",), registration=registration)
        self.acceptor = Acceptor(self.config, self.clock.seconds, self.clock)
        self.factory = SlotFactory(self.acceptor, "here", self.clock, self.clock.seconds)
        self.transports: List[SlotTransport] = []
        self.holders: List[RecordingHolder] = []
        self.borrowers: List[RecordingBorrower] = []

    def slot(self, pool: str = "default") -> SlotTransport:
        """A slot has registered; where a preamble may come, by saying nothing."""
        protocol = self.factory.connection("", [pool, *self.config.pools])
        assert protocol is not None
        transport = SlotTransport().connect(protocol)
        self.transports.append(transport)
        if self.factory.mode == "auto":
            self.clock.advance(AUTO_RAW_S)
        return transport

    def proxy(self) -> RecordingHolder:
        holder = RecordingHolder()
        holder.source = LocalSource(self.acceptor, holder)
        self.holders.append(holder)
        return holder

    def borrower(self, pool: str = "default") -> RecordingBorrower:
        """A one-byte client asks for a slot."""
        borrower = RecordingBorrower()
        self.borrowers.append(borrower)
        self.acceptor.lending.borrow(pool, borrower)
        return borrower

    def turn(self) -> None:
        """Read what can be read, until nothing happens any more."""
        for _ in range(4):
            self.clock.turn()
            for transport in self.transports:
                transport.pump()

    def counts(self, pool: str = "default") -> Dict[str, int]:
        """Where the slots of a pool are, as its book has them."""
        book = self.acceptor.books[pool]
        return {
            "slots": book.registered, "idle": book.idle, "leased": book.leased, "lent": book.lent, "waiting": book.waiting,
        }  # fmt: skip

    def close(self) -> None:
        self.acceptor.close()
        for holder in self.holders:
            holder.close()
        for borrower in self.borrowers:
            borrower.close()
        assert not self.clock.readers
        for transport in self.transports:
            transport.service.close()
            assert transport.near.fileno() == -1


class SceneTestCase(SynchronousTestCase):
    """Makes a scene, and sees to it that nothing of it stays open."""

    registration = "raw"

    def setUp(self) -> None:
        gc.collect()
        before = descriptors()
        self.scene = Scene("default", "other", registration=self.registration)
        self.acceptor = self.scene.acceptor
        self.addCleanup(lambda: self.assertEqual(descriptors(), before))
        self.addCleanup(self.scene.close)
