"""The one tree of what can go wrong with a request: who is at fault, which status it becomes, whether trying again is safe."""

from __future__ import annotations

from typing import Optional


class ExchangeError(Exception):
    """A request that gets no response from a service.

    :cvar status: the status code the client is given (RFC 9110 section 15).
    :cvar source: whose fault it is: client, service or us.
    :ivar reason: a short stable label, for metrics, logs and error pages.
    """

    status = 500
    source = "us"

    def __init__(self, reason: str, status: Optional[int] = None, retry_after_s: Optional[int] = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        if status is not None:
            self.status = status


class ClientError(ExchangeError):
    """The request is not one that we pass on."""

    status = 400
    source = "client"


class Busy(ExchangeError):
    """No slot in time: the line is full, or the wait was too long."""

    status = 503
    source = "us"


class ServiceFailed(ExchangeError):
    """The service broke off or answered what is not HTTP. Whether another slot may be tried is the exchange's to know."""

    status = 502
    source = "service"


class ServiceSilent(ExchangeError):
    """No response in time."""

    status = 504
    source = "service"


REASONS = {
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    410: "Gone",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    421: "Misdirected Request",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}
"""Reason phrases of what we answer ourselves (RFC 9110 section 15)."""
