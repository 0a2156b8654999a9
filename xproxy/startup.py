"""What can go wrong before anything runs: one error, whose text is the one line that a command prints before it ends with 1."""

from __future__ import annotations

import os

from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure


class StartupError(Exception):
    """Something that keeps us from starting. Its text is one clear line for the person who started us.

    :ivar endpoint: the description of the endpoint that can't be listened on; empty: it is about something else.
    """

    def __init__(self, line: str, endpoint: str = "") -> None:
        super().__init__(line)
        self.endpoint = endpoint


def os_reason(error: BaseException) -> str:
    """What the operating system said, in its own words but without numbers: ``address already in use``."""
    cause: object = error
    if isinstance(error, CannotListenError):
        cause = error.socketError
    if isinstance(cause, OSError) and cause.strerror:
        text = cause.strerror
    elif isinstance(cause, OSError) and cause.errno:
        text = os.strerror(cause.errno)
    else:
        text = str(cause) or type(cause).__name__
    text = " ".join(text.split())
    return text[:1].lower() + text[1:]


def failure_reason(failure: Failure) -> str:
    """``os_reason`` of what a Deferred failed with."""
    return os_reason(failure.value or Exception(failure.getErrorMessage()))
