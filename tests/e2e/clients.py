"""Clients as plain as they come: blocking sockets and ``http.client``, one connection for each request."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import struct
import time
from array import array
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Dict, List, Optional, Sequence, Tuple, TypeVar

import attr

Address = Tuple[str, int]

PATIENCE_S = 60.0
"""Nobody waits longer than that for the next byte."""

Result = TypeVar("Result")


@attr.frozen
class Response:
    """What a client was answered."""

    status: int
    headers: Dict[str, str]
    """By name in lower case."""
    body: bytes
    seconds: float
    """From the connection to the last byte."""


def ask(
    address: Address,
    target: str = "/",
    method: str = "GET",
    body: Optional[bytes] = None,
    headers: Optional[Dict[str, str]] = None,
) -> Response:
    """One request on a connection of its own. Raises OSError or HTTPException where there is no whole answer."""
    client = Waiting(address, target, method, body, headers)
    return client.response()


class Waiting:
    """One request that was sent and whose answer is read later."""

    def __init__(
        self,
        address: Address,
        target: str = "/",
        method: str = "GET",
        body: Optional[bytes] = None,
        headers: Optional[Dict[str, str]] = None,
    ) -> None:
        self.sent_at = time.monotonic()
        self._connection = http.client.HTTPConnection(*address, timeout=PATIENCE_S)
        self._connection.request(method, target, body, headers or {})

    def response(self) -> Response:
        """Read the answer, and close."""
        try:
            answer = self._connection.getresponse()
            content = answer.read()
        finally:
            self._connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, found, content, time.monotonic() - self.sent_at)

    def leave(self) -> None:
        """Close without having read anything."""
        self._connection.close()

    def reset(self) -> None:
        """The same by a reset, which says that nothing is wanted any more."""
        self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()


def together(*calls: Callable[[], Result]) -> List[Result]:
    """Make all calls at once, each in a thread of its own; their results in order. Raises what the first one raised."""
    with ThreadPoolExecutor(len(calls)) as threads:
        return [future.result() for future in [threads.submit(call) for call in calls]]


def talk(address: Address, data: bytes, half_close: bool = True) -> bytes:
    """Send bytes, and read until the other end closes; a reset ends the reading like a close."""
    with socket.create_connection(address, PATIENCE_S) as connection:
        return exchange(connection, data, half_close)


def exchange(connection: socket.socket, data: bytes, half_close: bool = True) -> bytes:
    """The same on a connection."""
    received = b""
    try:
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        while True:
            more = connection.recv(65536)
            if not more:
                break
            received += more
    except OSError as error:
        if error.errno not in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):
            raise
        # The other end did not read all of it, which is its right.
    return received


def receive_until(connection: socket.socket, end: bytes) -> bytes:
    """Read until these bytes have come; raises EOFError when the connection ends before."""
    received = b""
    while end not in received:
        more = connection.recv(65536)
        if not more:
            raise EOFError(received)
        received += more
    return received


def connect_unix(path: str) -> socket.socket:
    """A connection to a UNIX socket."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE_S)
    try:
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def receive_slot(connection: socket.socket) -> Tuple[bytes, Sequence[socket.socket]]:
    """One answer of the one-byte protocol: the byte, and the sockets that came with it. Empty at the end of the connection."""
    descriptors = array("i")
    data, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(4 * descriptors.itemsize))
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    slots = []
    for descriptor in descriptors:
        slot = socket.socket(fileno=descriptor)
        os.set_blocking(descriptor, True)
        slot.settimeout(PATIENCE_S)
        slots.append(slot)
    return data, slots
