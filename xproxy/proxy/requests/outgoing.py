"""The message that goes to the service for a request: its head, and how its body is framed. Pure."""

from __future__ import annotations

from typing import Optional, Tuple

from ...http1.body import last_chunk
from ...http1.forward import Marks, request_head, without_field
from ...http1.request import RequestHead
from ...http1.upgrade import offer_with
from ...net.bodies.spool import Spool
from .policy import Destination
from .provenance import Provenance
from .request_body import RequestBody
from .routes import strip_prefix


def outgoing(
    head: RequestHead,
    to: Destination,
    provenance: Provenance,
    request_id: bytes,
    length: int = -1,
    chunked: bool = False,
    upgrade: bytes = b"",
) -> bytes:
    """The head for the service.

    :param request_id: for X-Request-ID.
    :param length: of the body; -1: there is none, or it is chunked. 0 goes on: some services want it where they expect a body.
    :param upgrade: the protocols that the service is offered to switch to; empty: none.
    """
    fields = head.fields
    if head.method == b"OPTIONS" and fields.max_forwards > 0:  # RFC 9110 section 7.6.2.
        fields = fields.with_max_forwards(fields.max_forwards - 1)
    set_host = to.set_host if to.set_host or head.host else provenance.local_host
    block = provenance.block(fields, head.host, head.minor, set_host)
    path = head.path
    if to.strip_prefix:
        path = strip_prefix(path, to.strip_prefix)
        block = provenance.with_prefix(block, fields, to.strip_prefix)
    return request_head(head.method, path, block, length, chunked, request_id, upgrade)


def outgoing_whole(
    head: RequestHead,
    to: Destination,
    provenance: Provenance,
    request_id: bytes,
    body: RequestBody,
    trailers: bytes = b"",
    upgrade: bytes = b"",
) -> Tuple[bytes, Optional[Spool]]:
    """The head and as much of a whole body as goes with it, and the rest of the body. Raises BadMessage: 507.

    A body with trailers has to go on in the chunked coding (RFC 9110 section 6.5): as one chunk.

    :param trailers: from ``passed_trailers``.
    :param upgrade: from ``offered``.
    """
    if not trailers:
        size = body.size
        content, spool = body.take()
        return outgoing(head, to, provenance, request_id, size, False, upgrade) + content, spool
    begin, end = (b"%x\r\n" % body.size, b"\r\n") if body.size else (b"", b"")
    content, spool = body.take(end + last_chunk(trailers))
    return outgoing(head, to, provenance, request_id, -1, True, upgrade) + begin + content, spool


def offered(head: RequestHead, start: bytes, chunked: bool) -> bytes:
    """The protocols that a service is offered to switch to by a request with a body.

    :param start: of the body; empty: not known.
    :param chunked: the body goes on in the chunked coding.
    """
    return head.upgrade if chunked or not head.upgrade else offer_with(head.upgrade, start)


def passed_trailers(trailers: bytes, marks: Marks) -> bytes:
    """The trailer lines that go on: who a client is can't be said by a trailer any more than by a header."""
    return without_field(trailers, marks.subject_field) if trailers and marks.subject_field else trailers
