"""A successor takes everything from the acceptor that runs: its end of their connection. See docs/architecture/takeover.md."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Protocol, Tuple

import attr
from twisted.internet.interfaces import IDelayedCall

from ...handoff import takeover
from ...handoff.boxes import Box
from ...handoff.connection import BoxConnection, Refused
from ...handoff.passing import watch_descriptors
from ...net.descriptors import IDescriptors
from ...startup import StartupError
from .states import TAKER, TakerInput, Taking

TAKE_S = 15.0
"""How many seconds the acceptor may take to give everything: more than its own bound (``giver.GIVE_S``)."""

TOOK_EVERY = takeover.WINDOW // 2
"""After so many sockets a Took says how many have come."""


@attr.define
class Inheritance:
    """The sockets that have come. Owns their descriptors until they are taken out."""

    listening: Dict[Tuple[str, str], int] = attr.field(factory=dict)
    """Listening sockets, by kind and description."""
    slots: List[Tuple[takeover.SlotGiven, int]] = attr.field(factory=list)

    def close(self, descriptors: IDescriptors) -> None:
        """Close the descriptors that nobody took out: our copies, and nothing else."""
        for descriptor in (*self.listening.values(), *(descriptor for _, descriptor in self.slots)):
            descriptors.close(descriptor)
        self.listening.clear()
        self.slots.clear()


class Heir(Protocol):
    """The part of the program that takes over."""

    def prepare(self, inheritance: Inheritance) -> None:
        """Listen on the endpoints whose sockets did not come; take nothing out. Raises StartupError."""

    def serve(self, inheritance: Inheritance) -> None:
        """Take everything out, and serve: there is no other acceptor any more. Raises StartupError: then nobody serves."""

    def came_late(self, slot: takeover.SlotGiven, descriptor: int) -> None:
        """Another idle slot came after ``serve``; its descriptor is the heir's."""

    def proxy_came(self, descriptor: int) -> None:
        """The connection of a proxy, which is yours."""

    def former_gone(self) -> None:
        """The former acceptor is gone altogether."""

    def failed(self, reason: str) -> None:
        """The takeover has failed: the former acceptor serves on, or there is none."""


class Taker(BoxConnection):
    """See the module.

    :param reactor: an IReactorTime.
    :ivar state: of the takeover.
    """

    max_descriptors = 2 * takeover.WINDOW

    def __init__(self, heir: Heir, reactor: Any) -> None:
        super().__init__(reactor)
        self.state = Taking.ASKED
        self._heir = heir
        self._clock = reactor
        self._inheritance = Inheritance()
        self._number = 0
        self._due: Optional[IDelayedCall] = None

    def connectionMade(self) -> None:
        """Connected: ask for everything."""
        super().connectionMade()
        transport: Any = self.transport
        watch_descriptors(transport, self.descriptor_lost)
        self._due = self._clock.callLater(TAKE_S, self.drop, "that acceptor did not give everything in time")
        transport.write(bytes((takeover.FIRST_BYTE,)))
        self.send(takeover.encode(takeover.TakeOver(takeover.VERSION)))

    # -- from the acceptor

    def box_received(self, box: Box) -> None:
        """One message. Raises Refused and MalformedMessage."""
        message = takeover.decode(box)
        if isinstance(message, takeover.SlotGiven) and self.state is Taking.SERVING:
            self._heir.came_late(message, self.claim(message.slot))
        elif isinstance(message, takeover.ProxyGiven) and self.state is Taking.SERVING:
            self._heir.proxy_came(self.claim(message.connection))
        elif isinstance(message, takeover.Giving) and self.state is Taking.ASKED:
            self._step(TakerInput.GIVING)
        elif isinstance(message, takeover.Aborted) and self.state is not Taking.SERVING:
            self._fail(TakerInput.ABORTED, message.reason.decode("utf-8", "replace"))
        elif isinstance(message, takeover.Yours) and self.state is Taking.READY:
            self._serve(TakerInput.YOURS)
        elif self.state is Taking.RECEIVING:
            self._take(message)
        else:
            raise Refused("a message came that is not for this moment of a takeover")

    def _take(self, message: takeover.Message) -> None:
        if isinstance(message, takeover.ListeningGiven):
            key = message.kind, message.description.decode("utf-8", "replace")
            descriptor = self.claim(message.socket)
            if key in self._inheritance.listening:
                self.descriptors.close(descriptor)
                raise Refused("the same listening socket came twice")
            self._inheritance.listening[key] = descriptor
        elif isinstance(message, takeover.SlotGiven):
            self._inheritance.slots.append((message, self.claim(message.slot)))
        elif isinstance(message, takeover.Given):
            if message.number != self._number:
                raise Refused(f"{self._number} sockets came, and that acceptor counts {message.number}")
            self._prepare()
            return
        else:
            raise Refused("a message came that is not for this moment of a takeover")
        self._number += 1
        if self._number % TOOK_EVERY == 0:
            self.send(takeover.encode(takeover.Took(self._number)))

    def _prepare(self) -> None:
        """Everything is here. From our Ready on, only a message of the acceptor or its death decides who serves."""
        try:
            self._heir.prepare(self._inheritance)
        except StartupError as error:
            self._fail(TakerInput.UNFIT, str(error))
            return
        self._step(TakerInput.PREPARED)
        self._stop_due()
        self.send(takeover.encode(takeover.Ready()))

    # -- what comes of it

    def _step(self, what: TakerInput) -> None:
        self.state = TAKER[self.state, what]

    def _serve(self, what: TakerInput) -> None:
        self._step(what)
        self._stop_due()
        try:
            self._heir.serve(self._inheritance)
        except StartupError as error:  # Nobody else has anything any more: whoever started us has to know.
            self._inheritance.close(self.descriptors)
            self._heir.failed(str(error))

    def _fail(self, what: TakerInput, reason: str) -> None:
        self._step(what)
        self._stop_due()
        self._inheritance.close(self.descriptors)
        if not self.was_dropped:
            super().drop(reason)
        self._heir.failed(reason)

    def answering(self, answers: bool) -> None:
        """Never asked."""

    def drop(self, reason: str) -> None:
        """Give up. An acceptor that was not sent our Ready serves on; after Ready its own message decides."""
        if self.state in (Taking.ASKED, Taking.RECEIVING):
            self._fail(TakerInput.UNFIT, reason)
        else:
            super().drop(reason)

    def ended(self, reason: str) -> None:
        """The connection is gone. An acceptor that serves on sends Aborted first; so this one has died, and everything is
        ours."""
        self._stop_due()
        if self.state is Taking.RECEIVING:
            try:
                self._heir.prepare(self._inheritance)
            except StartupError as error:
                self._fail(TakerInput.UNFIT, str(error))
                return
        if self.state is Taking.ASKED:
            self._fail(TakerInput.DIED, "the acceptor there does not give itself to this user or this program")
        elif self.state is Taking.READY and self.was_dropped:
            self._fail(TakerInput.UNFIT, reason)
        elif self.state in (Taking.RECEIVING, Taking.READY):
            self._serve(TakerInput.DIED)
            self._heir.former_gone()
        elif self.state is Taking.SERVING:
            self._heir.former_gone()

    def _stop_due(self) -> None:
        due, self._due = self._due, None
        if due is not None and due.active():
            due.cancel()
