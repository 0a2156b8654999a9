"""The one tree of what can go wrong with a request: who is at fault, which status it becomes, whether trying again is safe."""

from __future__ import annotations

from typing import Optional


class ExchangeError(Exception):
    """A request that gets no response from a service.

    :cvar status: the status code the client is given (RFC 9110 section 15).
    :cvar source: whose fault it is: client, service or us.
    :ivar reason: a short stable label, for metrics, logs and error pages.
    :ivar service: the service on whose slot it went wrong; empty: it was on none.
    """

    status = 500
    source = "us"
    service = ""

    def __init__(self, reason: str, status: Optional[int] = None, retry_after_s: Optional[int] = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        if status is not None:
            self.status = status


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
