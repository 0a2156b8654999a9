"""An acceptor over socket pairs, its services, and proxies in the same process."""

from __future__ import annotations

import gc
from typing import Dict, List

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.holders import RecordingHolder, SlotTransport, descriptors
from xproxy.acceptor.acceptor import Acceptor
from xproxy.acceptor.local import LocalSource
from xproxy.acceptor.registering import SlotFactory
from xproxy.config import PoolConfig

POLITE = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nXproxy-Slot: closing\r\nContent-Length: 0\r\n\r\n"


class Scene:
    """An acceptor with one pool (or more), its services and its proxies."""

    def __init__(self, *pools: str) -> None:
        self.clock = Clock()
        configured = [PoolConfig(name, registration="raw") for name in pools or ("default",)]
        self.acceptor = Acceptor(configured, self.clock.seconds)
        self.factories = {
            pool.name: SlotFactory(self.acceptor, [pool], "raw", 5.0, self.clock, self.clock.seconds) for pool in configured
        }
        self.transports: List[SlotTransport] = []
        self.holders: List[RecordingHolder] = []

    def slot(self, pool: str = "default") -> SlotTransport:
        protocol = self.factories[pool].buildProtocol(None)
        assert protocol is not None
        transport = SlotTransport().connect(protocol)
        self.transports.append(transport)
        return transport

    def proxy(self) -> RecordingHolder:
        holder = RecordingHolder()
        holder.source = LocalSource(self.acceptor, holder)
        self.holders.append(holder)
        return holder

    def counts(self, pool: str = "default") -> Dict[str, int]:
        census = self.acceptor.census()[pool]
        return {key: census[key] for key in ("slots", "idle", "leased", "shared", "waiting")}

    def close(self) -> None:
        self.acceptor.close()
        for holder in self.holders:
            holder.close()
        for transport in self.transports:
            transport.service.close()
            assert transport.near.fileno() == -1


class SceneTestCase(SynchronousTestCase):
    """Makes a scene, and sees to it that nothing of it stays open."""

    def setUp(self) -> None:
        gc.collect()
        before = descriptors()
        self.scene = Scene("default", "other")
        self.acceptor = self.scene.acceptor
        self.addCleanup(lambda: self.assertEqual(descriptors(), before))
        self.addCleanup(self.scene.close)
