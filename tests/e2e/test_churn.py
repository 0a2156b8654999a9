"""A thousand slots come and go, under load, and a proxy is killed in the middle: every descriptor and every count is right."""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections import Counter
from typing import Counter as Counts
from typing import Dict, List, Union

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import Address, ask
from tests.e2e.processes import Xacceptor, Xproxy
from tests.e2e.swarm import Swarm

SLOTS = 1000
ROUNDS = 6
CLIENTS = 3
"""At each proxy, all the time."""

THINK_TIME_S = 0.01
"""Between two requests of a client: the slots are what is tested here, and they need some of the processor too."""

DESCRIPTORS = 4096

SYN_RETRY_S = 1.0
"""When TCP sends a SYN again that was lost or dropped; RFC 6298 section 2."""


class Crowd:
    """Clients that ask again and again until they are told to stop.

    :ivar outcomes: by status, or by the name of what was raised.
    """

    def __init__(self, address: Address, clients: int) -> None:
        self.outcomes: Counts[Union[int, str]] = Counter()
        self._address = address
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads: List[threading.Thread] = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._stopped.wait(THINK_TIME_S):
            outcome: Union[int, str]
            try:
                outcome = ask(self._address).status
            except OSError as error:
                outcome = type(error).__name__
                self._stopped.set()  # Its proxy was killed: there is nobody to ask.
            except Exception as error:  # noqa: BLE001 - an outcome too, which the test looks at
                outcome = type(error).__name__
            with self._lock:
                self.outcomes[outcome] += 1

    def stop(self) -> None:
        """Ask no more; returns when everybody has been answered."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()


class ChurnTests(SynchronousTestCase):
    """One acceptor, two proxies under load, services that vanish."""

    def setUp(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def test_a_thousand_dial_at_once(self) -> None:
        """Also while the acceptor is busy with something else: the kernel keeps them, none has to try again."""
        acceptor = Xacceptor(self).ready()
        swarm = Swarm(self, acceptor.slots)
        acceptor.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            swarm.grow(SLOTS)
            self.assertLess(time.monotonic() - began, SYN_RETRY_S)
        finally:
            acceptor.signal(signal.SIGCONT)
        acceptor.has(slots=SLOTS, idle=SLOTS)

    def test_a_thousand_slots(self) -> None:
        """idle + leased = registered at every look, and when all is quiet nothing is left over."""
        acceptor = Xacceptor(self)
        acceptor.said("handoff at")
        proxies = [Xproxy(self, "--acceptor", acceptor.handoff) for _ in range(2)]
        acceptor.ready()
        for proxy in proxies:
            proxy.ready()
            proxy.has(slots=0)
        programs = {"acceptor": acceptor, "survivor": proxies[0]}
        before = {name: program.descriptors() for name, program in programs.items()}
        swarm = Swarm(self, acceptor.slots)
        crowds = [Crowd(proxy.http, CLIENTS) for proxy in proxies]
        for crowd in crowds:
            self.addCleanup(crowd.stop)

        for number in range(ROUNDS):
            swarm.grow(SLOTS - len(swarm))
            acceptor.eventually(lambda: self._consistent(acceptor) > SLOTS // 2, "most slots to be registered")
            if number == ROUNDS // 2:
                proxies[1].kill()
            swarm.shrink(SLOTS - 50)
            self._consistent(acceptor)

        swarm.grow(100)
        crowds[0].stop()
        crowds[1].stop()
        acceptor.eventually(lambda: acceptor.pool()["slots"] == len(swarm), "as many slots as the services have")
        acceptor.has(in_flight=0, waiting=0)
        self._consistent(acceptor)
        self.assertEqual(200, ask(proxies[0].http).status)
        self.assertGreaterEqual(acceptor.pool()["slots"], proxies[0].status()["connections"]["slot"])
        # Whatever became of an exchange whose slot vanished, its client was told, and most were not even touched by it.
        self.assertLessEqual(set(crowds[0].outcomes), {200, 502, "IncompleteRead"})
        self.assertGreater(crowds[0].outcomes[200], sum(crowds[0].outcomes.values()) / 2)

        swarm.shrink(SLOTS)
        acceptor.has(slots=0, idle=0, leased=0)
        before["acceptor"] -= 2  # The killed proxy's connection and board.
        after: Dict[str, int] = {}

        def as_before() -> bool:
            after.update({name: program.descriptors() for name, program in programs.items()})
            return all(after[name] <= before[name] for name in before)

        try:
            acceptor.eventually(as_before, "the descriptors to be as before", 5.0)
        except AssertionError as error:
            raise AssertionError(f"{error}\nbefore {before}, after {after}") from None

    def _consistent(self, acceptor: Xacceptor) -> int:
        """Every registered slot is idle or leased, by pool and by service; gives their number."""
        pool = acceptor.pool()
        self.assertEqual(pool["slots"], pool["idle"] + pool["leased"])
        for name in ("slots", "idle", "leased"):
            self.assertEqual(pool[name], sum(service[name] for service in pool["services"]))
        return int(pool["slots"])
