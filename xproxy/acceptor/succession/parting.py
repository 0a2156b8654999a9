"""A proxy that was told to dial the acceptor's successor, until it has hung up: its messages are heeded, and nothing is granted
to it.
"""

from __future__ import annotations

from typing import Callable

from ...slots.parked_states import SlotEvent
from ...slots.preambles.registration import begins_preamble
from ..holding import Holding
from ..parked import ParkedSlot


class Parting(Holding):
    """Takes the place and the leases of the proxy's Holding; the slots of these leases are in no book any more.

    :param holding: the Holding that is replaced.
    :param idle: told of each slot that has come back.
    :param over: called when the proxy has hung up. The slots that it leases still are in ``leases``.
    :ivar expired: the proxy was cut off because it did not hang up.
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
        """-1: nothing can be offered."""
        return -1

    def ask(self, pool: str, waiting: int, seen: int, question: int = 0) -> None:
        """Nothing is granted."""

    def recall_done(self, pool: str, number: int) -> None:
        """Nobody waits for the end of a recall."""

    def hang(self) -> int:
        """Take nothing back from a proxy that hangs: it is cut off soon."""
        return 0

    def wake(self) -> None:
        """Nothing was taken back."""

    def give_back(self, lease: int) -> None:
        """The slot is idle; the acceptor that serves next reads the bytes that wait on it. Raises NotLeased."""
        slot = self._end(lease)
        if slot is not None:
            slot.step(SlotEvent.GIVEN_BACK)
            self._idle(slot)

    def lease_closed(self, lease: int) -> None:
        """The proxy has closed the lease: the slot is closed. Raises NotLeased."""
        slot = self._end(lease)
        if slot is not None:
            slot.close()

    def spoke(self, lease: int, data: bytes) -> None:
        """The slot has sent ``data``, unasked: it registers anew by a preamble, or is closed. Raises NotLeased."""
        slot = self._end(lease)
        if slot is not None and slot.register_anew is not None and begins_preamble(data):
            slot.step(SlotEvent.INTRODUCED)
            slot.register_anew(data)
        elif slot is not None:
            slot.close()

    def leave(self, alive: bool = False) -> None:
        """The proxy has hung up. Where it was cut off for a wrong message, its slots are closed, for it may go on using
        them."""
        if self.left:
            return
        self.left = True
        if alive and not self.expired:
            for slot in self.leases.values():
                slot.close()
            self.leases.clear()
        self._over(self)
