"""An acceptor gives everything to its successor: its end of their connection. See docs/architecture/takeover.md."""

from __future__ import annotations

from typing import Any, Callable, Iterator, Optional

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ...handoff import takeover
from ...handoff.boxes import Box
from ...handoff.connection import BoxConnection, Refused
from ...net.descriptors import unread
from .listening import ListeningEstate, Thing
from .states import GIVER, GiverInput, Giving

PART_S = 2.0
"""How many seconds proxies may take to hang up: they have nothing to wait for."""

GONE = "the successor is gone"

GIVE_S = 10.0
"""How many seconds the takeover may take, from the first message to the successor's Ready: a proxy waits as long for its
Hello."""


class Giver(BoxConnection):
    """See the module.

    :param reactor: an IReactorTime.
    :param gone: called when the successor has everything; None: this acceptor can't be taken over.
    :param patience_s: how long the successor may take to ask for the takeover.
    :param failed: told why a takeover has failed, or why the successor has not asked for it.
    :ivar state: of the takeover; None before the successor has asked for it.
    """

    _log = Logger()

    def __init__(
        self,
        estate: ListeningEstate,
        reactor: Any,
        gone: Optional[Callable[[], object]],
        patience_s: float = GIVE_S,
        failed: Callable[[str], object] = lambda reason: None,
    ) -> None:
        super().__init__(reactor)
        self._patience_s = patience_s
        self._failed = failed
        self.state: Optional[Giving] = None
        self._estate = estate
        self._clock = reactor
        self._gone = gone
        self._begun = False
        self._things: Iterator[Thing] = iter(())
        self._sent = self._took = 0
        self._parting_due: Optional[IDelayedCall] = None
        self._due: Optional[IDelayedCall] = None

    @property
    def is_giving(self) -> bool:
        """Whether this acceptor is being given, or gone."""
        return self.state is not None and self.state is not Giving.ABORTED

    @property
    def is_gone(self) -> bool:
        """Whether the successor has everything."""
        return self.state is Giving.GONE

    # -- from the successor

    def connectionMade(self) -> None:
        """Connected: the successor has to ask for the takeover within GIVE_S."""
        super().connectionMade()
        self._due = self._clock.callLater(self._patience_s, self.drop, "the other end did not ask for a takeover in time")

    def dataReceived(self, data: bytes) -> None:
        """Bytes; the very first one has said that the connection is for a takeover."""
        if not self._begun:
            self._begun = True
            data = data[1:]
        if data:
            super().dataReceived(data)

    def box_received(self, box: Box) -> None:
        """One message. Raises Refused and MalformedMessage."""
        message = takeover.decode(box)
        if isinstance(message, takeover.TakeOver) and self.state is None:
            self._begin(message.version)
        elif isinstance(message, takeover.Took) and self._took <= message.number <= self._sent:
            self._took = message.number
            self._send_more()
        elif isinstance(message, takeover.Ready) and self.state is Giving.SENT:
            self._let_go()
        else:
            raise Refused("a message came that is not for this moment of a takeover")

    def _begin(self, version: int) -> None:
        reason = self._estate.obstacle() if self._gone is not None else "that acceptor is a part of another program"
        if version != takeover.VERSION:
            reason = f"that acceptor speaks version {takeover.VERSION} of these messages, not {version}"
        if reason:
            self._abort(reason)
            return
        self._log.info("{what}", what=self._estate.begins)
        self.state = Giving.PARTING
        self._stop(self._due)
        self._due = self._clock.callLater(GIVE_S, self.drop, "the successor was not ready in time")
        self._parting_due = self._clock.callLater(PART_S, self._estate.expire)
        self.send(takeover.encode(takeover.Giving()))
        self._estate.freeze(self._parted)

    # -- giving

    def _step(self, what: GiverInput) -> None:
        assert self.state is not None
        self.state = GIVER[self.state, what]

    def _parted(self) -> None:
        """Every proxy has hung up."""
        if self.state is Giving.PARTING:
            self._stop(self._parting_due)
            self._step(GiverInput.PARTED)
            self._things = self._estate.things()
            self._send_more()

    def _send_more(self) -> None:
        while self.state is Giving.SENDING and self._sent - self._took < takeover.WINDOW:
            thing = next(self._things, None)
            if thing is None:
                self._step(GiverInput.ALL)
                self.send(takeover.encode(takeover.Given(self._sent)))
            else:
                self._give(thing)

    def _give(self, thing: Thing) -> None:
        try:
            descriptor = thing.copy()
        except OSError as error:
            self.drop(f"no descriptor can be made: {error}")
            return
        self._sent += 1
        self._send_thing(thing, descriptor)

    def _send_thing(self, thing: Thing, descriptor: int) -> None:
        self.send_with_descriptor(lambda ordinal: takeover.encode(thing.message(ordinal)), descriptor)

    def _let_go(self) -> None:
        """The successor is ready, unless it has died meanwhile."""
        transport: Any = self.transport
        if unread(transport.getHandle()) == b"":
            self.drop(GONE)
            return
        self._step(GiverInput.READY)
        self._stop(self._due)
        self._estate.let_go()
        self.send(takeover.encode(takeover.Yours()))
        self._log.info("{what}", what=self._estate.over)
        assert self._gone is not None
        self._gone()

    def pass_on(self) -> None:
        """Give the slots that have become idle since; where the successor is gone they are closed, and their services dial
        again."""
        for slot in self._estate.late():
            thing = self._estate.thing(slot, takeover.IDLE)
            try:
                if not self.is_open:
                    raise OSError("the successor is gone")
                descriptor = thing.copy()
            except OSError:
                slot.close()
                continue
            self._send_thing(thing, descriptor)
            slot.let_go()

    def pass_proxy(self, descriptor: int) -> None:
        """Give the connection of a proxy; the proxy of one that has nobody to go to finds it closed, and dials again."""
        if self.is_open:
            self.send_with_descriptor(lambda ordinal: takeover.encode(takeover.ProxyGiven(ordinal)), descriptor)
        else:
            self.descriptors.close(descriptor)

    # -- when it comes to nothing

    def answering(self, answers: bool) -> None:
        """Nothing: the takeover as a whole has GIVE_S."""

    def drop(self, reason: str) -> None:
        """There is no successor: serve on, and say so to the log and to the other end, which takes an end without Aborted for a
        death."""
        if self.state in (Giving.PARTING, Giving.SENDING, Giving.SENT):
            self._step(GiverInput.FAILED)
            self._log.warn("not taken over, {what} serves on: {reason}", what=self._estate.name, reason=reason)
            self._abort(reason)
            self._estate.thaw()
        elif self.state is None:
            self._abort(reason)
        else:
            super().drop(reason)

    def _abort(self, reason: str) -> None:
        self._stop_all()
        if not self.was_dropped:
            self.send(takeover.encode(takeover.Aborted(reason.encode()[: takeover.MAX_REASON_BYTES])))
            self.hang_up(reason)
            self._failed(reason)

    def ended(self, reason: str) -> None:
        """The connection is gone."""
        if self.state in (None, Giving.PARTING, Giving.SENDING, Giving.SENT):
            self.drop(GONE)
        self._stop_all()

    def _stop_all(self) -> None:
        self._stop(self._due)
        self._stop(self._parting_due)

    @staticmethod
    def _stop(due: Optional[IDelayedCall]) -> None:
        if due is not None and due.active():
            due.cancel()
