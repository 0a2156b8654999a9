"""Whole messages through the parsers, the way a proxy drives them: what the tests and the fuzzers share."""

from __future__ import annotations

from typing import Iterable, List, Optional, Tuple, Union

from xproxy.http1.body import BodyReader, ChunkedBody
from xproxy.http1.limits import HeadLimits
from xproxy.http1.request import RequestHead, head_end, parse_request_head, request_body
from xproxy.http1.response import ResponseHead, parse_response_head, response_body

Head = Union[RequestHead, ResponseHead]


class Reading:
    """Reads one message from pieces of any size.

    :param answer_to: read a response to this method; None: a request.
    """

    def __init__(self, limits: HeadLimits, answer_to: Optional[bytes] = None) -> None:
        self.head: Optional[Head] = None
        self.content = b""
        self.rest: Optional[bytes] = None
        """What came after the message; None while it goes on."""
        self._limits = limits
        self._answer_to = answer_to
        self._buffer = b""
        self._searched = 0
        self._body: Optional[BodyReader] = None

    @property
    def trailers(self) -> bytes:
        return self._body.trailers if isinstance(self._body, ChunkedBody) else b""

    def feed(self, data: bytes) -> None:
        if self.rest is not None:
            self.rest += data
        elif self.head is not None:
            self._feed_body(data)
        else:
            self._buffer += data
            end = head_end(self._buffer, self._limits, 0, self._searched)
            self._searched = len(self._buffer)
            if end:
                self._begin_body(self._buffer[:end])
                self._feed_body(self._buffer[end:])

    def _begin_body(self, head: bytes) -> None:
        if self._answer_to is None:
            request = parse_request_head(head, self._limits)
            self.head, self._body = request, request_body(request, self._limits)
        else:
            response = parse_response_head(head, self._limits)
            self.head, self._body = response, response_body(response, self._answer_to, self._limits)

    def _feed_body(self, data: bytes) -> None:
        if self._body is None:
            self.rest = data
        else:
            content, self.rest = self._body.feed(data)
            self.content += content


def read(pieces: Iterable[bytes], limits: Optional[HeadLimits] = None, answer_to: Optional[bytes] = None) -> Reading:
    """Feed all pieces; raises what the parsers raise."""
    reading = Reading(limits or HeadLimits(), answer_to)
    for piece in pieces:
        reading.feed(piece)
    return reading


def whole(message: bytes) -> List[bytes]:
    return [message]


def bytewise(message: bytes) -> List[bytes]:
    return [message[at : at + 1] for at in range(len(message))]


def splits(message: bytes) -> Iterable[Tuple[bytes, bytes]]:
    """The message in two pieces, at every place."""
    return ((message[:at], message[at:]) for at in range(1, len(message)))
