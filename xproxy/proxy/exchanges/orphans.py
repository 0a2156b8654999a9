"""Orphans: slots that were leased from an acceptor that is gone. The next one is offered them; what it refuses is closed when
free.

So services notice nothing of the death of an acceptor as long as their slots are leased, and these are seen by everybody again.
"""

from __future__ import annotations

from ...interfaces import ISlotSource
from ...net.descriptors import descriptors_of
from .pool import Pool


def offer(pool: Pool, source: ISlotSource) -> None:
    """Offer the orphans of a pool to an acceptor that answers. Said before ``Pool.attach``.

    One that can't be (for want of descriptors) stays one.
    """
    descriptors = descriptors_of(pool.reactor)
    for slot in list(pool.slots):
        if slot.lease.orphaned:
            try:
                copy = descriptors.dup(slot.transport.getHandle())
                number = source.offer(pool.config.name, copy, slot.service, slot.exchange is not None)
            except OSError:
                continue
            slot.lease.offered(source, number)


def refused(pool: Pool, number: int) -> None:
    """The acceptor does not want this one."""
    for slot in [slot for slot in pool.slots if slot.lease.number == number and not slot.lease.orphaned]:
        slot.lease.orphan()
        if slot.exchange is None:
            slot.close()
