"""The access log: one line for each answer, combined (as Apache's and nginx's) or JSON, written once a sweep."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import IO, List, Optional

from twisted.logger import Logger

from ...http1.request import RequestHead

MAX_HELD_LINES = 512
"""Lines that may wait for the next sweep; more are written at once."""

_log = Logger()


def _clean(value: bytes) -> str:
    """A value between quotes: what could end the quotes or the line is escaped, as nginx does."""
    text = value.decode("latin-1")
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\x{ord(c):02X}" for c in text)


class AccessLog:
    """Collects lines and writes them to a file.

    :param file: opened for appending text; owned and closed by this object unless it is standard output.
    :param form: ``combined`` or ``json``.
    """

    def __init__(self, file: IO[str], form: str, owned: bool) -> None:
        self._file = file
        self._json = form == "json"
        self._owned = owned
        self._lines: List[str] = []

    def add(
        self,
        peer: str,
        head: Optional[RequestHead],
        status: int,
        sent_bytes: int,
        seconds: float,
        pool: str,
        request_id: bytes,
        version: bytes = b"",
    ) -> None:
        """Log one answer.

        :param head: None for what was no request.
        :param sent_bytes: of content.
        :param seconds: from the whole head to the end of the answer.
        :param version: of the client's protocol, when it is not HTTP/1.x.
        """
        method, target = (head.method, head.target) if head is not None else (b"", b"")
        version = version or (b"HTTP/1.%d" % head.minor if head is not None else b"")
        referer = (head.fields.get(b"referer") if head is not None else None) or b"-"
        agent = (head.fields.get(b"user-agent") if head is not None else None) or b"-"
        now = datetime.now(timezone.utc)
        if self._json:
            line = json.dumps(
                {
                    "time": now.isoformat(timespec="milliseconds"),
                    "peer": peer,
                    "method": method.decode("latin-1"),
                    "target": target.decode("latin-1"),
                    "version": version.decode("latin-1"),
                    "status": status,
                    "bytes": sent_bytes,
                    "seconds": round(seconds, 6),
                    "referer": referer.decode("latin-1"),
                    "agent": agent.decode("latin-1"),
                    "pool": pool,
                    "request_id": request_id.decode("latin-1"),
                }
            )
        else:
            request = _clean(b" ".join((method, target, version))) if method else "-"
            first = f'{peer} - - [{now:%d/%b/%Y:%H:%M:%S %z}] "{request}" {status} {sent_bytes}'
            line = f'{first} "{_clean(referer)}" "{_clean(agent)}"'
        self._lines.append(line + "\n")
        if len(self._lines) >= MAX_HELD_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what was collected; when that fails the lines are lost and the log says so."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            self._file.write("".join(lines))
            self._file.flush()
        except (OSError, ValueError) as error:  # ValueError: somebody has closed the file.
            _log.warn("{count} lines of the access log are lost: {error}", count=len(lines), error=error)

    def close(self) -> None:
        """Write what was collected, and close."""
        self.flush()
        if self._owned:
            self._file.close()
