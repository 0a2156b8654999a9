"""Idle slots, taken in turn over their services, so that load spreads over the services however little of it there is.

The acceptor's book has such a ring of the slots that nobody leases, and each proxy's line one of the leases that are free. A
queue of slots alone would do only while every slot is used: of 32 slots that 4 services parked one after the other, a proxy
that was given the first one would go on using that one. Pure.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice
from typing import Deque, Dict, Generic, Hashable, Iterator, Mapping, Optional, TypeVar

SlotT = TypeVar("SlotT", bound=Hashable)

LOOK_SERVICES = 16
"""How many services, from the one whose turn it is, are compared when a slot of a service that is held least is wanted."""

KEPT_TURNS = 64
"""Services without an idle slot that are remembered at least, so that a busy one is not forgotten and made anew each time."""


class _Turn(Generic[SlotT]):
    """The idle slots of one service, whose turn was longest ago first."""

    __slots__ = ("service", "slots", "queued")

    def __init__(self, service: str) -> None:
        self.service = service
        self.slots: OrderedDict[SlotT, None] = OrderedDict()
        self.queued = False


class Ring(Generic[SlotT]):
    """The idle slots of one pool. A slot is in it once at most; who asks for what is not in it gets a KeyError."""

    __slots__ = ("_turns", "_services", "_size")

    def __init__(self) -> None:
        self._turns: Deque[_Turn[SlotT]] = deque()
        """Those with slots, and some of which the last was removed out of turn."""
        self._services: Dict[str, _Turn[SlotT]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[SlotT]:
        """Every slot, service by service."""
        for turn in list(self._services.values()):
            yield from list(turn.slots)

    def put(self, slot: SlotT, service: str) -> None:
        """A slot is idle: the last one of its service; a service that had none has its turn after all others."""
        turn = self._services.get(service)
        if turn is None:
            if len(self._services) > KEPT_TURNS + 2 * len(self._turns):
                self._forget()
            turn = self._services[service] = _Turn(service)
        turn.slots[slot] = None
        self._size += 1
        if not turn.queued:
            turn.queued = True
            self._turns.append(turn)

    def take(self) -> SlotT:
        """The next slot of the service whose turn it is, which then stands at the end. Raises KeyError when there is none."""
        if not self._size:
            raise KeyError("no slot is idle")
        turns = self._turns
        turn = turns.popleft()
        while not turn.slots:
            turn.queued = False
            turn = turns.popleft()
        return self._take_from(turn)

    def take_for(self, held: Mapping[str, int]) -> SlotT:
        """The same for somebody who has slots already: of the next LOOK_SERVICES services the one that they hold least of.

        :param held: how many slots of each service they hold.
        """
        best = -1
        fewest: Optional[int] = None
        for index, turn in enumerate(islice(self._turns, LOOK_SERVICES)):
            if turn.slots:
                number = held.get(turn.service, 0)
                if fewest is None or number < fewest:
                    best, fewest = index, number
        if best <= 0:
            return self.take()
        turn = self._turns[best]
        del self._turns[best]
        return self._take_from(turn)

    def remove(self, slot: SlotT, service: str) -> None:
        """A slot is idle no more, out of turn. Raises KeyError when it was not in the ring."""
        del self._services[service].slots[slot]
        self._size -= 1

    def has(self, slot: SlotT, service: str) -> bool:
        """Whether a slot is in the ring."""
        turn = self._services.get(service)
        return turn is not None and slot in turn.slots

    def of(self, service: str) -> int:
        """How many slots of a service are in the ring."""
        turn = self._services.get(service)
        return 0 if turn is None else len(turn.slots)

    def _take_from(self, turn: _Turn[SlotT]) -> SlotT:
        """Take the first slot of a service that was taken out of the turns, and let it stand at the end of them."""
        slot, _ = turn.slots.popitem(last=False)
        self._size -= 1
        if turn.slots:
            self._turns.append(turn)
        else:
            turn.queued = False
        return slot

    def _forget(self) -> None:
        """Forget the services without an idle slot: their names are chosen by strangers."""
        self._services = {service: turn for service, turn in self._services.items() if turn.queued}
