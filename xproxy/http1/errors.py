"""The one exception that the parsers of this package raise."""

from __future__ import annotations


class BadMessage(Exception):
    """A message that is not forwarded.

    A client's bad message becomes a response with ``status`` and the end of the connection; a service's becomes a 502 and the
    end of the slot, whatever ``status`` says.

    :ivar status: 400, or the more exact 405, 413, 414, 431, 501, 505.
    :ivar reason: a short stable label such as ``"bare-lf"``, for logs and metrics; never a byte of the message.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.status} {self.reason}"
