"""The two seams of xproxy: an acceptor as a proxy sees it, and a proxy as an acceptor sees it.

In one process both are plain objects that call each other; over the handoff socket the same calls are AMP messages. Calls may
come back before the call that caused them returns (``ask`` may call ``lease_granted`` at once): make them last.
"""

from __future__ import annotations

from typing import Any, MutableSequence, Sequence

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

BOARD_BYTES = 65536
"""The size of a board: one byte for each lease a proxy can have. More than descriptors a process has by default (Linux: 1,024,
systemd: 524,288 at most), and one round number of pages."""


class ILeaseHolder(Interface):
    """A proxy, as its acceptor sees it."""

    def lease_granted(pool: str, lease: int, descriptor: int, service: str) -> None:  # noqa: N805
        """A slot is this holder's until it gives it back.

        :param pool: the pool of the slot, by name.
        :param lease: the number of the lease, unique among the holder's live leases, below ``BOARD_BYTES``.
        :param descriptor: a connected stream socket. The holder owns the number from here on and closes it.
        :param service: who registered the slot, for status and logs.
        """

    def leases_recalled(pool: str, arrivals: Sequence[float]) -> None:  # noqa: N805
        """Others wait for slots of ``pool`` since ``arrivals`` (monotonic seconds, oldest first).

        Replaces what was said before; an empty list takes it back.
        """

    def acceptor_lost() -> None:
        """The acceptor is gone: every lease is an orphan from here on, its number means nothing any more."""

    def acceptor_found() -> None:
        """An acceptor (perhaps a new one) answers: asks must be said again, orphans closed as they become free."""


class ISlotSource(Interface):
    """An acceptor, as a proxy sees it."""

    board: MutableSequence[int] = Attribute("One byte for each lease, set to 1 while an exchange is on it.")

    def ask(pool: str, arrivals: Sequence[float], seen: int) -> None:  # noqa: N805
        """Replace the holder's standing ask.

        :param arrivals: when the waiting requests arrived (monotonic seconds, oldest first), at most ``ASK_WINDOW`` of them.
        :param seen: how many grants of this pool the holder has received since the acceptor was found.
        """

    def give_back(lease: int) -> None:  # noqa: N805
        """The lease is over and the slot is clean: the holder has closed its descriptor without shutting the socket down."""

    def lease_closed(lease: int) -> None:  # noqa: N805
        """The lease is over and the slot is not good any more: the acceptor closes its copy."""

    def census() -> Deferred[dict[str, Any]]:
        """The acceptor's counts of each pool, for ``/status``; fails when no acceptor answers."""
