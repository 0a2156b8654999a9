"""The seams of xproxy.

Between its parts: an acceptor as a proxy sees it (ISlotSource), and a proxy as an acceptor sees it (ILeaseHolder). In one
process both are plain objects that call each other; over the handoff socket the same calls are AMP messages. Calls may come
back before the call that caused them returns (``ask`` may call ``lease_granted`` at once): make them last.

For others to provide, as Twisted plugins that the configuration names: guards (IGuardMaker, IGuard), and
dispatch (IDispatch).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, MutableSequence, Sequence, Tuple, Union

import attr
from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from .slots.tides import Tide

BOARD_BYTES = 65536
"""The size of a board: one byte for each lease a proxy can have. More than descriptors a process has by default (Linux: 1,024,
systemd: 524,288 at most), and one round number of pages."""

MAX_WAITING = BOARD_BYTES
"""As many waiting requests an ask tells of at most: no holder can have more leases."""

ANSWER_S = 1.0
"""How long a holder waits for the answer to a question before it takes it that there is none: many round trips of any other
holder that has to give a lease back first."""


class ILeaseHolder(Interface):
    """A proxy, as its acceptor sees it."""

    def lease_granted(pool: str, lease: int, descriptor: int, service: str) -> None:  # noqa: N805
        """A slot is this holder's until it gives it back.

        :param pool: the pool of the slot, by name.
        :param lease: the number of the lease, unique among the holder's live leases, below ``BOARD_BYTES``.
        :param descriptor: a connected stream socket. The holder owns the number from here on and closes it.
        :param service: who registered the slot, for status and logs.
        """

    def leases_recalled(pool: str, waiting: int, at_once: bool = False) -> None:  # noqa: N805
        """At other holders so many requests wait for slots of ``pool``. Replaces what was said before; 0 takes it back.

        From now on the holder looks at ``ISlotSource.tide``, and gives back by the rules of ``slots.line``.

        :param at_once: free leases are given back before this returns, as many as wait as far as there are any.
        """

    def lease_asked_back(pool: str, lease: int) -> None:  # noqa: N805
        """Give this lease back if it is free and nobody waits here; else nothing has to be done. Another holder has none, or
        fewer free ones, of its service.
        """

    def ask_answered(pool: str, question: int) -> None:  # noqa: N805
        """Everything that an ask with this ``question`` could bring has been granted: no slot of ``pool`` is idle anywhere that
        could still come, or all that it was about have theirs. Comes after those grants.

        Requests past ``queue_limit`` wait for it; so it comes soon, within ``ANSWER_S`` whatever other holders do.
        """

    def service_registered(pool: str, registered: bool) -> None:  # noqa: N805
        """Whether any slot of ``pool`` is registered, idle or leased, with whomever.

        Said for each pool when the holder comes (after ``acceptor_found``), and when it changes; that nobody is registered any
        more may be said up to a second late, so that a service of one slot that dials again is no news. A holder that was told
        nothing takes it that somebody is.
        """

    def acceptor_lost() -> None:
        """The acceptor is gone: every lease is an orphan from here on, its number means nothing any more."""

    def acceptor_found() -> None:
        """An acceptor (perhaps a new one) answers: orphans are to be offered to it, then asks to be said again."""

    def offer_refused(pool: str, lease: int) -> None:  # noqa: N805
        """The acceptor does not want this lease, which was offered: it is an orphan, to be closed as soon as it is free."""


class ISlotSource(Interface):
    """An acceptor, as a proxy sees it."""

    board: MutableSequence[int] = Attribute("One byte for each lease, set to 1 while an exchange is on it.")

    answers: bool = Attribute("Whether the acceptor answers: False while it is lost, or hung.")

    def tide(pool: str) -> Tide:  # noqa: N805
        """What the others wait for, and where to say what waits here, for as long as the acceptor is the same."""

    def ask(pool: str, waiting: int, seen: int, question: int = 0) -> None:  # noqa: N805
        """Replace the holder's standing ask.

        The first ask in a pool, be it empty, says that the holder serves it: from then on idle slots are dealt to it ahead of
        need. ``GRANT_WINDOW`` of them at most are on their way; so an ask is due now and then for its ``seen`` alone.

        :param waiting: how many requests wait, MAX_WAITING at most. Since when is said by ``tide``, before.
        :param seen: how many grants of this pool the holder has received since the acceptor was found.
        :param question: not 0: the holder wants ``ask_answered`` with this number. The numbers of a pool rise; a question
            stands in each ask until it is answered, and a newer one takes the place of an older one.
        """

    def offer(pool: str, descriptor: int, service: str, busy: bool) -> int:  # noqa: N805
        """This slot was leased from an acceptor that is gone, and is in use or free: it is leased from this one from here on,
        unless ``offer_refused`` comes. Only before the first ask after ``acceptor_found``.

        :param descriptor: a copy, which is the source's from here on.
        :param busy: an exchange is on it; the board says so when this returns.
        :return: the number of the lease.
        :raises OSError: this can't be: the slot stays an orphan.
        """

    def give_back(lease: int) -> None:  # noqa: N805
        """The lease is over and the slot is clean: the holder has closed its descriptor without shutting the socket down."""

    def lease_closed(lease: int) -> None:  # noqa: N805
        """The lease is over and the slot is not good any more: the acceptor closes its copy."""

    def spoke(lease: int, data: bytes) -> None:  # noqa: N805
        """The lease is over: no exchange was on it, and the service sent ``data``, which nobody asked for; nothing: it hung up.

        The acceptor judges it: a preamble that comes late (``slots.registration.begins_preamble``) registers the slot anew, so
        the holder closes its descriptor before, without shutting the socket down.
        """

    def census() -> Deferred[dict[str, Any]]:
        """The acceptor's counts of each pool, for ``/status``; fails when no acceptor answers."""


@attr.frozen
class GuardedRequest:
    """A request as its guards see it: the head, after every check of ours and before any of its body is read."""

    method: bytes
    scheme: bytes
    """``http`` or ``https``, as the client came; a trusted balancer's word counts."""
    host: bytes
    """The effective authority (RFC 9112 section 3.3)."""
    target: bytes
    """Path and query as received, or ``*``."""
    fields: bytes
    """The end-to-end header lines, each ended by CRLF."""
    peer: str
    """The client's address, without a port; empty for a UNIX socket."""
    pool: str
    """Where its route leads."""


@attr.frozen
class Admitted:
    """A verdict: the request goes on, with these changes to its end-to-end header fields."""

    removed: Tuple[bytes, ...] = ()
    """Names of fields that go no further, and of those that services may take for them (``X_User`` for ``X-User``)."""
    added: Tuple[Tuple[bytes, bytes], ...] = ()
    """Fields that are added; one of the same name that the client sent goes no further."""


@attr.frozen
class Denied:
    """A verdict: the request gets an answer of ours."""

    status: int = 403
    """400 to 599."""
    reason: str = "denied"
    """The short label for the error page, the access log and the metrics: letters, digits and ``-``."""
    added: Tuple[Tuple[bytes, bytes], ...] = ()
    """Fields of the answer, such as WWW-Authenticate."""


Verdict = Union[Admitted, Denied]


class IGuard(Interface):
    """Decides whether requests may pass. One for each entry of ``[guards]``, for all requests of the routes that name it."""

    def judge(request: GuardedRequest) -> Union[Verdict, Deferred[Verdict]]:  # noqa: N805
        """Say whether a request may pass.

        :return: the verdict, or a Deferred of it. The Deferred is cancelled when the client leaves and when the guard's timeout
            is over; then, and when ``judge`` or the Deferred fails, the request is refused.
        """


class IGuardMaker(IPlugin):
    """A kind of guard, found as a Twisted plugin (a module in ``twisted/plugins``) and named in the configuration."""

    name: str = Attribute("What ``[guards.NAME] kind`` calls it.")

    def make(reactor: Any, options: Mapping[str, object]) -> IGuard:  # noqa: N805
        """A guard.

        :param options: the keys of the guard's table that are not ours, as TOML gave them.
        :raises ValueError: an option is missing, unknown or wrong; the text goes behind the guard's name in the message.
        """


class IIdleSlots(Interface):
    """The idle slots of a pool at its acceptor. A slot is in it once at most; who asks for what is not in it gets a KeyError.

    It has a length, and is iterated over slot by slot.
    """

    def put(slot: Any, service: str) -> None:  # noqa: N805
        """A slot of this service is idle."""

    def take() -> Any:
        """The slot that is used next, which is idle no longer."""

    def take_for(held: Mapping[str, int]) -> Any:  # noqa: N805
        """The same for a proxy that holds so many slots of each service."""

    def remove(slot: Any, service: str) -> None:  # noqa: N805
        """A slot is idle no more, out of turn."""

    def has(slot: Any, service: str) -> bool:  # noqa: N805
        """Whether a slot is idle."""

    def of(service: str) -> int:  # noqa: N805
        """How many slots of a service are idle."""


class IWaiting(Interface):
    """Who waits in the line of a pool in one proxy. It has a length."""

    def add(waiter: Any, arrival: float) -> None:  # noqa: N805
        """A new one; arrivals are monotonic seconds and rise."""

    def add_again(waiter: Any, arrival: float) -> None:  # noqa: N805
        """One whose slot turned out not to serve it: it keeps its arrival."""

    def remove(waiter: Any) -> bool:  # noqa: N805
        """Wait no longer; False when it did not wait."""

    def take() -> Any:
        """Who is served next, and waits no longer; None when nobody waits."""

    def arrival_of(waiter: Any) -> float:  # noqa: N805
        """When a new one arrived. Raises KeyError."""

    def oldest() -> Any:
        """When the one who waits longest arrived, None when nobody waits: what other proxies are told."""

    def arrived_by(latest: float) -> Sequence[Any]:  # noqa: N805
        """Everybody who arrived at ``latest`` or before, oldest first: who has waited too long."""


class IDispatch(IPlugin):
    """Which idle slot takes the next request, and which waiting request the next slot: what the two are kept in."""

    name: str = Attribute("What ``dispatch`` of a pool calls it.")

    def idle_slots() -> Any:
        """An empty IIdleSlots: where an acceptor keeps the idle slots of one pool."""

    def free_leases() -> Any:
        """Where a proxy keeps the leases of one pool that are free, empty: with ``append``, ``extend``, ``popleft`` (the one
        that is used next), ``remove`` (ValueError when it is not there), ``clear``, a length and iteration, as a deque has."""

    def waiting() -> Any:
        """An empty IWaiting: where a proxy keeps who waits for a slot of one pool."""
