"""The far ends of connections, in the hands of a test."""

from __future__ import annotations

import socket
from typing import Any

from tests.world.sockets import RESET_ON_CLOSE, MemorySocket


class Peer:
    """The far end of a connection: a client, or a service on its slot. It reads all the time unless ``reading`` is False."""

    def __init__(self, skt: Any) -> None:
        self.socket = skt
        self.received = b""
        self.reading = True
        self.ended = False
        """The other side has ended its direction."""
        self.was_reset = False
        self._unsent = b""
        self._ending = False
        self._closed = False

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.ended or self.was_reset

    def take(self) -> bytes:
        """What was received since the last call."""
        data, self.received = self.received, b""
        return data

    def send(self, data: bytes) -> None:
        """Send, as the other side takes it."""
        self._unsent += data
        self.pump()

    def end(self) -> None:
        """End our direction once everything is sent; still read."""
        self._ending = True
        self.pump()

    def close(self) -> None:
        """Close: with a reset when something was not read."""
        if not self._closed:
            self._closed = True
            self.socket.close()

    def reset(self) -> None:
        """Close with a reset."""
        if type(self.socket) is MemorySocket:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.close()

    def pump(self) -> bool:
        """Move what can be moved; whether anything was."""
        return not self._closed and (self._write() | self._read())

    def _write(self) -> bool:
        moved = False
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                return moved
            except OSError:
                self._unsent, self._ending = b"", False
                return True
            self._unsent = self._unsent[sent:]
            moved = True
        if self._ending:
            self._ending = False
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # ENOTCONN: the other side was faster.
            moved = True
        return moved

    def _read(self) -> bool:
        if not self.reading or self.over:
            return False
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            self.was_reset = True
            return True
        self.received += data
        self.ended = not data
        return True
