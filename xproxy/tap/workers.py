"""What ``twistd xproxy`` is with workers: how many, what there is room for in each, and how the parent sees the acceptor."""

from __future__ import annotations

import os
from typing import Any

import attr
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ..acceptor.acceptor_service import AcceptorService
from ..config import Config
from ..config.checks import MAX_WORKERS
from ..interfaces import ILeaseHolder
from ..net.descriptors import descriptors_of
from .room import Room, hard_limit, room_for


def workers_of(config: Config) -> int:
    """How many workers a configuration wants; with ``"auto"`` as many as this process may use cores."""
    return config.proxy.workers or min(MAX_WORKERS, usable_cores())


def usable_cores() -> int:
    """How many cores this process may use (sched_setaffinity(2)). PyPy has no name for the call: there proc(5) says it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            (mask,) = (line.split()[1] for line in file if line.startswith("Cpus_allowed:"))
    except OSError:  # No Linux.
        return os.cpu_count() or 1
    return bin(int(mask.replace(",", ""), 16)).count("1")


def worker_room(config: Config) -> tuple[int, int]:
    """How many clients and files there are descriptors for in a worker, whose limit is that of its parent."""
    room = room_for(config, hard_limit(), accepts_slots=False)
    return room.clients, room.files


def lacking(config: Config) -> list[Room]:
    """The room of one worker, with a complaint, where all workers together have too little for ``limits.connections``; else
    empty."""
    room = room_for(config, hard_limit(), accepts_slots=False)
    count = workers_of(config)
    if room.clients * count >= config.limits.connections:
        return []
    return [attr.evolve(room, complaint=f"in each of {count} workers {room.complaint}")]


class Onlooker:
    """The acceptor of this process, for a parent that only shows its census: no slot source, since a parent has no requests."""

    answers = True

    def __init__(self, acceptor: AcceptorService) -> None:
        self._acceptor = acceptor

    def census(self) -> Deferred[Any]:
        """See ISlotSource."""
        return succeed(self._acceptor.census())


@implementer(ILeaseHolder)
class Idle:
    """A holder that never asks, and so is granted nothing: for a parent that only shows the census of another process'
    acceptor."""

    def __init__(self, reactor: Any) -> None:
        self._descriptors = descriptors_of(reactor)

    def lease_granted(self, pool: str, lease: int, descriptor: int, service: str) -> None:
        """See ILeaseHolder."""
        self._descriptors.close(descriptor)

    def leases_recalled(self, pool: str, waiting: int, at_once: bool = False) -> None:
        """See ILeaseHolder."""

    def lease_asked_back(self, pool: str, lease: int) -> None:
        """See ILeaseHolder."""

    def ask_answered(self, pool: str, question: int) -> None:
        """See ILeaseHolder."""

    def service_registered(self, pool: str, registered: bool) -> None:
        """See ILeaseHolder."""

    def offer_refused(self, pool: str, lease: int) -> None:
        """See ILeaseHolder."""

    def acceptor_lost(self) -> None:
        """See ILeaseHolder."""

    def acceptor_found(self) -> None:
        """See ILeaseHolder."""
