"""Sending descriptors on a UNIX transport, without ever sending the wrong one.

``sendFileDescriptor`` keeps a bare number until the transport writes it, and tells nobody when it has: a number closed too
early can be given to another file in between, and then that one is sent. So what is passed to ``Outbox.send`` stays open until
the transport has nothing more to write, and is closed then. The transport says so to its pull producer, which the outbox is as
long as something is unwritten: ``doWrite`` calls ``resumeProducing`` exactly when its buffer is empty, and descriptors leave
before the bytes that they were queued with.
"""

from __future__ import annotations

from typing import Any, Callable, List

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

from ..net.descriptors import SYSTEM, IDescriptors

MAX_UNWRITTEN_BYTES = 8 << 20
"""What may wait for a peer that does not read; past it, it is cut off. Several censuses of 16,384 services (100 bytes each)."""

MAX_UNWRITTEN_DESCRIPTORS = 1024
"""The same in descriptors, which are dearer: the grants of four pools (GRANT_WINDOW each) in one turn of the loop."""


@implementer(IPullProducer)
class Outbox:
    """What a connection sends.

    :param transport: an IUNIXTransport; the outbox is its only producer and writer.
    :param overflowed: called when the peer does not read what it is sent; it should cut the connection.
    :param descriptors: whose the descriptors are.
    :param most: how many descriptors may be unwritten.
    """

    def __init__(
        self,
        transport: Any,
        overflowed: Callable[[], None],
        descriptors: IDescriptors = SYSTEM,
        most: int = MAX_UNWRITTEN_DESCRIPTORS,
    ) -> None:
        self._most = most
        self._transport = transport
        self._overflowed = overflowed
        self._close = descriptors.close
        self._descriptors: List[int] = []
        self._unwritten = 0
        self._registered = False
        self._closed = False

    def send(self, data: bytes, descriptor: int = -1) -> None:
        """Send bytes, at least one, and perhaps a descriptor, which is closed when it was written, and in any case.

        The descriptor arrives with the first byte, or one before, but not later.
        """
        full = self._unwritten > MAX_UNWRITTEN_BYTES or len(self._descriptors) > self._most
        if full and not self._closed:
            self._closed = True
            self._overflowed()
        if self._closed:
            if descriptor >= 0:
                self._close(descriptor)
            return
        if descriptor >= 0:
            self._descriptors.append(descriptor)
            self._transport.sendFileDescriptor(descriptor)
        self._unwritten += len(data)
        self._transport.write(data)
        if not self._registered:
            # A pull producer is resumed as soon as it is registered, when nothing is written yet: _registered tells them apart.
            self._transport.registerProducer(self, False)
            self._registered = True

    @property
    def is_empty(self) -> bool:
        """Whether everything is written."""
        return not self._registered

    @property
    def unwritten(self) -> int:
        """How many bytes wait, at most."""
        return self._unwritten

    def resumeProducing(self) -> None:
        """Everything is written."""
        if self._registered:
            self._registered = False
            self._unwritten = 0
            self._close_descriptors()
            self._transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The connection is lost: nothing more will be written."""
        self.close()

    def shut(self) -> None:
        """Take nothing more: the connection is being cut."""
        self._closed = True

    def close(self) -> None:
        """Close what was not sent. Only when the connection is lost: before that the transport may still send it."""
        self._closed = True
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        descriptors, self._descriptors = self._descriptors, []
        for descriptor in descriptors:
            self._close(descriptor)
