"""What has come of a response on a slot: the head, byte by byte if need be, and the reader of the body. Pure."""

from __future__ import annotations

from typing import Callable, Optional, Tuple

from ...http1.body import BodyReader, CloseBody, LengthBody
from ...http1.errors import BadMessage
from ...http1.limits import HeadLimits
from ...http1.request import head_end
from ...http1.response import ResponseHead, parse_response_head, response_body

MAX_INTERIM = 20
"""Interim responses before the final one; a service has no use for more, and each one is relayed."""

_BODILESS = (204, 304)


class IncomingResponse:
    """The response to the exchange that is on a slot. One object serves all exchanges of a slot, one after the other.

    :ivar limits: of heads and trailers.
    :ivar body: the reader of the response's body; None before the head has come, and when there is no body. Whoever ends the
        exchange makes it None again.
    :ivar reusable: as far as the head says, the slot can serve another request.
    :ivar endless: nobody can tell when the response ends: it ends with the connection, or is a stream of events.
    :ivar bodiless: the response has no body, though another one of its kind would have (HEAD, 204, 304): some services send one
        all the same, behind the end of the response.
    :ivar switch: a 101, and what came behind it.
    """

    __slots__ = ("body", "reusable", "endless", "bodiless", "switch", "limits", "_buffer", "_interim")

    def __init__(self, limits: HeadLimits) -> None:
        self.body: Optional[BodyReader] = None
        self.reusable = False
        self.endless = False
        self.bodiless = False
        self.switch: Optional[Tuple[ResponseHead, bytes]] = None
        self.limits = limits
        self._buffer = b""
        self._interim = 0

    def begin(
        self, data: bytes, method: bytes, hint: Callable[[ResponseHead], None]
    ) -> Optional[Tuple[ResponseHead, bytes, Optional[bytes]]]:
        """The head of the final response, the first of its content, and what came after its end; None while it is not whole.

        What came after is None while the body goes on; it is everything after the head when that is a 101.

        :param method: of the request.
        :param hint: called with each interim head before it (RFC 9110 section 15.2), but for 100, which is ours to send.
        :raises BadMessage: what came is no response.
        """
        if self._buffer:
            data = self._buffer + data
        limits = self.limits
        while True:
            end = head_end(data, limits)
            if not end:
                self._buffer = data
                return None
            head = parse_response_head(data[:end], limits)
            data = data[end:]
            status = head.status
            if status >= 200 or status == 101:
                break
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise BadMessage(502, "too-many-interim-responses")
            if status != 100:
                hint(head)
        self._buffer = b""
        self._interim = 0
        self.reusable = head.keep_alive
        body = self.body = response_body(head, method, limits)
        if body is None:
            self.bodiless = status in _BODILESS or method == b"HEAD"
            return head, b"", data
        content, rest = body.feed(data)
        if rest is None:
            self.endless = head.unbuffered or isinstance(body, CloseBody)
        return head, content, rest

    @property
    def missing_bytes(self) -> int:
        """How much of the body is still to come, as far as that was said: at least so much."""
        return self.body.remaining if isinstance(self.body, LengthBody) else 0
