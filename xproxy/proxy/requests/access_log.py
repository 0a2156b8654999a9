"""The access log: one line for each answer, combined (as Apache's and nginx's) or JSON, handed to its file once a sweep.

A line costs what its few variable parts cost: what a client says of itself is quoted once for each block of fields, a second is
written out once, and the file's own thread does the writing (see ``log_file``).
"""

from __future__ import annotations

import json
import time
from typing import Callable, List, Optional, Protocol

from twisted.logger import Logger

from ...http1.fields import Fields
from ...http1.request import RequestHead
from ...net.sweep import NEVER

MAX_HELD_LINES = 512
"""Lines that may wait for the next sweep; more are handed on at once."""

MAX_HELD_CHARACTERS = 128 * 1024
"""The same of their length: a line may be as long as a head."""

MAX_FIRST_LINE_BYTES = 256
"""How much of a line that began no good request is logged: enough to see what it was meant to be."""

REPEAT_S = 60.0
"""How often the program's log says that lines of this one are lost."""

COMBINED, JSON = '"{}" "{}"', '"referer": {}, "agent": {}, '
"""What a client says of itself, in either format."""

_log = Logger()


class LineFile(Protocol):
    """Where lines go: a ``log_file.LogFile``."""

    path: str
    lost: int
    reason: str
    not_opened: str

    def begin(self) -> None:
        """Write from now on."""

    def write(self, lines: bytes) -> None:
        """Append whole lines."""

    def reopen(self) -> None:
        """Open the path again."""

    def close(self) -> None:
        """End."""


def _clean(value: bytes) -> str:
    """A value between quotes: what could end the quotes or the line is escaped, as nginx does."""
    text = value.decode("latin-1")
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\x{ord(c):02X}" for c in text)


def _json(value: bytes) -> str:
    """A value as JSON, with its quotes."""
    text = value.decode("latin-1")
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return json.dumps(text)


class AccessLog:
    """Collects lines and hands them to a file.

    :param file: owned by this object.
    :param form: ``combined`` or ``json``.
    :param wall_time: seconds since 1970.
    """

    def __init__(
        self,
        file: LineFile,
        form: str,
        wall_time: Callable[[], float] = time.time,  # noqa: TID251 - a line says when something was, in everybody's time
    ) -> None:
        self.file = file
        self._is_json = form == "json"
        self._wall_time = wall_time
        self._lines: List[str] = []
        self._room = MAX_HELD_CHARACTERS
        self._second = 0
        self._date = ""
        self._closed = False
        self._lost = 0
        """Lines whose loss was said."""
        self._say_at = -NEVER

    # -- lines

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
        reason: str = "",
        service: str = "",
    ) -> None:
        """Log one answer.

        :param peer: the client's address.
        :param head: None for what was no request.
        :param sent_bytes: of content.
        :param seconds: from the whole head to the end of the answer.
        :param version: of the client's protocol, when it is not HTTP/1.x.
        :param reason: why the answer is an error of ours, or broke off; the combined format has it as one more quoted value at
            the end, together with
        :param service: whose slot it went wrong on.
        """
        if self._is_json:
            request = _NO_JSON_REQUEST if head is None else _json_request(head, version)
            self._add_json(peer, request, status, sent_bytes, seconds, pool, request_id, reason, service)
            return
        if head is None:
            self._append(f'{peer or "-"} - - [{self._now()}] "-" {status} {sent_bytes} "-" "-"\n')
            return
        fields = head.fields
        form, client = fields.client_text
        if form is not COMBINED:
            client = _client_text(fields, COMBINED, _clean)
        protocol = version.decode("latin-1") if version else "HTTP/1.1" if head.minor else "HTTP/1.0"
        request = f"{_clean(head.method + b' ' + head.target)} {protocol}"
        why = f' "{_clean(f"{reason} {service}".rstrip().encode())}"' if reason else ""
        self._append(f'{peer or "-"} - - [{self._now()}] "{request}" {status} {sent_bytes} {client}{why}\n')

    def add_refused(self, peer: str, received: bytes, status: int, sent_bytes: int, reason: str) -> None:
        """Log the answer to what was no request.

        :param received: what came of it, of which the first line is logged, cut.
        :param reason: a short label; the combined format has it as one more quoted value at the end.
        """
        line = received.lstrip(b"\r\n")[: MAX_FIRST_LINE_BYTES + 2].partition(b"\n")[0].rstrip(b"\r")[:MAX_FIRST_LINE_BYTES]
        if self._is_json:
            request = f'"method": "", "target": "", "version": "", "line": {_json(line)}, "referer": "-", "agent": "-", '
            self._add_json(peer, request, status, sent_bytes, 0.0, "", b"", reason)
        else:
            request = _clean(line) or "-"
            end = f'"-" "-" "{_clean(reason.encode())}"'
            self._append(f'{peer or "-"} - - [{self._now()}] "{request}" {status} {sent_bytes} {end}\n')

    def _add_json(
        self,
        peer: str,
        request: str,
        status: int,
        sent_bytes: int,
        seconds: float,
        pool: str,
        request_id: bytes,
        reason: str,
        service: str = "",
    ) -> None:
        microseconds = int(seconds * 1e6)
        took = f"{microseconds // 1000000}.{microseconds % 1000000:06}"
        why = f', "reason": {_json(reason.encode())}' if reason else ""
        if service:
            why += f', "service": {json.dumps(service)}'
        self._append(
            f'{{"time": "{self._now()}", "peer": "{peer}", {request}"status": {status}, "bytes": {sent_bytes}, '
            f'"seconds": {took}, "pool": "{pool}", "request_id": {_json(request_id)}{why}}}\n'
        )

    def _now(self) -> str:
        """The time as the format has it."""
        now = self._wall_time()
        second = int(now)
        if second != self._second:
            self._second = second
            form = "%Y-%m-%dT%H:%M:%S" if self._is_json else "%d/%b/%Y:%H:%M:%S +0000"
            self._date = time.strftime(form, time.gmtime(second))
        return f"{self._date}.{int((now - second) * 1000):03}+00:00" if self._is_json else self._date

    # -- where they go

    def _append(self, line: str) -> None:
        self._lines.append(line)
        self._room -= len(line)
        if self._room < 0 or len(self._lines) >= MAX_HELD_LINES or self._closed:
            self.flush()

    def begin(self) -> None:
        """Nothing is written before: see LogFile."""
        self.file.begin()

    def flush(self) -> None:
        """Hand on what was collected."""
        if self._lines:
            self.file.write("".join(self._lines).encode("ascii", "backslashreplace"))
            self._lines = []
            self._room = MAX_HELD_CHARACTERS

    def look(self, now: float) -> None:
        """At each sweep: hand on what was collected, and say what went wrong, but seldom.

        :param now: monotonic seconds.
        """
        self.flush()
        file = self.file
        if file.not_opened:
            _log.warn("access log {path}: {reason}; the old file is written on", path=file.path, reason=file.not_opened)
            file.not_opened = ""
        if file.lost != self._lost and now >= self._say_at:
            self._say_at = now + REPEAT_S
            self._say_lost()

    def _say_lost(self) -> None:
        file = self.file
        count, self._lost = file.lost - self._lost, file.lost
        _log.warn(
            "access log {path}: {count} lines are lost, {total} in all: {reason}",
            path=file.path,
            count=count,
            total=file.lost,
            reason=file.reason,
        )

    def reopen(self) -> None:
        """The file was moved away: write to a new one of its name. The lines so far may go to either."""
        self.flush()
        self.file.reopen()

    def close(self) -> None:
        """The end: hand on what was collected, and at once what comes yet, of clients that are cut off."""
        self._closed = True
        self.flush()
        if self.file.lost != self._lost:
            self._say_lost()


_NO_JSON_REQUEST = '"method": "", "target": "", "version": "", "referer": "-", "agent": "-", '


def _json_request(head: RequestHead, version: bytes) -> str:
    protocol = version.decode("latin-1") if version else "HTTP/1.1" if head.minor else "HTTP/1.0"
    form, client = head.fields.client_text
    if form is not JSON:
        client = _client_text(head.fields, JSON, _json)
    return f'"method": {_json(head.method)}, "target": {_json(head.target)}, "version": "{protocol}", {client}'


def _client_text(fields: Fields, form: str, quote: Callable[[bytes], str]) -> str:
    """What a client says of itself, kept with the fields, which clients repeat."""
    referer = fields.get(b"referer") or b"-"
    agent = fields.get(b"user-agent") or b"-"
    text = form.format(quote(referer), quote(agent))
    fields.client_text = form, text
    return text
