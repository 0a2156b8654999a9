"""A program as a unit of systemd has it: sockets that are passed by name, and what it tells by NOTIFY_SOCKET.

The test plays systemd: it has the datagram socket, and starts the program with descriptors from 3 on.
"""

from __future__ import annotations

import re
import signal
import socket
import sys
import time
from typing import List

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import PATIENCE_S, ask
from tests.e2e.processes import Xproxy, short_path, slots_description, twistd
from tests.e2e.services import SlotService

WATCHDOG_S = 0.5

AS_SYSTEMD = """
import os, socket, sys
for number, name in enumerate(("http", "admin")):
    listening = socket.create_server(("127.0.0.1", 0))
    os.dup2(listening.fileno(), 10 + number)
for number in range(2):
    os.dup2(10 + number, 3 + number)
    os.set_inheritable(3 + number, True)
pid = str(os.getpid())
os.environ.update(LISTEN_PID=pid, LISTEN_FDS="2", LISTEN_FDNAMES="http:admin")
os.environ.update(NOTIFY_SOCKET=sys.argv[1], WATCHDOG_PID=pid, WATCHDOG_USEC=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""


class Manager:
    """The service manager's end."""

    def __init__(self, test: SynchronousTestCase) -> None:
        self.path = short_path(test, "notify")
        self._test = test
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        test.addCleanup(self._socket.close)
        self._socket.bind(self.path)
        self._socket.settimeout(PATIENCE_S)

    def told(self, pattern: str) -> List[str]:
        """Wait for a message that matches; returns it and those that came before it."""
        said: List[str] = []
        while not said or not re.match(pattern, said[-1]):
            said.append(self._socket.recv(4096).decode())
        return said


class SystemdTests(SynchronousTestCase):
    def test_a_life(self) -> None:
        """Ready, how it stands, alive, reloading, stopping; and served on the sockets that were passed."""
        manager = Manager(self)
        systemd = [sys.executable, "-c", AS_SYSTEMD, manager.path, str(int(WATCHDOG_S * 1e6))]
        sockets = ["--http", "systemd:domain=INET:name=http", "--admin", "systemd:domain=INET:name=admin"]
        proxy = Xproxy(self, *sockets, started_by=systemd).ready()
        self.assertEqual(manager.told("READY=1$"), ["READY=1"])
        manager.told("STATUS=0 slots .0 idle., 0 requests run, 0 wait, configuration 1$")
        SlotService(self, proxy.slots, 2)
        proxy.has(slots=2)
        self.assertEqual(ask(proxy.http).status, 200)
        manager.told("WATCHDOG=1$")
        proxy.signal(signal.SIGHUP)
        before_us = int(manager.told("RELOADING=1\nMONOTONIC_USEC=")[-1].rpartition("=")[2])
        self.assertTrue(0 <= time.monotonic() * 1e6 - before_us < PATIENCE_S * 1e6)
        manager.told("READY=1$")
        proxy.signal(signal.SIGTERM)
        manager.told("STOPPING=1$")
        self.assertEqual(proxy.exit_status(), 0)

    def test_a_relay(self) -> None:
        """Its backend is what there is to tell of: it has not been tried yet when we are ready."""
        manager = Manager(self)
        with socket.create_server(("127.0.0.1", 0)) as acceptor:
            address = f"tcp:127.0.0.1:{acceptor.getsockname()[1]}"
            slots = slots_description(acceptor.getsockname(), 2)
            environment = {"NOTIFY_SOCKET": manager.path}
            relay = twistd(self, "xrelay", "--backend", address, "--slots", slots, environment=environment)
            manager.told("READY=1$")
            manager.told(f"STATUS=backend {address} does not answer$")
            relay.said("answers: 2 slots")
            self.assertEqual(relay.stop(), 0)
