"""Where the requests of a client's connection come from, what of that is believed, and the header block that tells services."""

from __future__ import annotations

from typing import Any, Callable, Optional

from ...http1.fields import Fields
from ...http1.forward import forwarding_block
from ...http1.request import RequestHead
from ...http1.target import local_host
from ...slots.access import allowed
from .policy import Destination, Policy


class Provenance:
    """Of one connection, under one policy. When the gateway has another policy, the next request's connection makes a new one.

    :ivar peer: the client's address, or what a PROXY header said; empty: it has none (UNIX).
    :ivar scheme: ``http`` or ``https``, as the client came to us.
    :ivar subject: of the client's certificate; empty: it has shown none.
    :ivar version: of the protocol, when that is not HTTP/1.x.
    :ivar trusted: what the client says about where its requests come from is believed.
    :ivar our_end: asks for the address of our end of the connection; None: it has none.
    """

    __slots__ = (
        "policy", "peer", "scheme", "subject", "version", "trusted", "our_end", "_fields", "_host", "_minor", "_set_host",
        "_block",
    )  # fmt: skip

    def __init__(self, policy: Policy, peer: str, scheme: bytes, subject: bytes = b"", version: bytes = b"") -> None:
        self.policy = policy
        self.peer = peer
        self.scheme = scheme
        self.subject = subject
        self.version = version
        self.trusted = peer != "" and allowed(peer, policy.trusted_proxies)
        self.our_end: Optional[Callable[[], Any]] = None
        # Clients repeat themselves: the fields last passed on (mostly the same object), and the block made of them.
        self._fields: Optional[Fields] = None
        self._host = self._set_host = self._block = b""
        self._minor = 1

    def under(self, policy: Policy) -> Provenance:
        """The same under another policy."""
        successor = Provenance(policy, self.peer, self.scheme, self.subject, self.version)
        successor.our_end = self.our_end
        return successor

    def came_with_tls(self, head: RequestHead) -> bool:
        """Whether a request came with TLS: to us, or, as a trusted proxy says, to it."""
        if self.scheme == b"https":
            return True
        first = head.fields.special.get(b"x-forwarded-proto", b"").partition(b",")[0]
        return self.trusted and first.strip().lower() == b"https"

    def hsts(self, head: RequestHead, to: Destination) -> bytes:
        """The Strict-Transport-Security of an answer, empty: none (RFC 6797 section 7.2: never without TLS)."""
        return to.hsts if to.hsts and self.came_with_tls(head) else b""

    def local_host(self) -> bytes:
        """The Host for a request that names none: where it came in."""
        ours = self.our_end() if self.our_end is not None else None
        return local_host(getattr(ours, "host", ""), getattr(ours, "port", 0), self.scheme)

    def block(self, fields: Fields, host: bytes, minor: int, set_host: bytes) -> bytes:
        """The outgoing header block, worked out once for requests that repeat their fields."""
        if fields is not self._fields or host != self._host or minor != self._minor or set_host != self._set_host:
            peer, marks = self.peer.encode(), self.policy.marks
            self._block = forwarding_block(
                fields, peer, self.scheme, host, minor, self.trusted, marks, set_host, self.subject, self.version
            )
            self._fields, self._host, self._minor, self._set_host = fields, host, minor, set_host
        return self._block
