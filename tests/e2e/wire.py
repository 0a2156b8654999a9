"""One end of an HTTP/1.1 connection, byte by byte where a test wants it: a blocking socket that can read whole messages.

Client and service read by the same few lines, which know nothing of xproxy's own parsers.
"""

from __future__ import annotations

import socket
from typing import Dict, List, Optional, Tuple

import attr

from tests.e2e.clients import PATIENCE_S, Address
from tests.e2e.services import RESET

Pairs = List[Tuple[str, str]]


@attr.frozen
class Message:
    """A request or a response, whole."""

    start: str
    """The request line or the status line."""
    pairs: Pairs
    """The fields in the order received, names in lower case."""
    body: bytes = b""
    trailers: Pairs = attr.Factory(list)
    chunks: int = 0
    """How many chunks the body came in."""

    @property
    def headers(self) -> Dict[str, str]:
        """By name; several of one name joined, as RFC 9110 section 5.3 says."""
        found: Dict[str, str] = {}
        for name, value in self.pairs:
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found

    @property
    def status(self) -> int:
        """Of a response."""
        return int(self.start.split(" ")[1])

    @property
    def method(self) -> str:
        """Of a request."""
        return self.start.split(" ")[0]

    @property
    def target(self) -> str:
        """Of a request."""
        return self.start.split(" ")[1]


class Wire:
    """A connected socket. Closed by whoever made it, or by the ``with`` it is in."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.closed = False
        self._buffer = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- writing, and the end

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.connection.sendall(data)

    def end_sending(self) -> None:
        """Half-close."""
        self.connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close."""
        self.closed = True
        self.connection.close()

    def reset(self) -> None:
        """Close with a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()

    # -- reading

    def _receive(self) -> None:
        data = self.connection.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data

    def some(self) -> bytes:
        """What comes next, at least one byte. Raises EOFError at the end, as all that reads."""
        if not self._buffer:
            self._receive()
        data, self._buffer = self._buffer, b""
        return data

    def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        pieces: List[bytes] = []
        while count:
            piece = self.some()
            pieces.append(piece[:count])
            self._buffer = piece[count:]
            count -= len(pieces[-1])
        return b"".join(pieces)

    def rest(self) -> bytes:
        """Everything up to the end; a reset ends like a close."""
        pieces: List[bytes] = []
        while True:
            try:
                pieces.append(self.some())
            except (EOFError, ConnectionResetError):
                return b"".join(pieces)

    def line(self) -> str:
        """The next line, without its end."""
        while b"\r\n" not in self._buffer:
            self._receive()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line.decode("latin-1")

    def _fields(self) -> Pairs:
        pairs: Pairs = []
        while True:
            line = self.line()
            if not line:
                return pairs
            name, _, value = line.partition(":")
            pairs.append((name.lower(), value.strip()))

    def head(self) -> Message:
        """A head; its body is still to be read."""
        return Message(self.line(), self._fields())

    def chunk(self) -> bytes:
        """The content of one chunk; empty: it was the last, trailers follow."""
        content = self.read(int(self.line().partition(";")[0], 16))
        if content and self.line():
            raise AssertionError("a chunk that does not end where it should")
        return content

    def request(self) -> Message:
        """A whole request."""
        return self._body(self.head(), None)

    def response(self, method: str = "GET") -> Message:
        """A whole response to this method, interim ones too."""
        head = self.head()
        if head.status < 200 or head.status in (204, 304) or method == "HEAD":
            return head
        return self._body(head, method)

    def final(self, method: str = "GET") -> Message:
        """The next response that is not interim."""
        while True:
            response = self.response(method)
            if response.status >= 200:
                return response

    def _body(self, head: Message, method: Optional[str]) -> Message:
        if head.headers.get("transfer-encoding") == "chunked":
            chunks = list(iter(self.chunk, b""))
            return attr.evolve(head, body=b"".join(chunks), trailers=self._fields(), chunks=len(chunks))
        if "content-length" in head.headers:
            return attr.evolve(head, body=self.read(int(head.headers["content-length"])))
        return head if method is None else attr.evolve(head, body=self.rest())


def connect(address: Address, receive_bytes: int = 0, source: str = "") -> Wire:
    """A client's connection.

    :param receive_bytes: of the kernel's receive buffer, small for a client that is to be slow; 0: as usual.
    :param source: the address it comes from, one of 127.0.0.0/8; empty: as usual.
    """
    connection = socket.socket()
    try:
        connection.settimeout(PATIENCE_S)
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        if source:
            connection.bind((source, 0))
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return Wire(connection)
