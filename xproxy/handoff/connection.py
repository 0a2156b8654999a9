"""What both ends of a handoff connection have in common: boxes and descriptors in and out, and how a bad peer is cut off.

Nothing a peer sends raises past ``dataReceived``: it is refused with one log line at info level, and its connection aborted.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Optional

from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ..net.descriptors import descriptors_of
from .boxes import BadBox, Box, BoxReader, encode_box
from .liveness import Liveness
from .messages import COMMAND, MalformedMessage, Ping, Pong, encode
from .outbox import MAX_UNWRITTEN_DESCRIPTORS, Outbox

_PONG_BOX = encode(Pong())
_PING, _PONG = encode(Ping())[COMMAND], _PONG_BOX[COMMAND]

LOST = -1
"""Stands for a descriptor that could not be received."""


class Refused(Exception):
    """The peer did what it may not. The text says what, for the log."""


class DescriptorLost(Refused):
    """A message's descriptor did not come: this process had none left, or the peer did what it may not."""


@implementer(IFileDescriptorReceiver)
class BoxConnection(Protocol):
    """One end of a connection that carries boxes.

    Subclasses provide ``box_received``, ``ended`` and ``answering``, and raise Refused, or MalformedMessage, from the first.

    :param reactor: whose descriptors come and go here.

    :ivar max_box_bytes: the longest box that is taken.
    :ivar max_descriptors: how many received descriptors may wait for their box.
    :ivar max_unwritten_descriptors: how many may wait for a peer that does not read.
    """

    max_box_bytes = 4096
    max_descriptors = 1
    max_unwritten_descriptors = MAX_UNWRITTEN_DESCRIPTORS

    def __init__(self, reactor: Any) -> None:
        self.descriptors = descriptors_of(reactor)
        self.liveness = Liveness(reactor, lambda: self.send(encode(Ping())), self.answering)
        self._reader = BoxReader(self.max_box_bytes)
        self._received: Deque[int] = deque()
        self._ordinal_in = 0
        self._ordinal_out = 0
        self._outbox: Optional[Outbox] = None
        self._dropped: Optional[str] = None

    # -- for subclasses

    def box_received(self, box: Box) -> None:
        """One box. May raise Refused or MalformedMessage."""
        raise NotImplementedError

    def ended(self, reason: str) -> None:
        """The connection is gone, and why."""
        raise NotImplementedError

    def answering(self, answers: bool) -> None:
        """The other end does not answer any more, or does again."""
        raise NotImplementedError

    def send(self, box: Box) -> None:
        """Send a box; nothing happens when the connection is gone."""
        if self._outbox is not None:
            self._outbox.send(encode_box(box))

    def send_with_descriptor(self, make_box: Callable[[int], Box], descriptor: int) -> None:
        """Send a box with a descriptor, which is closed here.

        :param make_box: makes the box when it is told the ordinal of the descriptor.
        """
        if self._outbox is None:
            self.descriptors.close(descriptor)
            return
        ordinal = self._ordinal_out
        self._ordinal_out += 1
        self._outbox.send(encode_box(make_box(ordinal)), descriptor)

    def claim(self, ordinal: int) -> int:
        """The descriptor a message brought, which is the caller's from here on. Raises DescriptorLost, and Refused when it is
        another's turn.
        """
        if ordinal != self._ordinal_in:
            raise Refused("a message whose descriptor is another's")
        self._ordinal_in += 1
        descriptor = self._received.popleft() if self._received else LOST
        if descriptor == LOST:
            raise DescriptorLost("a message without the descriptor that belongs to it")
        return descriptor

    def drop(self, reason: str) -> None:
        """Cut the connection, at once and without what is unwritten; ``ended`` is told the reason."""
        if self._dropped is None:
            self._dropped = reason
            transport: Any = self.transport
            if self._outbox is not None:
                self._outbox.shut()
            transport.abortConnection()

    def hang_up(self, reason: str) -> None:
        """End the connection when what was sent before is written; nothing is heard any more."""
        if self._dropped is None:
            self._dropped = reason
            transport: Any = self.transport
            if self._outbox is not None:
                self._outbox.shut()
            transport.loseConnection()

    @property
    def is_open(self) -> bool:
        """Whether something can be sent."""
        return self._outbox is not None and self._dropped is None

    @property
    def has_unwritten(self) -> bool:
        """Whether something was sent and is not written yet."""
        return self._outbox is not None and not self._outbox.is_empty

    @property
    def unwritten(self) -> int:
        """How many bytes wait for the peer to read, at most."""
        return 0 if self._outbox is None else self._outbox.unwritten

    @property
    def was_dropped(self) -> bool:
        """Whether we cut the connection, and not the peer."""
        return self._dropped is not None

    # -- from the transport

    def connectionMade(self) -> None:
        """Connected."""
        self._outbox = Outbox(self.transport, self._overflowed, self.descriptors, self.max_unwritten_descriptors)

    def _overflowed(self) -> None:
        self.drop("it does not read what it is sent")

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """A descriptor, whose box comes now or soon. One too many is closed, and so is the connection."""
        if self._dropped is not None or len(self._received) >= self.max_descriptors:
            self.descriptors.close(descriptor)
            self.drop("it sent a descriptor that nobody asked for")
            return
        self.descriptors.keep(descriptor)
        self._received.append(descriptor)

    def descriptor_lost(self) -> None:
        """A descriptor could not be received: its message finds that out, and not that of the next."""
        if len(self._received) < self.max_descriptors:
            self._received.append(LOST)
        else:
            self.drop("it sent a descriptor that nobody asked for")

    def dataReceived(self, data: bytes) -> None:
        """Bytes of boxes."""
        if self._dropped is not None:
            return
        self.liveness.heard()
        try:
            for box in self._reader.feed(data):
                command = box.get(COMMAND)
                if command == _PING:
                    self.send(_PONG_BOX)
                elif command != _PONG:
                    self.box_received(box)
                if self.was_dropped:
                    return
        except (Refused, BadBox, MalformedMessage) as error:
            self.drop(str(error))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone: close what nobody claimed and what was not sent."""
        self.liveness.stop()
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None
        while self._received:
            descriptor = self._received.popleft()
            if descriptor != LOST:
                self.descriptors.close(descriptor)
        self.ended(self._dropped or "the other end closed the connection")
