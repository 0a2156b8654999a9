"""Where the requests of a client's connection come from, what of that is believed, and the header block that tells services."""

from __future__ import annotations

import ipaddress
from typing import Any, Dict, Optional

from ...http1.fields import Fields
from ...http1.forward import forwarding_block, without_field
from ...http1.request import RequestHead
from ...http1.target import local_host
from ...net.peers import UNIX_PEER
from .policy import Destination, Policy

MOST_PEERS = 1024
"""How many are remembered for their next connection. A Provenance takes half a kilobyte, and the block of one request."""

MOST_HOPS = 16
"""How many of the proxies on a request's way are looked at."""


def _address(text: str) -> str:
    """The address in an element of X-Forwarded-For, which may have a port, and brackets around IPv6; empty: there is none."""
    if text[:1] == "[":
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


class Provenance:
    """Of the connections of one peer, under one policy: under another one there are others.

    The header block is remembered here for clients that repeat themselves, and with the fields for peers that speak for many
    clients. A credential is remembered with the fields alone, which go with their connection.

    :ivar came_from: what it was made of: the client's address, or UNIX_PEER.
    :ivar peer: the client's address, or what a PROXY header said; empty: it has none (UNIX).
    :ivar scheme: ``http`` or ``https``, as the client came to us.
    :ivar subject: of the client's certificate; empty: it has shown none.
    :ivar version: of the protocol, when that is not HTTP/1.x.
    :ivar trusted: what the client says about where its requests come from is believed.
    :ivar local_host: the Host for requests that name none; empty: see ``at``.
    """

    __slots__ = (
        "policy", "came_from", "peer", "scheme", "subject", "version", "trusted", "local_host", "_fields", "_host", "_minor",
        "_set_host", "_block",
    )  # fmt: skip

    def __init__(self, policy: Policy, peer: str, scheme: bytes, subject: bytes = b"", version: bytes = b"") -> None:
        self.policy = policy
        self.came_from = peer
        self.peer = "" if peer == UNIX_PEER else peer
        self.scheme = scheme
        self.subject = subject
        self.version = version
        self.trusted = policy.trusts(peer)
        self.local_host = b""
        self._fields: Optional[Fields] = None
        self._host = self._set_host = self._block = b""
        self._minor = 1

    def under(self, policy: Policy) -> Provenance:
        """The same under another policy."""
        return Provenance(policy, self.came_from, self.scheme, self.subject, self.version)

    def of_subject(self, subject: bytes) -> Provenance:
        """The same for a client that has shown a certificate."""
        return Provenance(self.policy, self.came_from, self.scheme, subject, self.version)

    def at(self, ours: Any) -> Provenance:
        """The same for a client that names no Host: it asks for where it came in, ``ours``."""
        found = Provenance(self.policy, self.came_from, self.scheme, self.subject, self.version)
        found.local_host = local_host(getattr(ours, "host", ""), getattr(ours, "port", 0), self.scheme)
        return found

    def client(self, fields: Fields) -> str:
        """Who has asked: of those that a trusted peer has in X-Forwarded-For the last that is not trusted; else the peer."""
        found = self.peer
        if not self.trusted:
            return found
        for item in reversed(fields.special.get(b"x-forwarded-for", b"").split(b",")[-MOST_HOPS:]):
            address = _address(item.strip().decode("latin-1"))
            if not address:
                break
            found = address
            if not self.policy.trusts(address):
                break
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

    def with_prefix(self, block: bytes, fields: Fields, prefix: bytes) -> bytes:
        """A header block that also says what was taken off the path: with what a trusted proxy has taken off before."""
        if self.policy.marks.style not in ("x-forwarded", "both"):
            return block
        before = fields.special.get(b"x-forwarded-prefix", b"") if self.trusted else b""
        if before:
            block = without_field(block, b"x-forwarded-prefix")
        return b"%bX-Forwarded-Prefix: %b%b\r\n" % (block, before.strip().rstrip(b"/"), prefix)


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
