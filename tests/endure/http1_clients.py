"""Clients of HTTP/1.1 on asyncio's streams, written out so that nothing is repeated behind our back."""

from __future__ import annotations

import asyncio
from typing import Optional, Tuple

from tests.e2e.clients import Address
from tests.endure.service import PIECE, PIECES


class Wrong(Exception):
    """An answer that is none, or another one."""


class HTTP1Client:
    """One request after the other.

    :param kept: whether the connection is kept as long as the proxy keeps it.
    :ivar port: of our end of the connection.
    """

    def __init__(self, address: Address, kept: bool) -> None:
        self._address = address
        self._kept = kept
        self._streams: Optional[Tuple[asyncio.StreamReader, asyncio.StreamWriter]] = None
        self.port = 0

    async def ask(self, method: str, target: str, body: bytes) -> bytes:
        """The body of the answer. Raises Wrong, EOFError and OSError."""
        reader, writer = await self._connect()
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        close = "" if self._kept else "Connection: close\r\n"
        writer.write(f"{method} {target} HTTP/1.1\r\nHost: endure\r\n{length}{close}\r\n".encode() + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        content = await reader.readexactly(int(fields["content-length"]))
        if " 200 " not in head[0]:
            raise Wrong(f"{head[0]}: {content[:80]!r}")
        if not self._kept or fields.get("connection") == "close":
            self.close()
        return content

    async def _connect(self) -> Tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and (self._streams[0].at_eof() or self._streams[0].exception() is not None):
            self.close()
        if self._streams is None:
            self.port = 0
            self._streams = await asyncio.open_connection(*self._address)
            self.port = self._streams[1].get_extra_info("sockname")[1]
        return self._streams

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Download(HTTP1Client):
    """A long answer, of which every byte is looked at."""

    async def whole(self) -> None:
        """One download. Raises as ``ask``."""
        if await self.ask("GET", "/download", b"") != PIECE * PIECES:
            raise Wrong("another download")
