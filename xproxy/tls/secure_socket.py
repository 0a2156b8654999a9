"""TLS in the place of a transport's socket: OpenSSL reads and writes the descriptor itself.

A Twisted transport writes with ``send`` of its socket, half-closes with ``shutdown`` and ends with ``close``. A SecureSocket
has the same, so the transport of a TLS connection is the reactor's own: what it buffers, and what waits in an ``Outlet``, is
plaintext, and no other object stands between. ``https`` puts it there and does the handshake; ``SecureInlet`` and
``SecureOutlet`` are the two sides of what follows.

pyOpenSSL makes the connections, with all their callbacks. Reading and writing call OpenSSL directly: pyOpenSSL makes a new
buffer for each read, asks for errors after each success, and tells by exceptions what is no error, which took a quarter of a
request on PyPy. So this module knows where pyOpenSSL keeps the ``SSL`` structure and OpenSSL's functions.
"""

from __future__ import annotations

import errno
import os
import socket
from mmap import mmap
from typing import Any, Callable, NoReturn, Optional

from OpenSSL import SSL
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import connectionDone

from ..net.bodies.space import Space
from ..net.outlet import Outlet, OutletOwner

RECORD_BYTES = 16 * 1024
"""The plaintext of one record at most (RFC 8446 section 5.1)."""

MAX_READ_BYTES = 16 * RECORD_BYTES
"""What is read at a time at most."""

_lib, _ffi = SSL._lib, SSL._ffi  # type: ignore[attr-defined]
_read, _write, _get_error = _lib.SSL_read, _lib.SSL_write, _lib.SSL_get_error
_WANT_READ, _WANT_WRITE, _NO_MORE = _lib.SSL_ERROR_WANT_READ, _lib.SSL_ERROR_WANT_WRITE, _lib.SSL_ERROR_ZERO_RETURN

_view = memoryview(mmap(-1, MAX_READ_BYTES))  # Not a bytearray, whose bytes PyPy copies one by one.
_buffer = _ffi.from_buffer(_view)


class SecureSocket:
    """One TLS connection, as the socket of a transport.

    :param context: what the connection begins with. It is kept, since OpenSSL may call it back after another one was chosen:
        when it has asked the client for another hello.
    :param plain: the socket below, whose owner this becomes.
    :ivar tls: pyOpenSSL's side of the connection.
    :ivar ssl: OpenSSL's, until it is closed.
    """

    __slots__ = ("tls", "plain", "fileno", "_context", "ssl", "_open")

    def __init__(self, context: SSL.Context, plain: socket.socket) -> None:
        self.tls = tls = SSL.Connection(context, plain)
        tls.set_accept_state()
        self.plain = plain
        self.fileno = plain.fileno
        self._context = context
        self.ssl = tls._ssl
        self._open = False
        """The handshake is over and nothing has failed: there is somebody to say close_notify to."""

    # -- the handshake

    def shake(self) -> Optional[bool]:
        """Go on with the handshake.

        :returns: True when it is over; False when the client has to say something; None when it has to take something.
        :raises SSL.Error: there will be no connection; the client was told why.
        """
        result = _lib.SSL_do_handshake(self.ssl)
        if result == 1:
            self._open = True
            return True
        error = _get_error(self.ssl, result)
        if error == _WANT_READ:
            return False
        if error == _WANT_WRITE:
            return None
        self.tls._raise_ssl_error(self.ssl, result)
        raise SSL.Error("the handshake has failed")

    # -- bytes

    def why(self, result: int) -> Optional[Exception]:
        """What a reactor's reader returns when SSL_read has read nothing: None when there is just nothing to read.

        A client that makes OpenSSL answer, and does not take the answers, is cut off.
        """
        error = _get_error(self.ssl, result)
        if error == _WANT_READ:
            return None
        if error == _NO_MORE:
            return CONNECTION_DONE
        self._end()
        return CONNECTION_LOST

    def send(self, data: Any) -> int:
        """As ``socket.send``, non-blocking, but that all is sent that can be. What was not has to be offered again.

        :raises BlockingIOError: nothing can be sent now.
        :raises OSError: nothing can be sent any more.
        """
        size, ssl = len(data), self.ssl
        if ssl is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if type(data) is not bytes or not 0 < size <= RECORD_BYTES:
            return self._send_records(data, size)
        sent: int = _write(ssl, data, size)
        if sent <= 0:
            self._refuse(sent)
        return sent

    def _send_records(self, data: Any, size: int) -> int:
        """OpenSSL sends one record at each call; given more, it would tell only when all of it is sent."""
        sent = 0
        with _ffi.from_buffer(data) as address:
            while sent < size:
                more = _write(self.ssl, address + sent, min(size - sent, RECORD_BYTES))
                if more <= 0:
                    if not sent:
                        self._refuse(more)
                    self._is_full(more)  # Which the next call meets again.
                    break
                sent += more
        return sent

    def _refuse(self, result: int) -> NoReturn:
        if self._is_full(result):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def _is_full(self, result: int) -> bool:
        """Whether a record was not sent because the client has to take something first; else nothing will be sent any more.

        TLS has to read before it can write only where a client has begun a message of the handshake and not ended it: a key
        update, whose five bytes nobody needs two records for.
        """
        if _get_error(self.ssl, result) == _WANT_WRITE:
            return True
        self._end()
        return False

    def _end(self) -> None:
        """Nothing more can be said. How it came to that is dealt with."""
        self._open = False
        _lib.ERR_clear_error()  # What is left in it would be taken for an error of the next connection.

    # -- the end

    def say_goodbye(self) -> bool:
        """Send close_notify. False when it can't be sent now; True also when there is no sense in it."""
        if self._open:
            result = _lib.SSL_shutdown(self.ssl)
            if result < 0 and _get_error(self.ssl, result) == _WANT_WRITE:
                return False
            self._end()
        return True

    def shutdown(self, how: int) -> None:
        """As ``socket.shutdown``, after close_notify; for both directions ``close`` does the rest."""
        self.say_goodbye()
        if how != socket.SHUT_RDWR:
            self.plain.shutdown(how)

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """As ``socket.setsockopt``. Twisted sets SO_LINGER on what it aborts: that ends without a word."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self._open = False
        self.plain.setsockopt(level, option, value)

    def getsockopt(self, *arguments: Any) -> Any:
        """As ``socket.getsockopt``."""
        return self.plain.getsockopt(*arguments)

    def getsockname(self) -> Any:
        """As ``socket.getsockname``."""
        return self.plain.getsockname()

    def close(self) -> None:
        """As ``socket.close``, after close_notify. What OpenSSL has is freed at once, not when somebody collects it."""
        self.say_goodbye()
        self.plain.close()
        self.release()

    def release(self) -> None:
        """Let go of OpenSSL's side: the plain socket is another's again, or closed."""
        ssl, self.ssl = self.ssl, None
        self._open = False
        if ssl is not None:
            _ffi.release(ssl)


class SecureInlet:
    """Reads for one TLS transport, in place of its ``doRead``. See ``inlet.Inlet``.

    SSL_read gives no more than a record, and is always given room for a whole one: so nothing of a record stays in OpenSSL. And
    it reads no further than that record: so nothing is anywhere that the reactor does not see.

    :param size: how much is read at a time, up to MAX_READ_BYTES; may be changed. A record is read whole in any case.
    """

    __slots__ = ("size", "_transport", "_socket", "_received")

    def __init__(self, transport: Any, received: Callable[[bytes], None], size: int) -> None:
        self.size = size
        self._transport = transport
        self._socket: SecureSocket = transport.getHandle()
        self._received = received
        self.open()

    def open(self) -> None:
        """See Inlet."""
        if self._transport is not None:
            self._transport.doRead = self._read

    def lend(self, read: Callable[[], Any]) -> bool:
        """See Inlet. False: nobody else can read what is sealed."""
        return False

    def _read(self) -> Any:
        """See ``Inlet``. A full record is mostly not the last one of what was sent; any other is."""
        size = _read(self._socket.ssl, _buffer, RECORD_BYTES)
        if size >= RECORD_BYTES:
            return self._read_on(size)
        if size <= 0:
            return self._socket.why(size)
        self._received(_view[:size].tobytes())
        return None

    def _read_on(self, total: int) -> Any:
        why = None
        while total + RECORD_BYTES <= self.size:
            size = _read(self._socket.ssl, _buffer + total, RECORD_BYTES)
            if size <= 0:
                why = self._socket.why(size)
                break
            total += size
            if size < RECORD_BYTES:
                break
        transport = self._transport
        self._received(_view[:total].tobytes())
        return why if transport.connected else None

    def close(self) -> None:
        """See Inlet."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.__dict__.pop("doRead", None)
            del self._socket, self._received


class SecureOutlet(Outlet):
    """The write side of a TLS transport."""

    __slots__ = ()

    def __init__(
        self, transport: Any, owner: OutletOwner, memory_bytes: int, space: Optional[Space] = None, client: str = ""
    ) -> None:
        super().__init__(transport, owner, memory_bytes, space, client)
        self._plain = False  # Nothing may go past OpenSSL, by splice(2) or sendfile(2).

    def end(self) -> None:
        """See Outlet. Where close_notify can't be sent at once, the transport closes when it can."""
        transport = self._transport
        if self.draining or not transport.connected or not transport.getHandle().say_goodbye():
            transport.loseConnection()
        else:
            transport.connectionLost(connectionDone)


def write_now(transport: Any, data: bytes) -> bool:
    """Send on a TCP transport whose socket is a SecureSocket.

    :returns: False when some of it waits: a pull producer that is registered then is asked when it is gone.
    """
    if transport.dataBuffer or transport._tempDataBuffer or not transport.connected:
        transport.write(data)
        return False
    if not data:
        return True
    try:
        sent: int = transport.socket.send(data)
    except OSError:  # Full; or broken, which the transport finds out when it tries again, and reports.
        sent = 0
    if sent < len(data):
        transport.write(data[sent:] if sent else data)
        return False
    return True
