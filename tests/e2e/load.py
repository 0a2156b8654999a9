"""Clients that ask without a pause, on connections that they keep, and count what they are answered."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from typing import Callable, List, Union
from typing import Counter as Counts

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import PATIENCE_S, Address
from tests.e2e.processes import Program

Expected = Callable[[str, str, bytes], bytes]
"""From the method, the target and the body of a request to what its answer begins with."""


class Load:
    """GET and POST by turns, until ``stop``, which the test's cleanup calls.

    :param expected: what the answers should be.
    :param kept: whether connections are kept; else there is one for each request.
    :ivar outcomes: how often which status, or what else there was instead of a right answer.
    """

    def __init__(
        self, test: SynchronousTestCase, address: Address, clients: int, expected: Expected, kept: bool = True
    ) -> None:
        self.outcomes: Counts[Union[int, str]] = Counter()
        self._address = address
        self._expected = expected
        self._kept = kept
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads: List[threading.Thread] = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]
        test.addCleanup(self.stop)
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=PATIENCE_S)
        number = 0
        while not self._stopped.is_set():
            number += 1
            method, target, body = ("POST", f"/{number}", b"x" * number) if number % 2 else ("GET", f"/{number}", b"")
            outcome: Union[int, str]
            try:
                connection.request(method, target, body or None)
                answer = connection.getresponse()
                content = answer.read()
                right = answer.status != 200 or content.startswith(self._expected(method, target, body))
                if not self._kept:
                    connection.close()
                outcome = answer.status if right else f"wrong: {method} {target} was answered {content[:80]!r}"
            except (http.client.HTTPException, OSError) as error:
                outcome = f"{method}: {error!r}"
                connection.close()
            with self._lock:
                self.outcomes[outcome] += 1
        connection.close()

    def go_on(self, program: Program, count: int = 50) -> None:
        """Wait until so many more requests were answered.

        :param program: whose story is told when that does not come to pass.
        """
        wanted = sum(self.outcomes.values()) + count
        program.eventually(lambda: sum(self.outcomes.values()) >= wanted, f"{count} more answers, after {self.outcomes}")

    def stop(self) -> None:
        """Returns when the last request is answered."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
