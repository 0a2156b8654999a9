"""Why an acceptor does not take a slot: one response, which nobody asked for, on a slot that carries no exchange.

An acceptor that refuses a slot sends a ``403`` whose body, plain text, is the reason, and closes. Whoever else answers a
registration with a response is an HTTP server that was dialled by mistake. Neither is a request for the protocol that serves.
"""

from __future__ import annotations

import re

RESPONSE_BEGINS = b"HTTP/1."
"""How every response begins, and no request: a method has no slash (RFC 9110 section 9.1)."""

MAX_REFUSAL_BYTES = 4096
"""How much of such a response is kept."""

MAX_REASON_CHARACTERS = 200
"""How much of a reason is logged."""

_not_printable = re.compile(r"[^ -~]+")


class SlotRefused(Exception):
    """The other end does not take the slot. The text says why, on one line."""


class UnaskedResponse:
    """What comes on a slot that carries no exchange, as far as it may be such a response.

    :ivar said: the response, as much of it as is kept; empty as long as none has begun.
    """

    __slots__ = ("said", "_begun")

    def __init__(self) -> None:
        self.said = b""
        self._begun = b""
        """What may still become a response, or a request."""

    def look(self, data: bytes) -> bytes:
        """Look at what comes first. Returns what is a request; nothing, while it can't be told or where it is a response."""
        data = self._begun + data
        self._begun = b""
        if data.startswith(RESPONSE_BEGINS):
            self.more(data)
            return b""
        if RESPONSE_BEGINS.startswith(data):
            self._begun = data
            return b""
        return data

    def more(self, data: bytes) -> None:
        """More of the response."""
        self.said = (self.said + data)[:MAX_REFUSAL_BYTES]


def refusal_reason(response: bytes) -> str:
    """What a response on an idle slot says, on one line for the log.

    :param response: as much of it as there is, ``MAX_REFUSAL_BYTES`` at most.
    """
    head, _, body = response.partition(b"\r\n\r\n")
    status_line = _on_one_line(head.partition(b"\r\n")[0])
    if status_line[:13] in ("HTTP/1.1 403 ", "HTTP/1.0 403 "):
        return f"refused by the acceptor: {_on_one_line(body) or 'it does not say why'}"
    return f"answered by an HTTP server, not an acceptor: {status_line}"


def _on_one_line(text: bytes) -> str:
    return _not_printable.sub(" ", text.decode("latin-1")).strip()[:MAX_REASON_CHARACTERS]
