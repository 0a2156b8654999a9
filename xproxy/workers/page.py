"""How many clients each worker has, in memory that they share: ``limits.connections`` is of the whole.

A worker writes its own number before it reads those of the others, so that two workers that let a client in at the same moment
count each other's. Each worker writes its number four times a second too: a client that has left is counted until then.
"""

from __future__ import annotations

import mmap
import struct
from typing import Any, Tuple

from ..config.checks import MAX_WORKERS
from ..net.descriptors import IDescriptors
from ..net.sweep import NEVER

_ENTRY = struct.Struct("=Q")
_ALL = struct.Struct(f"={2 * MAX_WORKERS}Q")

PAGE_BYTES = _ALL.size


class Page:
    """The shared memory: one number for each worker, and one for each that drains beside its successor.

    :param memory: PAGE_BYTES that can be written to.
    """

    def __init__(self, memory: Any) -> None:
        self._memory = memory

    def write(self, number: int, clients: int, leaving: bool = False) -> None:
        """Note how many clients a worker has.

        :param number: of its seat, from 1.
        :param leaving: the worker drains beside its successor, which has the seat.
        """
        _ENTRY.pack_into(self._memory, (number - 1 + leaving * MAX_WORKERS) * _ENTRY.size, clients)

    def total(self) -> int:
        """How many clients all workers have."""
        return sum(_ALL.unpack_from(self._memory))


def made_page(descriptors: IDescriptors) -> Tuple[int, Page]:
    """A new page: a descriptor, which is the caller's, and the page. Raises OSError."""
    descriptor, memory = descriptors.memory(PAGE_BYTES)
    return descriptor, Page(memory)


def received_page(descriptor: int) -> Page:
    """The page of a descriptor, which stays the caller's. Raises OSError or ValueError."""
    return Page(mmap.mmap(descriptor, PAGE_BYTES))


class Share:
    """A worker's own part in the page: the front asks it whether there is room. Swept, so that clients that have left are not
    counted.

    :param number: of the worker's seat, from 1.
    :param clients: those of this worker; counted, not changed.
    """

    deadline = -NEVER

    def __init__(self, page: Page, number: int, clients: Any) -> None:
        self._page = page
        self._number = number
        self._clients = clients
        self._leaving = False

    def leave(self) -> None:
        """A successor has this worker's place in the page."""
        self._leaving = True
        self.deadline_passed(0.0)

    def elsewhere(self, here: int) -> int:
        """This worker will have so many clients; gives how many the others have."""
        self._page.write(self._number, here, self._leaving)
        return self._page.total() - here

    def deadline_passed(self, now: float) -> None:
        """Write the number again, at each sweep."""
        self._page.write(self._number, len(self._clients), self._leaving)
