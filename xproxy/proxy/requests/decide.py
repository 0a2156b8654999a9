"""What becomes of a request, decided from its head: where it goes, and whether we answer it ourselves. Pure."""

from __future__ import annotations

from typing import Optional, Tuple

from ...http1.errors import BadMessage
from ...http1.request import RequestHead
from . import answers
from .answers import Answer
from .policy import Destination
from .provenance import Provenance


def decide(head: RequestHead, provenance: Provenance, pool: Optional[str] = None) -> Tuple[Destination, Optional[Answer]]:
    """The destination of a request, and the answer that needs no service of it, None when one is needed.

    :param pool: where everything goes, by name; None: the routes decide.
    :raises BadMessage: 405, of a method that is not for us: its sender may take what follows for something else.
    """
    method, policy = head.method, provenance.policy
    if method == b"CONNECT" or method == b"TRACE":
        # RFC 9110 sections 9.3.6 and 9.3.8: no tunnel to elsewhere is offered, and TRACE would show what we add.
        raise BadMessage(405, "method-not-allowed")
    to = policy.router.find(head.host, head.path, method) if pool is None else policy.by_pool.get(pool)
    if to is None:
        return policy.nowhere, policy.pages.error(404, "no-route", head.fields.get(b"accept") or b"")
    if to.answers or method == b"OPTIONS":
        return to, answers.without_service(to.route, head, provenance.came_with_tls(head))
    return to, None
