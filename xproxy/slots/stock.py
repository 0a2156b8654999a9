"""What a pool has at the acceptor, as anybody may look at it: its slots and those who wait. Pure, a part of ``slots.book``."""

from __future__ import annotations

from typing import Callable, Dict, Hashable, Set, Tuple

from xproxy.slots.holder import Holder
from xproxy.slots.questions import Questions
from xproxy.slots.ring import Ring
from xproxy.slots.tides import ASHORE


class Stock:
    """The slots of one pool, each idle, leased or lent, its holders and its borrowers. Only the PoolBook changes any of them.

    :param idle_slots: see PoolBook.
    """

    def __init__(self, idle_slots: Callable[[], Ring[int]]) -> None:
        self._tide = ASHORE
        self._services: Dict[int, str] = {}
        """Whose each registered slot is."""
        self._ring: Ring[int] = idle_slots()
        self._leased: Set[int] = set()
        self._lent: Set[int] = set()
        self._holders: Dict[Hashable, Holder] = {}
        self._borrowers: Dict[Hashable, float] = {}
        """One-byte clients that wait, and since when."""
        self._questions = Questions()

    @property
    def registered(self) -> int:
        """Slots in the book: idle + leased + lent."""
        return len(self._services)

    @property
    def idle(self) -> int:
        """Slots in the ring."""
        return len(self._ring)

    @property
    def leased(self) -> int:
        """Slots that holders have."""
        return len(self._leased)

    @property
    def lent(self) -> int:
        """Slots that borrowers have."""
        return len(self._lent)

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot, as far as the asks tell of them, and waiting borrowers."""
        return sum(record.waiting for record in self._holders.values()) + len(self._borrowers)

    @property
    def waiting_now(self) -> int:
        """The same as the tide table has it."""
        return self._tide.waiting_elsewhere() + len(self._borrowers)

    @property
    def round_number(self) -> int:
        """The number of the recalls that holders have not all confirmed, 0 when there are none; see ``slots.questions``."""
        return self._questions.number

    def leases_of(self, holder: Hashable) -> Tuple[int, ...]:
        """The slots this holder has, in the order of the grants; empty when it is unknown."""
        record = self._holders.get(holder)
        return () if record is None else tuple(record.leases)
