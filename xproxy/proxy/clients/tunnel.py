"""A connection that switched protocols (101): bytes both ways, with backpressure, an idle timeout and half-close.

The tunnel takes the place of the request as the caller of its exchange; the slot is held until either side closes, and is never
used again.

What a WebSocket's service sends is counted in frames, so that its client can be told that we stop: at the end of a frame, since
no other place will do. The client's own Close goes to the service like all it sends, and ends both sides as they are used to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from ...http1.websocket import GOING_AWAY, Frames

if TYPE_CHECKING:
    from .connection import ClientConnection
    from .request import ClientRequest

BACKLOG_BYTES = 64 * 1024
"""What may wait for a slow client before the service is no longer read."""


class Tunnel:
    """Relays between a client's connection and the slot of its exchange.

    :param frames: of what the service sends, where that is a WebSocket's.
    """

    __slots__ = ("_connection", "_request", "_client_ended", "_service_ended", "_frames", "_leaving", "_told")

    def __init__(self, connection: ClientConnection, request: ClientRequest, frames: Optional[Frames] = None) -> None:
        self._connection = connection
        self._request = request
        self._frames = frames
        self._leaving = self._told = False
        """The client is to be told that we leave; it was told."""
        self._client_ended = False
        self._service_ended = False

    def client_sent(self, data: bytes) -> None:
        """Bytes for the service."""
        self._connection.touch()
        exchange = self._request.exchange
        if exchange is not None and not exchange.request_more(data, False):
            self._connection.intake.pause()

    def client_ended(self) -> None:
        """The client closed its side; the service may still have something to say, but where nobody leaves it like that."""
        self._client_ended = True
        if not self._connection.half_closes:
            self._end()
            return
        exchange = self._request.exchange
        if exchange is not None and exchange.slot is not None:
            exchange.slot.end_tunnel(half=True)
        self._end_if_over()

    def client_took(self) -> None:
        """The client took something."""
        self._connection.touch()
        if self._connection.outlet.waiting <= BACKLOG_BYTES // 2 and self._request.exchange is not None:
            self._request.exchange.resume()

    def request_drained(self) -> None:
        """The service took everything."""
        self._connection.touch()
        self._connection.intake.resume()
        self._end_if_over()

    def received(self, data: bytes) -> None:
        """Bytes for the client."""
        self._connection.touch()
        if self._frames is not None:
            data = self._framed(self._frames, data)
            if not data:
                return
        self._request.sent_bytes += len(data)
        self._connection.send(data)
        if self._connection.outlet.waiting > BACKLOG_BYTES and self._request.exchange is not None:
            self._request.exchange.pause()

    def _framed(self, frames: Frames, data: bytes) -> bytes:
        """What goes on of ``data``: all of it, but nothing behind our own Close."""
        if self._told:
            return b""
        if not self._leaving or frames.closing:
            frames.passed(data)
            return data
        end = frames.first_end(data)
        if end < 0 or frames.closing:
            return data
        self._told = True
        return data[:end] + GOING_AWAY

    def leave(self) -> None:
        """We stop: tell the client, now or where the next frame ends, unless the service has."""
        frames = self._frames
        if frames is None or self._leaving:
            return
        self._leaving = True
        if frames.between and not frames.closing and not self._service_ended:
            self._told = True
            self._connection.send(GOING_AWAY)

    def service_ended(self, half: bool) -> None:
        """The service closed its side (``half``), or is gone. TLS has no half-close that clients understand."""
        self._service_ended = True
        if not half or not self._connection.half_closes:
            self._end()
        elif not self._client_ended:
            self._connection.outlet.end_sending()
        else:
            self._end_if_over()

    def _end_if_over(self) -> None:
        """End once both sides have, and the service has what the client sent."""
        exchange = self._request.exchange
        if self._client_ended and self._service_ended and (exchange is None or not exchange.sending):
            self._end()

    def _end(self) -> None:
        """Close both connections; the client gets what waits for it first."""
        exchange = self._request.exchange
        if exchange is not None and exchange.slot is not None:
            exchange.slot.end_tunnel(half=False)
        self._request.finished()
