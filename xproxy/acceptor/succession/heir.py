"""A program that takes over from the one that runs: what becomes of the sockets and slots that it inherits."""

from __future__ import annotations

from typing import Any, Callable, List, Mapping, Protocol, Sequence, Tuple

from twisted.logger import Logger

from ...handoff import takeover
from ...net.descriptors import descriptors_of
from ...startup import StartupError
from ..acceptor_service import AcceptorService
from .listening import Listening
from .offers import Expected
from .taker import Heir, Inheritance


class Sockets(Protocol):
    """Listening sockets that are somebody's together."""

    def listen_beside(self, given: Mapping[Tuple[str, str], int]) -> None:
        """Listen on copies of what is given, and on what is needed beside. Raises StartupError."""

    def give_up(self) -> None:
        """Nothing comes of it: close what was opened, for us alone."""


class ListeningHeir(Heir):
    """One without an acceptor: takes what listens.

    :param listening: gives what is to listen, by kind and description.
    :param sockets: what else is.
    :param start: starts the program; may raise StartupError.
    :param failed: told why nothing comes of it; then nothing of ours listens, and the program is to end.
    :param gone: called when the former program is gone.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        listening: Callable[[], Listening],
        start: Callable[[], object],
        failed: Callable[[str], object],
        sockets: Sequence[Sockets] = (),
        gone: Callable[[], object] = lambda: None,
    ) -> None:
        self._listening = listening
        self._sockets = sockets
        self._start = start
        self._failed = failed
        self._gone = gone
        self._descriptors = descriptors_of(reactor)
        self._bound: List[Any] = []

    def prepare(self, inheritance: Inheritance) -> None:
        """See Heir: listen where the former program does not."""
        try:
            for sockets in self._sockets:
                sockets.listen_beside(inheritance.listening)
            for key, each in self._listening().items():
                if key not in inheritance.listening and each not in self._bound:
                    each.privilegedStartService()
                    self._bound.append(each)
        except StartupError:
            self._unbind()
            raise

    def _unbind(self) -> None:
        bound, self._bound = self._bound, []
        for each in bound:
            each.stopService()
        for sockets in self._sockets:
            sockets.give_up()

    def serve(self, inheritance: Inheritance) -> None:
        """See Heir."""
        for key, each in self._listening().items():
            if key in inheritance.listening:
                each.inherit(inheritance.listening.pop(key))
        self._start()
        self._take_slots(inheritance)
        inheritance.close(self._descriptors)  # Where we don't listen any more.

    def _take_slots(self, inheritance: Inheritance) -> None:
        """Nobody here knows of any."""

    def came_late(self, slot: takeover.SlotGiven, descriptor: int) -> None:
        """See Heir."""
        self._descriptors.close(descriptor)

    def proxy_came(self, descriptor: int) -> None:
        """See Heir."""
        self._descriptors.close(descriptor)

    def former_gone(self) -> None:
        """See Heir."""
        self._gone()

    def failed(self, reason: str) -> None:
        """See Heir."""
        self._unbind()
        self._failed(reason)


class AcceptorHeir(ListeningHeir):
    """One with an acceptor.

    :param acceptor: made, and not started.
    :param also: what else listens in this program, by kind and description.

    For the others see ListeningHeir.
    """

    def __init__(
        self,
        reactor: Any,
        acceptor: AcceptorService,
        also: Listening,
        start: Callable[[], object],
        failed: Callable[[str], object],
        sockets: Sequence[Sockets] = (),
        gone: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(reactor, lambda: {**acceptor.listening(), **also}, start, failed, sockets, gone)
        self._acceptor = acceptor

    def _take_slots(self, inheritance: Inheritance) -> None:
        offers = self._acceptor.succession.offers
        assert offers is not None
        offers.has_former = True
        for factory in self._acceptor.slot_factories():
            offers.add_factory(factory)
        slots, inheritance.slots = inheritance.slots, []
        for slot, descriptor in slots:
            if slot.state == takeover.LEASED:
                offers.expect(self._expected(slot, descriptor))
            elif slot.state == takeover.STAYING:
                offers.refuse(descriptor)
            else:
                offers.park_idle(self._expected(slot, descriptor))
        self._log.info("the former acceptor has handed on {number} slots", number=len(slots))

    @staticmethod
    def _expected(slot: takeover.SlotGiven, descriptor: int) -> Expected:
        return Expected(slot.pool, slot.service, slot.endpoint.decode("utf-8", "replace"), bool(slot.raw), descriptor)

    def came_late(self, slot: takeover.SlotGiven, descriptor: int) -> None:
        """See Heir."""
        assert self._acceptor.succession.offers is not None
        self._acceptor.succession.offers.park_idle(self._expected(slot, descriptor))

    def proxy_came(self, descriptor: int) -> None:
        """See Heir."""
        try:
            self._acceptor.take_proxy(descriptor)
        except OSError as error:
            self._log.error("a proxy of the former program can't be let in: {error}", error=error)

    def former_gone(self) -> None:
        """See Heir."""
        assert self._acceptor.succession.offers is not None
        self._acceptor.succession.offers.former_gone()
        self._log.info("the former acceptor is gone")
        super().former_gone()
