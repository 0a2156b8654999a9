"""What the book of a pool tells its shell to do, and what it raises when the two disagree."""

from __future__ import annotations

from enum import Enum
from typing import Hashable, Union

import attr


class BookError(ValueError):
    """The caller and the book disagree about a slot, a holder or a borrower. Nothing was changed."""


class AlreadyRegistered(BookError):
    """The slot is in the book."""


class NotIdle(BookError):
    """The slot is not in the ring."""


class NotLeased(BookError):
    """The holder has no lease of this slot."""


class NotLent(BookError):
    """No borrower has this slot."""


class BadAsk(BookError):
    """An arrival that is no time, a number below zero, or more grants seen than were made."""


class AlreadyWaiting(BookError):
    """The borrower waits for a slot already."""


class NotWaiting(BookError):
    """The borrower does not wait for a slot."""


class Ending(Enum):
    """How a lease or a loan is over."""

    CLEAN = "clean"
    """The slot is as good as before: it is idle again."""
    CLOSED = "closed"
    """The slot is not good any more."""
    ANEW = "anew"
    """The slot is to register anew, after a preamble that came late: it is out of the book, and open."""


@attr.frozen
class Grant:
    """Lease this slot to this holder."""

    holder: Hashable
    slot: int


@attr.frozen
class Lend:
    """Lend this slot to this borrower, a one-byte client. It waits no longer."""

    borrower: Hashable
    slot: int


@attr.frozen
class Recall:
    """Tell this holder that others wait; replaces what it was told before, 0 takes it back."""

    holder: Hashable
    waiting: int
    """How many of the others' requests wait, when this was said; how many do later is not said again, but that none does."""
    number: int = 0
    """Not 0: the holder must say when it has given back what it can (``PoolBook.recall_done``)."""


@attr.frozen
class Answer:
    """Tell this holder that everything that its asks up to this question could bring was granted."""

    holder: Hashable
    question: int


@attr.frozen
class AskBack:
    """Ask this holder to give this lease back if it is free: another one has fewer free leases of its service."""

    holder: Hashable
    slot: int


@attr.frozen
class Close:
    """Shut the socket down and close the acceptor's copy. The slot is out of the book."""

    slot: int


Action = Union[Grant, Lend, Recall, Answer, AskBack, Close]
