"""A client of HTTP/2, as small as can be: it obeys GOAWAY to the letter, which packages that offer themselves do not."""

from __future__ import annotations

import asyncio
import ssl
import struct
from typing import Any, Dict, Optional, Tuple

from hpack import Decoder, Encoder

from tests.e2e.clients import Address
from tests.endure.http1_clients import Wrong

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 1
END_HEADERS = 4

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame (RFC 9113 section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class HTTP2Connection:
    """One connection with its streams.

    :ivar leaving: no further stream may be begun here.
    :ivar port: of our end.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.leaving = False
        self.port: int = writer.get_extra_info("sockname")[1]
        self._reader = reader
        self._writer = writer
        self._encoder, self._decoder = Encoder(), Decoder()
        self._next = 1
        self._streams: Dict[int, Tuple[asyncio.Future[Tuple[str, bytes]], Dict[str, str], bytearray]] = {}
        writer.write(PREFACE + frame(SETTINGS, 0, 0))
        self._task = asyncio.ensure_future(self._read())

    async def ask(self, method: str, target: str, body: bytes, authority: str) -> Tuple[str, bytes]:
        """Status and body of the answer."""
        stream, self._next = self._next, self._next + 2
        answer: asyncio.Future[Tuple[str, bytes]] = asyncio.get_running_loop().create_future()
        self._streams[stream] = answer, {}, bytearray()
        fields = [(":method", method), (":scheme", "https"), (":path", target), (":authority", authority)]
        if body:
            fields.append(("content-length", str(len(body))))
        head = self._encoder.encode(fields)
        self._writer.write(frame(HEADERS, END_HEADERS | (0 if body else END_STREAM), stream, head))
        if body:
            self._writer.write(frame(DATA, END_STREAM, stream, body))
        try:
            return await answer
        finally:
            self._streams.pop(stream, None)
            if self.leaving and not self._streams:
                self.close()

    async def _read(self) -> None:
        """Read until the end; what is not answered by then has failed."""
        error: Exception = EOFError("the connection has ended")
        try:
            while True:
                header = await self._reader.readexactly(9)
                kind, flags, stream = struct.unpack(">BBI", header[3:])
                payload = await self._reader.readexactly(int.from_bytes(header[:3], "big"))
                self._received(kind, flags, stream, payload)
        except (OSError, EOFError, Wrong) as wrong:
            error = wrong
        finally:
            self.leaving = True
            for answer, _, _ in self._streams.values():
                if not answer.done():
                    answer.set_exception(type(error)(*error.args) if isinstance(error, Wrong) else EOFError(repr(error)))
            self._writer.close()

    def _received(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            self._writer.write(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self._writer.write(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.leaving = True
            last, code = struct.unpack(">II", payload[:8])
            for number, (answer, _, _) in self._streams.items():
                if (number > last or code) and not answer.done():
                    answer.set_exception(Wrong(f"stream {number}: GOAWAY {last}, code {code}"))
        elif kind == RST_STREAM and stream in self._streams:
            self._fail(stream, Wrong(f"RST_STREAM {payload.hex()}"))
        elif kind in (HEADERS, DATA):
            self._answer(kind, flags, stream, payload)

    def _answer(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == HEADERS:
            fields = {str(name): str(value) for name, value in self._decoder.decode(payload)}
            if stream in self._streams:
                self._streams[stream][1].update(fields)
        elif payload:
            self._writer.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
            if stream in self._streams:
                self._streams[stream][2].extend(payload)
        if flags & END_STREAM and stream in self._streams:
            answer, fields, content = self._streams[stream]
            if not answer.done():
                answer.set_result((fields[":status"], bytes(content)))

    def _fail(self, stream: int, error: Exception) -> None:
        answer = self._streams[stream][0]
        if not answer.done():
            answer.set_exception(error)

    def close(self) -> None:
        """Let go of the connection."""
        self._task.cancel()
        self._writer.close()


class HTTP2Client:
    """Requests at once on one connection, and on another one when that is to be left."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connecting = asyncio.Lock()
        self._connection: Optional[HTTP2Connection] = None
        self._context = ssl.create_default_context()
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self._context.set_alpn_protocols(["h2"])

    async def connection(self) -> HTTP2Connection:
        """One on which a stream can be begun."""
        async with self._connecting:
            if self._connection is None or self._connection.leaving:
                streams: Any = await asyncio.open_connection(*self._address, ssl=self._context)
                self._connection = HTTP2Connection(*streams)
            return self._connection

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
