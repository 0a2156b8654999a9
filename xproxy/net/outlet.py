"""The write side of a connection: sends at once while nothing waits, and knows how much waits when the peer is slow.

A transport's ``write`` arms the writer in epoll and sends in the next turn of the reactor: two system calls and a turn for each
write. The common message fits into the kernel's buffer, so it is sent at once; only what the kernel did not take goes to
``write``. What comes after that waits in a spool and follows piece by piece as the transport drains, which the transport tells
its pull producer. A plain socket gets it from the spool itself, out of its memory or by sendfile(2) out of its file.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from typing import Any, Callable, Optional, Protocol

from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from zope.interface import implementer

from .bodies.space import Space
from .bodies.spool import SEND_BYTES, Backlog, Spool


class OutletOwner(Protocol):
    """Who is told how the writing goes, once something had to wait."""

    def outlet_progress(self) -> None:
        """The peer took something."""

    def outlet_drained(self) -> None:
        """The peer took everything."""


def unacknowledged_bytes(transport: Any) -> int:
    """What a transport and the kernel (tcp(7): SIOCOUTQ, which is TIOCOUTQ) hold of what was given to them."""
    held: int = len(getattr(transport, "dataBuffer", b"")) - getattr(transport, "offset", 0)
    held += getattr(transport, "_tempDataLen", 0)
    try:
        (queued,) = struct.unpack("i", fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, bytes(4)))
    except (AttributeError, OSError, ValueError):
        return held  # A transport without a socket of its own, or any more.
    return held + int(queued)


def _nothing_now(data: bytes) -> int:
    """How transports without a socket send: later."""
    return 0


@implementer(IPullProducer)
class Outlet:
    """Everything that is sent on one connection goes through here, in order.

    :param transport: the connection's transport; this is its only writer.
    :param memory_bytes: what may wait in memory; the rest waits in a file.
    :param space: which is asked for that file, for ``client``.
    """

    __slots__ = (
        "draining",
        "_transport",
        "_owner",
        "_send_now",
        "_backlog",
        "_body",
        "_registering",
        "_ending",
        "_held",
        "_earned",
        "_plain",
        "__weakref__",
    )

    def __init__(
        self, transport: Any, owner: OutletOwner, memory_bytes: int, space: Optional[Space] = None, client: str = ""
    ) -> None:
        self._transport = transport
        self._owner = owner
        self._backlog = Backlog(memory_bytes, space, client)
        self._body: Optional[Spool] = None
        self._registering = False
        self._ending = False
        self._held = self._earned = 0
        self.draining = False
        """Whether something waits."""
        self._plain = plain = isinstance(transport, Connection)
        self._send_now: Callable[[bytes], int] = transport.getHandle().send if plain else _nothing_now

    @property
    def waiting(self) -> int:
        """Bytes that wait here, beyond the one piece that the transport has."""
        return self._backlog.unread

    def exceeds(self, most_bytes: int) -> bool:
        """Whether more waits here than ``most_bytes``, or than there is room for in files."""
        return self._backlog.exceeds(most_bytes)

    @property
    def kept(self) -> int:
        """Bytes that take up space here: those that wait, and what was sent of the file they are in."""
        return self._backlog.kept

    def splice_target(self) -> Optional[int]:
        """The descriptor, when what is written to it directly would come next and unchanged; else None."""
        if self.draining or not self._plain:
            return None
        descriptor: int = self._transport.fileno()
        return descriptor if descriptor >= 0 else None

    def send(self, data: bytes) -> None:
        """Send, now if nothing waits. Raises OSError when the disk is full."""
        if self.draining:
            self._backlog.put(data)
            return
        try:
            sent = self._send_now(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = 0  # The transport meets the same error in its doWrite and reports the connection as lost.
        if sent < len(data):
            self._wait(data[sent:] if sent else data)

    def send_body(self, body: Spool) -> None:
        """Send all that ``body`` holds, as the peer takes it. Nothing else may be sent until it is drained."""
        if self._plain and not self.draining:
            try:
                if not self._send_from(body):
                    self._wait(b"")
            except OSError:
                pass  # The ordinary way works, or its error reaches the transport.
        while not self.draining and body.unread:
            self.send(body.take())
        if body.unread:
            self._body = body

    def _send_from(self, spool: Spool) -> bool:
        """Send of it what a plain socket takes now, SEND_BYTES at most; whether that was all. Raises OSError."""
        end = spool.taken + SEND_BYTES
        try:
            while spool.unread and spool.taken < end:
                spool.send_to(self._transport.fileno())
        except BlockingIOError:
            return False
        return not spool.unread

    def _wait(self, rest: bytes) -> None:
        """Go on, with ``rest``, when the peer can take more."""
        self.draining = True
        self._transport.write(rest)
        self._registering = True
        self._transport.registerProducer(self, False)
        self._registering = False
        if not rest and self.draining:
            self._transport.startWriting()
        self._held = unacknowledged_bytes(self._transport)
        self._earned = 0

    def resumeProducing(self) -> None:
        """The transport has nothing more to send."""
        if self._registering:  # A TCP transport asks at once, before it has sent anything.
            return
        spool = self._next()
        if spool is not None:
            before = spool.unread
            if not self._resume_from(spool):
                sent = before - spool.unread
                self._measure(sent)
                if sent:
                    self._owner.outlet_progress()
                return
        self._drop()
        self._transport.unregisterProducer()
        if self._ending:
            self._transport.loseWriteConnection()
        self._owner.outlet_drained()

    def _resume_from(self, spool: Spool) -> bool:
        """Send what comes next of what waits; False when the transport will ask for more."""
        if self._plain:
            try:
                if self._send_from(spool) and self._next() is None:
                    return True
                self._transport.startWriting()
                return False
            except OSError:
                pass  # The ordinary way works, or meets the same error.
        self._transport.write(spool.take())
        return False

    def _next(self) -> Optional[Spool]:
        """Where the next of what waits is."""
        body = self._body
        return self._backlog.first() or (body if body is not None and body.unread else None)

    def moved(self) -> bool:
        """Whether the peer has taken something since the last progress or the last call.

        Asked when a deadline has passed: progress is told for a whole piece only, which takes a slow peer longer.
        """
        return self._measure(0)

    def _measure(self, sent: int) -> bool:
        """Count what the peer has taken since the last look, ``sent`` bytes having been given to it meanwhile: whether any."""
        before, self._held = self._held + sent, unacknowledged_bytes(self._transport)
        self._earned += max(before - self._held, 0)
        return self._held < before

    def earned(self) -> int:
        """How much the peer has taken of what it has to take, as far as that was looked at, since this was asked last."""
        earned, self._earned = self._earned, 0
        return earned

    def stopProducing(self) -> None:
        """The connection is gone."""
        self._drop()

    def _drop(self) -> None:
        self.draining = False
        self._body = None
        self._backlog.clear()

    def end_sending(self) -> None:
        """End our direction (TCP's half-close) once what waits is sent. Nothing may be sent after it.

        ``loseWriteConnection`` would wait for what the transport has, but not for its producer.
        """
        if self.draining:
            self._ending = True
        else:
            self._transport.loseWriteConnection()

    def end(self) -> None:
        """Close the connection once what waits is sent.

        ``loseConnection`` arms the writer and closes in the next turn of the reactor, after an empty send; when nothing waits,
        a TCP transport can be closed at once.
        """
        if self._plain and not self.draining:
            self._transport.connectionLost(connectionDone)
        else:
            self._transport.loseConnection()

    def close(self) -> None:
        """The connection is gone: drop what waits, and let go of the owner, so that neither needs a garbage collector."""
        if self.draining:
            self._drop()
            self._transport.unregisterProducer()
        del self._owner
