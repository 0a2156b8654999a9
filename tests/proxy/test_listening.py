"""The sockets that clients connect to."""

from __future__ import annotations

import socket
import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import TestCase

from xproxy import config as cfg
from xproxy.proxy.service import ProxyService


class ListeningTests(TestCase):
    """A proxy on a real socket."""

    @inlineCallbacks
    def test_without_delay(self) -> Any:
        """Accepted sockets have TCP_NODELAY from the listening one."""
        proxy = ProxyService(
            reactor, cfg.Config(proxy=cfg.Proxy(http=("tcp:0:interface=127.0.0.1",), access_log="none")), time.monotonic
        )
        proxy.privilegedStartService()
        proxy.startService()
        self.addCleanup(proxy.stopService)
        (address,) = proxy.addresses()
        listening: Any = proxy._listening[0].port
        with socket.create_connection((address.host, address.port)):  # type: ignore[attr-defined]
            accepted, _ = listening.socket.accept()
            with accepted:
                self.assertTrue(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        yield None
