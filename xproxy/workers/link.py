"""The control connection: its two ends, which turn boxes into calls and messages into boxes."""

from __future__ import annotations

from typing import Any, Callable

from twisted.logger import Logger

from ..handoff.boxes import Box
from ..handoff.connection import BoxConnection, DescriptorLost
from ..handoff.messages import Ping
from ..handoff.messages import encode as encode_handoff
from .messages import FromParent, FromWorker, Message, encode, from_parent, from_worker

MAX_FROM_WORKER_BYTES = 16 << 20
"""The numbers of thousands of services, with some 200 bytes each, in ten pools."""

MAX_FROM_PARENT_BYTES = 64 << 20
"""A configuration with the bodies of its routes, a megabyte at most each, and thousands of certificates."""

_PING = encode_handoff(Ping())

_log = Logger()


class WorkerLink(BoxConnection):
    """The parent's end.

    :param heard: told each message.
    :param spoke: called whenever bytes came, be it a bare answer to a Ping.
    :param lost: told why the connection has ended.
    """

    max_box_bytes = MAX_FROM_WORKER_BYTES
    max_descriptors = 0

    def __init__(
        self, reactor: Any, heard: Callable[[FromWorker], None], spoke: Callable[[], None], lost: Callable[[str], None]
    ) -> None:
        super().__init__(reactor)
        self._heard = heard
        self._spoke = spoke
        self._lost = lost

    def say(self, message: Message) -> None:
        """Send a message."""
        self.send(encode(message))

    def say_with(self, make: Callable[[int], Message], descriptor: int) -> None:
        """Send a message with a descriptor, which is this object's from here on, and closed once it is sent.

        :param make: makes the message when it is told the ordinal of the descriptor.
        """
        self.send_with_descriptor(lambda ordinal: encode(make(ordinal)), descriptor)

    def ping(self) -> None:
        """Ask whether the worker's loop turns."""
        self.send(_PING)

    def dataReceived(self, data: bytes) -> None:
        """See BoxConnection."""
        self._spoke()
        super().dataReceived(data)

    def box_received(self, box: Box) -> None:
        """See BoxConnection."""
        self._heard(from_worker(box))

    def answering(self, answers: bool) -> None:
        """Not asked for: the crew counts beats."""

    def ended(self, reason: str) -> None:
        """See BoxConnection."""
        self._lost(reason)


class ParentLink(BoxConnection):
    """A worker's end.

    :param heard: told each message; claims the descriptor of those that bring one.
    :param lost: told that the parent is gone, and why.
    """

    max_box_bytes = MAX_FROM_PARENT_BYTES
    max_descriptors = 4096

    def __init__(self, reactor: Any, heard: Callable[[FromParent], None], lost: Callable[[str], None]) -> None:
        super().__init__(reactor)
        self._heard = heard
        self._lost = lost

    def say(self, message: Message) -> None:
        """Send a message."""
        self.send(encode(message))

    def taken(self, ordinal: int) -> int:
        """The descriptor that a message brought, which is the caller's; -1: it was lost on the way, since this process has
        none left. Raises Refused."""
        try:
            return self.claim(ordinal)
        except DescriptorLost:
            _log.error("a descriptor that the parent has sent was lost: this process has none left")
            return -1

    def box_received(self, box: Box) -> None:
        """See BoxConnection."""
        self._heard(from_parent(box))

    def answering(self, answers: bool) -> None:
        """Not asked for: a parent that hangs needs nothing of its workers."""

    def ended(self, reason: str) -> None:
        """See BoxConnection."""
        self._lost(reason)
