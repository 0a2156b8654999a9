"""What became of the requests of a load."""

from __future__ import annotations

import threading
from typing import Iterable, List, Set, Tuple

import attr


@attr.frozen
class Failure:
    """A request that was not answered as it should have been."""

    text: str
    port: int
    """Of the client's end of the connection; 0 where there was none."""
    refused: bool = False


@attr.define
class Tally:
    """Those that ended between two looks."""

    answered: int = 0
    waits_s: List[float] = attr.Factory(list)
    """From a request to its whole answer, but for downloads and WebSockets."""
    failures: List[Failure] = attr.Factory(list)
    lost: List[Failure] = attr.Factory(list)
    """Failures of connections that a killed process had: these may be."""

    @property
    def requests(self) -> int:
        """How many ended, somehow."""
        return self.answered + len(self.failures) + len(self.lost)

    @property
    def refused(self) -> int:
        """Connections that could not be made."""
        return sum(failure.refused for failure in self.failures)

    def percentile_ms(self, share: float) -> float:
        """The wait that this share of the requests did not have to exceed; 1: the longest."""
        ordered = sorted(self.waits_s)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Outcomes:
    """Where the clients of a load write, and who watches reads.

    :ivar posts: how many POSTs were begun.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: List[Tuple[float, bool]] = []
        self._failures: List[Failure] = []
        self._may_fail: Set[int] = set()
        self.posts = 0
        self.count = 0

    def answered(self, wait_s: float, counts: bool = True) -> None:
        """A right answer came.

        :param counts: whether its wait is one of those that are looked at.
        """
        with self._lock:
            self.count += 1
            self._ended.append((wait_s, counts))

    def failed(self, text: str, port: int = 0, refused: bool = False) -> None:
        """None came, or a wrong one."""
        with self._lock:
            self.count += 1
            self._failures.append(Failure(text, port, refused))

    def may_fail(self, ports: Iterable[int]) -> None:
        """What runs on the connections from these ports is about to be killed."""
        with self._lock:
            self._may_fail.update(ports)

    def take(self) -> Tally:
        """Everything since the last time."""
        with self._lock:
            lost = [failure for failure in self._failures if failure.port in self._may_fail]
            failures = [failure for failure in self._failures if failure.port not in self._may_fail]
            tally = Tally(len(self._ended), [wait for wait, counts in self._ended if counts], failures, lost)
            self._ended, self._failures = [], []
            return tally
