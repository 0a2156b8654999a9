"""An acceptor that takes over from the one that runs: what becomes of the sockets and slots that it inherits."""

from __future__ import annotations

from typing import Any, Callable, List, Mapping, Tuple

from twisted.logger import Logger

from ...handoff import takeover
from ...net.descriptors import descriptors_of
from ...startup import StartupError
from ..acceptor_service import AcceptorService
from .offers import Expected
from .taker import Heir, Inheritance


class AcceptorHeir(Heir):
    """See the module.

    :param acceptor: made, and not started.
    :param also: the other listening services of this program, by kind and description.
    :param start: starts the acceptor and the rest of the program; may raise StartupError.
    :param failed: told why the takeover has failed; then nothing of ours listens, and the program is to end.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        acceptor: AcceptorService,
        also: Mapping[Tuple[str, str], Any],
        start: Callable[[], object],
        failed: Callable[[str], object],
    ) -> None:
        self._acceptor = acceptor
        self._also = also
        self._start = start
        self._failed = failed
        self._descriptors = descriptors_of(reactor)
        self._bound: List[Any] = []

    def _listening(self) -> Mapping[Tuple[str, str], Any]:
        return {**self._acceptor.listening(), **self._also}

    def prepare(self, inheritance: Inheritance) -> None:
        """See Heir: listen where the former acceptor does not."""
        for key, each in self._listening().items():
            if key not in inheritance.listening and each not in self._bound:
                try:
                    each.privilegedStartService()
                except StartupError:
                    self._unbind()
                    raise
                self._bound.append(each)

    def _unbind(self) -> None:
        bound, self._bound = self._bound, []
        for each in bound:
            each.stopService()

    def serve(self, inheritance: Inheritance) -> None:
        """See Heir."""
        for key, each in self._listening().items():
            if key in inheritance.listening:
                each.inherit(inheritance.listening.pop(key))
        self._start()
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
        inheritance.close(self._descriptors)  # The sockets of endpoints that this configuration does not have.
        self._log.info("the former acceptor has handed on {number} slots", number=len(slots))

    @staticmethod
    def _expected(slot: takeover.SlotGiven, descriptor: int) -> Expected:
        return Expected(slot.pool, slot.service, slot.endpoint.decode("utf-8", "replace"), bool(slot.raw), descriptor)

    def came_late(self, slot: takeover.SlotGiven, descriptor: int) -> None:
        """See Heir."""
        assert self._acceptor.succession.offers is not None
        self._acceptor.succession.offers.park_idle(self._expected(slot, descriptor))

    def former_gone(self) -> None:
        """See Heir."""
        assert self._acceptor.succession.offers is not None
        self._acceptor.succession.offers.former_gone()
        self._log.info("the former acceptor is gone")

    def failed(self, reason: str) -> None:
        """See Heir."""
        self._unbind()
        self._failed(reason)
