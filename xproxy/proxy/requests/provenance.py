"""Where the requests of a client's connection come from, what of that is believed, and the header block that tells services."""

from __future__ import annotations

from typing import Any, Dict, Optional

from ...http1.fields import Fields
from ...http1.forward import forwarding_block
from ...http1.request import RequestHead
from ...http1.target import local_host
from ...slots.access import allowed
from .policy import Destination, Policy

MOST_PEERS = 1024
"""How many are remembered for their next connection. A Provenance takes half a kilobyte, and the block of one request."""


class Provenance:
    """Of the connections of one peer, under one policy: under another one there are others.

    The header block is remembered here for clients that repeat themselves, and with the fields for peers that speak for many
    clients. A credential is remembered with the fields alone, which go with their connection.

    :ivar peer: the client's address, or what a PROXY header said; empty: it has none (UNIX).
    :ivar scheme: ``http`` or ``https``, as the client came to us.
    :ivar subject: of the client's certificate; empty: it has shown none.
    :ivar version: of the protocol, when that is not HTTP/1.x.
    :ivar trusted: what the client says about where its requests come from is believed.
    :ivar local_host: the Host for requests that name none; empty: see ``at``.
    """

    __slots__ = (
        "policy", "peer", "scheme", "subject", "version", "trusted", "local_host", "_fields", "_host", "_minor", "_set_host",
        "_block",
    )  # fmt: skip

    def __init__(self, policy: Policy, peer: str, scheme: bytes, subject: bytes = b"", version: bytes = b"") -> None:
        self.policy = policy
        self.peer = peer
        self.scheme = scheme
        self.subject = subject
        self.version = version
        self.trusted = peer != "" and allowed(peer, policy.trusted_proxies)
        self.local_host = b""
        self._fields: Optional[Fields] = None
        self._host = self._set_host = self._block = b""
        self._minor = 1

    def under(self, policy: Policy) -> Provenance:
        """The same under another policy."""
        return Provenance(policy, self.peer, self.scheme, self.subject, self.version)

    def of_subject(self, subject: bytes) -> Provenance:
        """The same for a client that has shown a certificate."""
        return Provenance(self.policy, self.peer, self.scheme, subject, self.version)

    def at(self, ours: Any) -> Provenance:
        """The same for a client that names no Host: it asks for where it came in, ``ours``."""
        found = Provenance(self.policy, self.peer, self.scheme, self.subject, self.version)
        found.local_host = local_host(getattr(ours, "host", ""), getattr(ours, "port", 0), self.scheme)
        return found

    def came_with_tls(self, head: RequestHead) -> bool:
        """Whether a request came with TLS: to us, or, as a trusted proxy says, to it."""
        if self.scheme == b"https":
            return True
        first = head.fields.special.get(b"x-forwarded-proto", b"").partition(b",")[0]
        return self.trusted and first.strip().lower() == b"https"

    def hsts(self, head: RequestHead, to: Destination) -> bytes:
        """The Strict-Transport-Security of an answer, empty: none (RFC 6797 section 7.2: never without TLS)."""
        return to.hsts if to.hsts and self.came_with_tls(head) else b""

    def block(self, fields: Fields, host: bytes, minor: int, set_host: bytes) -> bytes:
        """The outgoing header block, worked out once for requests that repeat their fields."""
        if fields is self._fields and host == self._host and minor == self._minor and set_host == self._set_host:
            return self._block
        conditions = (self, host, minor, set_host)
        known = fields.onward
        if known is not None and known[0] == conditions:
            return known[1]
        peer, marks = self.peer.encode(), self.policy.marks
        block = forwarding_block(
            fields, peer, self.scheme, host, minor, self.trusted, marks, set_host, self.subject, self.version
        )
        fields.onward = (conditions, block)
        if not fields.secret:
            self._fields, self._host, self._minor, self._set_host, self._block = fields, host, minor, set_host, block
        return block


class Provenances:
    """Those of the peers that came last by one scheme, without a certificate.

    :param scheme: as Provenance's.
    """

    def __init__(self, scheme: bytes) -> None:
        self._scheme = scheme
        self._policy: Optional[Policy] = None
        self._by_peer: Dict[str, Provenance] = {}

    def find(self, policy: Policy, peer: str) -> Provenance:
        """That of a connection that begins now."""
        found = self._by_peer.get(peer) if policy is self._policy else None
        if found is None:
            if policy is not self._policy or len(self._by_peer) >= MOST_PEERS:
                self._policy = policy
                self._by_peer.clear()
            found = self._by_peer[peer] = Provenance(policy, peer, self._scheme)
        return found
