"""What is done to Twisted's TCP transports: another reads for them, one paces another, one is closed without a shutdown."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from zope.interface import implementer

Turn = Callable[[], Any]
"""What the reactor calls: returns why the connection is over, None when it is not (see ``IReadDescriptor.doRead``)."""


def read_by(transport: Any, read: Turn) -> None:
    """Let ``read`` be called when there is something to read, until ``read_itself``."""
    transport.doRead = read


def read_itself(transport: Any) -> None:
    """Let the transport read again for itself, if another did."""
    vars(transport).pop("doRead", None)


def write_by(transport: Any, write: Turn) -> None:
    """Let ``write`` be called as soon as something can be written, until ``write_itself``."""
    transport.doWrite = write
    transport.startWriting()


def write_itself(transport: Any) -> None:
    """Let the transport write again for itself, if another did; there is nothing to write."""
    if vars(transport).pop("doWrite", None) is not None:
        transport.stopWriting()


def has_unwritten(transport: Any) -> bool:
    """Whether a transport has not yet written all that it was given."""
    return bool(transport.dataBuffer or transport._tempDataBuffer)


def let_go(transport: Any) -> None:
    """Close this process' descriptor of a connection, but not the connection: others have copies.

    Twisted shuts a socket down before it closes it, for all copies; it has one switch to leave that out.
    """
    transport._shouldShutdown = False
    transport.stopReading()
    transport.connectionLost(connectionDone)


@implementer(IPushProducer)
class Reading:
    """The reading of one transport, as the producer of the other; what becomes of a transport is told to its protocol."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._transport.resumeProducing()

    def stopProducing(self) -> None:
        """See IPushProducer."""
