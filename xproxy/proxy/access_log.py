"""The access log: one line for each answer, combined (as Apache's and nginx's) or JSON, written once a sweep."""

from __future__ import annotations

import json
import time
from typing import IO, Any, List, Optional

from twisted.logger import Logger

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
        self._second = 0
        self._stamp = ""

    def add(
        self,
        peer: str,
        method: bytes,
        target: bytes,
        minor: int,
        status: int,
        sent_bytes: int,
        seconds: float,
        fields: Optional[Any],
        pool: str,
        request_id: bytes,
    ) -> None:
        """Log one answer. ``seconds`` from the whole head to the end of the answer."""
        referer = (fields.get(b"referer") if fields is not None else None) or b"-"
        agent = (fields.get(b"user-agent") if fields is not None else None) or b"-"
        now = time.time()
        if int(now) != self._second:
            self._second = int(now)
            self._stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now))
        if self._json:
            line = json.dumps(
                {
                    "time": round(now, 3),
                    "peer": peer,
                    "method": method.decode("latin-1"),
                    "target": target.decode("latin-1"),
                    "version": f"1.{minor}",
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
            request = f"{_clean(method)} {_clean(target)} HTTP/1.{minor}" if method else "-"
            line = f'{peer} - - [{self._stamp}] "{request}" {status} {sent_bytes} "{_clean(referer)}" "{_clean(agent)}"'
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
        except OSError as error:
            _log.warn("{count} lines of the access log are lost: {error}", count=len(lines), error=error)

    def close(self) -> None:
        """Write what was collected, and close."""
        self.flush()
        if self._owned:
            self._file.close()
