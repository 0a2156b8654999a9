"""The exchanges of a slot that a relay serves: what the slot is given of the backend's answers, and what may be used again.

A slot is worth more than a connection to the backend: it stands in a ring, and a proxy may hold it. So an answer that ends the
backend's connection does not end the slot, as long as the end of the answer can be told by other means:

=====================================  ============================================================================
the backend's answer                   what the slot is given
=====================================  ============================================================================
leaves its connection open             the bytes as they are
says close, or is HTTP/1.0             the same without that: ``HTTP/1.1``, no ``close`` in Connection
ends with its connection (no length)   ``HTTP/1.1`` and the chunked coding (RFC 9112 section 7.1); a connection that is
                                       reset leaves the last chunk out, so a cut answer does not look whole
has bytes after its end                not these, and nothing more of that connection
101, 2xx to CONNECT, not HTTP          the bytes as they are, to the end
=====================================  ============================================================================

A request that itself ends the connection (``Connection: close``, HTTP/1.0) gets the bytes as they are: its slot ends anyway.

Pure: bytes in, bytes out. Bodies are passed on as they come, whatever their coding; only their ends are looked for.
"""

from __future__ import annotations

import re
from typing import List, Optional

from xproxy.http1.body import BodyReader, CloseBody, encode_chunk, last_chunk
from xproxy.http1.errors import BadMessage
from xproxy.http1.request import head_end
from xproxy.http1.response import ResponseHead, parse_response_head, response_body
from xproxy.slots.serving.tracker import HTTP, TRACKER_LIMITS, ExchangeTracker, Phase

_timeout = re.compile(rb"(?:^|[,; \t])timeout=([0-9]{1,9})(?![0-9])", re.IGNORECASE).search

KEEP_MARGIN_S = 1.0
"""How long before its announced end a connection of the backend is not used any more; half of the announced time when that is
shorter. Servers announce whole seconds and count from another moment than we; undici, the client of Node, takes the same."""


class RelayTracker(ExchangeTracker):
    """Follows the exchanges of one slot, at the relay, which calls ``follow_request`` and ``answer`` itself.

    :ivar begun: the backend has sent something of an answer to the request that runs.
    :ivar backend_good: after this answer, the backend's connection may be used for another request.
    :ivar keep_s: for how long, in seconds; None where the backend has not announced that (``Keep-Alive: timeout=…``).
    """

    __slots__ = ("begun", "backend_good", "keep_s", "_head", "_body", "_chunking")

    def __init__(self) -> None:
        super().__init__()
        self.begun = False
        self.backend_good = False
        self.keep_s: Optional[float] = None
        self._head = b""
        """What is there of an answer's head that is not complete."""
        self._body: Optional[BodyReader] = None
        """None while the head is still to come."""
        self._chunking = False
        """The body gets the chunked coding."""

    @property
    def method(self) -> bytes:
        """Of the request that runs; empty while its head is not complete, and where it is not HTTP."""
        return self._method if self.phase in (Phase.RUNNING, Phase.ANSWERED) else b""

    @property
    def end_completes(self) -> bool:
        """Whether the end of the connection would complete what the slot got so far."""
        if self.phase is Phase.RUNNING:
            return isinstance(self._body, CloseBody) and not self._chunking
        return self.phase in (Phase.TUNNEL, Phase.UNCLEAR, Phase.RAW_OWED, Phase.RAW_QUIET)

    # -- what the slot's own following would do

    def received(self, data: bytes) -> None:
        """The relay follows the request itself."""

    def sent(self, data: bytes) -> None:
        """What the relay writes was followed when it came from the backend."""

    def _begin_response(self) -> None:
        self.begun = self.backend_good = self._chunking = False
        self.keep_s = None
        self._head = b""
        self._body = None

    # -- the backend

    def answer(self, data: bytes) -> bytes:
        """The backend sent ``data``. Returns what the slot is given."""
        phase = self.phase
        if phase is Phase.RUNNING:
            self.begun = True
            return self._follow_answer(data)
        if phase is Phase.RAW_OWED:
            self.phase = Phase.RAW_QUIET
        elif phase in (Phase.IDLE, Phase.ANSWERED, Phase.SPENT):
            self.backend_good = False
            return b""
        return data

    def answer_ended(self) -> bytes:
        """The backend has ended its side, in order. Returns what the slot is given for that."""
        self.backend_good = False
        if self.phase is Phase.RUNNING and isinstance(self._body, CloseBody):
            self._complete()
            if self._chunking:
                return last_chunk()
        return b""

    def _follow_answer(self, data: bytes) -> bytes:
        passed: List[bytes] = []
        try:
            while self._body is None:
                data = self._head + data
                end = self._head_end(data)
                if not end:
                    self._head = data
                    return b"".join(passed)
                self._head = b""
                head = parse_response_head(data[:end], TRACKER_LIMITS)
                passed.append(self._head_read(data[:end], head))
                data = data[end:]
                if self.phase is not Phase.RUNNING:
                    if self.phase is Phase.TUNNEL:
                        passed.append(data)
                    elif data:
                        self.backend_good = False
                    return b"".join(passed)
            passed.append(self._body_read(self._body, data))
        except BadMessage:  # The proxy has its own parser, and says what it thinks of it.
            self._head = b""
            self.backend_good = False
            self._strange(Phase.RAW_QUIET)
            passed.append(data)
        return b"".join(passed)

    def _head_end(self, data: bytes) -> int:
        end = head_end(data, TRACKER_LIMITS, 0, len(self._head))
        if not end and not HTTP.startswith(data[:7]):
            raise BadMessage(400, "status-line")
        return end

    def _head_read(self, received: bytes, head: ResponseHead) -> bytes:
        """Understand a head, interim or final; returns it as the slot gets it."""
        status = head.status
        if status == 101 or (self._method == b"CONNECT" and 200 <= status < 300):
            self.phase = Phase.TUNNEL
        elif status >= 200:
            body = response_body(head, self._method, TRACKER_LIMITS)
            unsized = isinstance(body, CloseBody)
            self.backend_good = head.keep_alive and not unsized and not self._last
            self.keep_s = _announced(head)
            if not self.backend_good:
                if self._minor and not self._last:
                    self._chunking = unsized
                    received = _kept_open(head, unsized)
                else:
                    self._last = True
            if body is None:
                self._complete()
            self._body = body
        return received

    def _body_read(self, body: BodyReader, data: bytes) -> bytes:
        content, rest = body.feed(data)
        if rest is None:
            return encode_chunk(content) if self._chunking else data
        self._complete()
        if rest:
            self.backend_good = False
            return data[: -len(rest)]
        return data

    def _complete(self) -> None:
        if self._last:
            self.phase = Phase.SPENT
        else:
            self.phase = Phase.IDLE if self._request is None else Phase.ANSWERED


def _announced(head: ResponseHead) -> Optional[float]:
    """For how long the backend keeps its connection, less a margin; None when it does not say."""
    match = _timeout(head.fields.special.get(b"keep-alive", b""))
    if match is None:
        return None
    timeout = int(match[1])
    return timeout - min(KEEP_MARGIN_S, timeout / 2)


def _kept_open(head: ResponseHead, chunking: bool) -> bytes:
    """A head that says that its connection ends, as one that does not.

    Connection keeps what else it names; what it says of the connection itself goes, and Keep-Alive with it.
    """
    lines = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)]
    for field in head.fields.block.splitlines(keepends=True):
        if field.partition(b":")[0].lower() not in (b"connection", b"keep-alive"):
            lines.append(field)
    tokens = (token.strip(b" \t") for token in head.fields.special.get(b"connection", b"").split(b","))
    kept = [token for token in tokens if token and token.lower() not in (b"close", b"keep-alive")]
    if kept:
        lines.append(b"Connection: " + b", ".join(kept) + b"\r\n")
    if chunking:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)
