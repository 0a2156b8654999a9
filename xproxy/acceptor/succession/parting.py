"""A proxy that was told to dial the acceptor's successor, until it has hung up: what it still says is heeded, it is granted
nothing.
"""

from __future__ import annotations

from typing import Callable

from ...slots.parked_states import SlotEvent
from ...slots.preambles.registration import begins_preamble
from ..holding import Holding
from ..parked import ParkedSlot


class Parting(Holding):
    """In the place of the proxy's Holding, whose leases it has; their slots are in no book any more.

    :param holding: what it replaces.
    :param idle: told of each slot that has come back.
    :param over: called when the proxy has hung up. What it leases still is in ``leases``.
    :ivar expired: it was cut off because it did not hang up.
    """

    def __init__(self, holding: Holding, idle: Callable[[ParkedSlot], None], over: Callable[[Parting], None]) -> None:
        super().__init__(holding._acceptor, holding.end, holding._busy, holding.column)
        self.expired = False
        self._void = dict(holding._void)
        self._idle = idle
        self._over = over
        self.leases.update(holding.leases)
        for slot in self.leases.values():
            slot.holding = self

    @property
    def next_offer(self) -> int:
        """Nothing can be offered."""
        return -1

    def ask(self, pool: str, waiting: int, seen: int, question: int = 0) -> None:
        """Nothing is granted."""

    def recall_done(self, pool: str, number: int) -> None:
        """Nobody waits for that."""

    def hang(self) -> int:
        """It may hang: soon it is cut off."""
        return 0

    def wake(self) -> None:
        """Nothing was taken back."""

    def give_back(self, lease: int) -> None:
        """The slot is idle; whoever serves then reads what waits on it. Raises NotLeased."""
        slot = self._end(lease)
        if slot is not None:
            slot.step(SlotEvent.GIVEN_BACK)
            self._idle(slot)

    def lease_closed(self, lease: int) -> None:
        """The slot is not good any more. Raises NotLeased."""
        slot = self._end(lease)
        if slot is not None:
            slot.close()

    def spoke(self, lease: int, data: bytes) -> None:
        """The slot has sent this: it registers anew, or is over. Raises NotLeased."""
        slot = self._end(lease)
        if slot is not None and slot.register_anew is not None and begins_preamble(data):
            slot.step(SlotEvent.INTRODUCED)
            slot.register_anew(data)
        elif slot is not None:
            slot.close()

    def leave(self, alive: bool = False) -> None:
        """It has hung up. Where it was cut off for what it did, its slots are closed, for it may go on using them."""
        if self.left:
            return
        self.left = True
        if alive and not self.expired:
            for slot in self.leases.values():
                slot.close()
            self.leases.clear()
        self._over(self)
