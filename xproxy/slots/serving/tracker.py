"""Whether a request is running on a slot, told from outside: from the bytes that pass, not from the protocol that serves them.

Two have to know that of messages they do not make: the ``slots:`` endpoint, which may close a protocol only when that hurts
nobody, and the acceptor, which lends slots to clients that give nothing back (``acceptor/loan.py``). Each shows the tracker
what a slot's service received and what it sent, and the tracker follows the boundaries of messages with the parsers that the
proxy uses. A slot carries one exchange at a time, so there is no pipelining to follow. Pure.

==========  =======================================================  ===========================================================
phase       meaning                                                  left by
==========  =======================================================  ===========================================================
IDLE        no exchange                                              bytes received: RUNNING; bytes sent: RAW_QUIET
RUNNING     a request has begun, its response is not complete        end of the response: IDLE; ANSWERED while the request still
                                                                     comes; SPENT when one side said close; TUNNEL
ANSWERED    the response is complete, the request still comes        end of the request: IDLE
SPENT       the last exchange of this connection is over             nothing
TUNNEL      101, or 2xx to CONNECT: another protocol, until closed   nothing
UNCLEAR     HTTP, but the boundaries are lost: running until closed  nothing
RAW_OWED    not HTTP: nothing was sent since the last byte came      bytes sent: RAW_QUIET
RAW_QUIET   not HTTP: something was sent since                       bytes received: RAW_OWED
==========  =======================================================  ===========================================================

A connection is raw when its very first bytes are not HTTP; what turns strange later is UNCLEAR. A response that ends with the
connection keeps the slot RUNNING.
"""

from __future__ import annotations

from enum import Enum
from typing import Callable, Optional

from xproxy.http1.body import BodyReader
from xproxy.http1.errors import BadMessage
from xproxy.http1.limits import HeadLimits
from xproxy.http1.request import RequestHead, head_end, parse_request_head, request_body
from xproxy.http1.response import ResponseHead, parse_response_head, response_body

TRACKER_LIMITS = HeadLimits(request_line=65536, header=65536, head=131072, header_count=1000, trailers=65536, chunk_line=16384)
"""Far above what a proxy lets pass (32 kB and 100 headers by default, and what it adds): we watch here, others judge."""

HTTP = b"HTTP/1."


class Phase(Enum):
    """Where the exchange on a slot is; the table is in the module's docstring."""

    IDLE = "idle"
    RUNNING = "running"
    ANSWERED = "answered"
    SPENT = "spent"
    TUNNEL = "tunnel"
    UNCLEAR = "unclear"
    RAW_OWED = "raw-owed"
    RAW_QUIET = "raw-quiet"


class _MessageEnd:
    """Finds the end of one message: collects the head, then lets the body's reader count."""

    __slots__ = ("_parse", "_begun", "_body")

    def __init__(self, parse: Callable[[bytes], Optional[BodyReader]]) -> None:
        self._parse = parse
        self._begun = b""
        self._body: Optional[BodyReader] = None

    def feed(self, data: bytes) -> Optional[bytes]:
        """Take the next bytes. Returns what came after the end of the message, None while it goes on.

        :raises BadMessage: this is not HTTP.
        """
        if self._body is None:
            searched = len(self._begun)
            if searched:
                data = self._begun + data
            end = head_end(data, TRACKER_LIMITS, 0, searched)
            if not end:
                self._begun = data
                return None
            self._begun = b""
            self._body = self._parse(data[:end])
            data = data[end:]
            if self._body is None:
                return data
        return self._body.feed(data)[1]

    @property
    def begun(self) -> bytes:
        """What is there of a head that is not complete."""
        return self._begun


class ExchangeTracker:
    """Follows the exchanges of one slot.

    :ivar phase: where the exchange is.
    :ivar requests: how many request heads were seen: above zero, the other end really uses this slot.
    :ivar response_last: the last response that began said that the connection ends with it.
    """

    __slots__ = ("phase", "requests", "response_last", "_request", "_response", "_method", "_minor", "_status", "_last")

    def __init__(self) -> None:
        self.phase = Phase.IDLE
        self.requests = 0
        self.response_last = False
        self._request: Optional[_MessageEnd] = None
        """None when no request is being read."""
        self._response: Optional[_MessageEnd] = None
        self._method = b""
        self._minor = 0
        """The version of the request is HTTP/1.x."""
        self._status = 0
        self._last = False
        """One of the two said that the connection ends with this exchange."""

    def received(self, data: bytes) -> None:
        """The slot received ``data``."""
        while data:
            data = self.follow_request(data)

    def follow_request(self, data: bytes) -> bytes:
        """Follow the request that runs, or that begins with ``data`` (not empty).

        :returns: what belongs to the next request. Only where the response was complete before its request was may one come in
            the same piece: the proxy, for which the exchange is over, does not wait.
        """
        phase = self.phase
        if phase is Phase.IDLE:
            self.phase = phase = Phase.RUNNING
            self._request = _MessageEnd(self._request_head)
            self._begin_response()
            self._method = b""
            self._minor = 0
            self._last = False
        elif phase is Phase.RAW_QUIET:
            self.phase = Phase.RAW_OWED
            return b""
        elif phase is not Phase.RUNNING and phase is not Phase.ANSWERED:
            return b""
        if self._request is None:
            self.phase = Phase.UNCLEAR  # More than one request: against the rules of a slot.
            return b""
        try:
            rest = self._request.feed(data)
        except BadMessage:
            self._strange(Phase.RAW_OWED)
            return b""
        if rest is None:
            return b""
        self._request = None
        if phase is Phase.ANSWERED:
            self.phase = Phase.IDLE
            return rest
        if rest:
            self.phase = Phase.UNCLEAR
        return b""

    def _begin_response(self) -> None:
        """A response is to come."""
        self._response = _MessageEnd(self._response_head)

    def sent(self, data: bytes) -> None:
        """The protocol that serves the slot wrote ``data``."""
        phase = self.phase
        if phase is Phase.RUNNING:
            try:
                self._response_sent(data)
            except BadMessage:
                self._strange(Phase.RAW_QUIET)
        elif phase is Phase.RAW_OWED:
            self.phase = Phase.RAW_QUIET
        elif data and (phase is Phase.IDLE or phase is Phase.ANSWERED):
            self._strange(Phase.RAW_QUIET)

    def _response_sent(self, data: bytes) -> None:
        while data:
            assert self._response is not None
            rest = self._response.feed(data)
            if rest is None:
                if not HTTP.startswith(self._response.begun[:7]):
                    raise BadMessage(400, "status-line")
                return
            data = rest
            status = self._status
            if status == 101 or (self._method == b"CONNECT" and 200 <= status < 300):
                self.phase = Phase.TUNNEL
                return
            if status >= 200:
                break
            self._response = _MessageEnd(self._response_head)
        else:
            return
        if data:
            self.phase = Phase.UNCLEAR
        elif self._last:
            self.phase = Phase.SPENT
        else:
            self.phase = Phase.IDLE if self._request is None else Phase.ANSWERED

    def _request_head(self, head: bytes) -> Optional[BodyReader]:
        parsed: RequestHead = parse_request_head(head, TRACKER_LIMITS)
        self.requests += 1
        self._method = parsed.method
        self._minor = parsed.minor
        self._last = self._last or not parsed.keep_alive
        return request_body(parsed, TRACKER_LIMITS)

    def _response_head(self, head: bytes) -> Optional[BodyReader]:
        parsed: ResponseHead = parse_response_head(head, TRACKER_LIMITS)
        self._status = parsed.status
        if parsed.status >= 200:
            self.response_last = not parsed.keep_alive
            self._last = self._last or self.response_last
        return response_body(parsed, self._method, TRACKER_LIMITS)

    def _strange(self, raw: Phase) -> None:
        """These bytes are not HTTP: a raw protocol if nothing ever was, else nothing can be told any more."""
        self.phase = Phase.UNCLEAR if self.requests else raw
