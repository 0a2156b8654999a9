"""A slot at the acceptor, from its registration to its end.

The acceptor keeps the transport on which the service dialled in, and lends copies of its socket. For a slot that came over TLS
that is the outer end of its bridge's socket pair (see ``tls_slots``): nothing here knows of the difference.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Callable, Optional

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from ..net.descriptors import Identity, IDescriptors, unread
from ..slots.book import PoolBook
from ..slots.parked_states import SlotEvent, SlotState, after
from ..slots.serving.goodbye import MAX_GOODBYE_BYTES

if TYPE_CHECKING:
    from .holding import Holding
    from .loan import Loan

_DONE = Failure(ConnectionDone("the slot is over"))


class ParkedSlot:
    """One registered slot.

    It owns the transport. ``watch`` and ``rest`` switch the reading on and off: the acceptor reads from a slot that is idle or
    lent.

    :param number: the slot's name in the books, never used twice.
    :param book: that of its pool.
    :param service: who registered it, for status and logs.
    :param transport: the Twisted transport it came on.
    :param lent: the socket whose copies go to the proxies.
    :param descriptors: whose they are.
    :param register_anew: None, unless the slot was taken for raw because it said nothing. Then a preamble may still come, and
        this is given its first bytes. The slot is the caller's no more. Nobody who has had it and given it back says whether it
        was used; from then on what looks like a preamble may be the content of an answer, and is none.
    :ivar state: where it is; changed by ``step``.
    """

    __slots__ = (
        "number", "book", "service", "state", "holding", "lease", "loan", "ignores_close", "register_anew", "transport",
        "_lent", "_descriptors", "_resting",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        book: PoolBook,
        service: str,
        transport: Any,
        lent: socket.socket,
        descriptors: IDescriptors,
        register_anew: Optional[Callable[[bytes], None]] = None,
    ) -> None:
        self.number = number
        self.book = book
        self.service = service
        self.state = after(SlotState.REGISTERING, SlotEvent.ADMITTED)
        self.holding: Optional[Holding] = None
        """Who leases it, while it is leased."""
        self.lease = -1
        """The number of that lease."""
        self.loan: Optional[Loan] = None
        """While it is lent."""
        self.ignores_close = False
        """Its service has kept the connection though a request said that it ends."""
        self.register_anew = register_anew
        self.transport = transport
        self._lent = lent
        self._descriptors = descriptors
        self._resting = False

    @property
    def pool(self) -> str:
        """The name of its pool."""
        return self.book.name

    def step(self, event: SlotEvent) -> None:
        """This happens to the slot. Raises ImpossibleTransition, which is a mistake of ours."""
        self.state = after(self.state, event)
        if event is SlotEvent.GIVEN_BACK:
            self.register_anew = None

    def watch(self) -> None:
        """Read: end of file and bytes are noticed, those that wait already too.

        Whether reading blocks is a property of the open socket, not of a descriptor: whoever had a copy may have changed it
        (Python itself does on PyPy, when it makes a socket of a descriptor).
        """
        if self._resting:
            self._resting = False
            self._lent.setblocking(False)
            self.transport.resumeProducing()

    def rest(self) -> None:
        """Read nothing: what comes is meant for whoever has the slot."""
        self._resting = True
        self.transport.pauseProducing()

    def copy(self) -> int:
        """A new descriptor of the lent socket, which is the caller's. Raises OSError when the process has too many."""
        return self._descriptors.dup(self._lent)

    def identity(self) -> Identity:
        """What its descriptors have in common, here and elsewhere."""
        return self._descriptors.identity(self._lent.fileno())

    def unread(self) -> Optional[bytes]:
        """What waits to be read, left there: empty at the end of file, None when nothing does, which is how a clean slot is."""
        return unread(self._lent, MAX_GOODBYE_BYTES)

    def spoke(self) -> bool:
        """Whether anything waits to be read, the end of file included."""
        return self.unread() is not None

    def say(self, data: bytes) -> None:
        """Send last words to the service, as far as it takes them at once."""
        try:
            self._lent.send(data, socket.MSG_DONTWAIT)
        except OSError:
            pass  # It reads nothing, or is gone: then it does not want to know.

    def close(self) -> None:
        """Shut the connection down, which every copy of the descriptor sees, and close ours.

        Not by ``loseConnection``: that waits until the socket is writable, which it never is again when the proxy has filled it
        and the service reads no more. There is nothing of ours to flush.
        """
        if self.state is not SlotState.CLOSED:
            self.step(SlotEvent.ENDED)
            self.transport.connectionLost(_DONE)

    def let_go(self) -> None:
        """Close our copy only: whoever has another one goes on using the connection."""
        if self.state is not SlotState.CLOSED:
            self.step(SlotEvent.ENDED)
            self.transport.pauseProducing()
            # The transport shuts its socket down when it is lost; so it is left with a socket object that has none.
            self._descriptors.close(self._lent.detach())
            self.transport.connectionLost(_DONE)
