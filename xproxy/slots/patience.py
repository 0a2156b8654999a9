"""How long a request may wait for a slot: the terms of a pool, which can change, and whether there is anybody to wait for.

Pure. Times are monotonic seconds, durations seconds.
"""

from __future__ import annotations

from math import inf
from typing import List, Optional, Tuple

import attr

SAY_ABSENT_S = 1.0
"""How long requests wait for a service that is not there before the log says so: one that restarts at once is no news."""


@attr.frozen
class Terms:
    """What a pool's configuration says of waiting."""

    queue_timeout_s: float
    absent_timeout_s: float
    """The same while no service is registered, from when the last one was gone."""


class Patience:
    """The terms of one pool. Who waits when they change waits by those under which it came.

    :ivar absent_since: since when no service is registered; None: some are, as far as is known.
    :ivar absence_said: the log has said that requests wait and no service is registered.
    """

    __slots__ = ("absent_since", "absence_said", "_terms", "_former")

    def __init__(self, terms: Terms) -> None:
        self.absent_since: Optional[float] = None
        self.absence_said = False
        self._terms = terms
        self._former: List[Tuple[float, Terms]] = []
        """Former terms, oldest first, each with when it ended."""

    def change(self, terms: Terms, now: float, oldest: Optional[float]) -> None:
        """Other terms hold for who comes from now on.

        :param oldest: when the first of those that wait arrived; None: nobody waits.
        """
        self._former = [entry for entry in self._former if oldest is not None and oldest < entry[0]]
        if oldest is not None:
            self._former.append((now, self._terms))
        self._terms = terms

    def until(self, arrival: float) -> Tuple[float, str]:
        """Until when who arrived then may wait, and which outcome (see ``metrics.OUTCOMES``) it is when that has passed."""
        terms = self._terms
        for ended, former in self._former:
            if arrival < ended:
                terms = former
                break
        patience = arrival + terms.queue_timeout_s, "timeout"
        if self.absent_since is None:
            return patience
        return min(patience, (max(arrival, self.absent_since) + terms.absent_timeout_s, "absent"))

    def soonest(self, oldest: float) -> float:
        """A time before which nobody's patience ends: later terms may be shorter than those of the oldest.

        :param oldest: when the first of those that wait arrived.
        """
        return min(self.until(at)[0] for at in (oldest, *[ended for ended, _ in self._former if ended > oldest]))

    def absence_at(self, oldest: float) -> float:
        """When the log is to say that requests wait and no service is registered; infinity: not at all.

        :param oldest: when the first of those that wait arrived.
        """
        return inf if self.absent_since is None or self.absence_said else max(oldest, self.absent_since) + SAY_ABSENT_S
