"""Requests that change something: who may make them.

A UNIX socket that nobody but its owner can open is permission enough. Elsewhere a request needs the token, which no page of
another site can send along (Fetch standard: a field ``Authorization`` needs a preflight, which is not answered here); a page
is refused all the same, by what browsers say of where a request comes from.
"""

from __future__ import annotations

import hmac
import os
from typing import Callable, Optional

import attr
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.web.http import FORBIDDEN, UNAUTHORIZED, Request

from ..reload import Outcome

_OTHERS = 0o077

NO_TOKEN = "only with a token, and none is set: admin_token in the configuration; or on a UNIX socket with mode 0600"


@attr.frozen
class Controls:
    """The actions of the admin endpoint."""

    reload: Callable[[], Deferred[Outcome]]
    drain: Callable[[], bool]
    """Begins the drain; gives whether no drain had begun before."""
    token: Callable[[], str]
    """The token that a request must bring; empty: none is set."""


@attr.frozen
class Refusal:
    """Why a request may change nothing.

    :ivar code: the status of the answer.
    :ivar reason: one line, for the body of the answer.
    """

    code: int
    reason: str


def refusal(request: Request, token: str) -> Optional[Refusal]:
    """Why this request may change nothing; None: it may."""
    if _is_from_elsewhere(request):
        return Refusal(FORBIDDEN, "not from a page of another site")
    if _is_private(request):
        return None
    if not token:
        return Refusal(FORBIDDEN, NO_TOKEN)
    scheme, _, given = (request.getHeader(b"authorization") or b"").partition(b" ")
    if scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(b" "), token.encode()):
        return None
    return Refusal(UNAUTHORIZED, "only with the token: Authorization: Bearer ...")


def _is_from_elsewhere(request: Request) -> bool:
    """Whether a browser says that the request is from a page of another site (Fetch Metadata, RFC 6454)."""
    site, origin = request.getHeader(b"sec-fetch-site"), request.getHeader(b"origin")
    if site not in (None, b"same-origin", b"none"):
        return True
    return origin is not None and origin.partition(b"://")[2] != request.getHeader(b"host")


def _is_private(request: Request) -> bool:
    """Whether the request came over a UNIX socket that only its owner can open, by the mode that the socket has now."""
    address = request.getHost()
    if not isinstance(address, UNIXAddress) or not address.name:
        return False
    try:
        return not os.stat(address.name).st_mode & _OTHERS
    except (OSError, ValueError):  # The socket was removed, or never was a file.
        return False
