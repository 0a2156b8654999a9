"""An acceptor for tests, on a real socket: takes slots, reads their registration, sends requests on them."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.doubles.waiting import Waiting
from xproxy.http1.limits import DEFAULT_LIMITS
from xproxy.http1.request import head_end
from xproxy.http1.response import ResponseHead, parse_response_head, response_body
from xproxy.slots.preambles.registration import Registration, RegistrationParser

Response = Tuple[ResponseHead, bytes]


class ParkedSlot(Protocol):
    """One slot. ``received`` is what came after the registration and was not taken yet."""

    transport: Any

    def __init__(self, parking: Parking) -> None:
        self.parking = parking
        self.registration: Optional[Registration] = None
        self.received = b""
        self.lost: Optional[Failure] = None
        self.spent = False
        """Its last response said close."""
        self._parser: Optional[RegistrationParser] = RegistrationParser(parking.mode)

    def connectionMade(self) -> None:
        assert self._parser is not None
        if self._parser.immediate is not None:
            self.registration, self._parser = self._parser.immediate, None
        self.parking.slots.append(self)
        self.parking.look()

    def dataReceived(self, data: bytes) -> None:
        if self._parser is not None:
            found = self._parser.feed(data)
            if found is None:
                return
            self._parser = None
            self.registration, data = found
        self.received += data
        self.parking.look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason
        self.parking.look()

    @property
    def parked(self) -> bool:
        return self.registration is not None and self.lost is None and not self.spent

    def request(self, data: bytes) -> Deferred[Response]:
        """Send a request; fires with the final response."""
        self.transport.write(data)
        return self.response(data.partition(b" ")[0])

    def response(self, method: bytes = b"GET") -> Deferred[Response]:
        """Fires with the next final response."""
        return self.parking.until(lambda: self._take(method))

    def _take(self, method: bytes) -> Optional[Response]:
        end = head_end(self.received, DEFAULT_LIMITS)
        if not end:
            if self.lost is not None:
                raise AssertionError(f"lost before a response: {self.received!r}")
            return None
        head = parse_response_head(self.received[:end], DEFAULT_LIMITS)
        if head.status < 200:
            self.received = self.received[end:]
            return self._take(method)
        body = response_body(head, method)
        content, rest = (b"", self.received[end:]) if body is None else body.feed(self.received[end:])
        if rest is None and self.lost is not None:
            rest = b""  # It ended with the connection.
        if rest is None:
            return None
        self.received = rest
        if not head.keep_alive and not head.slot_closing:
            self.spent = True
            self.transport.loseConnection()
        return head, content

    def gone(self) -> Deferred[bool]:
        """Fires when the connection is closed by the service (after which this end has closed too)."""
        return self.parking.until(lambda: self.lost is not None)


class Parking(Factory, Waiting):
    """The acceptor. :param mode: how services register."""

    noisy = False

    def __init__(self, mode: str = "proxy") -> None:
        Waiting.__init__(self)
        self.mode = mode
        self.slots: List[ParkedSlot] = []

    def buildProtocol(self, addr: Any) -> ParkedSlot:
        return ParkedSlot(self)

    @property
    def parked(self) -> List[ParkedSlot]:
        """The slots that are registered."""
        return [slot for slot in self.slots if slot.parked]

    def closed(self) -> Deferred[Any]:
        """Close every slot; fires when they are."""
        for slot in self.slots:
            if slot.lost is None:
                slot.transport.abortConnection()
        return gatherResults([slot.gone() for slot in self.slots])

    def filled(self, count: int) -> Deferred[List[ParkedSlot]]:
        """Fires with the slots when there are ``count``."""
        return self.until(lambda: self.parked if len(self.parked) == count else None)
